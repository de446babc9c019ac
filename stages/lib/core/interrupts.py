"""Ctrl-C: what it says at any moment, and which of several processes handles it. A terminal sends it to all of them.

And what an absent package says, which ends a stage or tool at the same moment: before it has begun.
"""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from stages.lib.core.errors import nothing_saved


def tell_in_one_line() -> None:
    """Of a Ctrl-C that nobody handles, since a stage or tool still imports libraries, say no more than that; of a library that
    is not there, what brings it.

    A package says so as the first that is imported of it.
    """
    sys.excepthook = _tell


def _tell(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    absent = isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0]
    if issubclass(kind, KeyboardInterrupt):
        message = "interrupted"
    elif absent and absent not in ("stages", "tools"):
        message = f"{absent} is not installed for {sys.executable}; `source .venv/bin/activate` (`make env` makes it)"
    else:
        sys.__excepthook__(kind, error, trace)
        return
    if os.environ.get("RANK", "0") == "0":  # of several processes that train together, the first one speaks
        print(f"error: {message}", file=sys.stderr)
        if "DVC_STAGE" in os.environ:  # DVC has removed the outs
            print(nothing_saved("dvc checkout"), file=sys.stderr)


@contextmanager
def kept_from_new_processes() -> Iterator[None]:
    """Processes spawned meanwhile are deaf to Ctrl-C from their first moment on; one that comes meanwhile is delivered after.

    With the first of them Python spawns its resource tracker, which ends by unblocking the signal: it is started before.
    """
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
