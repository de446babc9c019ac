"""HTML as the text that a reader saw. Text -> text, idempotent, in linear time on hostile input; unsure, it leaves alone."""

import html
import re

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
