"""The end chunk of a .cae file as an index, found from the file's last bytes.

The layout is specified in `cae.py`.
"""

from __future__ import annotations

import io
from array import array
from collections.abc import Sequence
from itertools import accumulate
from typing import BinaryIO

from . import varint
from .chunks import Chunk, Fields, Source, frame
from .errors import Damaged, Truncated
from .layout import MAX_DATA_CHUNKS

MAX_BODY = varint.MAX_BYTES * (MAX_DATA_CHUNKS + 1)
TAIL_BYTES = 4
NAME = "the end chunk"


def encode_end(sizes: Sequence[int]) -> bytes:
    """The end chunk and the tail for data chunks of these sizes."""
    body = varint.encode(len(sizes)) + b"".join(map(varint.encode, sizes))
    chunk = frame("E", body)
    return chunk + len(chunk).to_bytes(TAIL_BYTES, "little")


def decode_end(chunk: Chunk) -> array[int]:
    """The sizes of the data chunks, in order."""
    fields = Fields(chunk.body, NAME)
    count = fields.varint()
    if count > MAX_DATA_CHUNKS:
        raise Damaged(f"{NAME} counts {count} data chunks, more than {MAX_DATA_CHUNKS}")
    sizes = array("Q", (fields.varint() for _ in range(count)))
    fields.end()
    return sizes


def read_index(file: BinaryIO) -> list[int]:
    """Where each data chunk of a seekable file begins; the file's position is kept.

    Damaged or Truncated if the file does not end in a sound end chunk.
    """
    position = file.tell()
    try:
        length = file.seek(0, io.SEEK_END)
        if length < TAIL_BYTES:
            raise Truncated("the file has no end chunk")
        source = Source(file)
        source.seek(length - TAIL_BYTES)
        size = int.from_bytes(source.take(TAIL_BYTES, NAME), "little")
        begin = length - TAIL_BYTES - size
        if begin < 0:
            raise Truncated("the file does not end in an end chunk")
        source.seek(begin)
        if source.peek(NAME) != "E":
            raise Truncated("the file does not end in an end chunk")
        chunk = source.chunk(NAME, limit=min(size, MAX_BODY))
        if chunk.size != size:
            raise Damaged(f"{NAME} has {chunk.size} bytes, {size} according to the last bytes")
        sizes = decode_end(chunk)
        first = begin - sum(sizes)
        if first < 0:
            raise Damaged(f"{NAME} counts more bytes than the file has")
        return list(accumulate(sizes[:-1], initial=first)) if sizes else []
    finally:
        file.seek(position)
