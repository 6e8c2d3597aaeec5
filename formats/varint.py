"""Unsigned LEB128: seven bits a byte, the least significant first, bit 7 set on all but the last.

Values are below 2^32, so a number takes one to five bytes. Only the shortest form is legal, so that
a number has exactly one spelling.
"""

from __future__ import annotations

from collections.abc import Callable

from .errors import Damaged

LIMIT = 1 << 32
MAX_BYTES = 5


def encode(value: int) -> bytes:
    """Spell `value`; ValueError outside [0, 2^32)."""
    if not 0 <= value < LIMIT:
        raise ValueError(f"{value} does not fit a varint (0 to 2^32 - 1)")
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def decode(next_byte: Callable[[], int]) -> int:
    """Read one number, taking bytes from `next_byte`; Damaged if it is too large or too long."""
    value = 0
    for position in range(MAX_BYTES):
        byte = next_byte()
        value |= (byte & 0x7F) << 7 * position
        if byte < 0x80:
            if byte == 0 and position > 0:
                raise Damaged("a number is not in its shortest form")
            if value >= LIMIT:
                break
            return value
    raise Damaged("a number is larger than 2^32 - 1")
