"""The alpha channel, lossless: strips of rows, see chunk A in `cae.py`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from . import zstd
from .errors import CaeError, DamagedChunk
from .header import Header
from .layout import AlphaCoding
from .parts import AlphaStrip

OPAQUE = 255
ALL = slice(None)


# The axes along which values are replaced by their differences before zstd.
_AXES = {
    AlphaCoding.ZSTD: (),
    AlphaCoding.ZSTD_LEFT: (1,),
    AlphaCoding.ZSTD_GRADIENT: (0, 1),
}


def encode(alpha: NDArray[np.uint8], header: Header) -> Iterator[tuple[AlphaCoding, bytes]]:
    """The coding and payload of each strip of `alpha` (height, width)."""
    for index in range(header.n_alpha_strips):
        row, rows = header.alpha_strip(index)
        yield _encode_strip(alpha[row : row + rows])


def _encode_strip(strip: NDArray[np.uint8]) -> tuple[AlphaCoding, bytes]:
    """The coding that the fastest level finds smallest, and its payload at the best level."""
    candidates: dict[AlphaCoding, bytes] = {}
    for coding, axes in _AXES.items():
        values = strip
        for axis in axes:
            values = np.diff(values, axis=axis, prepend=np.uint8(0))
        candidates[coding] = values.tobytes()
    best = min(candidates, key=lambda coding: len(zstd.deflate(candidates[coding], level=1)))
    return best, zstd.deflate(candidates[best])


def decode_strip(strip: AlphaStrip, header: Header) -> NDArray[np.uint8]:
    """The alpha values (rows, width) of one strip; DamagedChunk if it does not hold just these."""
    _, rows = header.alpha_strip(strip.index)
    data = zstd.inflate(strip.payload, rows * header.width, strip.name)
    values = np.frombuffer(data, np.uint8).reshape(rows, header.width)
    for axis in _AXES[strip.coding]:
        values = np.cumsum(values, axis=axis, dtype=np.uint8)
    return values


def decode(
    strips: Iterable[AlphaStrip],
    header: Header,
    errors: list[CaeError] | None = None,
    rows: slice = ALL,
) -> NDArray[np.uint8]:
    """The alpha channel (h, width) of some of the rows; opaque where a strip is missing.

    DamagedChunk if a strip is damaged; with a list of `errors` it is left out and noted there.
    """
    top, bottom, _ = rows.indices(header.height)
    alpha = np.full((bottom - top, header.width), OPAQUE, np.uint8)
    for strip in strips:
        row, count = header.alpha_strip(strip.index)
        begin, end = max(row, top), min(row + count, bottom)
        if begin >= end:
            continue
        try:
            values = decode_strip(strip, header)
        except DamagedChunk as error:
            if errors is None:
                raise
            errors.append(error)
        else:
            alpha[begin - top : end - top] = values[begin - row : end - row]
    return alpha
