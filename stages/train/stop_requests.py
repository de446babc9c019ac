"""Why a run should end before its last step: a signal, or the death of the `dvc` that started it."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import psutil

GONE = "stopped, since the process that started it is gone,"


@contextmanager
def requests_to_stop() -> Iterator[Callable[[], str | None]]:
    """Says why the run should end, if it should, at the next step. A second signal ends the process at once."""
    reasons: list[str] = []
    links = links_to_dvc() if under_dvc(psutil.Process()) else []

    def note(number: int, _frame: FrameType | None) -> None:
        name = signal.Signals(number)
        reasons.append(f"stopped by {name.name}")
        signal.signal(name, before[name])

    def asked() -> str | None:
        if reasons:
            return reasons[0]
        return None if all(map(holds, links)) else GONE

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def links_to_dvc() -> list[tuple[psutil.Process, int]]:
    """From this process up to the one that DVC started, each with its parent's process id, which changes when the parent ends.

    Between them stand the shell, where it does not make way for its command (bash does, dash does not), and torchrun's launcher.
    """
    links = []
    process: psutil.Process | None = psutil.Process()
    while process:
        links.append((process, process.ppid()))
        parent = process.parent()
        process = parent if parent and under_dvc(parent) else None
    return links


def under_dvc(process: psutil.Process) -> bool:
    """Whether DVC started it, or one that it descends from, as a stage's command."""
    try:
        return "DVC_STAGE" in process.environ()
    except (psutil.Error, OSError):  # it has ended, or is another user's, and so not DVC's
        return False


def holds(link: tuple[psutil.Process, int]) -> bool:
    process, parent = link
    try:
        return process.ppid() == parent
    except psutil.NoSuchProcess:
        return False
