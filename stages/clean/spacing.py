"""Invisible characters, line ends and white space. Text -> text, idempotent, in linear time."""

import re

# C0 and C1 controls but for tab and line feed, zero-width space, word joiner, byte-order mark, and what Unicode forbids in text.
# The zero-width joiner and non-joiner stay: emoji and Persian need them.
CONTROL_CHARACTERS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u2060\ufeff\ufffe\uffff]")
# In what follows a line feed. Code: an indented line behind one that is not, a line that ends or begins as those of programs do.
CODE = re.compile(
    r"\n[ \t]*[^\s*+\-\d>|#][^\n]*\n+(?:  |\t)[ \t]*(?![*+\->|#]|\d+[.)] )[^\s\u3000]"
    r"|\n[^\n]*[{};][ \t]*(?=\n|\Z)|\n[^\n]*[\w)\]]:[ \t]*\n(?:  |\t)"
    r"|\n(?:def|class|import|from|return|function|const|let|var|public|private|static|#include|package|using|func|fn|struct|SELECT)\b"
    r"|\n(?:</?[a-zA-Z!?]|//|/\*|\$ |>>> |@\w)"
)
# Markdown too: fences, headings, lists, quotes, tables, indented lines.
LAID_OUT = re.compile(rf"{CODE.pattern}|\n[ \t]*(?:```|~~~|\#{{1,6}} |[*+\-] |\d{{1,9}}[.)] |>|\|)|\n(?: {{2,}}|\t)[^\s]|`")
INVISIBLE_OR_LINE_END = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u2028\u2029\u2060\ufeff\ufffe\uffff]")


def remove_control_characters(text: str) -> str:
    """Drop characters nobody sees; line ends become LF first.

    >>> remove_control_characters("a\\x00b\\u200bc\\r\\nd\\te")
    'abc\\nd\\te'
    """
    if not INVISIBLE_OR_LINE_END.search(text):
        return text
    return CONTROL_CHARACTERS.sub("", re.sub(r"\r\n?|\u2028|\u2029", "\n", text))


def fix_whitespace(text: str) -> str:
    """Strip both ends of the text; in prose also the right end of each line, but for Markdown's line break of two spaces, and of
    more than two blank lines in a row all but one. In code and Markdown lines stay as they are: white space has a meaning there.

    >>> fix_whitespace("\\n\\n  if x:  \\n      y\\n\\n\\n\\nz "), fix_whitespace(" a \\n\\n\\n\\n\\nb  \\nc")
    ('  if x:  \\n      y\\n\\n\\n\\nz', 'a\\n\\nb  \\nc')
    """
    stripped = text.strip()
    if "\n" not in stripped:
        return stripped
    lines = stripped.split("\n")
    before = text[: text.index(stripped[0])].rpartition("\n")[2]
    if not LAID_OUT.search(f"\n{stripped}"):
        return re.sub(r"\n{4,}", "\n\n", "\n".join(map(_strip_right, lines, [*lines[1:], ""])))
    # The first line is indented as the next one is, or less, or as a later one, in a drawing; a file ends with a line feed.
    is_file = CODE.search(f"\n{stripped}") and "```" not in stripped
    after = "\n" if is_file and text.rstrip(" \t").endswith("\n") else ""
    others = [line for line in lines[1:] if line.strip()]
    as_others = others[0].startswith(before) or (len(before) > 1 and any(line.startswith(before) for line in others))
    is_code = before and as_others and not before.strip(" \t")
    return f"{before if is_code else ''}{stripped}{after}"


def _strip_right(line: str, following: str) -> str:
    stripped = line.rstrip()
    return line if line == f"{stripped}  " and stripped and following.strip() else stripped
