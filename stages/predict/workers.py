"""The same model in several processes, one a GPU. They share the work; which does what, and how many they are, changes no byte.

This process loads no model. It hands each of the others a task at a time and alone writes down what comes back, so that a kill,
of any of them or of all, leaves the same journal as the kill of a single process.
"""

import multiprocessing
import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from typing import Any

import torch
from tqdm import tqdm

from stages.lib.chat_template.tokenizer import load_tokenizer
from stages.lib.core import interrupts
from stages.lib.core.errors import ReprotuneError
from stages.lib.model.hardware import Hardware
from stages.lib.model.processes import end_with_parent, processes_wanted
from stages.lib.records.predictions import Contender
from stages.predict.contender import load_contender
from stages.predict.work import OneModel, Put, Task, Worker

PROCESSES = "REPROTUNE_PREDICT_PROCESSES"


@contextmanager
def start_work(name: Contender, hardware: Hardware, batch_size: int) -> Iterator[Worker]:
    """The contender's model, in this process or in as many as there are GPUs of the first one's kind.

    Raises:
        ReprotuneError: REPROTUNE_PREDICT_PROCESSES is no positive integer, or the model can't be loaded.
    """
    devices = devices_alike() if hardware.device == "cuda" else []
    number = processes_wanted(PROCESSES, len(devices))
    if number == 1:
        yield OneModel(load_contender(name, hardware), load_tokenizer(), batch_size)
        return
    tqdm.set_lock(threading.RLock())  # its own is a semaphore, of which Python complains when a process that has it is killed
    several = Processes()
    try:
        for index in range(number):
            device = devices[index % len(devices)] if devices else None
            several.start(device, name, hardware, batch_size, torch.get_num_threads())
        several.wait_until_ready()
        yield several
    except BaseException:
        several.end_at_once()
        raise
    several.end()


def devices_alike() -> list[int]:
    """The GPUs of the first one's kind: another kind would give other last digits."""
    names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    return [number for number, name in enumerate(names) if name == names[0]]


class Processes:
    """One model in each of several processes."""

    context: int
    exact: bool

    def __init__(self) -> None:
        self.processes: dict[Connection, Any] = {}

    @property
    def number(self) -> int:
        return len(self.processes)

    def start(self, *given: Any) -> None:
        """Spawned, not forked: torch has threads."""
        context = multiprocessing.get_context("spawn")
        here, there = context.Pipe()
        process = context.Process(target=serve, args=(there, *given), daemon=True)
        with interrupts.kept_from_new_processes():
            process.start()
        there.close()
        self.processes[here] = process

    def wait_until_ready(self) -> None:
        for connection in self.processes:
            self.context, self.exact = self.receive(connection)

    def work(self, tasks: Iterable[Task], put: Put) -> None:
        waiting = iter(tasks)
        busy = {connection for connection in self.processes if self.hand_out(waiting, connection)}
        while busy:
            for connection in wait(list(busy)):
                assert isinstance(connection, Connection)
                if result := self.receive(connection):
                    put(*result)
                elif not self.hand_out(waiting, connection):
                    busy.remove(connection)

    def hand_out(self, waiting: Iterator[Task], connection: Connection) -> bool:
        """Whether there was a task left."""
        task = next(waiting, None)
        if task is None:
            return False
        try:
            connection.send(task)
        except ConnectionError:
            raise self.lost(connection) from None
        return True

    def receive(self, connection: Connection) -> Any:
        """A result by its key, or None where the task is done.

        Raises:
            ReprotuneError, OSError: what the process stumbled on, or that it is gone.
        """
        try:
            message = connection.recv()
        except (EOFError, ConnectionError):
            raise self.lost(connection) from None
        if isinstance(message, Exception):
            raise message
        return message

    def lost(self, connection: Connection) -> ReprotuneError:
        process = self.processes[connection]
        process.join()
        code = process.exitcode
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        return ReprotuneError(
            f"predict: one of {self.number} processes {how}; run it again, which goes on with what they had not done (if memory "
            f"ran out, with {PROCESSES}={max(1, self.number // 2)})"
        )

    def end(self) -> None:
        """They end when nothing more can come."""
        for connection in self.processes:
            connection.close()
        for process in self.processes.values():
            process.join()

    def end_at_once(self) -> None:
        for process in self.processes.values():
            process.kill()
        self.end()


def serve(connection: Connection, device: int | None, name: Contender, hardware: Hardware, batch_size: int, threads: int) -> None:
    """What each of the processes does: load the model, then one task after the other until there are none."""
    end_with_parent()
    tqdm.set_lock(threading.RLock())
    torch.set_num_threads(threads)  # their number decides last digits
    if device is not None:
        torch.cuda.set_device(device)
    try:
        model = OneModel(load_contender(name, hardware), load_tokenizer(), batch_size)
        connection.send((model.context, model.exact))
        while True:
            model.do(connection.recv(), lambda *result: connection.send(result))
            connection.send(None)
    except (EOFError, ConnectionError):  # the first process has all that it wanted, or is gone
        return
    except (ReprotuneError, OSError) as error:
        connection.send(error)
