"""``nncodec compress``: images to .cae files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from nncodec.weights import entry

from .batch import Outcome, Settings, run
from .network import Network
from .operands import Direction, Job, plan
from .options import (
    ModelId,
    kept_metadata,
    network_options,
    output_options,
    pixel_options,
    report_options,
)
from .progress import counting
from .sources import open_input

if TYPE_CHECKING:
    from nncodec.formats.bits import Entropy

# What a folder is searched for. Whether a file is an image, its content tells.
IMAGE_SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".webp", ".avif", ".tif", ".tiff", ".bmp", ".gif"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".tga"),
)
DIRECTION = Direction(inputs=IMAGE_SUFFIXES, outputs=(".cae",), suffix=".cae")


@dataclass(frozen=True)
class Encoder:
    """The work of ``compress`` on one input."""

    network: Network
    model: str | None
    bpp: float | None
    entropy: Entropy
    metadata: tuple[str, ...]
    max_pixels: int | None

    def __call__(self, job: Job, target: BinaryIO, advance: Callable[[float], None]) -> Outcome:
        from nncodec.formats.images import MAX_PIXELS, read_image

        with open_input(job) as (file, size):
            picture = read_image(file, self.max_pixels or MAX_PIXELS)
        if self.bpp is None:
            codec = self.network.codec(self.model)
            rows, columns = codec.header(picture).grid
            codec.compress_to(
                picture,
                target,
                entropy=self.entropy,
                metadata=self.metadata,
                progress=counting(advance, rows * columns),
            )
            model = codec.model
        else:
            from nncodec.rate import compress_under

            data, model = compress_under(
                picture,
                self.bpp,
                self.network.codec,
                entropy=self.entropy,
                metadata=self.metadata,
            )
            target.write(data)
        height, width = picture.pixels.shape[:2]
        return Outcome(
            bytes_in=size(),
            width=width,
            height=height,
            bpp=target.tell() * 8 / (width * height),
            model=model,
            notes=picture.notes,
        )


@click.command()
@click.argument("inputs", nargs=-1, metavar="[IMAGE|FOLDER|-]...")
@output_options
@click.option(
    "-m",
    "--model",
    type=ModelId(),
    envvar="NNCODEC_MODEL",
    show_envvar=True,
    metavar="ID",
    help="One of `nncodec models`; default: the one marked there.",
)
@click.option(
    "-b",
    "--bpp",
    type=click.FloatRange(min=0, min_open=True),
    metavar="MAX",
    help="Use the best model whose file stays under MAX bits per pixel.",
)
@click.option(
    "--entropy",
    type=click.Choice(["auto", "raw", "zstd"]),
    default="auto",
    show_default=True,
    help="Coding of the bits; auto takes the smaller.",
)
@network_options
@pixel_options
@report_options
@click.pass_context
def compress(
    ctx: click.Context,
    /,
    inputs: tuple[str, ...],
    model: str | None,
    bpp: float | None,
    entropy: Entropy,
    device: str,
    batch_size: int | None,
    weights: str | None,
    metadata: tuple[str, ...] | None,
    strip: bool,
    max_pixels: int | None,
    **batch: Any,
) -> None:
    """Compress images to .cae files.

    Without -o the output stands beside its input, with the suffix .cae. Of two operands, the
    second is the output if it ends in .cae. No operand, or -, means standard input to standard
    output. Several inputs need a folder as output; the tree of a folder taken with -r is mirrored
    in it.

    \b
    Example:
      nncodec compress photo.png                        # writes photo.cae
      nncodec compress photo.png small.cae -b 0.1
      nncodec compress -r photos -o cae --skip-existing # mirrored tree, restartable
      cat photo.png | nncodec compress > photo.cae
    """
    if bpp is not None and (weights or from_command_line(ctx, "model")):
        raise click.UsageError("-b chooses the model; leave out -m and --weights")
    if model and not weights:
        entry(model)  # a name that is wrong ends the batch before it begins
    settings = Settings(**batch)
    jobs = plan(
        inputs,
        settings.output,
        DIRECTION,
        recursive=settings.recursive,
        filters=settings.filters,
        force=settings.force,
    )
    encoder = Encoder(
        Network(device, batch_size, weights),
        model,
        bpp,
        entropy,
        kept_metadata(metadata, strip),
        max_pixels,
    )
    ctx.exit(run(jobs, encoder, settings))


def from_command_line(ctx: click.Context, name: str) -> bool:
    """Tell an option that was given from one that the environment sets."""
    return ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
