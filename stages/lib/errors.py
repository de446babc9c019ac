"""Errors that a user can act on: one line each, never a traceback."""

import errno
import sys
from collections.abc import Callable, Sequence

RESTORE_CACHED_OUTS = "dvc checkout"


class ReprotuneError(Exception):
    """Something the user can mend. The message says where, what was found, what was expected and the remedy."""


def raise_first(problems: Sequence[str], shown: int = 10) -> None:
    """Raise one ReprotuneError that lists the first problems and counts the rest; do nothing if there is none."""
    if problems:
        rest = f"\n... and {len(problems) - shown:,} more like these" if len(problems) > shown else ""
        raise ReprotuneError("\n".join(problems[:shown]) + rest)


def describe_os_error(error: OSError) -> str:
    """One sentence for a failed read or write; a full disk gets its remedy."""
    place = error.filename or "the project's disk"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{place}: no space left; free some (`dvc gc --workspace` drops unused cache) and run the command again"
    return f"{place}: {error.strerror or error}"


def run_stage(main: Callable[[], None], restore: str = RESTORE_CACHED_OUTS) -> None:
    """Run a stage's main; turn an error into one message that also names how to restore earlier results.

    DVC removes a stage's outs before it runs the command and commits nothing when the command fails.
    """
    try:
        main()
    except ReprotuneError as error:
        message = str(error)
    except OSError as error:
        message = describe_os_error(error)
    else:
        return
    sys.exit(f"error: {message}\nNothing was saved. `{restore}` brings back the results of the last good run.")
