"""``nncodec decompress``: .cae files to images."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial as bound
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from nncodec.formats.cae import Reader
from nncodec.formats.errors import OutputError

from .batch import run
from .network import Network
from .operands import Direction, Job
from .options import (
    engine_options,
    kept_metadata,
    network_options,
    output_options,
    pixel_options,
    removal_option,
    report_options,
)
from .progress import counting
from .reports import Outcome
from .settings import Settings
from .sources import open_input

if TYPE_CHECKING:
    from nncodec.fixed import Seams
    from nncodec.formats.picture import Picture


class ImageFormat(click.ParamType[str]):
    """The name of a format that images are written in."""

    name = "format"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from nncodec.formats.images import FORMATS

        if value not in FORMATS.values():
            names = ", ".join(dict.fromkeys(FORMATS.values()))
            self.fail(f"{value!r} is not one of {names}", param, ctx)
        return str(value)


class Rectangle(click.ParamType[tuple[int, int, int, int]]):
    """A region of an image: X,Y,W,H."""

    name = "region"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int, int, int]:
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(r"(\d{1,9}),(\d{1,9}),(\d{1,9}),(\d{1,9})", str(value))
        if not match:
            self.fail(f"{value!r} is not four numbers of pixels like 0,0,640,480", param, ctx)
        x, y, width, height = map(int, match.groups())
        return x, y, width, height


@dataclass(frozen=True)
class Decoder:
    """The work of ``decompress`` on one input."""

    network: Network
    format: str | None
    smooth: int | None
    seams: Seams
    stages: int | None
    region: tuple[int, int, int, int] | None
    partial: bool
    metadata: tuple[str, ...]
    max_pixels: int | None

    def __call__(self, job: Job, target: BinaryIO, advance: Callable[[float], None]) -> Outcome:
        from nncodec.engine import model_of
        from nncodec.formats.images import MAX_PIXELS, format_of, with_metadata, write_image
        from nncodec.patches import Region, covering

        format = self.format or (format_of(job.target) if job.target else "png")
        with open_input(job) as (file, size):
            reader = Reader(file, partial=self.partial, max_pixels=self.max_pixels or MAX_PIXELS)
            header = reader.header
            region = Region(*self.region or (0, 0, header.width, header.height))
            tile = covering(header, region)
            codec = self.network.codec(model_of(header, self.network.weights))
            with self.network.room(region.width * region.height):
                picture = codec.decompress_from(
                    reader,
                    smooth=self.smooth,
                    seams=self.seams,
                    stages=self.stages,
                    region=self.region,
                    progress=counting(advance, tile.rows * tile.columns),
                )
            bytes_in = size()
        picture = with_metadata(picture, self.metadata)
        write_image(picture, target, format)
        return Outcome(
            bytes_in=bytes_in,
            width=region.width,
            height=region.height,
            bpp=bytes_in * 8 / (header.width * header.height),
            model=header.model,
            notes=picture.notes,
            damage=tuple(str(error) for error in reader.errors),
            check=bound(check_image, picture, format),
        )


def check_image(picture: Picture, format: str, file: BinaryIO) -> None:
    """Raise OutputError unless an image file holds a picture; of a JPEG, only its form."""
    import numpy as np

    from nncodec.formats.images import read_image, to_pil

    image = to_pil(picture)
    due = np.asarray(image)
    if format == "npy":
        found = np.load(file)
    else:  # a WebP has no grey
        found = np.asarray(to_pil(read_image(file, max_pixels=None)).convert(image.mode))
    if found.shape != due.shape or (format != "jpeg" and (found != due).any()):
        raise OutputError("the image reads back as another")


@click.command()
@click.argument("inputs", nargs=-1, metavar="[FILE.cae|FOLDER|-]...")
@output_options
@removal_option
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
    "--region",
    type=Rectangle(),
    metavar="X,Y,W,H",
    help="Decode a part only: its left upper corner, its width and height in pixels.",
)
@click.option(
    "--partial",
    is_flag=True,
    help="Write what a cut or damaged file still holds; the exit status stays 1.",
)
@engine_options
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
    region: tuple[int, int, int, int] | None,
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
      nncodec decompress photo.cae eye.png --region 400,250,64,32
      nncodec decompress --partial damaged.cae rescued.png
      cat photo.cae | nncodec decompress > photo.png
    """
    from nncodec.formats.images import FORMATS

    settings = Settings(**batch, device=device)
    if smooth is not None and smooth % 2:
        raise click.BadParameter("a window lies evenly across a seam", param_hint="--smooth")
    suffix = next(suffix for suffix, known in FORMATS.items() if known == (format_ or "png"))
    if settings.remove and (region or stages or partial):
        raise click.UsageError("--rm is for whole pictures: not with --region, --stages, --partial")
    direction = Direction(inputs=(".cae",), outputs=tuple(FORMATS), suffix=suffix)
    jobs = settings.plan(inputs, direction)
    network = Network(device, batch_size, weights)
    decoder = Decoder(
        network,
        format_,
        smooth,
        seams,
        stages,
        region,
        partial,
        kept_metadata(metadata, strip),
        max_pixels,
    )
    ctx.exit(run(jobs, decoder, settings))
