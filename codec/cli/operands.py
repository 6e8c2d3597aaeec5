"""From the operands of a command to its jobs: which input becomes which output.

Nothing is written here. Whatever would make a batch overwrite itself is refused before its first
job; what is wrong with a single input is noted in its job, so that the others still run.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path, PurePath
from typing import TypeVar

import click

PIPE = "-"

Name = TypeVar("Name", bound=PurePath)


@dataclass(frozen=True)
class Direction:
    """What tells the operands of ``compress`` from those of ``decompress``."""

    inputs: tuple[str, ...]  # suffixes that a folder is searched for, and that the output replaces
    outputs: tuple[str, ...]  # suffixes by which the second of two operands is known as the output
    suffix: str  # of the outputs that are named after their inputs


@dataclass(frozen=True)
class Filters:
    """Which files of a folder are meant: globs over the name, or the path below the folder."""

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def admit(self, path: PurePath, suffixes: Sequence[str]) -> bool:
        if any(matches(path, glob) for glob in self.exclude):
            return False
        if self.include:
            return any(matches(path, glob) for glob in self.include)
        return path.suffix.lower() in suffixes


@dataclass(frozen=True)
class Job:
    """One input, and where its output goes."""

    source: Path | None  # None: standard input
    target: Path | None = None  # None: standard output
    make_folders: bool = False  # the target's folders are made if missing
    problem: str = ""  # why this input can't be worked on; empty if it can

    @property
    def input(self) -> str:
        return PIPE if self.source is None else str(self.source)

    @property
    def output(self) -> str:
        return PIPE if self.target is None else str(self.target)

    @property
    def name(self) -> str:
        """The input as messages name it, on one line."""
        return "stdin" if self.source is None else printable(self.input)


def printable(name: str) -> str:
    """Escape what would end a line, or is no text at all."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in name)


def matches(path: PurePath, glob: str) -> bool:
    return fnmatch(path.name, glob) or fnmatch(path.as_posix(), glob)


def inputs(
    operands: Sequence[str], suffixes: Sequence[str], recursive: bool, filters: Filters
) -> Iterator[tuple[Job, PurePath]]:
    """Yield a job without target for each input, with its path below the operand's folder."""
    for operand in operands:
        if operand == PIPE:
            yield Job(None), PurePath("stdin")
        else:
            path = Path(operand)
            for job, below in inputs_at(path, suffixes, recursive, filters):
                yield job, below if path.is_dir() else PurePath(path.name)


def listed_inputs(
    names: Sequence[str], suffixes: Sequence[str], recursive: bool, filters: Filters
) -> Iterator[tuple[Job, PurePath]]:
    """Do as :func:`inputs` for listed names, whose folders are part of the tree.

    What a name has of the root or of .. is not: no list reaches beyond the folder of the outputs.
    """
    for name in names:
        path = PurePath(os.path.normpath(name))
        place = PurePath(*(part for part in path.parts if part not in ("..", path.anchor)))
        for job, below in inputs_at(Path(name), suffixes, recursive, filters):
            yield job, place / below


def inputs_at(
    path: Path, suffixes: Sequence[str], recursive: bool, filters: Filters
) -> Iterator[tuple[Job, PurePath]]:
    """Yield a job for a file, or for each in a folder, with its path below ``path``."""
    if path.is_dir() and recursive:
        yield from walk(path, suffixes, filters)
    elif path.is_dir():
        yield Job(path, problem="is a folder; use -r to take the files in it"), PurePath()
    elif not path.exists():
        problem = "a link that leads nowhere" if path.is_symlink() else "no such file"
        yield Job(path, problem=problem), PurePath()
    else:
        yield Job(path), PurePath()


def walk(folder: Path, suffixes: Sequence[str], filters: Filters) -> Iterator[tuple[Job, PurePath]]:
    """Yield the files under ``folder`` that the filters admit, sorted folder by folder."""
    unreadable: list[OSError] = []
    found = False
    for root, folders, names in os.walk(folder, onerror=unreadable.append):
        folders.sort()
        for name in sorted(names):
            path = Path(root, name)
            below = path.relative_to(folder)
            if filters.admit(below, suffixes):
                found = True
                # A pipe would be waited for, and nobody has named it.
                special = path.exists() and not path.is_file()
                yield Job(path, problem="is a pipe or a device" if special else ""), below
    for error in unreadable:
        yield Job(Path(error.filename), problem=f"{error.strerror}".lower()), PurePath()
    if not found and not unreadable:
        yield Job(folder, problem="holds no such file; see --include"), PurePath()


