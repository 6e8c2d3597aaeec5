"""The header chunk of a .cae file: what the image was, and how its patches become bits.

The layout is specified in `cae.py`; `Header.encode` and `Header.decode` follow that table.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import NamedTuple, TypeVar

from . import varint
from .chunks import Fields
from .errors import Damaged, Unsupported
from .layout import (
    ALPHA_STRIP_BYTES,
    DEPTH_CODES,
    FEW_PIXELS,
    FINGERPRINT_BYTES,
    MAX_CHANNELS,
    MAX_DATA_CHUNKS,
    MAX_LATENT_SIDE,
    MAX_PARAMS,
    MAX_PIXELS,
    MAX_PLANES,
    MAX_SEGMENT_BYTES,
    MAX_SEGMENT_SIDE,
    MAX_SIDE,
    MODEL_NUMBERS,
    PATCH_SWELL,
    PATCH_UNIT,
    STAGE_SWELL,
    Colour,
    PadMode,
    payload_limit,
)

_NUMBER_OF_MODEL = {model: number for number, model in MODEL_NUMBERS.items()}
_MODEL_ID = re.compile(r"[a-z0-9_.-]{1,64}")
_Code = TypeVar("_Code", bound=IntEnum)


class Pad(NamedTuple):
    """Pixels added on each side to fill the grid."""

    top: int
    left: int
    bottom: int
    right: int


class Tile(NamedTuple):
    """A rectangle of patches: the first one's place in the grid, and how many."""

    row: int
    column: int
    rows: int
    columns: int


