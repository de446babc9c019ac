"""Ctrl-C reaches every process of a terminal; one of them has to handle it."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker


@contextmanager
def kept_from_new_processes() -> Iterator[None]:
    """Processes spawned meanwhile are deaf to Ctrl-C from their first moment on; one that comes meanwhile is delivered after.

    With the first of them Python spawns its resource tracker, which ends by unblocking the signal: it is started before.
    """
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
