"""A picture in memory: what the codec sees of an image, whatever it was.

Colour is 8-bit RGB; grey is three equal channels. Alpha is apart, exact. ICC profile, EXIF and XMP
are carried as bytes. Whatever has to be changed to get there is said in `Picture.notes`.
"""

from __future__ import annotations

import io
import re
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageFile, ImageOps

from .errors import ImageError
from .layout import METADATA_KINDS, Colour
from .metadata import EXIF_PREFIX, ORIENTATION, Metadata, orientation_of, read_metadata

Pixels: TypeAlias = NDArray[np.uint8]

_STRIP_PIXELS = 1 << 20  # converted at a time, so that no second copy of the image is made

# Pillow's mode -> the mode that is read from it.
_MODES = {
    "1": "L",
    "L": "L",
    "LA": "LA",
    "La": "LA",
    "P": "RGB",
    "PA": "RGBA",
    "RGB": "RGB",
    "RGBX": "RGB",
    "RGBA": "RGBA",
    "RGBa": "RGBA",
    "YCbCr": "RGB",
    "CMYK": "RGB",
    "I;16": "L",
    "I;16L": "L",
    "I;16B": "L",
    "I;16N": "L",
}
_COLOURS = {
    "L": Colour.GREY,
    "LA": Colour.GREY_ALPHA,
    "RGB": Colour.RGB,
    "RGBA": Colour.RGB_ALPHA,
}
_SIXTEEN_BITS = re.compile(";16[BLN]")  # in Pillow's name of how a file stores samples


@dataclass(frozen=True)
class Picture:
    """An image in memory.

    `pixels` (height, width, 3), RGB; if `colour` is grey, three equal channels, perhaps a read-only
    view. `alpha` (height, width) if `colour` has alpha, else None. `depth` is that of the source's
    samples. `notes` says what was lost on the way in.
    """

    pixels: Pixels
    colour: Colour = Colour.RGB
    alpha: Pixels | None = None
    depth: int = 8
    metadata: Metadata = field(default_factory=Metadata)
    notes: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        """Width in pixels."""
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        """Height in pixels."""
        return int(self.pixels.shape[0])


def from_pil(image: Image.Image) -> Picture:
    """The picture in a Pillow image; ImageError if its mode is not supported."""
    notes: list[str] = []
    if image.mode == "I" and image.format == "PPM":
        image = image.convert("I;16")  # a PGM file has no more than 16 bits
    if image.mode not in _MODES:
        raise ImageError(f"mode {image.mode} is not supported; convert it to RGB or L first")
    # Only an image that has not been loaded tells how its file stored the samples.
    stored = (
        str(image.tile[0].args) if isinstance(image, ImageFile.ImageFile) and image.tile else ""
    )
    image.load()
    if 0 in image.size:
        raise ImageError("the image is empty")
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        notes.append(f"only one of {frames} frames is kept")
    depth = 16 if image.mode.startswith("I;16") or _SIXTEEN_BITS.search(stored) else 8
    if depth == 16:
        notes.append("16-bit samples are scaled to 8 bits")
    metadata = read_metadata(image, notes)
    mode = _target_mode(image, grey="LA;16" in stored)
    if image.mode == "CMYK":
        image, metadata = _cmyk_to_rgb(image, metadata, notes)
    elif image.mode == "P":
        image = image.convert(mode)
    pixels, alpha = _planes(image, mode)
    return Picture(pixels, _COLOURS[mode], alpha, depth, metadata, tuple(notes))


def from_array(array: NDArray[np.uint8]) -> Picture:
    """The picture in an array: uint8, (height, width) grey, (height, width, 3) RGB or 4 RGBA."""
    if array.dtype != np.uint8:
        raise ImageError(f"an array of {array.dtype}; uint8 is needed")
    if array.ndim not in (2, 3) or 0 in array.shape or array.shape[2:] not in ((), (3,), (4,)):
        raise ImageError(f"an array of shape {array.shape}; (height, width[, 3 or 4]) is needed")
    if array.ndim == 2:
        return Picture(_three_channels(array), Colour.GREY)
    if array.shape[2] == 3:
        return Picture(array)
    return Picture(array[:, :, :3], Colour.RGB_ALPHA, array[:, :, 3])


def with_metadata(picture: Picture, kept: Collection[str]) -> Picture:
    """`picture` with only the metadata `kept` of "exif", "icc" and "xmp".

    Without the EXIF that says how to turn it, it is turned.
    """
    dropped = METADATA_KINDS.keys() - kept
    found = replace(picture, metadata=replace(picture.metadata, **dict.fromkeys(dropped)))
    orientation = orientation_of(picture.metadata.exif) if "exif" in dropped else 1
    if orientation == 1:
        return found
    alpha = None if picture.alpha is None else _upright(picture.alpha, orientation)
    return replace(found, pixels=_upright(picture.pixels, orientation), alpha=alpha)


