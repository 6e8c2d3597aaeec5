"""Reading a .cae file; the layout is specified in `cae.py`."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Collection, Iterator
from enum import IntEnum
from functools import cached_property
from typing import BinaryIO, TypeVar

from . import varint
from .chunks import Chunk, Source
from .errors import CaeError, Damaged, DamagedChunk, Truncated, Unsupported
from .header import Header
from .index import TAIL_BYTES, decode_end, read_index
from .layout import (
    MAX_CONTEXT_PIXELS,
    MAX_HEADER_BYTES,
    MAX_OPTIONAL_BYTES,
    MAX_OPTIONAL_CHUNKS,
    METADATA_KINDS,
    SIGNATURE,
    VERSION,
    AlphaCoding,
    Coding,
    payload_limit,
)
from .parts import AlphaStrip, Segment

_METADATA_NAMES = {kind: name for name, kind in METADATA_KINDS.items()}
_NAMES = {
    "": "the first data chunk",
    "H": "a second header",
    "E": "the end chunk",
    "c": "the ICC profile",
    "x": "the EXIF data",
    "m": "the XMP packet",
}
_REQUIRED = "HADE"


class Reader:
    """Reads a .cae file from a binary stream that need not seek and may give short reads.

    Everything before the data is read at once: `header`, `metadata` (those of "icc", "exif" and
    "xmp" that there are) and `alpha` (the strips, still coded). The file is known to be whole only
    when `segments` has run out.

    With `partial`, damage behind the header raises nothing: what is sound is given, what is not is
    left out and noted in `errors`. In a file that can seek and has a sound end, damage stays within
    its chunk; else a damaged length costs all that follows it.

    Raises Unsupported for an image of more than `max_pixels`: a small file can hold a huge one.
    """

    def __init__(
        self, file: BinaryIO, *, partial: bool = False, max_pixels: int | None = None
    ) -> None:
        self.metadata: dict[str, bytes] = {}
        self.alpha: list[AlphaStrip] = []
        self.errors: list[CaeError] = []
        self._file = file
        self.partial = partial
        self._source = Source(file, file.tell() if file.seekable() else 0)
        self._counts: Counter[str] = Counter()
        self._sizes = array("Q")  # of the data chunks
        self._optional = 0  # chunks before the data
        self._lost = False  # where the next chunk begins is not known (only if partial)
        self.header = self._read_header()
        self.header.limit(max_pixels)
        # Where the data chunks begin, to find the way again behind damage.
        self._offsets = self._sound_index() if partial and file.seekable() else None
        self._read_prelude()

    def segments(self, wanted: Collection[int] | None = None) -> Iterator[Segment]:
        """Every segment, plane by plane and in raster order; then the file's end is checked.

        With `wanted`, only those data chunks: numbers as for `segment`. The others are skipped, in
        a file that can seek without being read; what is wrong with them is not told.

        Can be called once. A payload has passed its checksum; whether it inflates to the right
        size, `bits.decode` finds out.
        """
        if self._sizes:
            raise ValueError("the segments have been read already")
        if wanted is None or len(wanted) == self.header.n_chunks:
            wanted = range(self.header.n_chunks)
        elif not self.partial and self._file.seekable():
            self._offsets = self._index_behind_prelude()
        for number in range(self.header.n_chunks):
            due = number in wanted
            if self._offsets is not None:
                if not due:
                    continue
                self._source.seek(self._offsets[number])
            elif self._lost:
                return
            begin = self._source.position
            self._counts["D"] = number
            try:
                segment = self._to_segment(number, self._take("D")[0])
            except (Damaged, Truncated) as error:
                if due or not isinstance(error, DamagedChunk):
                    self._note(error)
            else:
                if due:
                    yield segment
            self._sizes.append(self._source.position - begin)
        if self._offsets is None and not self._lost:
            self._read_end()

    @cached_property
    def index(self) -> list[int]:
        """Where each data chunk begins, in a file that can seek; see `read_index`."""
        offsets = read_index(self._file)
        if len(offsets) != self.header.n_chunks:
            raise Damaged(f"{len(offsets)} data chunks in the index, {self.header.n_chunks} due")
        return offsets

    def segment(self, number: int) -> Segment:
        """Data chunk `number` (plane * n_segments + segment) alone, of a file that can seek."""
        position = self._file.tell()
        try:
            source = Source(self._file)
            source.seek(self.index[number])
            chunk = source.chunk(self._name("D", number), self._limit("D", number), number)
            return self._to_segment(number, chunk)
        finally:
            self._file.seek(position)

    def _read_header(self) -> Header:
        signature = self._source.take(len(SIGNATURE), "the signature")
        if signature != SIGNATURE:
            if signature[1:4] == SIGNATURE[1:4]:
                raise Damaged("the signature was altered, as by a transfer in text mode")
            raise Unsupported("this is not a .cae file")
        version = self._source.take(1, "the version")[0]
        if version != VERSION:
            raise Unsupported(f"container version {version}; this program reads version {VERSION}")
        chunk = self._source.chunk("the header", MAX_HEADER_BYTES)
        if chunk.kind != "H":
            raise Damaged("the header is not the first chunk")
        self._counts["H"] = 1
        return Header.decode(chunk.body)

    def _sound_index(self) -> list[int] | None:
        try:
            return self.index if self.index[0] >= self._source.position else None
        except CaeError:  # comes again where the end is read
            return None

    def _index_behind_prelude(self) -> list[int]:
        try:
            if self.index[0] != self._source.position:
                raise Damaged("the end chunk contradicts what is before the data")
        except (Damaged, Truncated) as error:
            self._note(error)
        return self.index

    def _read_prelude(self) -> None:
        """Read what comes before the data."""
        while not self._lost:
            try:
                if not self._before_data():
                    break
                self._read_optional()
            except (Damaged, Truncated) as error:
                self._note(error)
        if len(self.alpha) != self.header.n_alpha_strips:
            due = self.header.n_alpha_strips
            self._note(DamagedChunk(f"{len(self.alpha)} of {due} alpha chunks are there"))

    def _before_data(self) -> bool:
        if self._offsets is None:
            return self._source.peek("the first data chunk") not in ("D", "E")
        if self._source.position > self._offsets[0]:
            raise Damaged("the chunks before the data overlap it")
        return self._source.position < self._offsets[0]

    def _read_optional(self) -> None:
        """Read one chunk that may stand before the data; one that is not known is skipped."""
        self._optional += 1
        if self._optional > MAX_OPTIONAL_CHUNKS + self.header.n_alpha_strips:
            raise Unsupported(f"over {MAX_OPTIONAL_CHUNKS} chunks before the data")
        chunk, number = self._take()
        if chunk.kind == "A":
            name = self._name("A", number)
            coding = _coding(AlphaCoding, chunk, name)
            self.alpha.append(AlphaStrip(number, coding, chunk.body[1:], name))
        elif chunk.kind in _METADATA_NAMES:
            if number > 0:
                raise DamagedChunk(f"{self._name(chunk.kind)} comes twice")
            self.metadata[_METADATA_NAMES[chunk.kind]] = chunk.body
        elif chunk.kind.isupper():
            raise DamagedChunk(f"{self._name(chunk.kind)} is out of place, before the data")

    def _read_end(self) -> None:
        """Check the end chunk against what was read, and that nothing follows."""
        try:
            chunk, _ = self._take("E")
            if decode_end(chunk) != self._sizes:
                raise Damaged("the end chunk contradicts the data chunks before it")
            tail = int.from_bytes(self._source.take(TAIL_BYTES, "the last bytes"), "little")
            if tail != chunk.size:
                raise Damaged("the last bytes contradict the end chunk before them")
            if not self._source.at_end():
                raise Damaged(f"something follows the end of the file at {self._source.position}")
        except (Damaged, Truncated) as error:
            self._note(error)

    def _take(self, due: str = "") -> tuple[Chunk, int]:
        """The next chunk and its number among those of its kind; `due` if a kind must come."""
        kind = self._source.peek(self._name(due, self._counts[due]))
        number = self._counts[kind]
        self._counts[kind] += 1
        name = self._name(due or kind, number)
        chunk = self._source.chunk(name, self._limit(kind, number), number)
        if kind.isupper() and kind not in _REQUIRED:
            raise Unsupported(f"chunk {kind!r} is required to read this file, but is not known")
        if due and kind != due:
            raise Damaged(f"{self._name(kind, number)} comes where {name} is due")
        return chunk, number

    def _to_segment(self, number: int, chunk: Chunk) -> Segment:
        name = self._name("D", number)
        coding = _coding(Coding, chunk, name)
        plane, index = divmod(number, self.header.n_segments)
        size = self.header.segment_bytes(index)
        if coding is Coding.RAW and len(chunk.body) - 1 != size:
            raise DamagedChunk(f"{name} holds {len(chunk.body) - 1} bytes, {size} are due")
        if coding is Coding.CONTEXT:
            self._check_context(index, name)
        return Segment(index, plane, coding, chunk.body[1:], name)

    def _check_context(self, index: int, name: str) -> None:
        """Check that segment `index` may be context coded: the bits themselves take the model."""
        if not self.header.params:
            raise DamagedChunk(f"{name} is context coded, but the header names no context model")
        if self.header.segment_pixels(index) > MAX_CONTEXT_PIXELS:
            raise DamagedChunk(f"{name} has over {MAX_CONTEXT_PIXELS} pixels, but is context coded")

    def _limit(self, kind: str, number: int) -> int:
        """Bytes that the body of a chunk may have."""
        header = self.header
        if kind == "A":
            if number >= header.n_alpha_strips:
                raise Damaged("an alpha chunk too many")
            return 1 + payload_limit(header.width * header.alpha_strip(number)[1])
        if kind == "D":
            if number >= header.n_chunks:
                raise Damaged("a data chunk too many")
            return 1 + header.payload_limit(number % header.n_segments)
        if kind == "E":
            return varint.MAX_BYTES * (1 + header.n_chunks)
        return MAX_OPTIONAL_BYTES

    def _name(self, kind: str, number: int = 0) -> str:
        """What a chunk is called in messages."""
        if kind == "A":
            return f"alpha chunk {number + 1} of {self.header.n_alpha_strips}"
        if kind == "D":
            plane, index = divmod(number, self.header.n_segments)
            of_plane = f" of plane {plane}" if self.header.planes > 1 else ""
            return f"data chunk {number + 1} of {self.header.n_chunks} (segment {index}{of_plane})"
        return _NAMES.get(kind, f"chunk {kind!r}")

    def _note(self, error: CaeError) -> None:
        """Raise `error`, or keep it and say whether the way is lost."""
        if not self.partial:
            raise type(error)(f"{error.args[0]}; try --partial") from None
        self.errors.append(error)
        self._lost = self._lost or not isinstance(error, DamagedChunk)


_Code = TypeVar("_Code", bound=IntEnum)


def _coding(table: type[_Code], chunk: Chunk, name: str) -> _Code:
    if not chunk.body:
        raise DamagedChunk(f"{name} is empty")
    try:
        return table(chunk.body[0])
    except ValueError:
        raise Unsupported(
            f"coding {chunk.body[0]} of {name} is not known to this version"
        ) from None
