"""Which messages are wrapped in an export's HTML, so that the tags are no part of what was said.

Where people talk about markup, the markup is what was said: a snippet in a sentence, the code that was asked for. No text shows
by itself which of the two it is, so that the whole conversation is asked. A message is taken for wrapped where it is HTML from
its first to its last character, or plain text with `<br>` and entities; where nothing that is said speaks of markup or code; and,
unless both sides are wrapped throughout, where it is a question or long prose in the tags of an editor, and nobody asked to have
something written. In doubt a tag stays.
"""

import html
import re
from collections.abc import Sequence
from typing import NamedTuple

from stages.clean.markup import ENTITY, ESCAPED_MESSAGE, ESCAPED_TAG, LONE_TAGS, TAGS
from stages.lib.records.conversation import Message
from stages.lib.scripts import HAN, KANA

# Attribute values hold no "<": so no character is looked at from two starts.
TAG = re.compile(
    r"""<(?P<slash>/?)(?P<name>[a-zA-Z][a-zA-Z0-9]{0,20})(?P<attributes>[^<>"']*(?:(?:"[^"<]*"|'[^'<]*')[^<>"']*){0,200})>"""
)
OPENS = re.compile(r"<[a-zA-Z/!?%]")  # as a tag, a comment or an instruction does
ATTRIBUTE = re.compile(r"""([^\s=/"']+)\s*(?:=\s*(?:"[^"]*"|'[^']*'|[^\s"']+))?""")
INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff"

BLOCKS = frozenset(["blockquote", "div", "h1", "h2", "h3", "h4", "h5", "h6", "ol", "p", "pre", "table", "ul"])
ROOTS = BLOCKS | frozenset(["article", "body", "center", "font", "html", "main", "section", "span"])
EDITOR_TAGS = frozenset(["a", "b", "br", "div", "em", "h3", "h4", "i", "li", "ol", "p", "strong", "u", "ul"])
EDITOR_ATTRIBUTES = re.compile(
    r"data-[\w-]+|dir|href|lang|rel|target|title", re.IGNORECASE
)  # none of looks: these may be the point
INDENTED_TAG = re.compile(r"^[ \t]+<", re.MULTILINE)  # as people lay out code

