"""A batch on many machines, by Ray: see :mod:`.ray_driver`, which runs in a process of its own.

Ray talks on standard output, takes over signals, and means to be told of by its own progress bars.
There it can.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from importlib.util import find_spec
from multiprocessing import get_context
from typing import NoReturn

import click

from nncodec.formats.errors import NncodecError

from .errors import INTERRUPTED, Failure, complain
from .operands import Job
from .outputs import YOUNG, remove_leftovers
from .progress import Bar
from .ray_driver import drive
from .reports import Result
from .settings import Settings
from .worker import Attempt, Work

PATIENCE = 20  # seconds for Ray to end in


class RayEngine:
    """Actors of Ray Data, on this machine or a cluster."""

    def __init__(self, jobs: Sequence[Job], work: Work, settings: Settings, bar: Bar) -> None:
        if not (find_spec("ray") and find_spec("pyarrow")):
            raise NncodecError(
                '--engine ray needs Ray; install it with: pip install "nncodec[ray]"'
            )
        self.jobs = jobs
        self.work = work
        self.settings = settings
        self.bar = bar

    def attempts(self) -> Iterator[Attempt]:
        """Have the jobs attempted, several at once, and yield them in their order."""
        self.bar.start("starting Ray")
        for job, result, failure in in_full(self.jobs, self.received()):
            self.bar.start(job.name)
            self.bar.finish(result.pixels)
            yield job, result, failure

    def received(self) -> Iterator[Attempt]:
        """Yield what Ray's process sends, and end it. NncodecError if it ends before its work."""
        context = get_context("spawn")
        receiver, sender = context.Pipe(duplex=False)
        arguments = (sender, self.jobs, self.work, self.settings)
        process = context.Process(target=drive, args=arguments, daemon=True)
        process.start()
        sender.close()  # so that the end of that process is the end of the pipe
        try:
            while (message := receiver.recv()) is not None:
                if isinstance(message, Failure):
                    raise NncodecError(message.message)
                yield message
        except EOFError:
            raise NncodecError("Ray: its process ended before the batch") from None
        except BaseException:
            process.terminate()
            raise
        finally:
            process.join(PATIENCE)
            process.kill()

    def interrupt(self) -> NoReturn:
        """Remove what the actors, which have ended, were writing, and leave."""
        time.sleep(YOUNG)
        remove_leftovers({job.target.parent for job in self.jobs if job.target})
        complain("interrupted")
        raise click.exceptions.Exit(INTERRUPTED)


def in_full(jobs: Iterable[Job], attempts: Iterable[Attempt]) -> Iterator[Attempt]:
    """Yield the attempts, and in their places the failures of jobs that there is no attempt of."""
    waiting = iter(jobs)
    for attempt in attempts:
        for job in waiting:
            if (job.source, job.target) == (attempt[0].source, attempt[0].target):
                break
            yield lost(job)
        yield attempt
    yield from map(lost, waiting)


def lost(job: Job) -> Attempt:
    failure = Failure("the Ray actor that worked on it died, and so did the next")
    return job, Result(job.input, job.output, "failed"), failure
