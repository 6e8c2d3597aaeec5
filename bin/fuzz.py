"""Mutations of .cae files through the whole decoder, looking for what must not happen; see --help.

Must not happen: an exception that is no NncodecError of one line, a wrong picture of a file whose
checksums tell, more than two seconds, more than 300 MiB, anything written, opened or called.
"""

import math
import multiprocessing
import os
import resource
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path
from typing import Any

import click
import torch
from fuzz_ways import WAYS, Result, undrawn
from mutations import KINDS, TURN, Mutation, Mutations, Seed, seeds

from nncodec.evaluate.table import Table, aligned
from nncodec.formats.errors import NncodecError

SECONDS = 2.0  # that a file may take
MEMORY = 300  # MiB that all of them together may take, beyond what sound ones take
LONGEST = 250  # characters of a message
FIND = "FIND"  # the outcome that there must not be
MOST_FINDS = 20  # before a run is given up
DRAWN = 49  # one file in so many is synthesised to its pixels
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
FORBIDDEN = ("os.", "shutil.", "tempfile.", "subprocess.", "socket.", "pickle.", "exec", "compile")


class Find(Exception):
    """Something that must not happen."""


class TooSlow(BaseException):
    """More processor time than a file may take; no handler of exceptions keeps it."""


class Forbidden(BaseException):
    """A decoder that writes a file, opens a connection, or runs something."""


