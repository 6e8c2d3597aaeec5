"""``nncodec truncate``: the first stages of .cae files, as files. Never imports torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

import click

from nncodec.formats.cae import Reader
from nncodec.formats.stages import first_stages

from .batch import run
from .operands import Direction, Job
from .options import ByteCount, output_options, report_options
from .reports import Outcome
from .settings import Settings
from .sources import open_input

DIRECTION = Direction(inputs=(".cae",), outputs=(".cae",), suffix=".cae")


@dataclass(frozen=True)
class Cutter:
    """The work of ``truncate`` on one input."""

    stages: int | None
    size: int | None

    def __call__(self, job: Job, target: BinaryIO, advance: Callable[[float], None]) -> Outcome:
        with open_input(job) as (file, size):
            reader = Reader(file)
            data = first_stages(reader, self.stages, self.size)
            bytes_in = size()
        target.write(data)
        header = reader.header
        return Outcome(
            bytes_in=bytes_in,
            width=header.width,
            height=header.height,
            bpp=len(data) * 8 / (header.width * header.height),
            model=header.model,
        )


@click.command()
@click.argument("inputs", nargs=-1, metavar="[FILE.cae|FOLDER|-]...")
@output_options
@click.option(
    "--size",
    type=ByteCount(),
    metavar="BYTES",
    help="Keep as many stages as fit BYTES; 20K is 20,000, 1.5M a million and a half.",
)
@click.option("--stages", type=click.IntRange(min=1), metavar="N", help="Keep the first N stages.")
@report_options
@click.pass_context
def truncate(
    ctx: click.Context,
    /,
    inputs: tuple[str, ...],
    size: int | None,
    stages: int | None,
    **batch: Any,
) -> None:
    """Make .cae files smaller by leaving out their last stages.

    The files of a variable-rate model hold a picture from coarse to fine. What is left of one is
    the same picture at a lower quality, without decoding or loss of another kind; `info` shows what
    its stages take. A file that is short enough is copied. For a file of just any size, compress
    again with --size.

    Of two operands, the second is the output if it ends in .cae. No operand, or -, means standard
    input to standard output. Several inputs need a folder as output; the tree of a folder taken
    with -r is mirrored in it.

    \b
    Example:
      nncodec truncate photo.cae preview.cae --stages 2
      nncodec truncate photo.cae small.cae --size 20K   # the finest that fits
      nncodec truncate -r cae -o previews --stages 1
    """
    if (size is None) == (stages is None):
        raise click.UsageError("give one of --size and --stages")
    settings = Settings(**batch)
    jobs = settings.plan(inputs, DIRECTION)
    ctx.exit(run(jobs, Cutter(stages, size), settings))
