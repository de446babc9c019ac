"""Repair of one text: encodings, invisible characters, white space, HTML, URLs, traditional characters. Each is text -> text.

Each function first asks a cheap question that says no for almost every message, is idempotent, takes linear time on
hostile input, and leaves alone what it is not sure about.
"""

import html
import re
import unicodedata
from functools import cache
from typing import Any

import ftfy
from ftfy.badness import MOJIBAKE_CATEGORIES

# ftfy's defaults rewrite full-width Chinese punctuation, typographic quotes, entities and ligatures: all meant as they stand.
FTFY = ftfy.TextFixerConfig(
    fix_character_width=False,
    uncurl_quotes=False,
    unescape_html=False,
    fix_latin_ligatures=False,
    remove_terminal_escapes=False,
    remove_control_chars=False,
    fix_line_breaks=False,
    explain=False,
)
# Whatever ftfy takes for mojibake holds one of these: a test proves it on ftfy's regular expression. The quotes, dashes and
# dots that Chinese and typographic English are full of are not among them.
MOJIBAKE_SIGN = re.compile(
    "[\ud800-\udfffŒœØÙЂВГРСΒΓΞΟ‚"
    + "".join(
        MOJIBAKE_CATEGORIES[name]
        for name in ("c1", "bad", "law", "currency", "numeric", "upper_accented", "lower_accented", "box")
    )
    + "]"
)
# C0 and C1 controls but for tab and line feed, zero-width space, word joiner, byte-order mark, and what Unicode forbids in text.
# The zero-width joiner and non-joiner stay: emoji and Persian need them.
CONTROL_CHARACTERS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u2060\ufeff\ufffe\uffff]")
INVISIBLE_OR_LINE_END = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u2028\u2029\u2060\ufeff\ufffe\uffff]")

# Lead bytes of what UTF-8 writes in three bytes (punctuation, kana, Chinese, full-width forms) and, as GBK reads it, the
# character that such a lead byte and its next byte make; F0 9F begins an emoji.
UTF8_LEADS = [*range(0xE2, 0xEA), 0xEF]
GBK_SIGN = re.compile(
    "["
    + "".join(bytes([lead, trail]).decode("gb18030") for lead in UTF8_LEADS for trail in range(0x80, 0xC0))
    + b"\xf0\x9f".decode("gb18030")
    + "]"
)
NOT_ASCII = re.compile(r"[^\x00-\x7f]+")
# GB2312's first level: the 3,755 characters that make up 99% of running Chinese. Rows end early in the last lead byte.
COMMON_CHINESE = frozenset("".join(bytes([lead, trail]).decode("gb2312", "ignore") for lead in range(0xB0, 0xD8)
                                   for trail in range(0xA1, 0xFF)))  # fmt: skip
COMMON_OTHER = re.compile(
    r"[\x20-\x7e\n\u00a0-\u00ff\u2010-\u203f\u20ac\u2103\u2122\u2190-\u21ff\u2460-\u24ff\u2500-\u27bf\u3000-\u30ff\ufe0f"
    r"\uff01-\uff65\uffe5\U0001f300-\U0001faff]"
)
OTHER_CHINESE = re.compile(r"[\u4e00-\u9fff]")