SPEAKS_OF_MARKUP = re.compile(
    r"\b(?:x?html5?|s?css3?|xml|xsl|svg|jsx?|tsx|php|asp|jsp|json|yaml|sql|markdown|markup|bbcode|latex|javascript|typescript|jquery|react"
    r"|vue|angular|svelte|bootstrap|tailwind|wordpress|jinja|django|flask|dom|iframes?|divs?|spans?|tags?|elements?|entity|entities"
    r"|escap(?:e|es|ed|ing)|encod(?:e|ed|ing)|(?:source|this|the following|sample|example) code|code (?:snippet|block|sample)s?"
    r"|snippets?|syntax|front-?end|scrap(?:e|er|ing)|pars(?:e|er|ing)|line[ -]?breaks?|newlines?|non-?breaking|ampersands?|nbsp"
    r"|hyperlinks?|translat\w*)\b"
    r"|标签|元素|代码|源码|网页|前端|转义|实体|换行|翻译|译成|译为|标记语言|超链接|段落|组件|编程|写程序|脚本",
    re.IGNORECASE,
)
# What is said by a user or the system, and asks for a text or for the looks of one.
ASKS_FOR_A_TEXT = re.compile(
    r"(?:\A\s*|[.!?:\n]\s*|\bplease |\b(?:can|could|would|will) you (?:please )?|\bhelp me (?:to )?|\byou to )"
    r"(?:write|create|make|generate|build|design|show|give|draft|convert|format|render|wrap|turn|print|output|produce|complete|finish"
    r"|continue|fill|rewrite|compose|code|style|put|add|insert|reply with|answer with|return|set)\b"
    r"|\b(?:bold|italics?|underlin\w*|headings?|headlines?|paragraphs?|bullet\w*|lists?|tables?|fonts?|colou?r\w*|centre[ds]?"
    r"|center(?:ed|s)?|align\w*|web ?pages?|templates?|newsletters?|signatures?|banners?|layouts?|rich text|wysiwyg|editors?"
    r"|examples?|samples?|demos?|nested|minimal|pages?|(?:web)?sites?|blogs?|paste|cards?|cite|quotes?|split|inside)\b"
    r"|写|生成|制作|创建|做一?个|给我|给出|展示|输出|转换|格式|设计|补全|加粗|粗体|斜体|标题|列表|表格|字体|颜色|居中|页面|模板|排版|样式|例子|示例|举例|网站|卡片|引用",
    re.IGNORECASE,
)
CODE_SIGN = re.compile(r"[;{}]\s*(?:\n|\Z)|=>|\w->\w|==|!=|\|\||&&|::|\w\(\s*[\"'&)]|^\s*\||\|\s*$|`|\\[nt]", re.MULTILINE)
LINE_BREAK_TAG = re.compile(r"<br\s*/?>", re.IGNORECASE)
# Named, not used: "put <br> at the end", "&copy; for ©", 「&nbsp;」.
NAMED = re.compile(
    r"""(?<!<br>)(?<!<br/>)(?<!<br[ ]/>)(?:(?<=[ \t("'“‘「『《:：])<br\s*/?>(?=[ \t.,;:!?)"'”’」』》。，；：！？]|\Z)(?!\s*<br)"""
    r"""|\A\s*<br\s*/?>(?=\s+[a-z])"""
    r"""|(?:\b(?:use|uses|using|used|type|write|add|insert|put|called|named|means?|as|is|of|with|by|and|or|for|the|a)\s"""
    r"""|[用写加是即为和或成入叫打])\s*["'“‘「『(（]?(?:<br\s*/?>|&(?:\#?[a-z0-9]{2,30});)(?=["'”’」』)）.,;:!?。，；：！？\s]|[一-鿿]|\Z)"""
    r"""|["'“‘「『(（]&\#?[a-z0-9]{2,30};["'”’」』)）]"""
    r"""|&\#?[a-z0-9]{2,30};\s*(?:\b(?:is|means|stands|shows|gives|makes|becomes|for)\b|[是即表为代])|&amp;\#?[a-z0-9]{2,30};)""",
    re.IGNORECASE | re.VERBOSE,
)
NAMES_A_CHARACTER = re.compile(
    r"\b(?:symbols?|characters?|signs?|dash(?:es)?|hyphens?|accents?|quot(?:e|es|ation) marks?|apostrophes?)\b"
    r"|符号|字符|引号|空格|括号",
    re.I,
)
NAMES_A_LINE = re.compile(r"\b(?:break(?:s|ing)?|lines?|rows?|cells?|columns?)\b|[分换两一单]行|单元格|另起", re.IGNORECASE)
# Free-standing: between spaces or quotes. Of what stands so in a sentence, only these do: an ampersand, a dash, an emoji.
STANDS_ALONE = re.compile(
    r"""(?:\A|(?<=[\s"'“‘「『(（]))&(?!(?:amp|nbsp|[mn]dash|\#12[0-9]{4}|\#x1f[0-9a-f]{3});)\#?[a-z0-9]{2,30};(?=["'”’」』)）.,;:!?。，；：！？\s]|\Z)""",
    re.IGNORECASE | re.VERBOSE,
)
IS_ASKED = re.compile(r"[?？]|[吗呢么]|怎|什|哪|几|多少|是否|能否|可否")
SENTENCE = re.compile(r"[.!?:](?:\s|\Z)|[。！？；…]")
CHARACTER = re.compile(f"[{HAN}{KANA}]")
FEWEST_WORDS = 20  # a snippet is short, an answer that a help page gives is not
FEWEST_CHARACTERS = 30
FEWEST_PLAIN_WORDS = 3


class Markup(NamedTuple):
    """A text's tags. `whole`: they hold all of it, in pairs. `plain`: it has none, or line breaks alone. `editor`: only an
    editor's, written in one go."""

    whole: bool
    plain: bool
    editor: bool
    words: str  # the text without its tags


def wrapped_messages(messages: Sequence[Message]) -> set[int]:
    """The numbers of the messages whose tags and entities are an export's."""
    marked = [number for number, message in enumerate(messages) if may_be_wrapped(message)]
    if not marked:
        return set()
    read = {number: read_markup(messages[number]["content"]) for number in marked}
    said = [read[number].words if number in read else message["content"] for number, message in enumerate(messages)]
    if any(map(speaks_of_markup, said)):
        return set()
    plain = {number for number in marked if read[number].plain and is_plain_wrapping(messages[number]["content"], said)}
    return plain | wrapped_sides(messages, read, said)


