"""How things are put: long texts and cells cut short, names that would not be seen in quotes, counts."""

from collections import Counter

MOST_SHOWN = 10
MOST_CHARACTERS = 600  # of a text that is shown
CELL = 40


def shorten(text: str) -> str:
    if len(text) <= MOST_CHARACTERS:
        return text
    return f"{text[:MOST_CHARACTERS]} ... ({len(text) - MOST_CHARACTERS:,} characters more)"


def shorten_cell(value: object) -> str:
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


def counted(counts: Counter[str]) -> str:
    """
    >>> counted(Counter(["agent", "customer", "agent"]))
    'agent 2, customer 1'
    """
    return ", ".join(f"{name} {number:,}" for name, number in counts.most_common(MOST_SHOWN))