def to_pil(picture: Picture) -> Image.Image:
    """A Pillow image of mode L, LA, RGB or RGBA, with the metadata in its `info`.

    Grey is the mean of the three channels.
    """
    pixels = picture.pixels
    image = Image.fromarray(_grey(pixels) if picture.colour.is_grey else pixels)
    if picture.alpha is not None:
        image.putalpha(Image.fromarray(picture.alpha))
    metadata = picture.metadata
    if metadata.icc is not None:
        image.info["icc_profile"] = metadata.icc
    if metadata.exif is not None:
        image.info["exif"] = EXIF_PREFIX + metadata.exif
    if metadata.xmp is not None:
        image.info["xmp"] = metadata.xmp
    return image


def _upright(samples: Pixels, orientation: int) -> Pixels:
    """Samples (height, width, ...) as they are to be seen."""
    image = Image.fromarray(samples)
    image.getexif()[ORIENTATION] = orientation
    ImageOps.exif_transpose(image, in_place=True)
    return np.array(image)


def _target_mode(image: Image.Image, grey: bool) -> str:
    """The mode to read `image` as; `grey` if its file is grey although its mode is not."""
    mode = _MODES[image.mode]
    if image.mode == "P" and "icc_profile" not in image.info:
        palette = np.array(image.getpalette("RGB")).reshape(-1, 3)
        grey = bool((palette == palette[:, :1]).all())
    if grey:
        mode = mode.replace("RGB", "L")
    return mode + "A" if image.has_transparency_data and not mode.endswith("A") else mode


def _planes(image: Image.Image, mode: str) -> tuple[Pixels, Pixels | None]:
    """Pixels and alpha of `image` read as `mode`, strip by strip."""
    width, height = image.size
    channels = len(mode)
    out = np.empty((height, width, channels), np.uint8)
    rows = max(1, _STRIP_PIXELS // width)
    for row in range(0, height, rows):
        box = (0, row, width, min(row + rows, height))
        out[row : row + rows] = _samples(image if rows >= height else image.crop(box), mode)
    alpha = np.ascontiguousarray(out[:, :, -1]) if mode.endswith("A") else None
    if mode.startswith("L"):
        return _three_channels(out[:, :, 0]), alpha
    return out[:, :, :3], alpha


def _samples(image: Image.Image, mode: str) -> Pixels:
    """The samples (height, width, channels) of a small image."""
    if not image.mode.startswith("I;16"):
        samples: Pixels = np.asarray(image if image.mode == mode else image.convert(mode))
        return samples.reshape(image.height, image.width, -1)
    deep = np.asarray(image).astype(np.uint32)
    planes = [(deep + 128) // 257]
    if mode == "LA":
        planes.append(np.where(deep == image.info["transparency"], 0, 255))
    return np.stack(planes, axis=-1).astype(np.uint8)


def _three_channels(grey: Pixels) -> Pixels:
    return np.broadcast_to(grey[:, :, None], (*grey.shape, 3))


def _grey(pixels: Pixels) -> Pixels:
    """The rounded mean of the channels, (height, width)."""
    out = np.empty(pixels.shape[:2], np.uint8)
    rows = max(1, _STRIP_PIXELS // pixels.shape[1])
    for row in range(0, len(out), rows):
        total = pixels[row : row + rows].sum(axis=2, dtype=np.uint16)
        out[row : row + rows] = (total + 1) // 3
    return out


def _cmyk_to_rgb(
    image: Image.Image, metadata: Metadata, notes: list[str]
) -> tuple[Image.Image, Metadata]:
    """`image` in sRGB, through its profile if it has one; the profile no longer applies."""
    rest = Metadata(exif=metadata.exif, xmp=metadata.xmp)
    if metadata.icc is not None:
        try:
            profile = ImageCms.ImageCmsProfile(io.BytesIO(metadata.icc))
            srgb = ImageCms.createProfile("sRGB")
            converted = ImageCms.profileToProfile(image, profile, srgb, outputMode="RGB")
            if converted is not None:
                notes.append("CMYK is converted to sRGB through its profile")
                return converted, rest
        except (ImageCms.PyCMSError, OSError):
            pass  # a broken profile is no worse than none
    notes.append("CMYK without a usable profile is converted to RGB")
    return image.convert("RGB"), rest
