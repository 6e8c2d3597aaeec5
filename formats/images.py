"""Image files: any that Pillow reads to a `Picture`, and a `Picture` to the usual formats."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePath
from typing import Any, BinaryIO, cast

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from .chunks import write_all
from .errors import ImageError, OutputError, one_line
from .files import StrPath
from .metadata import EXIF_PREFIX, TIFF_TAGS, Metadata
from .picture import Picture, from_array, from_pil, to_pil, with_metadata

__all__ = [
    "FORMATS",
    "MAX_PIXELS",
    "Metadata",
    "Picture",
    "format_of",
    "from_array",
    "from_pil",
    "read_image",
    "to_pil",
    "with_metadata",
    "write_image",
]

MAX_PIXELS = 178_956_970  # where Pillow draws the line between a large image and an attack

# What can be written, by the suffix of a file's name.
FORMATS = {
    ".png": "png",
    ".webp": "webp",
    ".jpg": "jpeg",
    ".jpeg": "jpeg",
    ".tif": "tiff",
    ".tiff": "tiff",
    ".ppm": "ppm",
    ".pgm": "ppm",
    ".npy": "npy",
}
_OPTIONS: dict[str, dict[str, Any]] = {
    "png": {},
    "webp": {"lossless": True, "exact": True},
    "jpeg": {"quality": 95, "subsampling": "4:4:4"},
    "tiff": {},  # Pillow's compressed TIFF cannot hold EXIF
    "ppm": {},
    "npy": {},
}
_MAX_SIDE = {"webp": 16383, "jpeg": 65500}
_WITHOUT_ALPHA = ("jpeg", "ppm")
_XMP_TAG = 700

_lock = threading.Lock()
_readers = 0  # reads in progress
_limit: int | None = None  # Pillow's, while there are any


def read_image(source: StrPath | BinaryIO | bytes, max_pixels: int | None = MAX_PIXELS) -> Picture:
    """Read an image from a path, a binary stream or bytes.

    ImageError if it is not an image, is damaged, has a form that is not supported, or more than
    `max_pixels` pixels (None: no limit); OSError if a path cannot be opened.
    """
    if isinstance(source, str | os.PathLike):
        with open(source, "rb") as file:
            return _read(file, max_pixels)
    if isinstance(source, bytes):
        return _read(io.BytesIO(source), max_pixels)
    return _read(source if source.seekable() else io.BytesIO(source.read()), max_pixels)


def format_of(path: StrPath) -> str:
    """The format that a file's name asks for; OutputError if it is none that can be written."""
    suffix = PurePath(path).suffix.lower()
    if suffix not in FORMATS:
        raise OutputError(f"{os.fspath(path)}: unknown suffix; use one of {' '.join(FORMATS)}")
    return FORMATS[suffix]


def write_image(picture: Picture, file: BinaryIO, format: str = "png") -> None:
    """Write `picture` as "png", "webp" (lossless), "jpeg" (quality 95), "tiff", "ppm" or "npy".

    Metadata goes along except into ppm and npy, which have no place for it; npy holds (height,
    width[, channels]) uint8. OutputError if the format cannot hold the picture.
    """
    if format not in _OPTIONS:
        raise OutputError(f"no format {format!r}; use one of {', '.join(_OPTIONS)}")
    if picture.alpha is not None and format in _WITHOUT_ALPHA:
        raise OutputError(f"{format} has no alpha channel; use png, webp or tiff")
    limit = _MAX_SIDE.get(format)
    if limit is not None and max(picture.width, picture.height) > limit:
        raise OutputError(f"{format} holds at most {limit} x {limit} pixels; use png or tiff")
    if format == "npy":
        np.save(file, np.asarray(to_pil(picture)))
    elif file.seekable():
        _save(picture, file, format)
    else:  # TIFF goes back in its file
        whole = io.BytesIO()
        _save(picture, whole, format)
        write_all(file, whole.getvalue())


class _Unnumbered:
    """A file less its number, by which Pillow would write, and not notice when a disk is full."""

    def __init__(self, file: BinaryIO) -> None:
        self.write, self.flush, self.seek, self.tell = file.write, file.flush, file.seek, file.tell


def _save(picture: Picture, file: BinaryIO, format: str) -> None:
    image = to_pil(picture)
    options = dict(_OPTIONS[format])
    try:
        if format != "ppm":
            options |= _metadata(picture.metadata, format)
        image.save(cast(BinaryIO, _Unnumbered(file)), format, **options)
    except (OSError, MemoryError):
        raise  # of the machine, and not of the picture
    except Exception as error:  # Pillow raises nearly anything on metadata that do not parse
        other = "webp" if format == "png" else "png"
        message = f"cannot be written as {format}: {one_line(error)}; use {other}"
        raise OutputError(message) from None


def _metadata(metadata: Metadata, format: str) -> dict[str, Any]:
    """The options that make Pillow write the metadata."""
    options: dict[str, Any] = {}
    if metadata.icc is not None:
        options["icc_profile"] = metadata.icc
    if metadata.exif is not None:
        options["exif"] = EXIF_PREFIX + metadata.exif
    if format == "tiff":
        options["exif"] = tags = Image.Exif()
        tags.load(EXIF_PREFIX + metadata.exif if metadata.exif else b"")
        for tag in set(tags) - TIFF_TAGS:  # EXIF may describe the file that it was in
            del tags[tag]
        if metadata.xmp is not None:
            tags[_XMP_TAG] = metadata.xmp
    elif metadata.xmp is not None and format == "png":
        options["pnginfo"] = chunks = PngInfo()
        chunks.add_itxt("XML:com.adobe.xmp", metadata.xmp.decode())
    elif metadata.xmp is not None:
        options["xmp"] = metadata.xmp
    return options


def _read(file: BinaryIO, max_pixels: int | None) -> Picture:
    try:
        with _without_pillows_limit(), Image.open(file) as image:
            if max_pixels is not None and image.width * image.height > max_pixels:
                size = f"{image.width} x {image.height} pixels"
                raise ImageError(f"{size} are more than {max_pixels}; allow it with --max-pixels")
            if image.format == "EPS":
                raise ImageError("EPS is a program, not a picture; render it first")
            return from_pil(image)
    except ImageError:
        raise
    except UnidentifiedImageError:
        raise ImageError("not an image that can be read") from None
    # Pillow's readers raise nearly anything on damaged files.
    except Exception as error:
        raise ImageError(f"the image is damaged or not supported: {one_line(error)}") from None


@contextmanager
def _without_pillows_limit() -> Iterator[None]:
    """Switch off Pillow's own limit, which warns on stderr and cannot be given per call."""
    global _limit, _readers
    with _lock:
        if _readers == 0:
            _limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        _readers += 1
    try:
        yield
    finally:
        with _lock:
            _readers -= 1
            if _readers == 0:
                Image.MAX_IMAGE_PIXELS = _limit