@dataclass(frozen=True)
class Header:
    """Everything that a decoder must know before the first bit.

    Sizes and pads are in pixels, `side` (of the latent of one patch) in latent positions,
    `segment_rows` and `segment_columns` in patches. `depth` is that of the source's samples; those
    decoded have 8 bits. Unsupported or Damaged if a value is out of its range.
    """

    width: int
    height: int
    patch: int
    pad_top: int
    pad_left: int
    pad_mode: PadMode
    colour: Colour
    depth: int
    model: str
    fingerprint: bytes
    channels: int
    side: int
    segment_rows: int
    segment_columns: int
    planes: int = 1
    params: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        _check("width", self.width, 1, MAX_SIDE)
        _check("height", self.height, 1, MAX_SIDE)
        _check("number of pixels", self.width * self.height, 1, MAX_PIXELS)
        _check("patch size", self.patch, PATCH_UNIT, 255 * PATCH_UNIT)
        if self.patch % PATCH_UNIT:
            raise Unsupported(f"patch size {self.patch} is no multiple of {PATCH_UNIT}")
        _check("pad at the top", self.pad_top, 0, self.patch - 1)
        _check("pad at the left", self.pad_left, 0, self.patch - 1)
        if self.depth not in DEPTH_CODES:
            raise Unsupported(f"sample depth {self.depth} in the header; 8 and 16 are known")
        if not _MODEL_ID.fullmatch(self.model):
            raise Damaged(
                "the model id in the header is not 1 to 64 of the characters a-z 0-9 _ . -"
            )
        if len(self.fingerprint) != FINGERPRINT_BYTES:
            raise Damaged(f"the fingerprint has not {FINGERPRINT_BYTES} bytes")
        _check("number of latent channels", self.channels, 1, MAX_CHANNELS)
        _check("latent side", self.side, 1, MAX_LATENT_SIDE)
        _check("height of a segment", self.segment_rows, 1, MAX_SEGMENT_SIDE)
        _check("width of a segment", self.segment_columns, 1, MAX_SEGMENT_SIDE)
        _check("number of planes", self.planes, 1, MAX_PLANES)
        _check("number of parameters", len(self.params), 0, MAX_PARAMS)
        for value in self.params:
            _check("parameter", value, 0, varint.LIMIT - 1)
        _check("size of a segment in bytes", self.segment_bytes(0), 1, MAX_SEGMENT_BYTES)
        _check("number of data chunks", self.n_chunks, 1, MAX_DATA_CHUNKS)

    def limit(self, max_pixels: int | None) -> None:
        """Raise Unsupported for a picture of more pixels, or whose patches have far more.

        A network draws all of a patch, also where the picture is but one column of it.
        """
        if max_pixels is None:
            return
        size = f"{self.width} x {self.height} pixels"
        if self.width * self.height > max_pixels:
            raise Unsupported(f"{size} are more than {max_pixels}; allow it with --max-pixels")
        drawn = self.grid[0] * self.grid[1] * self.patch**2
        if drawn > max(PATCH_SWELL * max_pixels, FEW_PIXELS):
            raise Unsupported(
                f"the patches of {size} have {drawn}, over {PATCH_SWELL} times {max_pixels}; "
                "allow it with --max-pixels"
            )

    @property
    def pad(self) -> Pad:
        """The pad on all four sides; bottom and right are what is missing to whole patches."""
        return Pad(
            self.pad_top,
            self.pad_left,
            -(self.pad_top + self.height) % self.patch,
            -(self.pad_left + self.width) % self.patch,
        )

    @cached_property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches."""
        return (
            -(-(self.pad_top + self.height) // self.patch),
            -(-(self.pad_left + self.width) // self.patch),
        )

    @cached_property
    def segments(self) -> tuple[int, int]:
        """Rows and columns of segments."""
        rows, columns = self.grid
        return -(-rows // self.segment_rows), -(-columns // self.segment_columns)

    @property
    def n_segments(self) -> int:
        """Segments of one plane."""
        rows, columns = self.segments
        return rows * columns

    @property
    def n_chunks(self) -> int:
        """Data chunks in the file: one for each segment of each plane."""
        return self.n_segments * self.planes

    def segment_patches(self, index: int) -> Tile:
        """The patches of segment `index` (raster order), clipped at the grid's edge."""
        rows, columns = self.grid
        row, column = divmod(index, self.segments[1])
        row, column = row * self.segment_rows, column * self.segment_columns
        return Tile(
            row,
            column,
            min(self.segment_rows, rows - row),
            min(self.segment_columns, columns - column),
        )

    def segment_pixels(self, index: int) -> int:
        """Pixels of segment `index`, those of the padding too."""
        tile = self.segment_patches(index)
        return tile.rows * tile.columns * self.patch**2

    def segment_bits(self, index: int) -> int:
        """Bits of segment `index` in one plane."""
        tile = self.segment_patches(index)
        return tile.rows * tile.columns * self.channels * self.side**2

    def segment_bytes(self, index: int) -> int:
        """Bytes of segment `index` in one plane, packed."""
        return -(-self.segment_bits(index) // 8)

    def payload_limit(self, index: int) -> int:
        """Bytes that the payload of segment `index` may have, whatever its coding."""
        return payload_limit(self.segment_bytes(index)) * (STAGE_SWELL if self.params else 1)

    @property
    def alpha_rows(self) -> int:
        """Pixel rows in an alpha strip (the last may have fewer)."""
        return max(1, ALPHA_STRIP_BYTES // self.width)

    @property
    def n_alpha_strips(self) -> int:
        """Alpha chunks in the file."""
        return -(-self.height // self.alpha_rows) if self.colour.has_alpha else 0

    def alpha_strip(self, index: int) -> tuple[int, int]:
        """First pixel row of alpha strip `index`, and its number of rows."""
        row = index * self.alpha_rows
        return row, min(self.alpha_rows, self.height - row)

    def encode(self) -> bytes:
        """The body of the header chunk."""
        number = _NUMBER_OF_MODEL.get(self.model, 0)
        out = bytearray()
        out += varint.encode(self.width) + varint.encode(self.height)
        out.append(self.patch // PATCH_UNIT)
        out += varint.encode(self.pad_top) + varint.encode(self.pad_left)
        out.append(self.pad_mode)
        out.append(self.colour | DEPTH_CODES[self.depth] << 4)
        out += varint.encode(number)
        if number == 0:
            out += varint.encode(len(self.model)) + self.model.encode("ascii")
        out += self.fingerprint
        out += varint.encode(self.channels) + varint.encode(self.side)
        out += varint.encode(self.segment_rows) + varint.encode(self.segment_columns)
        out += varint.encode(self.planes)
        out += varint.encode(len(self.params))
        for value in self.params:
            out += varint.encode(value)
        return bytes(out)

    @classmethod
    def decode(cls, body: bytes) -> Header:
        """The header in `body`; Unsupported or Damaged if it is not a header of version 1."""
        fields = Fields(body, "the header")
        width, height = fields.varint(), fields.varint()
        patch = fields.byte() * PATCH_UNIT
        pad_top, pad_left = fields.varint(), fields.varint()
        pad_mode = _known(PadMode, "pad mode", fields.byte())
        colour_and_depth = fields.byte()
        depths = {code: depth for depth, code in DEPTH_CODES.items()}
        colour = _known(Colour, "colour type", colour_and_depth & 0x0F)
        if colour_and_depth >> 4 not in depths:
            raise Unsupported(f"sample depth code {colour_and_depth >> 4} in the header")
        header = cls(
            width=width,
            height=height,
            patch=patch,
            pad_top=pad_top,
            pad_left=pad_left,
            pad_mode=pad_mode,
            colour=colour,
            depth=depths[colour_and_depth >> 4],
            model=_model(fields),
            fingerprint=fields.take(FINGERPRINT_BYTES),
            channels=fields.varint(),
            side=fields.varint(),
            segment_rows=fields.varint(),
            segment_columns=fields.varint(),
            planes=fields.varint(),
            params=_params(fields),
        )
        fields.end()
        return header


def _check(what: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise Unsupported(f"{what} {value} in the header; {least} to {most} can be read")


def _known(table: type[_Code], what: str, value: int) -> _Code:
    try:
        return table(value)
    except ValueError:
        raise Unsupported(f"{what} {value} in the header is not known to this version") from None


def _model(fields: Fields) -> str:
    number = fields.varint()
    if number == 0:
        model = fields.take(min(fields.varint(), 65)).decode("latin-1")
        if model in _NUMBER_OF_MODEL:
            raise Damaged(f"the header spells {model} out, which has a number")
        return model
    if number not in MODEL_NUMBERS:
        raise Unsupported(f"model number {number} in the header is not known to this version")
    return MODEL_NUMBERS[number]


def _params(fields: Fields) -> tuple[int, ...]:
    count = fields.varint()
    _check("number of parameters", count, 0, MAX_PARAMS)
    return tuple(fields.varint() for _ in range(count))
