"""Bits to bytes: ±1 latents packed, and the payload of a data chunk.

Packing puts bit 1 for +1, bit 0 for -1, the most significant bit of a byte first. Context coding
is not here: it takes a model.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from . import zstd
from .errors import DamagedChunk, Unsupported
from .header import Header
from .layout import Coding
from .parts import Segment

Entropy = Literal["auto", "raw", "zstd", "context"]


def pack(bits: NDArray[Any]) -> bytes:
    """Pack `bits` of any shape, (n, C, H, W) as a rule, in C order: positive or true is bit 1."""
    return np.packbits(bits > 0).tobytes()


def unpack(packed: bytes, shape: tuple[int, ...], name: str = "the payload") -> NDArray[np.int8]:
    """The ±1 values of `shape`, (n, C, H, W) as a rule, that `pack` has packed.

    DamagedChunk, naming `name`, if the number of bytes is another or the filling is not zeros.
    """
    count = math.prod(shape)
    if len(packed) != -(-count // 8):
        raise DamagedChunk(f"{name} holds {len(packed)} bytes, {-(-count // 8)} are due")
    if count % 8 and packed[-1] & 0xFF >> count % 8:
        raise DamagedChunk(f"{name} is not filled up with zeros")
    bits = np.unpackbits(np.frombuffer(packed, np.uint8), count=count).view(np.int8)
    bits *= 2
    bits -= 1
    return bits.reshape(shape)


def decode(coding: Coding, payload: bytes, size: int, name: str = "the payload") -> bytes:
    """The `size` packed bytes of `payload`, called `name` in messages.

    DamagedChunk if there are more or fewer; never inflates more than `size`. Unsupported if only
    a context model can tell.
    """
    if coding is Coding.CONTEXT:
        raise Unsupported(f"{name} is context coded: its bits cannot be had without the model")
    if coding is Coding.ZSTD:
        return zstd.inflate(payload, size, name)
    if len(payload) != size:
        raise DamagedChunk(f"{name} holds {len(payload)} bytes, {size} are due")
    return payload


def unpack_segment(segment: Segment, header: Header) -> NDArray[np.int8]:
    """The ±1 bits (n, channels, side, side) of the n patches of `segment`, in raster order.

    DamagedChunk if the payload does not hold just these.
    """
    size = header.segment_bytes(segment.index)
    packed = decode(segment.coding, segment.payload, size, segment.name)
    tile = header.segment_patches(segment.index)
    shape = tile.rows * tile.columns, header.channels, header.side, header.side
    return unpack(packed, shape, segment.name)
