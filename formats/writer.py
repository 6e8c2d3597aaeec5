"""Writing a .cae file; the layout is specified in `cae.py`."""

from __future__ import annotations

from array import array
from collections import Counter
from typing import BinaryIO

from .chunks import frame, write_all
from .header import Header
from .index import encode_end
from .layout import (
    MAX_OPTIONAL_BYTES,
    METADATA_KINDS,
    SIGNATURE,
    VERSION,
    AlphaCoding,
    Coding,
)


class Writer:
    """Writes a .cae file to a binary stream, in order and without seeking.

    The calls follow the file's order: `metadata` and `alpha`, then `segment` for every segment of
    every plane, then `close`. ValueError otherwise.
    """

    def __init__(self, file: BinaryIO, header: Header) -> None:
        self.header = header
        self._file = file
        self._counts: Counter[str] = Counter()
        self._sizes = array("Q")  # of the data chunks
        write_all(file, SIGNATURE + bytes([VERSION]))
        self._write("H", header.encode())

    def metadata(self, name: str, data: bytes) -> None:
        """Keep `data` as "icc", "exif" or "xmp"; at most 16 MiB."""
        kind = METADATA_KINDS[name]
        if self._sizes or self._counts[kind]:
            raise ValueError(f"{name} was written already, or comes after the data")
        if len(data) > MAX_OPTIONAL_BYTES:
            raise ValueError(f"{name} has {len(data)} bytes; at most {MAX_OPTIONAL_BYTES} fit")
        self._write(kind, data)

    def alpha(self, coding: AlphaCoding, payload: bytes) -> None:
        """Add the next strip of the alpha channel."""
        if self._sizes or self._counts["A"] == self.header.n_alpha_strips:
            raise ValueError("an alpha strip too many, or after the data")
        self._write("A", bytes([coding]) + payload)

    def segment(self, coding: Coding, payload: bytes) -> None:
        """Add the next segment: plane by plane, in raster order within a plane."""
        number = len(self._sizes)
        if number == self.header.n_chunks:
            raise ValueError("a segment too many")
        if self._counts["A"] != self.header.n_alpha_strips:
            raise ValueError("alpha strips are missing")
        if coding == Coding.CONTEXT and not self.header.params:
            raise ValueError("a context-coded segment, but no params that name a context model")
        index = number % self.header.n_segments
        size, limit = self.header.segment_bytes(index), self.header.payload_limit(index)
        if len(payload) > limit or (coding == Coding.RAW and len(payload) != size):
            raise ValueError(f"a segment of {size} bytes cannot have a payload of {len(payload)}")
        self._sizes.append(self._write("D", bytes([coding]) + payload))

    def close(self) -> None:
        """Write the end; the stream itself stays open."""
        if len(self._sizes) != self.header.n_chunks:
            raise ValueError(f"{len(self._sizes)} of {self.header.n_chunks} segments were written")
        write_all(self._file, encode_end(self._sizes))

    def _write(self, kind: str, body: bytes) -> int:
        chunk = frame(kind, body, self._counts[kind])
        self._counts[kind] += 1
        write_all(self._file, chunk)
        return len(chunk)
