"""zstandard frames without their header; the size of the content is known from elsewhere.

A frame's header would say nothing else, and take 6 to 9 bytes of a payload of 3,000. Since the
reader writes the header itself, it and not the file says how much memory is allocated.
"""

from __future__ import annotations

import zstandard

from .errors import DamagedChunk

LEVEL = 19

# RFC 8878: magic number; frame header descriptor: content size in 4 bytes, a single segment (the
# window is the content), no checksum, no dictionary. The content size follows.
_HEADER = bytes.fromhex("28b52ffda0")


def deflate(data: bytes, level: int = LEVEL) -> bytes:
    """The blocks of a frame that holds `data` (at least one byte)."""
    frame = zstandard.ZstdCompressor(level=level, write_checksum=False).compress(data)
    return frame[zstandard.frame_header_size(frame) :]


def inflate(blocks: bytes, size: int, name: str) -> bytes:
    """The `size` bytes in `blocks` (at least one), without ever allocating more.

    DamagedChunk, naming `name`, if they hold more, fewer, or anything else.
    """
    frame = _HEADER + size.to_bytes(4, "little") + blocks
    try:
        return zstandard.ZstdDecompressor().decompress(frame, allow_extra_data=False)
    except zstandard.ZstdError:
        raise DamagedChunk(f"{name} does not inflate to {size} bytes") from None
