"""How a stage ends: with the time that it took, or with an error that a user can act on, one line and never a traceback."""

import errno
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


class ReprotuneError(Exception):
    """Something the user can mend. The message says where, what was found, what was expected and the remedy."""

    one_process_alone = False  # of several that train together, which otherwise all fail alike


def raise_first(problems: Sequence[str], shown: int = 10) -> None:
    """Raise one ReprotuneError that lists the first problems and counts the rest; do nothing if there is none."""
    if problems:
        rest = f"\n... and {len(problems) - shown:,} more like these" if len(problems) > shown else ""
        raise ReprotuneError("\n".join(problems[:shown]) + rest)


def describe_os_error(error: OSError) -> str:
    """One sentence for a failed read or write; a full disk gets its remedy."""
    place = error.filename or "the project's disk"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{place}: no space left; free some and run it again (`du -sh .dvc/cache` shows what results take)"
    return f"{place}: {error.strerror or error}"


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """A failed write within is of this file. Neither Python nor Arrow says of which one, once it is open."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def find_os_error(error: Exception) -> OSError | None:
    """The failed read or write behind an error, if it is one: safetensors and tokenizers raise types of their own."""
    if isinstance(error, OSError):
        return error
    found = re.search(r"\(os error (\d+)\)", str(error))
    return OSError(int(found[1]), os.strerror(int(found[1]))) if found else None


def describe_duration(seconds: float) -> str:
    """
    >>> describe_duration(0.234), describe_duration(59.96), describe_duration(148.2)
    ('0.2 s', '1 min 0 s', '2 min 28 s')
    """
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    return "{} min {} s".format(*divmod(round(seconds), 60))


def run_stage(main: Callable[[], None], outs: Sequence[Path] = (), restore: str = "dvc checkout") -> None:
    """Run a stage's main and say how long it took; turn an error into one message that also names the command that restores
    earlier results.

    DVC removes a stage's `outs` before it runs the command and commits nothing when the command fails. What is half
    written then is removed here, or it would stand in the way of `restore`. Without DVC earlier outs are still there, and may
    be half overwritten: they stay, and DVC replaces them by force only. Links into DVC's cache are removed in any case.
    """
    from stages.lib.core.cache import check_inputs, detach

    absent: list[Path] = []
    start = time.perf_counter()
    try:
        detach(outs)
        absent = [out for out in outs if not out.exists()]
        check_inputs()
        main()
    except BaseException as error:
        for out in absent:
            shutil.rmtree(out) if out.is_dir() else out.unlink(missing_ok=True)
        if isinstance(error, ReprotuneError):
            message = str(error)
        elif isinstance(error, KeyboardInterrupt):
            message = "interrupted"
        elif isinstance(error, Exception) and (os_error := find_os_error(error)):
            message = describe_os_error(os_error)
        else:
            raise
    else:
        if os.environ.get("RANK", "0") == "0":  # of several processes that train together, the first one speaks
            print(f"took {describe_duration(time.perf_counter() - start)}", flush=True)
        return
    restore += " --force" if len(absent) < len(outs) else ""
    sys.exit(f"error: {message}\n{nothing_saved(restore)}")


def nothing_saved(restore: str) -> str:
    return f"Nothing was saved. `{restore}` brings back the results of the last good run."
