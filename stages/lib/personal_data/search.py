"""Finding spans in a text and putting a placeholder in their place, full-width digits and signs read as ASCII."""

import re
from collections.abc import Callable, Iterator

DIGIT = re.compile(r"[0-9０-９]")
FULL_WIDTH = re.compile(r"[０-９＠＋（]")
# Of full-width characters those that stand in numbers and addresses; one for one, so that positions stay.
TO_ASCII = str.maketrans(
    {code: code - 0xFEE0 for code in (*range(0xFF10, 0xFF1B), *range(0xFF21, 0xFF3B), *range(0xFF41, 0xFF5B))}
    | dict(zip(map(ord, "＠＋－．（）＿　"), "@+-.()_ ", strict=True))
)
LETTER = "A-Za-z0-9"


def to_ascii(text: str) -> str:
    """The text with full-width digits and the signs that go with them as ASCII, of the same length."""
    return text if text.isascii() or not FULL_WIDTH.search(text) else text.translate(TO_ASCII)


def mask(text: str, find: Callable[[str], Iterator[tuple[int, int]]], placeholder: str) -> str:
    """Put the placeholder where `find` finds something, until it finds nothing: what is masked no longer hides its neighbour."""
    while spans := list(find(to_ascii(text))):
        parts, position = [], 0
        for start, end in spans:
            parts += [text[position:start], placeholder]
            position = end
        text = "".join([*parts, text[position:]])
    return text


def matches(pattern: re.Pattern[str], text: str, found_end: Callable[[re.Match[str]], int | None]) -> Iterator[tuple[int, int]]:
    """Spans of the matches for which `found_end` has an end; a match refused is tried again one character on."""
    position = 0
    while match := pattern.search(text, position):
        end = found_end(match)
        if end is not None:
            yield match.start(), end
        position = match.start() + 1 if end is None else end
