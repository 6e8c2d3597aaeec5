"""Run the jobs of ``compress`` and ``decompress``: one after the other, whatever befalls one.

An output appears whole or not at all, and never in the place of something else unless that was
asked for.
"""

import io
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import BinaryIO

import click

from nncodec.formats.errors import NncodecError
from nncodec.formats.files import atomic_output, check_output

from .errors import FAILURE, SUCCESS, complain, complain_about
from .operands import Filters, Job
from .progress import Bar


@dataclass(frozen=True)
class Settings:
    """The options that ``compress`` and ``decompress`` share; the names are click's."""

    output: str | None
    recursive: bool
    include: tuple[str, ...]
    exclude: tuple[str, ...]
    force: bool
    skip_existing: bool
    dry_run: bool
    as_json: bool
    verbose: bool
    quiet: bool
    no_progress: bool

    @property
    def filters(self) -> Filters:
        return Filters(self.include, self.exclude)


@dataclass(frozen=True)
class Outcome:
    """What a piece of work tells about itself."""

    bytes_in: int
    width: int
    height: int
    bpp: float
    model: str
    notes: tuple[str, ...] = ()  # what the user should know, though it is no error
    damage: tuple[str, ...] = ()  # what could not be decoded


@dataclass
class Result:
    """What became of an input, as ``--json`` writes it."""

    input: str
    output: str
    status: str  # done, partial, planned, skipped or failed
    bytes_in: int | None = None
    bytes_out: int | None = None
    width: int | None = None
    height: int | None = None
    bpp: float | None = None
    model: str | None = None
    seconds: float | None = None
    notes: Sequence[str] = ()
    error: str | None = None


# Does one job: reads its source, writes the file given, tells the share of the work that is done.
Work = Callable[[Job, BinaryIO, Callable[[float], None]], Outcome]


def run(jobs: Sequence[Job], work: Work, settings: Settings) -> int:
    """Do all jobs, report on each, and return the exit status."""
    if settings.as_json and any(job.target is None for job in jobs):
        raise click.UsageError("--json and the output can't both go to standard output")
    results = []
    with Bar(len(jobs), shown=not (settings.quiet or settings.no_progress)) as bar:
        for job in jobs:
            bar.start(job.name)
            result = attempt(job, work, settings, bar)
            bar.finish()
            bar.clear()
            report(result, settings)
            results.append(result)
    alone = len(results) == 1 and results[0].status != "done"  # has been told already
    if sys.stderr.isatty() and not (settings.quiet or settings.dry_run or alone):
        complain(summary(results))
    return FAILURE if any(r.status in ("failed", "partial") for r in results) else SUCCESS


def attempt(job: Job, work: Work, settings: Settings, bar: Bar) -> Result:
    """Do one job; a failure becomes its result."""
    result = Result(job.input, job.output, "done")
    start = time.perf_counter()
    try:
        if job.problem:
            raise NncodecError(job.problem)
        if settings.skip_existing and job.target is not None and job.target.is_file():
            result.status = "skipped"
            return result
        if job.target is not None:  # before the work, not after it
            check_output(job.target, force=settings.force, source=job.source)
        if settings.dry_run:
            result.status = "planned"
            return result
        with sink(job, settings.force) as target:
            outcome = work(job, target, bar.advance)
            size = target.tell()
        fill(result, outcome)
        result.bytes_out = size
        result.seconds = round(time.perf_counter() - start, 3)
    except BrokenPipeError:
        raise  # nobody reads what the rest of the batch would write
    except Exception as error:
        bar.clear()
        result.status = "failed"
        result.error = complain_about(error, job.name)
    return result


def fill(result: Result, outcome: Outcome) -> None:
    result.bytes_in = outcome.bytes_in
    result.width, result.height = outcome.width, outcome.height
    result.bpp = round(outcome.bpp, 5)
    result.model = outcome.model
    result.notes = outcome.notes
    if outcome.damage:
        result.status = "partial"
        result.error = "; ".join(outcome.damage)


@contextmanager
def sink(job: Job, force: bool) -> Iterator[BinaryIO]:
    """Open the output. A pipe or device, too, gets all of it at the end, or nothing."""
    if job.target is None or (job.target.exists() and not job.target.is_file()):
        buffer = io.BytesIO()
        yield buffer
        if job.target is not None:
            job.target.write_bytes(buffer.getbuffer())
        else:
            sys.stdout.buffer.write(buffer.getbuffer())
            sys.stdout.buffer.flush()
        return
    if job.make_folders:
        job.target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_output(job.target, force=force, source=job.source) as file:
        yield file


def report(result: Result, settings: Settings) -> None:
    """Write what is to be said about one input."""
    if settings.as_json:
        click.echo(json.dumps(asdict(result)))
    elif result.status == "planned":
        click.echo(f"{result.input} -> {result.output}")
    if result.status == "partial":
        complain(f"{result.input}: {result.error}")
    if settings.quiet:
        return
    for note in result.notes:
        complain(f"{result.input}: {note}")
    if settings.verbose and result.status == "skipped":
        complain(f"{result.input}: skipped, {result.output} exists")
    if settings.verbose and result.status in ("done", "partial"):
        complain(
            f"{result.input} -> {result.output}: {result.width}x{result.height},"
            f" {result.bytes_in:,} -> {result.bytes_out:,} bytes, {result.bpp:.4f} bpp,"
            f" {result.model}, {result.seconds:.2f} s"
        )


def summary(results: Sequence[Result]) -> str:
    """Say in one line what became of all inputs."""
    written = [r for r in results if r.bytes_in and r.bytes_out]
    if len(results) == 1:
        parts = [f"{results[0].input} -> {results[0].output}"]
    else:
        numbers = Counter(r.status for r in results)
        parts = [", ".join(f"{number} {status}" for status, number in numbers.items())]
    if written:
        before, after = (
            sum(r.bytes_in or 0 for r in written),
            sum(r.bytes_out or 0 for r in written),
        )
        seconds = sum(r.seconds or 0 for r in written)
        pixels = sum((r.width or 0) * (r.height or 0) for r in written)
        bits = sum((r.bpp or 0) * (r.width or 0) * (r.height or 0) for r in written)
        parts.append(f"{before:,} -> {after:,} bytes, {bits / pixels:.4f} bpp, {seconds:.1f} s")
    return ": ".join(parts)