# Without <s>, which in conversations is a model's token.
INLINE_TAGS = """
    a abbr acronym b bdi bdo big center cite code del dfn em font i ins kbd label mark q samp small span strike strong sub sup
    time tt u var
"""
LINE_TAGS = """
    address article aside body caption dd details div dl dt fieldset figcaption figure footer form head header html legend li main
    nav ol option section select summary table tbody tfoot thead title tr ul
"""
PARAGRAPH_TAGS = frozenset(["blockquote", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "p", "pre"])
CELL_TAGS = frozenset(["td", "th"])
LONE_TAGS = frozenset(["br", "hr", "img", "wbr"])  # these have no end tag
DROPPED_WITH_CONTENT = frozenset(["script", "style"])
CODE_TAGS = frozenset(["pre", "code", "kbd", "samp", "tt"])
LINES = frozenset(LINE_TAGS.split())
TAGS = frozenset(INLINE_TAGS.split()) | LINES | PARAGRAPH_TAGS | CELL_TAGS | LONE_TAGS | DROPPED_WITH_CONTENT
# Markdown code, a comment's start, or a tag. Attribute values hold no "<": so no character is looked at from two starts.
# Repeated up to a limit: each time may be taken back, which the search has to remember.
HTML_TOKEN = re.compile(
    r"""(?P<markdown>```.*?(?:```|\Z)|`[^`\n]++`)
    |(?P<comment><!--)
    |<(?P<slash>/?)(?P<name>[a-zA-Z][a-zA-Z0-9]{0,9}+)(?=[\s/>])(?:[^<>"']++|"[^"<]*+"|'[^'<]*+'){0,1000}>""",
    re.DOTALL | re.VERBOSE,
)
ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{1,31});")
# After a "<" or "&" that came from an entity: it would be read as a tag or an entity the next time.
READ_AS_MARKUP = re.compile(r"(?:(?<=<)(?:/?[a-zA-Z]|!--)|(?<=&)#?[0-9a-zA-Z]+;)")
ESCAPED_TAG = re.compile(r"&(?:lt|LT|#60|#x3[cC]);(?:/?[a-zA-Z]|!--)")
ESCAPED_MESSAGE = re.compile(r"\s*&lt;([a-zA-Z][a-zA-Z0-9]*)(?=\s|/|&gt;).*&lt;/[a-zA-Z][a-zA-Z0-9]*&gt;\s*", re.DOTALL)

# A host in ASCII, then a path; Chinese in a path only where it begins a part of it, or the sentence behind a URL would go too.
URL = re.compile(
    r"(?:https?://|(?<![A-Za-z0-9@./\\_-])www\.)[A-Za-z0-9\[](?:[A-Za-z0-9._~:@%\[\]!$&'()*+,;=/?#|\\^{}-]++"
    r"|(?<=[/=])[\u00c0-\u1fff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3]++){0,1000}",
    re.IGNORECASE,
)
KANA = re.compile(r"[\u3041-\u306d\u306f-\u3096\u30a1-\u30fa]")  # but for の, which Chinese uses as an ornament


def fix_unicode(text: str) -> str:
    """Undo mojibake and compose characters (NFC).

    >>> fix_unicode("cafÃ© — schÃ¶n")
    'café — schön'
    >>> fix_unicode("你好，世界！ “quoted” &lt;b&gt;")
    '你好，世界！ “quoted” &lt;b&gt;'
    """
    if text.isascii() or (not MOJIBAKE_SIGN.search(text) and unicodedata.is_normalized("NFC", text)):
        return text
    return ftfy.fix_text(text, FTFY)


def fix_gbk_mojibake(text: str) -> str:
    """Undo UTF-8 that was read as GBK, run by run of characters beyond ASCII.

    A run changes only where all of it turns into bytes that are UTF-8, half of its characters (of a long run a third) are
    ones that Chinese seldom uses, and three quarters of the result (of a long one none) are common. What lost a byte (锟斤拷)
    stays.

    >>> fix_gbk_mojibake("浣犲ソ, it鈥檚 me")
    '你好, it’s me'
    >>> fix_gbk_mojibake("浣熊和涓涓细流")
    '浣熊和涓涓细流'
    """
    if text.isascii():
        return text
    while GBK_SIGN.search(text):  # what a repair leaves may be repaired again; each makes the text shorter in UTF-8
        fixed = NOT_ASCII.sub(_fix_gbk_run, text)
        if fixed == text:
            break
        text = fixed
    return text


def _fix_gbk_run(match: re.Match[str]) -> str:
    run = match[0]
    if not GBK_SIGN.search(run):
        return run
    try:
        # Windows reads a lone byte 0x80 as the euro sign: "涓€" was "一".
        fixed = b"\x80".join(part.encode("gb18030") for part in run.split("€")).decode("utf-8")
    except UnicodeError:
        return run
    # The apostrophe and one ASCII letter come out as two characters for two: 鈥, in no other text, is evidence enough.
    if len(fixed) >= len(run) and "鈥" not in run:
        return run
    rare = sum(character not in COMMON_CHINESE for character in run)
    common = sum(character in COMMON_CHINESE or bool(COMMON_OTHER.match(character)) for character in fixed)
    known = common + sum(bool(OTHER_CHINESE.match(character)) for character in fixed if character not in COMMON_CHINESE)
    enough_rare = (3 if len(run) >= 6 else 2) * rare >= len(run)
    # Eight characters of valid UTF-8 are no accident, whatever they are; traditional Chinese has few of the common ones.
    enough_common = len(fixed) >= 8 or 4 * common >= 3 * len(fixed)
    return fixed if enough_rare and enough_common and known == len(fixed) else run


