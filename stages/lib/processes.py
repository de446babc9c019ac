"""Work on chunks of rows in all cores. How many there are decides nothing but the time."""

import gc
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import chain, islice
from multiprocessing import get_context
from typing import TypeVar

from stages.lib.core import interrupts
from stages.lib.core.errors import ReprotuneError

PROCESSES = "REPROTUNE_PROCESSES"
MOST_THREADS = 4  # that share one process's memory for what they work on

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
    # Spawned, not forked: NumPy and Arrow have threads.
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=collect_garbage_seldom) as pool:

        def submit(chunk: Item) -> Future[Result]:
            with interrupts.kept_from_new_processes():
                return pool.submit(function, chunk)

        try:
            yield from _in_order(submit, chain(ahead, remaining), 2 * processes)
        except BrokenProcessPool:
            raise ReprotuneError(
                f"a worker process was ended from outside; if memory ran out, try {PROCESSES}=1 or a smaller collect.limit"
            ) from None
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def collect_garbage_seldom() -> None:
    """For a process of many rows: they hold no cycles, and to look for some in all of them takes a tenth of its time."""
    gc.set_threshold(100_000, 50, 100)


def map_threads(function: Callable[[Item], Result], chunks: Iterable[Item]) -> Iterator[Result]:
    """As `map_chunks`, in threads: for work that NumPy and SciPy do, which let other threads go on meanwhile."""
    remaining = iter(chunks)
    ahead = list(islice(remaining, 2))
    threads = min(available_processes(), MOST_THREADS)
    if len(ahead) < 2 or threads == 1:
        yield from map(function, chain(ahead, remaining))
        return
    with ThreadPoolExecutor(threads) as pool:
        yield from _in_order(lambda chunk: pool.submit(function, chunk), chain(ahead, remaining), threads)


def _in_order(submit: Callable[[Item], Future[Result]], chunks: Iterable[Item], most: int) -> Iterator[Result]:
    """The results, in order, of which `most` are waited for or lie ready at a time."""
    waiting: deque[Future[Result]] = deque()
    for chunk in chunks:
        waiting.append(submit(chunk))
        if len(waiting) > most:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
