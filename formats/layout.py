"""The constants of the .cae layout: numbers that stand in files, and bounds.

The layout is specified in `cae.py`. Numbers in files are never reused and never derived from an
order; each bound keeps a made-up file from asking for much memory or time.
"""

from __future__ import annotations

from enum import IntEnum

SIGNATURE = b"\x89CAE\r\n\x1a\n"
VERSION = 1

METADATA_KINDS = {"icc": "c", "exif": "x", "xmp": "m"}
MAX_OPTIONAL_BYTES = 1 << 24
MAX_OPTIONAL_CHUNKS = 64

MODEL_NUMBERS = {
    1: "cae_16x8x8_zero_pad_bin",
    2: "cae_16x8x8_refl_pad_bin",
    3: "cae_16x16x16_zero_pad_bin",
    4: "cae_32x32x32_zero_pad_bin",
    5: "bitplane_256",
}
FINGERPRINT_BYTES = 8
PATCH_UNIT = 8  # pixels
DEPTH_CODES = {8: 0, 16: 1}

MAX_HEADER_BYTES = 256  # a little more than the longest legal header
MAX_SIDE = 1 << 24  # pixels
MAX_PIXELS = 1 << 32
PATCH_SWELL = 4  # times the pixels allowed that a picture's patches may have, or FEW_PIXELS
FEW_PIXELS = 1 << 22
MAX_CHANNELS = 4096
MAX_LATENT_SIDE = 128
MAX_SEGMENT_SIDE = 4096  # patches
MAX_SEGMENT_BYTES = 1 << 24  # of packed bits: what one data chunk inflates to
MAX_CONTEXT_PIXELS = 1 << 20  # of a context-coded segment: a network looks at all of it at once
MAX_PLANES = 64
STAGE_SWELL = 64  # times its packed bits that a context-coded chunk may have: it may hold planes
MAX_DATA_CHUNKS = 1 << 20  # the index of the file stays within 5 MiB
MAX_PARAMS = 16
ALPHA_STRIP_BYTES = 1 << 22  # what one alpha chunk inflates to, unless one row is longer


class Colour(IntEnum):
    """What the channels of the image are."""

    GREY = 0
    GREY_ALPHA = 1
    RGB = 2
    RGB_ALPHA = 3

    @property
    def has_alpha(self) -> bool:
        """Whether there is an alpha channel."""
        return self in (Colour.GREY_ALPHA, Colour.RGB_ALPHA)

    @property
    def is_grey(self) -> bool:
        """Whether the three colour channels are one."""
        return self in (Colour.GREY, Colour.GREY_ALPHA)


class PadMode(IntEnum):
    """How the image was continued to fill the grid."""

    EDGE = 0
    REFLECT = 1
    ZEROS = 2


class Coding(IntEnum):
    """How the payload of a data chunk is coded."""

    RAW = 0
    ZSTD = 1
    CONTEXT = 2


class AlphaCoding(IntEnum):
    """How the payload of an alpha chunk is coded."""

    ZSTD = 1
    ZSTD_LEFT = 2
    ZSTD_GRADIENT = 3


def payload_limit(size: int) -> int:
    """Bytes that a payload of `size` bytes may have when coded: coders expand very little."""
    return size + (size >> 7) + 64
