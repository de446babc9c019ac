"""Work on chunks of rows in all cores. How many there are decides nothing but the time."""

import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import chain, islice
from multiprocessing import get_context
from typing import TypeVar

from stages.lib.core.errors import ReprotuneError

PROCESSES = "REPROTUNE_PROCESSES"

Item = TypeVar("Item")
Result = TypeVar("Result")


def available_processes() -> int:
    """The cores that this process may use, or what REPROTUNE_PROCESSES says.

    Raises:
        ReprotuneError: REPROTUNE_PROCESSES is no positive number.
    """
    text = os.environ.get(PROCESSES)
    if text is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not text.isdecimal() or int(text) < 1:
        raise ReprotuneError(f"{PROCESSES}={text!r}; expected a number from 1")
    return int(text)


def in_chunks(rows: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """
    >>> list(in_chunks("abcde", 2))
    [['a', 'b'], ['c', 'd'], ['e']]
    """
    remaining = iter(rows)
    while chunk := list(islice(remaining, size)):
        yield chunk


def map_chunks(function: Callable[[Item], Result], chunks: Iterable[Item]) -> Iterator[Result]:
    """`map(function, chunks)`, in order, in as many processes as there are cores; a single chunk stays in this one.

    `function` and its results travel between processes: a function of a module, or a partial of one. Few chunks are read ahead.

    Raises:
        ReprotuneError: a process was ended from outside, most often because memory ran out.
    """
    remaining = iter(chunks)
    ahead = list(islice(remaining, 2))
    processes = available_processes()
    if len(ahead) < 2 or processes == 1:
        yield from map(function, chain(ahead, remaining))
        return
    # Spawned, not forked: NumPy and Arrow have threads. Ctrl-C is the parent's to handle.
    with ProcessPoolExecutor(
        processes, mp_context=get_context("spawn"), initializer=signal.signal, initargs=(signal.SIGINT, signal.SIG_IGN)
    ) as pool:
        waiting: deque[Future[Result]] = deque()
        try:
            for chunk in chain(ahead, remaining):
                waiting.append(pool.submit(function, chunk))
                if len(waiting) > 2 * processes:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool:
            raise ReprotuneError(
                f"a worker process was ended from outside; if memory ran out, try {PROCESSES}=1 or a smaller collect.limit"
            ) from None
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
