"""What image files carry beside pixels: ICC profile, EXIF and XMP, as bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from PIL import Image

from .errors import one_line
from .layout import MAX_OPTIONAL_BYTES

EXIF_PREFIX = b"Exif\0\0"
ORIENTATION = 274  # an EXIF tag: how to turn the picture

# Tags of a TIFF file that describe the picture and not the file: description, make, model,
# orientation, resolution (x, y, unit), software, date, artist, host, copyright, EXIF, GPS.
TIFF_TAGS = {270, 271, 272, 274, 282, 283, 296, 305, 306, 315, 316, 33432, 34665, 34853}


@dataclass(frozen=True)
class Metadata:
    """What an image file carries beside pixels; EXIF without its leading "Exif\\0\\0"."""

    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None


def orientation_of(exif: bytes | None) -> int:
    """How EXIF says that the picture is to be turned, 1 (not at all) to 8."""
    tags = Image.Exif()
    try:
        tags.load(EXIF_PREFIX + (exif or b""))
        orientation = tags.get(ORIENTATION)
    except Exception:  # the tags are whatever the file says
        return 1
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1


def read_metadata(image: Image.Image, notes: list[str]) -> Metadata:
    """What a Pillow image carries; `notes` gets what is dropped."""
    exif = _bytes(image.info.get("exif"), "EXIF", notes) or _exif_tags(image, notes)
    return Metadata(
        icc=_bytes(image.info.get("icc_profile"), "ICC", notes),
        exif=(exif.removeprefix(EXIF_PREFIX) or None) if exif else None,
        xmp=_xmp(image, notes),
    )


def _bytes(value: Any, name: str, notes: list[str]) -> bytes | None:
    data = value.encode() if isinstance(value, str) else value
    if not data:
        return None
    if not isinstance(data, bytes) or len(data) > MAX_OPTIONAL_BYTES:
        notes.append(f"{name} of an unusual form or over {MAX_OPTIONAL_BYTES} bytes is dropped")
        return None
    return data


def _xmp(image: Image.Image, notes: list[str]) -> bytes | None:
    """The XMP packet, if it is text: PNG files hold it in no other form."""
    data = _bytes(image.info.get("xmp"), "XMP", notes)
    try:
        if data is not None:
            data.decode()
    except UnicodeDecodeError:
        notes.append("XMP that is not UTF-8 is dropped")
        return None
    return data


def _exif_tags(image: Image.Image, notes: list[str]) -> bytes | None:
    """EXIF that is not in one piece: a TIFF file's own tags, and ImageMagick's text in PNG."""
    if image.format != "TIFF" and "Raw profile type exif" not in image.info:
        return None
    try:
        tags = image.getexif()
        for tag in set(tags) - TIFF_TAGS:
            del tags[tag]
        return _bytes(tags.tobytes(), "EXIF", notes) if tags else None
    except Exception as error:  # as above: the tags are whatever the file says
        notes.append(f"EXIF is dropped: {one_line(error)}")
        return None
