"""How things are put: paragraphs beside a title, numbers with their nouns, texts that can't harm a terminal."""

import textwrap
from collections import Counter
from collections.abc import Iterator
from typing import Any

WIDTH = 100
MOST_SHOWN = 10
MOST_CHARACTERS = 600  # of a text that is shown
CELL = 40


def visible(text: str) -> str:
    """Invisible and control characters as escapes; line feeds and the joiners in emoji stay.

    >>> visible("a\\u200bb\\x1b[1m")
    'a\\\\u200bb\\\\x1b[1m'
    """
    kept = "\n\u200d\u3000"
    return "".join(
        letter if letter.isprintable() or letter in kept else letter.encode("unicode_escape").decode() for letter in text
    )


def paragraph(title: str, text: str) -> Iterator[str]:
    """A title and a paragraph beside it, as one piece; no line ends at an arrow."""
    filled = textwrap.fill(
        visible(text).replace(" -> ", "\xa0->\xa0"),
        WIDTH,
        initial_indent=f"{title:<11}",
        subsequent_indent=" " * 11,
        break_long_words=False,
        break_on_hyphens=False,
    )
    yield filled.replace("\xa0", " ")


def shorten(text: str) -> str:
    if len(text) <= MOST_CHARACTERS:
        return text
    return f"{text[:MOST_CHARACTERS]} ... ({len(text) - MOST_CHARACTERS:,} characters more)"


def shorten_cell(value: Any) -> str:
    """A cell on one line.

    >>> shorten_cell("two\\nlines"), shorten_cell(None), shorten_cell("x" * 50) == "x" * 40 + "..."
    ('two lines', '', True)
    """
    text = " ".join(str("" if value is None else value).split())
    return text if len(text) <= CELL else f"{text[:CELL]}..."


def shown_name(name: str) -> str:
    """A column's name; in quotes where it would not be seen.

    >>> shown_name("question"), shown_name(""), shown_name(" ")
    ('question', "'' (a blank name)", "' ' (a blank name)")
    """
    return name if name.strip() else f"{name!r} (a blank name)"


def plural(number: int, word: str) -> str:
    """
    >>> plural(1, "reply"), plural(2000, "reply"), plural(0, "row")
    ('1 reply', '2,000 replies', '0 rows')
    """
    return f"{number:,} {word if number == 1 else f'{word}s' if word[-1] != 'y' else f'{word[:-1]}ies'}"


def counted(counts: Counter[str]) -> str:
    """
    >>> counted(Counter(["agent", "customer", "agent"]))
    'agent 2, customer 1'
    """
    return ", ".join(f"{name} {number:,}" for name, number in counts.most_common(MOST_SHOWN))
