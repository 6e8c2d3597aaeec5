"""Chunks, the frame of everything after a .cae file's version: kind, length, body, checksum.

The layout is specified in `cae.py`.
"""

from __future__ import annotations

import zlib
from typing import BinaryIO, NamedTuple

from . import varint
from .errors import Damaged, DamagedChunk, Truncated

STEP = 1 << 20
"""Bytes asked from a stream at a time: a declared length alone never allocates more than this."""

CHECKSUM_BYTES = 4


class Chunk(NamedTuple):
    """A sound chunk: its letter, its body, and its size in the file from kind to checksum."""

    kind: str
    body: bytes
    size: int


def frame(kind: str, body: bytes, number: int = 0) -> bytes:
    """The chunk `kind` around `body`, as the `number`-th of its kind in the file."""
    head = kind.encode("ascii") + varint.encode(len(body))
    return head + body + checksum(number, head, body).to_bytes(CHECKSUM_BYTES, "little")


def checksum(number: int, head: bytes, body: bytes) -> int:
    """CRC-32 of the chunk's number (u32, not written), its kind and length, and its body."""
    # With the number before the kind, no change of these two alone goes unseen below 2^22.
    return zlib.crc32(body, zlib.crc32(number.to_bytes(4, "little") + head))


def write_all(file: BinaryIO, data: bytes) -> None:
    """Write all of `data`, also to an unbuffered stream, which may take less at a time."""
    rest = memoryview(data)
    while rest:
        written = file.write(rest)
        # Some file-like objects return nothing and mean "all of it".
        rest = rest[len(rest) if written is None else written :]


class Source:
    """A binary stream read in order, from a file or a pipe, however short its reads are."""

    def __init__(self, file: BinaryIO, position: int = 0) -> None:
        self._file = file
        self._peeked = b""
        self.position = position  # bytes taken so far, counted from the beginning of the .cae file

    def take(self, count: int, what: str) -> bytes:
        """Exactly `count` bytes; Truncated, naming `what` they belong to, if the stream ends."""
        blocks, missing = [self._peeked[:count]], count - len(self._peeked[:count])
        self._peeked = self._peeked[count:]
        while missing:
            block = self._file.read(min(missing, STEP))
            if not block:
                reached = self.position + count - missing
                raise Truncated(f"the file ends at byte {reached}, in {what}")
            blocks.append(block)
            missing -= len(block)
        self.position += count
        return b"".join(blocks)

    def peek(self, what: str) -> str:
        """The kind of the chunk that comes next, left in place; `what` is expected there."""
        kind = self.take(1, what)
        self.position -= 1
        self._peeked = kind
        if not kind.isalpha():
            raise Damaged(f"no chunk begins at byte {self.position}, where {what} should be")
        return kind.decode("ascii")

    def chunk(self, name: str, limit: int, number: int = 0) -> Chunk:
        """The next chunk, the `number`-th of its kind, called `name` in messages.

        Damaged before its body is read if it declares more than `limit` bytes. After
        DamagedChunk the stream stands behind the chunk.
        """
        begin = self.position
        kind = self.peek(name)
        head = bytearray(self.take(1, name))

        def next_byte() -> int:
            head.extend(self.take(1, name))
            return head[-1]

        length = varint.decode(next_byte)
        if length > limit:
            raise Damaged(f"{name} declares {length} bytes, more than the {limit} it may have")
        body = self.take(length, name)
        written = int.from_bytes(self.take(CHECKSUM_BYTES, name), "little")
        if written != checksum(number, bytes(head), body):
            raise DamagedChunk(f"{name} fails its checksum")
        return Chunk(kind, body, self.position - begin)

    def at_end(self) -> bool:
        """Whether nothing follows."""
        return not self._peeked and not self._file.read(1)

    def seek(self, position: int) -> None:
        """Go on at `position` of a seekable file."""
        self._file.seek(position)
        self._peeked = b""
        self.position = position


class Fields:
    """The fields of a chunk's body, taken in order."""

    def __init__(self, body: bytes, name: str) -> None:
        self._body = body
        self._name = name
        self._position = 0

    def take(self, count: int) -> bytes:
        """The next `count` bytes; Damaged if there are fewer."""
        end = self._position + count
        if end > len(self._body):
            raise Damaged(f"{self._name} is too short")
        self._position, begin = end, self._position
        return self._body[begin:end]

    def byte(self) -> int:
        """The next byte."""
        return self.take(1)[0]

    def varint(self) -> int:
        """The next variable-length number."""
        return varint.decode(self.byte)

    def end(self) -> None:
        """Damaged if anything is left."""
        if left := len(self._body) - self._position:
            raise Damaged(f"{self._name} has {left} bytes too many")
