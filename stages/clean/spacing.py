"""Invisible characters, line ends and white space. Text -> text, idempotent, in linear time."""

import re

# C0 and C1 controls but for tab and line feed, zero-width space, word joiner, byte-order mark, and what Unicode forbids in text.
# The zero-width joiner and non-joiner stay: emoji and Persian need them.
CONTROL_CHARACTERS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u2060\ufeff\ufffe\uffff]")
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
