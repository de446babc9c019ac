"""Several processes of one stage, one a GPU: how many there are, and that they end with the one that started them."""

import ctypes
import os
import signal
import sys

from stages.lib.core.errors import ReprotuneError


def processes_wanted(variable: str, devices: int) -> int:
    """One a device, at least one, or what the environment variable says.

    Raises:
        ReprotuneError: the variable is no positive integer.
    """
    wanted = os.environ.get(variable, str(max(1, devices)))
    if not wanted.isdecimal() or int(wanted) < 1:
        raise ReprotuneError(f"{variable}={wanted}: expected a positive integer")
    return int(wanted)


def end_with_parent() -> None:
    """On Linux, be killed when the process that started this one is: it would wait for the others, or keep a GPU."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
