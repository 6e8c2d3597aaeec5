"""One job of a batch, in whichever process: whatever befalls it becomes its result.

An output appears whole or not at all, and never in the place of something else unless that was
asked for.
"""

import time
from collections.abc import Callable
from typing import BinaryIO, Protocol, runtime_checkable

from nncodec.formats.errors import NncodecError, OutputError
from nncodec.formats.files import check_output

from .errors import Failure
from .network import Network
from .operands import Job
from .outputs import Outputs, check_written, copy_status, is_device
from .progress import Bar
from .reports import Outcome, Result
from .settings import Settings

# Does one job: reads its source, writes the file given, tells the share of the work that is done.
Work = Callable[[Job, BinaryIO, Callable[[float], None]], Outcome]
Attempt = tuple[Job, Result, Failure | None]


@runtime_checkable
class Networked(Protocol):
    """Work that is done with networks."""

    @property
    def network(self) -> Network: ...

    def __call__(self, job: Job, file: BinaryIO, advance: Callable[[float], None], /) -> Outcome:
        """Do one job: read its source, write ``file``, tell what share of the work is done."""


class Worker:
    """Does jobs one after another, or several at once if several threads ask it to."""

    def __init__(self, work: Work, settings: Settings, bar: Bar) -> None:
        self.work = work
        self.settings = settings
        self.bar = bar
        self.outputs = Outputs()

    def attempt(self, job: Job) -> Attempt:
        """Do one job; a failure becomes its result."""
        result = Result(job.input, job.output, "done")
        failure = None
        start = time.perf_counter()
        self.bar.start(job.name)
        try:
            self.do(job, result)
        except BrokenPipeError:
            raise  # nobody reads what the rest of the batch would write
        except Exception as error:
            result.status = "failed"
            failure = Failure.of(error)
        if result.status in ("done", "partial"):
            result.seconds = round(time.perf_counter() - start, 3)
        self.bar.finish(result.pixels)
        return job, result, failure

    def do(self, job: Job, result: Result) -> None:
        settings, target = self.settings, job.target
        if job.problem:
            raise NncodecError(job.problem)
        if settings.skip_existing and target is not None and target.is_file():
            result.status = "skipped"
            return
        if target is not None:  # before the work, not after it
            check_output(target, force=settings.force, source=job.source)
            if settings.remove and is_device(target):
                raise OutputError("--rm needs an output that can be read back")
        if settings.dry_run:
            result.status = "planned"
            return

        outcome: Outcome | None = None

        def complete(file: BinaryIO) -> None:
            if settings.remove and outcome and outcome.check:
                check_written(file, outcome.check)
            if settings.preserve and job.source is not None:
                copy_status(job.source, file)

        with self.outputs.open(job, settings.force, complete) as file:
            outcome = self.work(job, file, self.bar.advance)
            result.bytes_out = file.tell()
        result.fill(outcome)
        if settings.remove and job.source is not None and outcome.check:
            job.source.unlink()
