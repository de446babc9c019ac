"""Web addresses in a text."""

import re

from stages.lib.scripts import HAN, HANGUL, KANA

# A host in ASCII, then a path; Chinese in a path only where it begins a part of it, or the sentence behind a URL would go too.
URL = re.compile(
    r"(?:https?://|(?<![A-Za-z0-9@./\\_-])www\.)[A-Za-z0-9\[](?:[A-Za-z0-9._~:@%\[\]!$&'()*+,;=/?#|\\^{}-]++"
    rf"|(?<=[/=])[\u00c0-\u1fff{HAN}{KANA}{HANGUL}]++){{0,1000}}",
    re.IGNORECASE,
)


def mask_urls(text: str) -> str:
    """`[URL]` for each http, https or www address; not for mail addresses, nor for the punctuation behind it.

    >>> mask_urls("see (https://en.wikipedia.org/wiki/Go_(game)), 或者看www.example.com/a。好")
    'see ([URL]), 或者看[URL]。好'
    """
    if "://" not in text and "www." not in text and "WWW." not in text:
        return text
    return URL.sub(_mask_url, text)


def _mask_url(match: re.Match[str]) -> str:
    url = match[0]
    end = len(url)
    excess = {")": url.count(")") - url.count("("), "]": url.count("]") - url.count("["), "}": url.count("}") - url.count("{")}
    while end and (url[end - 1] in ".,;:!?'*|\\" or excess.get(url[end - 1], 0) > 0):
        excess[url[end - 1]] = excess.get(url[end - 1], 0) - 1
        end -= 1
    return "[URL]" + url[end:]
