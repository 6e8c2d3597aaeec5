"""``nncodec thumbnail``: a small PNG of a .cae file, as file managers ask for it."""

from typing import TYPE_CHECKING

import click

from nncodec.formats.errors import NncodecError
from nncodec.formats.files import atomic_output, check_output

from .options import device_option, verbose_option

if TYPE_CHECKING:
    from PIL.Image import Image


@click.command()
@click.argument("source", metavar="FILE.cae")
@click.argument("target", metavar="OUT.png")
@click.option(
    "-s",
    "--size",
    type=click.IntRange(1, 4096),
    default=256,
    show_default=True,
    metavar="N",
    help="Pixels along the longer side, at most.",
)
@click.option("-f", "--force", is_flag=True, help="Overwrite.")
@device_option
@verbose_option
def thumbnail(source: str, target: str, size: int, force: bool, device: str, verbose: bool) -> None:
    """Write a small PNG of a .cae file, as file managers ask for it.

    Stages of the file that would not be seen are not decoded. The picture is turned upright as its
    EXIF data say.

    \b
    Example:
      nncodec thumbnail photo.cae thumbnail.png --size 128
    """
    check_output(target, force=force, source=source)
    try:
        small = reduced(source, size, device)
    except NncodecError as error:
        raise NncodecError(f"{source}: {error}") from error
    with atomic_output(target, force=force, source=source) as file:
        small.save(file, "PNG")


def reduced(source: str, size: int, device: str) -> "Image":
    """Return the picture in a file, at most ``size`` pixels wide and high, upright."""
    from PIL import ImageOps

    from nncodec.api import codec_for
    from nncodec.engine import model_of
    from nncodec.formats.cae import Reader
    from nncodec.formats.images import MAX_PIXELS, to_pil
    from nncodec.pillow import stages_for

    with open(source, "rb") as file:
        reader = Reader(file, max_pixels=MAX_PIXELS)
        header = reader.header
        codec = codec_for(model_of(header), device)
        stages = stages_for(header, max(header.width, header.height) / size)
        image = to_pil(codec.decompress_from(reader, stages=stages))
    image.thumbnail((size, size))
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # Pillow raises nearly anything on EXIF that do not parse: they tell nothing
        return image
