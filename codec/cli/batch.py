"""Run the jobs of ``compress``, ``decompress`` and ``truncate``, whatever befalls one of them.

An output appears whole or not at all, and never in the place of something else unless that was
asked for. Several jobs are worked on at once; what became of them is told in their order.
"""

import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import BinaryIO, NoReturn

import click

from nncodec.formats.errors import NncodecError, OutputError
from nncodec.formats.files import check_output

from .errors import FAILURE, INTERRUPTED, SUCCESS, complain, complain_about
from .operands import Direction, Filters, Job, listed_names, plan
from .outputs import Outputs, check_written, copy_status, is_device, remove_leftovers
from .progress import Bar
from .reports import Outcome, Result, report, summary

AHEAD = 4  # jobs for each worker that may be waiting, or done before one that is still to be told


@dataclass(frozen=True)
class Settings:
    """The options that the commands with outputs share; the names are click's."""

    output: str | None
    recursive: bool
    include: tuple[str, ...]
    exclude: tuple[str, ...]
    files_from: str | None
    null: bool
    shard: tuple[int, int] | None
    force: bool
    skip_existing: bool
    preserve: bool
    dry_run: bool
    jobs: int
    as_json: bool
    verbose: bool
    quiet: bool
    no_progress: bool
    remove: bool = False

    def plan(self, operands: Sequence[str], direction: Direction) -> list[Job]:
        """Find the jobs of these operands. UsageError for what can't be done with all of them."""
        if self.null and not self.files_from:
            raise click.UsageError("-0 is for the names of --files-from")
        if self.remove and self.shard and not self.files_from:
            raise click.UsageError(
                "--rm changes what other shards find; name the inputs with --files-from"
            )
        jobs = plan(
            operands,
            self.output,
            direction,
            recursive=self.recursive,
            filters=Filters(self.include, self.exclude),
            names=listed_names(self.files_from, self.null) if self.files_from else None,
            shard=self.shard,
            force=self.force,
        )
        if self.as_json and any(job.target is None for job in jobs):
            raise click.UsageError("--json and the output can't both go to standard output")
        if self.remove and any(job.target is None or job.source is None for job in jobs):
            raise click.UsageError("--rm is for files, not for standard input or output")
        return jobs

    def workers(self, jobs: Sequence[Job]) -> int:
        """How many of the jobs are worked on at once."""
        return max(1, min(self.jobs, len(jobs)))


# Does one job: reads its source, writes the file given, tells the share of the work that is done.
Work = Callable[[Job, BinaryIO, Callable[[float], None]], Outcome]
Attempt = tuple[Job, Result, Exception | None]  # with what made it fail


class Batch:
    """The jobs of one call of a command."""

    def __init__(self, jobs: Sequence[Job], work: Work, settings: Settings) -> None:
        self.jobs = jobs
        self.work = work
        self.settings = settings
        self.workers = settings.workers(jobs)
        self.outputs = Outputs()
        terminal = settings.as_json and sys.stdout.isatty()  # which the lines of JSON go to, too
        self.bar = Bar(len(jobs), shown=not (settings.quiet or settings.no_progress or terminal))

    def run(self) -> list[Result]:
        """Do all jobs, report on each in turn, and return what became of them."""
        settings, results = self.settings, []
        try:
            with self.bar:
                for job, result, error in self.attempts():
                    if error is not None:
                        result.error = complain_about(error, job.name)
                    report(result, settings.as_json, settings.verbose, settings.quiet)
                    results.append(result)
        except KeyboardInterrupt:
            if self.workers > 1:
                self.leave()
            raise
        if settings.skip_existing and not settings.dry_run:
            remove_leftovers({job.target.parent for job in self.jobs if job.target})
        return results

    def attempts(self) -> Iterator[Attempt]:
        """Attempt the jobs, several at once, and yield them in their order."""
        if self.workers == 1:
            yield from map(self.attempt, self.jobs)
            return
        waiting: deque[Future[Attempt]] = deque()
        pool = ThreadPoolExecutor(self.workers)
        try:
            for job in self.jobs:
                waiting.append(pool.submit(self.attempt, job))
                if len(waiting) > AHEAD * self.workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def leave(self) -> NoReturn:
        """End the process at once, interrupted: its workers may be waiting for anything."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self.outputs.take_back()
        complain("interrupted")
        sys.stdout.flush()
        os._exit(INTERRUPTED)

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
            failure = error
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


def run(jobs: Sequence[Job], work: Work, settings: Settings) -> int:
    """Do all jobs, report on each and on all of them, and return the exit status."""
    start = time.perf_counter()
    results = Batch(jobs, work, settings).run()
    failed = any(result.status in ("failed", "partial") for result in results)
    alone = len(results) == 1 and results[0].status != "done"  # has been told already
    wanted = sys.stderr.isatty() or (failed and len(results) > 1)
    if wanted and results and not (settings.quiet or settings.dry_run or alone):
        complain(summary(results, time.perf_counter() - start))
    return FAILURE if failed else SUCCESS
