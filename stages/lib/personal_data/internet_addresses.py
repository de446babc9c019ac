"""E-mail and IP addresses."""

import ipaddress
import re

from stages.lib.personal_data.search import DIGIT, LETTER, mask, matches, to_ascii

# Starts only where a name starts, takes it whole: linear time on a long run without an "@".
EMAIL = re.compile(
    rf"(?<![{LETTER}À-ɏ._%+-])[{LETTER}À-ɏ_%+-][{LETTER}À-ɏ._%+-]{{0,63}}+@(?:[{LETTER}À-ɏ](?:[{LETTER}À-ɏ-]{{0,62}})\.){{1,8}}"
    rf"(?!(?:png|jpe?g|gif|svg|webp|js|ts|json|css)(?![{LETTER}]))[A-Za-z]{{2,24}}(?![{LETTER}_@-])(?!:[\w.-]+/)",
    re.IGNORECASE,
)
IPV4 = re.compile(rf"(?<![{LETTER}_-])(?<![0-9]\.)(?<![A-Za-z]/)(?:[0-9]{{1,3}}\.){{3}}[0-9]{{1,3}}(?![{LETTER}_-]|\.[0-9])")
IPV6 = re.compile(rf"(?<![{LETTER}_:.])(?=[0-9A-Fa-f]{{1,4}}:)[0-9A-Fa-f:]{{3,39}}+(?![{LETTER}_:])")
# Everyone's or nobody's: private networks, link-local, loopback, multicast, netmasks, examples. Listed, since `is_global` differs
# between versions of Python.
NOT_PERSONAL = [
    ipaddress.ip_network(name)
    for name in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3",
        "::/127", "2001:db8::/32", "fc00::/7", "fe80::/10", "ff00::/8",
    )
]  # fmt: skip
USER_OF_A_URL = re.compile(r"://[^\s/@]*\Z")
VERSION_BEFORE = re.compile(
    r"(?:\bv|\bver|version|release|build|firmware|section|chapter|clause|版本|第|章节|固件)[\s.:：是为号]{0,3}\Z", re.IGNORECASE
)


def mask_emails(text: str) -> str:
    """`[EMAIL]`; the domains that RFC 2606 keeps for examples are nobody's.

    >>> mask_emails("邮箱是ann.lee@c-d.io，@ann git@github.com:a/b.git icon@2x.png ann@example.com")
    '邮箱是[EMAIL]，@ann git@github.com:a/b.git icon@2x.png ann@example.com'
    """
    if "@" not in text and "＠" not in text:
        return text
    return mask(text, lambda plain: matches(EMAIL, plain, _email_end), "[EMAIL]")


def _email_end(match: re.Match[str]) -> int | None:
    *_, domain, top = match[0].lower().rpartition("@")[2].split(".")
    nobody = top == "example" or (domain == "example" and top in ("com", "net", "org"))
    of_a_url = USER_OF_A_URL.search(match.string[max(0, match.start() - 120) : match.start()])
    return None if nobody or of_a_url else match.end()


def mask_ip_addresses(text: str) -> str:
    """`[IP]`, version 4 and 6; a port or prefix length behind it stays.

    Four numbers may be a version: they are one after a word that says so, after a letter and a slash (Chrome/120.0.0.0), and
    where all are single digits (1.2.3.4) but not the same (8.8.8.8). What every router may have, what is kept for examples,
    loopback and netmasks are nobody's. Version 6 in short (2a00:1450::1) needs a first group of three or four digits with a
    figure in it: `a::b` is code.

    >>> mask_ip_addresses("91.198.174.192:80 and 2a00:1450::1, not 192.168.0.1, v91.0.0.1, std::vector or 12:30:45")
    '[IP]:80 and [IP], not 192.168.0.1, v91.0.0.1, std::vector or 12:30:45'
    """
    if not DIGIT.search(text):
        return text
    plain = to_ascii(text)
    if plain.count(":") >= 2:
        text = mask(text, lambda plain: matches(IPV6, plain, _ipv6_end), "[IP]")
    if plain.count(".") >= 3:
        text = mask(text, lambda plain: matches(IPV4, plain, _ipv4_end), "[IP]")
    return text


def _ipv4_end(match: re.Match[str]) -> int | None:
    numbers = match[0].split(".")
    try:
        address = ipaddress.IPv4Address(match[0])
    except ValueError:
        return None
    one_digit = all(len(number) == 1 for number in numbers) and len(set(numbers)) > 1
    version = VERSION_BEFORE.search(match.string[max(0, match.start() - 12) : match.start()])
    return None if one_digit or version or _is_nobodys(address) else match.end()


def _ipv6_end(match: re.Match[str]) -> int | None:
    number = match[0]
    if number.endswith(":") and not number.endswith("::"):
        number = number[:-1]
    try:
        address = ipaddress.IPv6Address(number)
    except ValueError:
        return None
    first = number.partition(":")[0]
    short = "::" in number and (len(first) < 3 or not re.search("[0-9]", number))
    return None if short or _is_nobodys(address) else match.start() + len(number)


def _is_nobodys(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return any(address in network for network in NOT_PERSONAL)