def remove_control_characters(text: str) -> str:
    """Drop characters nobody sees; line ends become LF first.

    >>> remove_control_characters("a\\x00b\\u200bc\\r\\nd\\te")
    'abc\\nd\\te'
    """
    if not INVISIBLE_OR_LINE_END.search(text):
        return text
    return CONTROL_CHARACTERS.sub("", re.sub(r"\r\n?|\u2028|\u2029", "\n", text))


def fix_whitespace(text: str) -> str:
    """Strip both ends of the text and the right end of each line; indentation stays, it is code's.

    >>> fix_whitespace("\\n\\n  if x:  \\n      y\\n\\n\\n\\nz "), fix_whitespace(" a\\nb")
    ('  if x:\\n      y\\n\\nz', 'a\\nb')
    """
    stripped = text.strip()
    if "\n" not in stripped:
        return stripped
    lines = re.sub(r"\n{3,}", "\n\n", "\n".join(map(str.rstrip, stripped.split("\n"))))
    before = text[: text.index(stripped[0])].rpartition("\n")[2]
    second = next(line for line in lines.split("\n")[1:] if line)
    is_code = before and second.startswith(before) and not before.strip(" \t")
    return before + lines if is_code else lines  # the first line is indented as the second is, or less


def strip_html(text: str) -> str:
    """Take HTML out: tags of known names, comments, scripts and styles go, blocks become lines, entities characters.

    A tag that needs an end tag is taken for one only where both stand in the text: "what does <div> do?" stays, and so do
    `List<String>`, `<user>` and all that Markdown calls code. <pre> and <code> become Markdown. An escaped tag
    (&lt;b&gt;) is text about a tag and stays escaped, unless the whole message is escaped HTML.

    >>> strip_html("<p>Hi <b>Ann</b>,</p><p>x &lt; y<br>Tom &amp; Jerry</p>")
    'Hi Ann,\\n\\nx < y\\nTom & Jerry'
    >>> strip_html("if a < b and c > d: List<String> `<b>` <3")
    'if a < b and c > d: List<String> `<b>` <3'
    """
    while "<" in text or "&" in text:
        stripped = _strip_html_once(text)
        if stripped == text:
            break
        text = stripped
    return text


def _strip_html_once(text: str) -> str:
    escaped = "<" not in text and ESCAPED_MESSAGE.fullmatch(text)
    if escaped and escaped[1].lower() in TAGS:
        text = html.unescape(text)
    tokens = list(HTML_TOKEN.finditer(text))
    names = [(token["slash"], (token["name"] or "").lower()) for token in tokens]
    ended = {name for slash, name in names if slash} & {name for slash, name in names if not slash}
    taken = (ended | LONE_TAGS) & TAGS
    has_markup = any(name in taken for _, name in names) or any(token["comment"] for token in tokens)
    writer = _HtmlText()
    position = 0
    no_end: set[str] = set()  # ends sought in vain: to seek again from each start would take quadratic time
    for token, (slash, name) in zip(tokens, names, strict=True):
        start, end = token.span()
        is_tag = name in taken and not _is_type_argument(text, token)
        # Not what stands inside a comment, script or piece of code that is written already.
        if start < position or not (is_tag or token["comment"] or token["markdown"]):
            continue
        content = _content(text, token, slash, name, no_end)
        if token["comment"] and content is None:
            continue
        writer.write(_unescape(text[position:start]))
        position = end
        if token["markdown"]:
            writer.write_code(token[0])
        elif content is None:
            writer.write_tag(name, bool(slash))
        elif name not in CODE_TAGS:
            position = content[1]
        elif code := _to_markdown(text[end : content[0]], name):
            position = content[1]
            writer.write_tag(name, False)
            writer.write_code(code)
            writer.write_tag(name, True)
        else:
            no_end.add(f"</{name}")  # once is enough: the same content may lie behind the next start
    writer.write(_unescape(text[position:]))
    return writer.text() if has_markup else "".join(writer.parts)


