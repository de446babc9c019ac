"""Markdown that stays what it is meant to be: no markup, no mention and no link comes through from people's texts."""

import html
import re
from collections.abc import Sequence

from tools.console import visible

LONGEST_VALUE, LONGEST_TEXT = 120, 600  # characters
SPOILED = re.compile(r"[`|\\<@]|!\[")  # what ends a span of code or a cell, and what .github/scripts/comment.py takes for markup
SPECIAL = re.compile(r"[!-,:-@\[-`{-~.]")  # but for - and /, which mean nothing within a line


def shorten(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[:longest]} … ({len(text) - longest:,} more characters)"


def code(text: object) -> str:
    """A name or a value as code within a line or a table's cell; GitHub makes no link and no mention of what stands in code.

    >>> code("chats/a_1"), code("a`|@team"), code("<!-- a"), code("")
    ('`chats/a_1`', '<code>a&#96;&#124;&#64;team</code>', '<code>&#60;&#33;-- a</code>', '`""`')
    """
    shown = " ".join(visible(str(text)).split()) or '""'
    if not SPOILED.search(shown):
        return f"`{shown}`"
    return f"<code>{SPECIAL.sub(lambda found: f'&#{ord(found[0])};', shown)}</code>"


def texts(text: str) -> str:
    """A text of several lines as code within a table's cell.

    >>> texts("yes,\\n| no")
    '`yes,`<br><code>&#124; no</code>'
    """
    return "<br>".join(code(line) for line in shorten(text, LONGEST_TEXT).splitlines() if line.strip()) or code("")


def plain(text: str) -> str:
    """A sentence of ours, with code between backticks, that may hold words of others: these come as they are written.

    >>> plain("run `dvc repro`: no <b> of [x], 1.5 times")
    'run `dvc repro`: no &lt;b&gt; of &#91;x&#93;, 1.5 times'
    """
    pieces = re.split(r"`([^`]+)`", " ".join(visible(text).split()))
    return "".join(code(piece) if number % 2 else _escape(piece) for number, piece in enumerate(pieces))


def _escape(text: str) -> str:
    """No character reference keeps GitHub from making a mention or a link: a joiner of no width does."""
    shown = re.sub(r"[\\`*_\[\]|~$#]", lambda found: f"&#{ord(found[0])};", html.escape(text, quote=False))
    return shown.replace("@", "@\u2060").replace("://", ":\u2060//").replace("www.", "www\u2060.")


def table(head: Sequence[str], rows: Sequence[Sequence[str]], numbers: int = 0) -> list[str]:
    """Cells are Markdown already; the last `numbers` columns are aligned to the right."""
    marks = ["---"] * (len(head) - numbers) + ["---:"] * numbers
    return [f"| {' | '.join(row)} |" for row in (head, marks, *rows)]


def fold(summary: str, lines: Sequence[str]) -> list[str]:
    """Lines that unfold under a summary of ours."""
    return ["<details>", f"<summary>{summary}</summary>", "", *lines, "", "</details>"]


def amount(value: object, signed: bool = False) -> str:
    """A number in four digits; nothing for None."""
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return code(value)
    if isinstance(value, int) or abs(value) >= 10_000:
        return f"{value:+,.0f}" if signed else f"{value:,.0f}"
    return f"{value:+.4g}" if signed else f"{value:.4g}"