def may_be_wrapped(message: Message) -> bool:
    """Instructions and what tools returned are data: their tags stay."""
    return message["role"] in ("user", "assistant") and ("<" in message["content"] or "&" in message["content"])


def wrapped_sides(messages: Sequence[Message], read: dict[int, Markup], said: list[str]) -> set[int]:
    """Messages that are HTML as a whole, of a side of which all are."""
    sides = [[number for number, message in enumerate(messages) if message["role"] == role] for role in ("user", "assistant")]
    whole = [side for side in sides if side and all(number in read and read[number].whole for number in side)]
    if len(whole) == 2:
        return {number for side in whole for number in side}
    asked = [said[number] for number, message in enumerate(messages) if message["role"] == "user"]
    told = [said[number] for number, message in enumerate(messages) if message["role"] == "system"]
    snippets = any(not markup.whole and not markup.plain for markup in read.values())
    if snippets or not all(map(IS_ASKED.search, asked)) or any(map(ASKS_FOR_A_TEXT.search, asked + told)):
        return set()
    return {
        number
        for side in whole
        if all(read[number].editor and is_prose(read[number].words) for number in side)
        for number in side
    }


def speaks_of_markup(words: str) -> bool:
    return bool(SPEAKS_OF_MARKUP.search(ENTITY.sub(" ", words)) or ESCAPED_TAG.search(words))


def is_plain_wrapping(text: str, said: Sequence[str]) -> bool:
    """Plain text with `<br>` and entities as an export leaves them: they are used in it, not named."""
    if NAMED.search(text) or STANDS_ALONE.search(text) or CODE_SIGN.search(html.unescape(text)):
        return False
    words = ENTITY.sub(" ", LINE_BREAK_TAG.sub(" ", text))
    if len(words.split()) + len(CHARACTER.findall(words)) < FEWEST_PLAIN_WORDS:
        return False
    names = [NAMES_A_CHARACTER] * bool(ENTITY.search(text)) + [NAMES_A_LINE] * ("<" in text)
    return not any(name.search(one) for name in names for one in said)


def is_prose(words: str) -> bool:
    """
    >>> is_prose("This is important. So is that."), is_prose("Hello. " * 20), is_prose("您的订单已发货。" * 5)
    (False, True, True)
    """
    long = len(words.split()) >= FEWEST_WORDS or len(CHARACTER.findall(words)) >= FEWEST_CHARACTERS
    return long and bool(SENTENCE.search(words))


def read_markup(text: str) -> Markup:
    escaped = "<" not in text and ESCAPED_MESSAGE.fullmatch(text)
    if escaped:
        text = html.unescape(text)
    tags = list(TAG.finditer(text))
    spans = {tag.start() for tag in tags}
    known = all(tag["name"].lower() in TAGS for tag in tags) and all(mark.start() in spans for mark in OPENS.finditer(text))
    plain = known and not escaped and all(LINE_BREAK_TAG.fullmatch(tag[0]) for tag in tags)
    return Markup(
        whole=known and bool(tags) and not plain and _holds_all(text, tags),
        plain=plain,
        editor=all(map(_is_editors, tags)) and not INDENTED_TAG.search(text),
        words=TAG.sub(" ", text),
    )


def _is_editors(tag: re.Match[str]) -> bool:
    names = ATTRIBUTE.findall(tag["attributes"].rstrip("/ \n\t"))
    return tag["name"].lower() in EDITOR_TAGS and all(map(EDITOR_ATTRIBUTES.fullmatch, names))


def _holds_all(text: str, tags: list[re.Match[str]]) -> bool:
    """Whether every word stands inside a block, and each tag has its end."""
    opened: list[str] = []
    position = 0
    for tag in tags:
        if not opened and html.unescape(text[position : tag.start()]).strip(INVISIBLE + " \t\r\n\u00a0"):
            return False
        position = tag.end()
        name = tag["name"].lower()
        if name in LONE_TAGS:
            continue
        if not tag["slash"]:
            if not opened and name not in ROOTS:
                return False
            opened.append(name)
        elif not opened or opened.pop() != name:
            return False
    return not opened and not text[position:].strip(INVISIBLE + " \t\r\n\u00a0")
