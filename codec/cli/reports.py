"""What is told about the inputs of a batch: while it runs, at its end, and to programs."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import BinaryIO

import click

from .errors import complain
from .operands import printable


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
    # Raises an error unless a file holds what was written.
    check: Callable[[BinaryIO], None] | None = None


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

    @property
    def pixels(self) -> int:
        return (self.width or 0) * (self.height or 0)

    def fill(self, outcome: Outcome) -> None:
        """Take over what a piece of work tells."""
        self.bytes_in = outcome.bytes_in
        self.width, self.height = outcome.width, outcome.height
        self.bpp = round(outcome.bpp, 5)
        self.model = outcome.model
        self.notes = outcome.notes
        if outcome.damage:
            self.status = "partial"
            self.error = "; ".join(outcome.damage)


def report(result: Result, as_json: bool, verbose: bool, quiet: bool) -> None:
    """Write what is to be said about one input."""
    name, output = printable(result.input), printable(result.output)
    if as_json:
        click.echo(json.dumps(asdict(result)))
    elif result.status == "planned":
        click.echo(f"{name} -> {output}")
    if result.status == "partial":
        complain(f"{name}: {result.error}")
    if quiet:
        return
    for note in result.notes:
        complain(f"{name}: {note}")
    if verbose and result.status == "skipped":
        complain(f"{name}: skipped, {output} exists")
    if verbose and result.status in ("done", "partial"):
        complain(
            f"{name} -> {output}: {result.width}x{result.height},"
            f" {result.bytes_in:,} -> {result.bytes_out:,} bytes, {result.bpp:.4f} bpp,"
            f" {result.model}, {result.seconds:.2f} s"
        )


def summary(results: Sequence[Result], seconds: float) -> str:
    """Say in one line what became of all inputs, and in how many seconds."""
    written = [r for r in results if r.bytes_in and r.bytes_out]
    if len(results) == 1:
        parts = [f"{printable(results[0].input)} -> {printable(results[0].output)}"]
    else:
        numbers = Counter(r.status for r in results)
        parts = [", ".join(f"{number} {status}" for status, number in numbers.items())]
    if written:
        before = sum(r.bytes_in or 0 for r in written)
        after = sum(r.bytes_out or 0 for r in written)
        pixels = sum(r.pixels for r in written)
        bits = sum((r.bpp or 0) * r.pixels for r in written)
        parts.append(
            f"{before:,} -> {after:,} bytes, {bits / pixels:.4f} bpp, {seconds:.1f} s,"
            f" {pixels / 1e6 / seconds:.2f} MP/s"
        )
    return ": ".join(parts)
