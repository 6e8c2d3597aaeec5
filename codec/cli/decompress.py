"""``nncodec decompress``: .cae files to images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from nncodec.formats.cae import Reader

from .batch import Outcome, Settings, run
from .network import Network
from .operands import Direction, Job, plan
from .options import (
    METADATA,
    kept_metadata,
    network_options,
    output_options,
    pixel_options,
    report_options,
)
from .progress import counting
from .sources import open_input

if TYPE_CHECKING:
    from nncodec.fixed import Seams


class ImageFormat(click.ParamType[str]):
    """The name of a format that images are written in."""

    name = "format"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from nncodec.formats.images import FORMATS

        if value not in FORMATS.values():
            names = ", ".join(dict.fromkeys(FORMATS.values()))
            self.fail(f"{value!r} is not one of {names}", param, ctx)
        return str(value)


@dataclass(frozen=True)
class Decoder:
    """The work of ``decompress`` on one input."""

    network: Network
    format: str | None
    smooth: int | None
    seams: Seams
    stages: int | None
    partial: bool
    metadata: tuple[str, ...]
    max_pixels: int | None

    def __call__(self, job: Job, target: BinaryIO, advance: Callable[[float], None]) -> Outcome:
        from nncodec.api import model_of
        from nncodec.formats.images import MAX_PIXELS, format_of, write_image

        format = self.format or (format_of(job.target) if job.target else "png")
        with open_input(job) as (file, size):
            reader = Reader(file, partial=self.partial, max_pixels=self.max_pixels or MAX_PIXELS)
            header = reader.header
            rows, columns = header.grid
            codec = self.network.codec(model_of(header, self.network.weights))
            picture = codec.decompress_from(
                reader,
                smooth=self.smooth,
                seams=self.seams,
                stages=self.stages,
                progress=counting(advance, rows * columns),
            )
            bytes_in = size()
        for name in set(METADATA) - set(self.metadata):
            picture = replace(picture, metadata=replace(picture.metadata, **{name: None}))
        write_image(picture, target, format)
        return Outcome(
            bytes_in=bytes_in,
            width=header.width,
            height=header.height,
            bpp=bytes_in * 8 / (header.width * header.height),
            model=header.model,
            notes=picture.notes,
            damage=tuple(str(error) for error in reader.errors),
        )


@click.command()
@click.argument("inputs", nargs=-1, metavar="[FILE.cae|FOLDER|-]...")
@output_options
@click.option(
    "-t",
    "--format",
    "format_",
    type=ImageFormat(),
    metavar="FORMAT",
    help="png, webp, jpeg, tiff, ppm or npy; default: that of the output's suffix, else png.",
)
@click.option(
    "-s",
    "--smooth",
    type=click.IntRange(min=0),
    metavar="N",
    help="Smooth the seams between patches over N pixels, 0 = off; default: 0, alone 8.",
)
@click.option(
    "--seams",
    type=click.Choice(["joint", "alone"]),
    default="joint",
    show_default=True,
    help="Decode a patch with the bits around it, or alone, as the networks were published.",
)
@click.option(
    "--stages",
    type=click.IntRange(min=1),
    metavar="N",
    help="Decode the first N stages only: quicker, and coarser. `info` shows how many there are.",
)
@click.option(
    "--partial",
    is_flag=True,
    help="Write what a cut or damaged file still holds; the exit status stays 1.",
)
@network_options
@pixel_options
@report_options
@click.pass_context
def decompress(
    ctx: click.Context,
    /,
    inputs: tuple[str, ...],
    format_: str | None,
    smooth: int | None,
    seams: Seams,
    stages: int | None,
    partial: bool,
    device: str,
    batch_size: int | None,
    weights: str | None,
    metadata: tuple[str, ...] | None,
    strip: bool,
    max_pixels: int | None,
    **batch: Any,
) -> None:
    """Decompress .cae files to images.

    Without -o the output stands beside its input, with the suffix of its format. Of two operands,
    the second is the output if it has the suffix of an image. No operand, or -, means standard
    input to standard output. Several inputs need a folder as output; the tree of a folder taken
    with -r is mirrored in it.

    The model is the one that the file names. A file made with --weights needs them here too.

    \b
    Example:
      nncodec decompress photo.cae                      # writes photo.png
      nncodec decompress photo.cae photo.webp
      nncodec decompress -r cae -o photos -t jpeg
      nncodec decompress --partial damaged.cae rescued.png
      cat photo.cae | nncodec decompress > photo.png
    """
    from nncodec.formats.images import FORMATS

    settings = Settings(**batch)
    if smooth is not None and smooth % 2:
        raise click.BadParameter("a window lies evenly across a seam", param_hint="--smooth")
    suffix = next(suffix for suffix, known in FORMATS.items() if known == (format_ or "png"))
    jobs = plan(
        inputs,
        settings.output,
        Direction(inputs=(".cae",), outputs=tuple(FORMATS), suffix=suffix),
        recursive=settings.recursive,
        filters=settings.filters,
        force=settings.force,
    )
    decoder = Decoder(
        Network(device, batch_size, weights),
        format_,
        smooth,
        seams,
        stages,
        partial,
        kept_metadata(metadata, strip),
        max_pixels,
    )
    ctx.exit(run(jobs, decoder, settings))