def _content(text: str, token: re.Match[str], slash: str, name: str, no_end: set[str]) -> tuple[int, int] | None:
    """Where a comment's, a script's or a piece of code's content ends and where the text goes on; None for any other tag."""
    if token["comment"]:
        return _find_end(text, token.end(), "-->", no_end)
    if slash or name not in DROPPED_WITH_CONTENT | CODE_TAGS:
        return None
    return _find_end(text, token.end(), f"</{name}", no_end)


class _HtmlText:
    """Text between tags as it comes out; line breaks are owed until there is text to put after them."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.breaks = 0
        self.item = False

    def write(self, piece: str) -> None:
        if self.breaks:
            piece = piece.lstrip()
        if piece:
            self._pay()
            self.parts.append(piece)

    def write_code(self, piece: str) -> None:
        self._pay()
        self.parts.append(piece)

    def _pay(self) -> None:
        if self.breaks and self.parts:
            self.parts[-1] = self.parts[-1].rstrip()
            self.parts.append("\n" * self.breaks)
        if self.item:
            self.parts.append("- ")
        self.breaks, self.item = 0, False

    def write_tag(self, name: str, is_end: bool) -> None:
        if name == "br":
            self.breaks += 1
        elif name in PARAGRAPH_TAGS:
            self.breaks = max(self.breaks, 2)
        elif name in LINES:
            self.breaks = max(self.breaks, 1)
            self.item = name == "li" and not is_end
        elif name in CELL_TAGS and is_end:
            self.write(" ")

    def text(self) -> str:
        return "".join(self.parts).strip()


def _is_type_argument(text: str, token: re.Match[str]) -> bool:
    """Array<A>, Option<i>: a tag name of one letter right behind a name, without an attribute or an end tag near by."""
    start, end = token.span()
    name = token["name"]
    if token["slash"] or len(name) > 1 or end - start > 3 or start == 0 or not (text[start - 1].isalnum() and text.isascii()):
        return False
    return f"</{name}>" not in text[end : end + 2000]


def _find_end(text: str, start: int, end_tag: str, no_end: set[str]) -> tuple[int, int] | None:
    if end_tag in no_end:
        return None
    found = re.compile(re.escape(end_tag) + (r"\s*>" if end_tag != "-->" else ""), re.IGNORECASE).search(text, start)
    if found is None:
        no_end.add(end_tag)
        return None
    return found.span()


def _to_markdown(content: str, name: str) -> str:
    """The code as Markdown; empty where Markdown could not hold it."""
    code = html.unescape(HTML_TOKEN.sub(lambda token: "" if (token["name"] or "").lower() in TAGS else token[0], content))
    if "`" in code or not code.strip():
        return ""
    if name == "pre" or "\n" in code:
        return "```\n" + code.strip("\n") + "\n```"
    return f"`{code}`"


def _unescape(text: str) -> str:
    """Entities as characters, but for those that make an escaped tag: both of its ends stay."""
    if "&" not in text:
        return text
    escaped_tag = ESCAPED_TAG.search(text)

    def unescape(match: re.Match[str]) -> str:
        character = html.unescape(match[0])
        if character in "<&" and READ_AS_MARKUP.match(character + text[match.end() : match.end() + 40], 1):
            return match[0]
        if character == "`" or (escaped_tag and character == ">"):
            return match[0]
        return " " if character == "\u00a0" else character

    return ENTITY.sub(unescape, text)


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


def to_simplified(text: str) -> str:
    """Traditional Chinese characters to simplified ones (OpenCC's t2s). Text with kana is Japanese and stays.

    >>> to_simplified("漢語與頭髮")
    '汉语与头发'
    """
    if text.isascii() or KANA.search(text):
        return text
    while (simplified := _simplifier().convert(text)) != text:  # 乾安縣 becomes 乾安县 as a word, 干安县 by its characters
        text = simplified
    return text


@cache
def _simplifier() -> Any:
    import opencc

    return opencc.OpenCC("t2s")
