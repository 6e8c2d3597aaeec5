"""Work in processes beside this one, so that neither Python's lock nor a crash is shared.

Each thread that has work done has a process of its own, which loads the networks when it is first
needed. Nothing but the work itself is done there: inputs are read and results sent back, outputs
are this process's. So it may end at any moment, and its helpers with it.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from io import BytesIO
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from threading import Lock, local
from typing import Any, BinaryIO

from nncodec.formats.errors import NncodecError

from .errors import Failure, Told, ignore_remarks
from .network import return_memory
from .operands import Job
from .reports import Outcome
from .rooms import Rooms
from .worker import Networked

LULL = 0.05  # seconds after which one who waits needs no memory


@dataclass(frozen=True)
class Entrance:
    """A helper's wish to work on a picture of so many pixels."""

    pixels: int


@dataclass(frozen=True)
class Exit:
    """A helper has done so."""


class Apart:
    """Work, done by a helper for each of so many threads.

    What is ``checked`` can be read back, by the helper that wrote it.
    """

    def __init__(self, work: Networked, threads: int, *, checked: bool = False) -> None:
        self.work = work
        self.checked = checked
        self.rooms = Rooms(threads)
        self.own = local()
        self.starting = Lock()
        self.helpers: list[Helper] = []
        self.ended = False

    def close(self) -> None:
        """End all helpers, whatever they are at; there will be no others."""
        with self.starting:
            self.ended = True
        for helper in self.helpers:
            helper.process.kill()
            helper.process.join()

    def __call__(self, job: Job, file: BinaryIO, advance: Callable[[float], None]) -> Outcome:
        helper: Helper | None = getattr(self.own, "helper", None)
        if helper is None or not helper.process.is_alive():
            helper = self.own.helper = self.started()
        outcome: Outcome
        outcome, content = helper.ask(job, advance)
        file.write(content)
        return replace(outcome, check=helper.check if self.checked else None)

    def started(self) -> Helper:
        """Another helper."""
        with self.starting:
            if self.ended:
                raise NncodecError("the batch has ended")
            helper = Helper(self.work, self.rooms, self.checked)
            self.helpers.append(helper)
        return helper


class Helper:
    """A process that does one job after another."""

    def __init__(self, work: Networked, rooms: Rooms, checked: bool) -> None:
        self.rooms = rooms
        context = get_context("spawn")
        self.connection, other = context.Pipe()
        arguments = (other, work, checked)
        self.process = context.Process(target=serve, args=arguments, daemon=True)
        with deaf(), alive(self.process):
            self.process.start()
        other.close()  # so that the end of that process is the end of the pipe

    def ask(self, wanted: Job | Path, advance: Callable[[float], None]) -> tuple[Any, bytes]:
        """Have a job done, or a file checked: what is said of it, and its output.

        NncodecError if the process dies of it.
        """
        with alive(self.process), ExitStack() as room:
            self.connection.send(wanted)
            while True:
                match self.connection.recv():
                    case float(fraction):
                        advance(fraction)
                    case Entrance(pixels):
                        self.connection.send(room.enter_context(self.rooms.room(pixels)))
                    case Exit():
                        room.close()
                    case Failure() as failure:
                        raise Told(failure)
                    case answer:
                        return answer, self.connection.recv_bytes()

    def check(self, file: BinaryIO) -> None:
        """Raise an error unless a file holds what was written last."""
        self.ask(Path(file.name), lambda fraction: None)


@contextmanager
def alive(process: SpawnProcess) -> Iterator[None]:
    """Raise NncodecError if a process has ended that is talked to."""
    try:
        yield
    except (EOFError, ConnectionError):
        if process.pid is not None:
            process.join()
        raise NncodecError(
            f"its process ended before its work (status {process.exitcode}); if memory is short,"
            " use -j 1"
        ) from None


@contextmanager
def deaf() -> Iterator[None]:
    """Let what is started in here not hear Ctrl-C, from its first moment on."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # which would unblock that signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def serve(connection: Connection, work: Networked, checked: bool) -> None:
    """Do what is asked for at the other end of a connection, until that is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is for the other end to act on
    ignore_remarks()
    work.network.enter = partial(entered, connection)
    check: Callable[[BinaryIO], None] | None = None
    try:
        while True:
            content, outcome = BytesIO(), None  # the last one's need no memory any more
            wanted = received(connection)
            try:
                if isinstance(wanted, Path):
                    assert check is not None
                    with wanted.open("rb") as file:
                        check(file)
                else:
                    outcome = work(wanted, content, lambda part: connection.send(float(part)))
                    check = outcome.check if checked else None  # which holds all of the picture
                    outcome = replace(outcome, check=None)
            except Exception as error:
                connection.send(Failure.of(error))
                continue
            connection.send(outcome)
            connection.send_bytes(content.getbuffer())
    except (EOFError, ConnectionError):
        pass


@contextmanager
def entered(connection: Connection, pixels: int) -> Iterator[int]:
    """Wait until the other end has room for a picture; yields what :meth:`Rooms.room` does."""
    connection.send(Entrance(pixels))
    yield received(connection)
    connection.send(Exit())


def received(connection: Connection) -> Any:
    """The next message. Who has to wait for one returns what memory it does not use."""
    if not connection.poll(LULL):
        return_memory()
    return connection.recv()