def peak() -> float:
    """MiB that this process has had in memory at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class Watch:
    """Sees to it, between :meth:`begin` and :meth:`end`, that time is kept and nothing touched."""

    def __init__(self) -> None:
        self._on = False
        sys.addaudithook(self._hear)
        signal.signal(signal.SIGPROF, self._ring)

    def begin(self) -> None:
        """From here on."""
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        self._on = True

    def end(self) -> None:
        """Up to here."""
        self._on = False
        signal.setitimer(signal.ITIMER_PROF, 0)

    def _hear(self, event: str, args: tuple[Any, ...]) -> None:
        if not self._on:
            return
        written = event == "open" and isinstance(args[2], int) and args[2] & WRITING
        if written or event.startswith(FORBIDDEN):
            self._on = False
            raise Forbidden(f"{event}{args}")

    def _ring(self, *_: Any) -> None:
        if self._on:
            raise TooSlow(f"more than {SECONDS} s")


class Examiner:
    """Reads mutations, knowing what comes out of the files that they were."""

    def __init__(self, files: Sequence[Seed]) -> None:
        self.models = sorted({seed.name.split()[0] for seed in files})
        self.watch = Watch()
        torch.set_num_threads(1)  # others wait by spinning, which is processor time as well
        self._sound: dict[tuple[str, str, bool], Result] = {}
        for seed in files:  # so that all is loaded, and has had the memory that it takes
            for way in WAYS:
                self.sound(seed, way, drawn=False)
            self.sound(seed, "decompress", drawn=True)

    def sound(self, seed: Seed, way: str, drawn: bool) -> Result:
        """What comes out of a sound file."""
        key = seed.name, way, drawn
        if key not in self._sound:
            self._sound[key], _ = self._read(seed.data, way, drawn)
        return self._sound[key]

    def outcome(self, mutation: Mutation, way: str, drawn: bool) -> str:
        """What came of a mutation, in a word. Raises Find, and whatever must not be raised."""
        self.watch.begin()
        try:
            result, errors = self._read(mutation.data, way, drawn)
        except NncodecError as error:
            return self._named(error)
        finally:
            self.watch.end()
        if errors:
            for error in errors:
                self._named(error)
            return "noted"
        if result == self.sound(mutation.seed, way, drawn):
            return "unharmed"
        if not mutation.sealed:
            raise Find("a wrong picture, unannounced")
        return "another"

    def _read(self, data: bytes, way: str, drawn: bool) -> tuple[Result, list[Any]]:
        with nullcontext() if drawn else undrawn(self.models):
            return WAYS[way](data)

    def _named(self, error: NncodecError) -> str:
        text = str(error)
        if not text.isprintable() or not 0 < len(text) <= LONGEST:
            raise Find(f"a message that is not one clear line: {text!r}")
        return type(error).__name__


@dataclass
class Tally:
    """What came of many mutations."""

    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)  # by kind
    finds: list[str] = field(default_factory=list)
    slowest: tuple[float, str] = (0.0, "none")  # seconds, which one
    memory: float = 0.0  # MiB, the most that a process took beyond what sound files take
    seconds: float = 0.0  # of processor time

    def add(self, other: "Tally") -> None:
        """Count what another process has found."""
        self.outcomes += other.outcomes
        self.finds += other.finds
        self.slowest = max(self.slowest, other.slowest)
        self.memory = max(self.memory, other.memory)
        self.seconds += other.seconds


def run(key: int, numbers: range, seconds: float | None, folder: Path) -> Tally:
    """Examine the mutations with these numbers, in so many seconds; save the finds in a folder."""
    files = seeds()
    mutations, examiner = Mutations(files, key), Examiner(files)
    ways, tally = list(WAYS), Tally()
    begin, before = time.process_time(), peak()
    deadline = time.monotonic() + (seconds or math.inf)
    for number in numbers:
        mutation = mutations.numbered(number)
        turn = number // len(TURN)
        way = ways[turn % len(ways)]
        name = f"{number} ({mutation.kind} of {mutation.seed.name}, {way})"
        start, problem = time.process_time(), ""
        try:
            outcome = examiner.outcome(mutation, way, drawn=turn % DRAWN == 0)
        except (Exception, TooSlow, Forbidden) as error:
            outcome, problem = FIND, f"{type(error).__name__}: {error}"
        tally.slowest = max(tally.slowest, (time.process_time() - start, name))
        known, tally.memory = tally.memory, peak() - before
        if tally.memory > MEMORY >= known:
            outcome, problem = FIND, f"{tally.memory:.0f} MiB in memory"
        tally.outcomes[mutation.kind, outcome] += 1
        if problem:
            tally.finds.append(f"{name}: {problem}")
            folder.mkdir(exist_ok=True)
            (folder / f"{key}-{number}.cae").write_bytes(mutation.data)
        if time.monotonic() > deadline or len(tally.finds) == MOST_FINDS:
            break
    tally.seconds = time.process_time() - begin
    return tally


def report(tally: Tally) -> str:
    """Return the table of outcomes by kind, and the extremes."""
    outcomes = sorted({outcome for _, outcome in tally.outcomes})
    rows = []
    for kind in KINDS:
        counts = [tally.outcomes[kind.name, outcome] for outcome in outcomes]
        rows.append((kind.name, *(f"{count:,}" for count in (sum(counts), *counts))))
    seconds, which = tally.slowest
    return (
        aligned(Table(("mutation", "all", *outcomes), rows))
        + f"\n\n{tally.outcomes.total():,} mutations in {tally.seconds:.0f} s of processor time"
        + f"\nslowest: {seconds:.3f} s, number {which}"
        + f"\nmemory: {tally.memory:.0f} MiB beyond what sound files take"
        + f"\nfinds: {len(tally.finds)}"
    )


@click.command()
@click.option("--count", default=20_000, show_default=True, type=click.IntRange(1), metavar="N")
@click.option("--seconds", type=float, metavar="S", help="Stop after as many, if not done before.")
@click.option("--seed", "key", default=0, show_default=True, metavar="K", help="Of all chance.")
@click.option("--start", default=0, show_default=True, metavar="N", help="The first one's number.")
@click.option("--jobs", default=1, show_default=True, type=click.IntRange(1), metavar="J")
@click.option("--save", default="finds", show_default=True, type=click.Path(path_type=Path))
@click.option("--atheris", type=int, metavar="S", help="Guided by coverage instead, for S seconds.")
def fuzz(
    count: int,
    seconds: float | None,
    key: int,
    start: int,
    jobs: int,
    save: Path,
    atheris: int | None,
) -> None:
    """Decode N mutations of small files of all models and codings; exit with 1 if one is a find.

    Whatever a file holds must be refused in one line, or be decoded to what it was; if its
    checksums were made to be right, to anything. No file may take over 2 seconds or 300 MiB, and
    nothing may be written or opened. A find is saved in the folder --save. Its number and --seed
    make it again: bin/fuzz --seed K --start N --count 1.

    --atheris needs the extra "fuzz", and goes on from what it finds to run code not seen before.

    \b
    Example:
      bin/fuzz --count 1000000 --jobs 4
    """
    if atheris is not None:
        script = str(Path(__file__).with_name("fuzz_atheris.py"))
        os.execv(sys.executable, [sys.executable, script, str(atheris), str(save)])
    parts = [range(start + job, start + count, jobs) for job in range(jobs)]
    tally = Tally()
    try:  # in processes of their own: what ends one of them is a find, too
        with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
            for found in pool.map(run, repeat(key), parts, repeat(seconds), repeat(save)):
                tally.add(found)
    except BrokenProcessPool:
        message = "a mutation ended its process; --start and --count narrow down which"
        raise click.ClickException(message) from None
    click.echo(report(tally))
    for find in tally.finds:
        number = find.split()[0]
        click.echo(f"FIND {find}\n  --seed {key} --start {number} --count 1", err=True)
    sys.exit(1 if tally.finds else 0)


if __name__ == "__main__":
    fuzz()
