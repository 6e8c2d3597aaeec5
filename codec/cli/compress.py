"""``nncodec compress``: images to .cae files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from nncodec.formats.cae import Reader
from nncodec.formats.errors import OutputError
from nncodec.formats.stages import BIT_PLANES
from nncodec.weights import entry

from .batch import run
from .network import Network
from .operands import Direction, Job
from .options import (
    ByteCount,
    ModelId,
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
    from nncodec.formats.bits import Entropy
    from nncodec.formats.picture import Picture

# What a folder is searched for. Whether a file is an image, its content tells.
IMAGE_SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".webp", ".avif", ".tif", ".tiff", ".bmp", ".gif"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".tga"),
)
CODINGS = ("auto", "raw", "zstd", "context")  # those of nncodec.formats.bits.Entropy
DIRECTION = Direction(inputs=IMAGE_SUFFIXES, outputs=(".cae",), suffix=".cae")


@dataclass(frozen=True)
class Encoder:
    """The work of ``compress`` on one input."""

    network: Network
    model: str | None
    target: dict[str, Any]  # the fields of nncodec.rate.Target
    effort: int | None
    entropy: Entropy
    metadata: tuple[str, ...]
    max_pixels: int | None

    def __call__(self, job: Job, target: BinaryIO, advance: Callable[[float], None]) -> Outcome:
        from nncodec.formats.images import MAX_PIXELS, read_image, with_metadata
        from nncodec.rate import Target

        with open_input(job) as (file, size):
            picture = read_image(file, self.max_pixels or MAX_PIXELS)
        picture = with_metadata(picture, self.metadata)
        codec = self.network.codec(self.model)
        header = codec.header(picture)
        header.limit(self.max_pixels or MAX_PIXELS)
        rows, columns = header.grid
        pixels = picture.width * picture.height
        with self.network.room(pixels):
            data = codec.compress_picture(
                picture,
                Target(**self.target),
                effort=self.effort,
                entropy=self.entropy,
                progress=counting(advance, rows * columns),
            )
        target.write(data)

        def check(written: BinaryIO) -> None:
            if written.read() != data:
                raise OutputError("it was not written as it should be")
            written.seek(0)
            with self.network.room(pixels):
                decoded = codec.decompress_from(Reader(written, max_pixels=None))
            check_form(decoded, picture)

        return Outcome(
            bytes_in=size(),
            width=picture.width,
            height=picture.height,
            bpp=len(data) * 8 / pixels,
            model=codec.model,
            notes=picture.notes,
            check=check,
        )


def check_form(decoded: Picture, original: Picture) -> None:
    """Raise OutputError unless all is the same but for the colours, which a codec changes."""
    for name in ("width", "height", "colour", "depth"):
        if getattr(decoded, name) != getattr(original, name):
            raise OutputError(f"its {name} is not that of the input")
    if decoded.alpha is not None and (decoded.alpha != original.alpha).any():
        raise OutputError("its alpha is not that of the input")


@click.command()
@click.argument("inputs", nargs=-1, metavar="[IMAGE|FOLDER|-]...")
@output_options
@removal_option
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
    "-q",
    "--quality",
    type=click.FloatRange(0, 100),
    metavar="Q",
    help="From 0, smallest, to 100, finest; default 60. Fractions count.",
)
@click.option(
    "-b",
    "--bpp",
    type=click.FloatRange(min=0, min_open=True),
    metavar="MAX",
    help="The best file of at most MAX bits per pixel.",
)
@click.option(
    "--size",
    type=ByteCount(),
    metavar="BYTES",
    help="The best file of at most BYTES; 20K is 20,000, 1.5M a million and a half.",
)
@click.option(
    "--psnr",
    type=click.FloatRange(min=0, min_open=True),
    metavar="DB",
    help="The smallest file with a PSNR of at least DB.",
)
@click.option(
    "-e",
    "--effort",
    type=click.IntRange(1, 9),
    metavar="E",
    help="From 1, fastest, to 9, best; default 2. Decompression takes the same time.",
)
@click.option(
    "--stages",
    type=click.IntRange(1, BIT_PLANES),
    metavar="N",
    help="Stages to send it in, from coarse to fine; default: up to four, fewer in a small file.",
)
@click.option(
    "--entropy",
    type=click.Choice(CODINGS),
    default="auto",
    metavar="CODING",
    help="Coding of the bits: raw, zstd, context, or auto (the default), the smallest of them.",
)
@engine_options
@network_options
@pixel_options
@report_options
@click.pass_context
def compress(
    ctx: click.Context,
    /,
    inputs: tuple[str, ...],
    model: str | None,
    quality: float | None,
    bpp: float | None,
    size: int | None,
    psnr: float | None,
    stages: int | None,
    effort: int | None,
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
      nncodec compress photo.png fine.cae -q 80
      nncodec compress photo.png small.cae --size 20K   # never more, rarely less
      nncodec compress -r photos -o cae --skip-existing # mirrored tree, restartable
      cat photo.png | nncodec compress > photo.cae
    """
    target: dict[str, Any] = {"quality": quality, "bpp": bpp, "size": size, "psnr": psnr}
    if sum(value is not None for value in target.values()) > 1:
        raise click.UsageError("give one of -q, -b, --size and --psnr")
    target["stages"] = stages
    if model and not weights:
        entry(model)  # a name that is wrong ends the batch before it begins
    settings = Settings(**batch, device=device)
    jobs = settings.plan(inputs, DIRECTION)
    network = Network(device, batch_size, weights)
    encoder = Encoder(
        network,
        model,
        target,
        effort,
        entropy,
        kept_metadata(metadata, strip),
        max_pixels,
    )
    ctx.exit(run(jobs, encoder, settings))