def plan(
    operands: Sequence[str],
    output: str | None,
    direction: Direction,
    *,
    recursive: bool = False,
    filters: Filters = Filters(),
    names: Sequence[str] | None = None,
    shard: tuple[int, int] | None = None,
    force: bool = False,
) -> list[Job]:
    """Give every input its output, or raise a usage error if that can't be done safely.

    Listed ``names`` are inputs beside the operands. Of all, a ``shard`` (I, N) is one of N parts.
    """
    if names is None:
        operands = operands or (default_operand(),)
    pair = names is None and output is None and len(operands) == 2
    if pair and is_output(operands, direction):
        operands, output = operands[:1], operands[1]
    elif pair and not Path(operands[1]).exists():
        known = ", ".join(direction.outputs)
        raise click.UsageError(f"{operands[1]}: neither an input nor an output ({known}); use -o")
    if PIPE in operands and (len(operands) > 1 or names is not None):
        raise click.UsageError("- (standard input) can't be mixed with other inputs")

    # A folder walked with -r is many inputs, even if it happens to hold one file.
    listed = names is not None
    several = listed or len(operands) > 1 or (recursive and Path(operands[0]).is_dir())
    found = list(inputs(operands, direction.inputs, recursive, filters))
    found += listed_inputs(names or (), direction.inputs, recursive, filters)
    if output == PIPE or (output is None and PIPE in operands):
        if several:
            raise click.UsageError("several inputs can't go to standard output; name a folder")
        if sys.stdout.isatty() and not force:
            raise click.UsageError("standard output is a terminal; use -o FILE, or -f to insist")
        return [job for job, _ in found]

    if output is None:
        swapped = [(job, renamed(Path(job.input), direction)) for job, _ in found]
        jobs = [replace(job, target=target) for job, target in swapped]
    elif several or output.endswith(("/", os.sep)) or Path(output).is_dir():
        if Path(output).exists() and not Path(output).is_dir():
            raise click.UsageError(f"{output}: is a file; several inputs need a folder")
        mirrored = [(job, Path(output, renamed(below, direction))) for job, below in found]
        jobs = [replace(job, target=target, make_folders=True) for job, target in mirrored]
    else:
        jobs = [replace(job, target=Path(output)) for job, _ in found]
    return part_of(without_collisions(jobs), shard)


def listed_names(file: str, null: bool) -> list[str]:
    """Read the names in ``file``, or standard input: one a line, or with ``null`` ended by NUL."""
    with click.open_file(file, "rb") as stream:
        content = stream.read()
    names = content.split(b"\0" if null else b"\n")
    return [os.fsdecode(name) for name in names if name]


def default_operand() -> str:
    """Without operands a command is a filter, but nobody types an image into a terminal."""
    if sys.stdin.isatty():
        raise click.UsageError("no input: name a file, or pipe one in")
    return PIPE


def is_output(operands: Sequence[str], direction: Direction) -> bool:
    """Tell whether two operands are an input and its output rather than two inputs."""
    return operands[1] == PIPE or PurePath(operands[1]).suffix.lower() in direction.outputs


def renamed(path: Name, direction: Direction) -> Name:
    """Swap a suffix that is known; add to one that isn't (photo.v2 -> photo.v2.cae)."""
    if not path.name:  # a folder where a file was wanted
        return path
    known = path.suffix.lower() in direction.inputs
    return path.with_name((path.stem if known else path.name) + direction.suffix)


def without_collisions(jobs: Sequence[Job]) -> list[Job]:
    """Return the jobs, each input once; refuse them if two inputs would share an output."""
    by_target: dict[str, Job] = {}
    kept = []
    for job in jobs:
        key = job.input if job.problem else os.path.normcase(os.path.abspath(job.output))
        first = by_target.setdefault(key, job)
        if first is job:
            kept.append(job)
        elif os.path.abspath(first.input) != os.path.abspath(job.input):
            raise click.UsageError(
                f"{first.input} and {job.input} would both be written to {job.output};"
                " give each its own -o"
            )
    return kept


def part_of(jobs: Sequence[Job], shard: tuple[int, int] | None) -> list[Job]:
    """Return one of N parts of the jobs: of those sorted by name, every N-th from the I-th on."""
    if shard is None:
        return list(jobs)
    index, count = shard
    chosen = set(sorted(jobs, key=lambda job: job.input)[index - 1 :: count])
    return [job for job in jobs if job in chosen]
