"""What the tools share: how they end, and words that are safe to show."""

import os
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator

from stages.lib.core.errors import ReprotuneError, describe_os_error

WIDTH = 100
TITLE_WIDTH = 11
INTERRUPTED = 130  # as a shell has it: 128 and the signal's number


def run_tool(main: Callable[[], int | None]) -> None:
    """Run a tool's main and exit with the status it returns; an error that a user can mend is one message, not a traceback."""
    try:
        status = main()
        sys.stdout.flush()
    except ReprotuneError as error:
        sys.exit(f"error: {visible(str(error))}")
    except KeyboardInterrupt:
        print(file=sys.stderr)
        sys.exit(INTERRUPTED)
    except BrokenPipeError:  # `| head`: what is still unwritten must not be tried again at the exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        sys.exit(f"error: {visible(describe_os_error(error))}")
    if status:
        sys.exit(status)


def print_all(lines: Iterable[str]) -> None:
    """Print each line when it is there; the next one may take a while."""
    for line in lines:
        print(line, flush=True)


def takes_colour() -> bool:
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ


def visible(text: str) -> str:
    """Invisible and control characters as escapes; line feeds and the joiners in emoji stay.

    >>> visible("a\\u200bb\\x1b[1m\\tc")
    'a\\\\u200bb\\\\x1b[1m\\\\tc'
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
        initial_indent=f"{title:<{TITLE_WIDTH}}",
        subsequent_indent=" " * TITLE_WIDTH,
        break_long_words=False,
        break_on_hyphens=False,
    )
    yield filled.replace("\xa0", " ")


def plural(number: int, word: str) -> str:
    """
    >>> plural(1, "reply"), plural(2000, "reply"), plural(0, "row")
    ('1 reply', '2,000 replies', '0 rows')
    """
    return f"{number:,} {word if number == 1 else f'{word}s' if word[-1] != 'y' else f'{word[:-1]}ies'}"
