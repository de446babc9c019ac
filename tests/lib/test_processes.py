"""Chunks in several processes: results in order, errors that arrive, nothing that hangs or stays behind."""

import operator
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import REPO

from stages.lib.core.errors import ReprotuneError
from stages.lib.processes import PROCESSES, available_processes, in_chunks, map_chunks, map_threads

SCRIPT = """
import signal
import time
from stages.lib.processes import map_chunks

def chunks():
    for number in range(2000):
        if number == 3:  # by then each worker is being started
            print("starting", flush=True)
        yield 0.05

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job, and all that it starts, ignores it
    for number, _ in enumerate(map_chunks(time.sleep, chunks())):
        if number == 40:  # by then each worker has started
            print("working", flush=True)
            time.sleep({pause})
elif {slow_start}:
    time.sleep(2)
"""


def square_and_process(number: int) -> tuple[int, int]:
    time.sleep(0.02 if number % 3 == 0 else 0)  # so that later chunks are ready first
    return number * number, os.getpid()


def refuse_three(number: int) -> int:
    if number == 3:
        raise ReprotuneError("three: found; expected any other number")
    return number


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PROCESSES, "2")


@pytest.mark.usefixtures("two")
def test_results_come_in_the_order_of_the_chunks_from_other_processes() -> None:
    found = list(map_chunks(square_and_process, range(40)))
    assert [square for square, _ in found] == [number * number for number in range(40)]
    assert os.getpid() not in {process for _, process in found}


@pytest.mark.usefixtures("two")
def test_results_of_threads_come_in_order_and_few_are_read_ahead() -> None:
    read = []

    def chunks() -> Iterator[int]:
        for number in range(40):
            read.append(number)
            yield number

    for number, (square, process) in enumerate(map_threads(square_and_process, chunks())):
        assert (square, process) == (number * number, os.getpid())
        assert len(read) <= number + 4


@pytest.mark.usefixtures("two")
def test_an_error_in_a_thread_arrives() -> None:
    with pytest.raises(ReprotuneError, match="three"):
        list(map_threads(refuse_three, range(40)))


@pytest.mark.parametrize("chunks", [[], ["a"]])
@pytest.mark.usefixtures("two")
def test_a_single_chunk_stays_in_this_process(chunks: list[str]) -> None:
    assert list(map_chunks(lambda chunk: (chunk, os.getpid()), iter(chunks))) == [(chunk, os.getpid()) for chunk in chunks]


def test_with_one_process_all_chunks_stay_in_this_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PROCESSES, "1")
    assert list(map_chunks(lambda chunk: (chunk, os.getpid()), range(5))) == [(chunk, os.getpid()) for chunk in range(5)]


@pytest.mark.usefixtures("two")
def test_few_chunks_are_read_ahead() -> None:
    read = []

    def rows() -> Iterator[int]:
        for number in range(1000):
            read.append(number)
            yield number

    results = map_chunks(operator.neg, rows())
    for number in range(3):
        assert next(results) == -number
        assert len(read) <= number + 6
    results.close()
    assert len(read) < 20


@pytest.mark.parametrize("text", ["0", "-1", "two", "", "1.5", " 2", "²"])
def test_a_number_of_processes_that_is_none_is_an_error_with_its_place(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PROCESSES, text)
    for ask in (available_processes, lambda: list(map_chunks(operator.neg, range(3)))):
        with pytest.raises(ReprotuneError, match=rf"^REPROTUNE_PROCESSES='{text}'; expected a number from 1$"):
            ask()


def test_the_number_of_processes_is_that_of_usable_cores_unless_it_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PROCESSES, "3")
    assert available_processes() == 3
    monkeypatch.delenv(PROCESSES)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: {0, 5, 7, 9}, raising=False)
    assert available_processes() == 4
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert available_processes() == 1


@pytest.mark.usefixtures("two")
def test_a_worker_that_is_ended_from_outside_is_an_error_with_the_remedy() -> None:
    with pytest.raises(ReprotuneError, match=r"^a worker process was ended from outside; if memory ran out, try REPROTUNE_PROCE"):
        list(map_chunks(signal.raise_signal, [signal.SIGKILL] * 30))  # os._exit is another one while coverage is measured


@pytest.mark.usefixtures("two")
def test_an_error_in_a_worker_arrives_as_it_is_after_the_results_before_it() -> None:
    results = map_chunks(refuse_three, range(100))
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ReprotuneError, match=r"^three: found; expected any other number$"):
        next(results)


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="process groups are POSIX")
@pytest.mark.parametrize("workers", ["starting", "busy", "waiting"])
def test_ctrl_c_ends_the_workers_too_and_only_the_parent_speaks_of_it(tmp_path: Path, workers: str) -> None:
    script = tmp_path / "slow.py"
    pause = 60 if workers == "waiting" else 0
    script.write_text(SCRIPT.format(pause=pause, slow_start=workers == "starting"), encoding="utf-8")
    parent = subprocess.Popen(
        [sys.executable, str(script)], cwd=REPO, env=os.environ | {PROCESSES: "2", "PYTHONPATH": str(REPO)}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    try:
        assert parent.stdout.readline() == "starting\n"
        assert workers == "starting" or parent.stdout.readline() == "working\n"
        time.sleep({"starting": 0.5, "busy": 0, "waiting": 0.5}[workers])  # they import, or have done what was read ahead
        os.killpg(parent.pid, signal.SIGINT)  # as a terminal does: to all of them
        _, said = parent.communicate(timeout=30)
        assert parent.returncode in (-signal.SIGINT, 130)
        assert said.count("Traceback") == said.count("KeyboardInterrupt") == 1
        assert is_gone(parent.pid)
    finally:
        if not is_gone(parent.pid):
            os.killpg(parent.pid, signal.SIGKILL)


def is_gone(group: int) -> bool:
    """No process of the group is left; the last ones may take a moment."""
    for _ in range(50):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


def test_chunks_are_of_one_size_but_the_last() -> None:
    assert list(in_chunks(iter(range(7)), 3)) == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(in_chunks([], 3)) == []
