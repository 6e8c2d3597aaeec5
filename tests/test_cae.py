"""The .cae container: golden bytes, round trips, and files that are cut, damaged or made up."""

from __future__ import annotations

import io
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nncodec.formats import alpha, bits, cae, chunks, varint
from nncodec.formats.cae import AlphaCoding, Coding, Colour, Header, PadMode, Reader, Writer
from nncodec.formats.errors import CaeError, Damaged, DamagedChunk, Truncated, Unsupported
from nncodec.formats.layout import MAX_PIXELS

# A picture of 3 x 2 pixels in one patch of 8 x 8, with two planes of 2 x 2 bits, by hand.
GOLDEN = bytes.fromhex(
    "89 43 41 45 0d 0a 1a 0a"  # signature
    "01"  # version
    "48 1d"  # H, 29 bytes
    "03 02 01 03 02 00 10"  # 3 x 2, patch 8, pad 3 and 2, edge, grey of 16 bits
    "00 04 74 69 6e 79"  # model by its name: "tiny"
    "01 02 03 04 05 06 07 08"  # fingerprint
    "01 02 01 01 02"  # 1 channel of 2 x 2, segments of 1 x 1 patch, 2 planes
    "01 ac 02"  # one parameter, 300
    "4c 30 ad fb"
    "6d 03 3c 78 3e 1d fa e8 9e"  # m, 3 bytes: "<x>"
    "44 02 00 90 29 57 df 82"  # D, 2 bytes: raw, + - - +
    "44 02 00 60 ab a5 c8 f3"  # D, 2 bytes: raw, - + + -
    "45 03 02 08 08 2d ba 29 a1"  # E, 3 bytes: two data chunks of 8 bytes each
    "09 00 00 00"  # of 9 bytes
)
TINY = Header(
    width=3,
    height=2,
    patch=8,
    pad_top=3,
    pad_left=2,
    pad_mode=PadMode.EDGE,
    colour=Colour.GREY,
    depth=16,
    model="tiny",
    fingerprint=bytes(range(1, 9)),
    channels=1,
    side=2,
    segment_rows=1,
    segment_columns=1,
    planes=2,
    params=(300,),
)
LATENTS = {  # model: channels, side
    "cae_16x8x8_zero_pad_bin": (16, 8),
    "cae_16x8x8_refl_pad_bin": (16, 8),
    "cae_16x16x16_zero_pad_bin": (16, 16),
    "cae_32x32x32_zero_pad_bin": (32, 32),
}


class Pipe(io.RawIOBase):
    """A stream that cannot seek and gives a few bytes at a time."""

    def __init__(self, data: bytes) -> None:
        self._rest = data
        self._turn = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1) -> bytes:
        assert size is not None and 0 < size <= chunks.STEP
        self._turn = self._turn % 7 + 1
        size = min(size, self._turn)
        block, self._rest = self._rest[:size], self._rest[size:]
        return block


def cae_header(model: str, width: int, height: int, rows: int = 64, columns: int = 64) -> Header:
    channels, side = LATENTS[model]
    top, left = -height % 128 // 2, -width % 128 // 2
    return replace(
        TINY,
        width=width,
        height=height,
        patch=128,
        pad_top=top,
        pad_left=left,
        colour=Colour.RGB,
        depth=8,
        model=model,
        channels=channels,
        side=side,
        segment_rows=rows,
        segment_columns=columns,
        planes=1,
        params=(),
    )


def payload(header: Header, number: int) -> bytes:
    """Bits of data chunk `number` that differ from those of all others."""
    size = header.segment_bytes(number % header.n_segments)
    begin = number * 37 % 251 + 1
    return (bytes(range(251)) * (2 + size // 251))[begin : begin + size]


def write(header: Header, **metadata: bytes) -> bytes:
    file = io.BytesIO()
    writer = Writer(file, header)
    for name, data in metadata.items():
        writer.metadata(name, data)
    values = np.arange(header.width * header.height, dtype=np.uint8)
    for coding, data in alpha.encode(values.reshape(header.height, header.width), header):
        writer.alpha(coding, data)
    for number in range(header.n_chunks):
        writer.segment(Coding.RAW, payload(header, number))
    writer.close()
    return file.getvalue()


def read(file: Any) -> tuple[Header, dict[str, bytes], list[Any], list[cae.Segment]]:
    """All that a file holds, read strictly."""
    reader = Reader(file)
    segments = list(reader.segments())
    return reader.header, reader.metadata, reader.alpha, segments


def assemble(*parts: bytes) -> bytes:
    """A file of chunks framed by hand."""
    return cae.SIGNATURE + bytes([cae.VERSION]) + b"".join(parts)


# 2 x 2 segments of 2 x 2 patches, cut at the right and at the bottom, with alpha and metadata.
SMALL = replace(
    TINY,
    width=20,
    height=22,
    pad_top=0,
    pad_left=1,
    colour=Colour.RGB_ALPHA,
    depth=8,
    channels=3,
    segment_rows=2,
    segment_columns=2,
    planes=1,
    params=(),
)
SMALL_FILE = write(SMALL, icc=b"profile", exif=b"II*\0", xmp=b"<x/>")
SMALL_BEGINS = cae.read_index(io.BytesIO(SMALL_FILE))
SMALL_END = len(SMALL_FILE) - 4 - int.from_bytes(SMALL_FILE[-4:], "little")  # of the data


def test_golden_file_is_written() -> None:
    file = io.BytesIO()
    writer = Writer(file, TINY)
    writer.metadata("xmp", b"<x>")
    plus = np.array([[[[1, -1], [-1, 1]]]], np.int8)  # (n, C, H, W) = (1, 1, 2, 2)
    writer.segment(Coding.RAW, bits.pack(plus))
    writer.segment(Coding.RAW, bits.pack(-plus))
    writer.close()
    assert file.getvalue().hex(" ") == GOLDEN.hex(" ")


def test_golden_file_is_read() -> None:
    reader = Reader(io.BytesIO(GOLDEN))
    assert reader.header == TINY
    assert reader.header.pad == (3, 2, 3, 3)
    assert reader.metadata == {"xmp": b"<x>"}
    assert reader.alpha == []
    first, second = reader.segments()
    assert (first.index, first.plane, first.coding, first.payload) == (0, 0, Coding.RAW, b"\x90")
    assert (second.index, second.plane, second.payload) == (0, 1, b"\x60")
    assert bits.unpack_segment(first, TINY).tolist() == [[[[1, -1], [-1, 1]]]]
    assert reader.errors == []


def test_checksums_of_the_golden_file_are_those_of_zlib() -> None:
    header, second = GOLDEN[9:44], GOLDEN[61:69]
    assert header[-4:] == zlib.crc32(b"\0\0\0\0" + header[:-4]).to_bytes(4, "little")
    assert second[-4:] == zlib.crc32(b"\1\0\0\0" + second[:-4]).to_bytes(4, "little")


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_varint_round_trip(value: int) -> None:
    spelled = varint.encode(value)
    assert varint.decode(iter(spelled).__next__) == value
    assert len(spelled) == max(1, -(-value.bit_length() // 7))


@pytest.mark.parametrize("spelled", ["80 00", "ff 80 00", "80 80 80 80 10", "ff ff ff ff ff 00"])
def test_varint_refuses_long_and_large_numbers(spelled: str) -> None:
    with pytest.raises(Damaged):
        varint.decode(iter(bytes.fromhex(spelled)).__next__)


@st.composite
def headers(draw: st.DrawFn) -> Header:
    patch = 8 * draw(st.integers(1, 255))
    width = draw(st.integers(1, 40 * patch))
    return Header(
        width=width,
        height=draw(st.integers(1, min(40 * patch, MAX_PIXELS // width))),
        patch=patch,
        pad_top=draw(st.integers(0, patch - 1)),
        pad_left=draw(st.integers(0, patch - 1)),
        pad_mode=draw(st.sampled_from(PadMode)),
        colour=draw(st.sampled_from(Colour)),
        depth=draw(st.sampled_from([8, 16])),
        model=draw(st.sampled_from([*LATENTS, "a", "other-model.v2_x", "0" * 64])),
        fingerprint=draw(st.binary(min_size=8, max_size=8)),
        channels=draw(st.integers(1, 64)),
        side=draw(st.integers(1, 8)),
        segment_rows=draw(st.integers(1, 50)),
        segment_columns=draw(st.integers(1, 50)),
        planes=draw(st.integers(1, 64)),
        params=tuple(draw(st.lists(st.integers(0, 2**32 - 1), max_size=16))),
    )


@settings(deadline=None)
@given(headers())
def test_header_round_trip(header: Header) -> None:
    body = header.encode()
    assert Header.decode(body) == header
    assert len(body) <= 180
    with pytest.raises(CaeError):
        Header.decode(body + b"\0")
    with pytest.raises(CaeError):
        Header.decode(body[:-1])


@settings(deadline=None)
@given(headers())
def test_segments_tile_the_grid(header: Header) -> None:
    rows, columns = header.grid
    top, left, bottom, right = header.pad
    assert top + header.height + bottom == rows * header.patch
    assert left + header.width + right == columns * header.patch
    assert max(bottom, right) < header.patch
    times = np.zeros((rows, columns), int)
    for index in range(header.n_segments):
        row, column, n_rows, n_columns = header.segment_patches(index)
        assert n_rows > 0 and n_columns > 0
        times[row : row + n_rows, column : column + n_columns] += 1
        assert header.segment_bits(index) == n_rows * n_columns * header.channels * header.side**2
    assert (times == 1).all()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("width", 0),
        ("width", 2**24 + 1),
        ("height", 0),
        ("height", 2**24 + 1),
        ("pad_top", 8),
        ("pad_left", 8),
        ("patch", 0),
        ("patch", 12),
        ("patch", 2048),
        ("depth", 12),
        ("model", ""),
        ("model", "x" * 65),
        ("model", "../up"),
        ("model", "Cae"),
        ("fingerprint", b"1234567"),
        ("channels", 0),
        ("channels", 4097),
        ("side", 0),
        ("side", 129),
        ("segment_rows", 0),
        ("segment_rows", 4097),
        ("segment_columns", 0),
        ("planes", 0),
        ("planes", 65),
        ("params", (1,) * 17),
        ("params", (2**32,)),
    ],
)
def test_header_refuses_what_is_out_of_bounds(field: str, value: object) -> None:
    with pytest.raises(CaeError):
        replace(TINY, **{field: value})  # type: ignore[arg-type]


def test_header_bounds_what_its_fields_make_together() -> None:
    with pytest.raises(Unsupported, match="number of pixels"):
        replace(TINY, width=2**24, height=2**9)
    with pytest.raises(Unsupported, match="size of a segment"):
        replace(TINY, channels=4096, side=128, width=16, segment_columns=3)  # 3 of 8 MiB
    with pytest.raises(Unsupported, match="number of data chunks"):
        replace(TINY, width=2**14, height=2**14)  # 2^22 segments of one patch


@pytest.mark.parametrize(
    ("position", "value", "message"),
    [
        (5, 3, "pad mode 3"),
        (6, 0x04, "colour type 4"),
        (6, 0x20, "depth code 2"),
        (7, 6, "model number 6"),
    ],
)
def test_header_names_what_a_later_version_means(position: int, value: int, message: str) -> None:
    body = bytearray(TINY.encode())
    body[position] = value
    with pytest.raises(Unsupported, match=message):
        read(io.BytesIO(assemble(chunks.frame("H", bytes(body)))))


def test_a_model_that_has_a_number_goes_by_that_alone() -> None:
    own, other = b"\x04tiny", b"\x0cbitplane_256"
    body = TINY.encode()
    assert body[7:].startswith(b"\0" + own)
    with pytest.raises(Damaged, match="spells bitplane_256 out"):
        read(io.BytesIO(assemble(chunks.frame("H", body.replace(own, other)))))


@pytest.mark.parametrize("model", LATENTS)
def test_overhead_of_a_kodak_image_is_at_most_64_bytes(model: str) -> None:
    for width, height in ((768, 512), (512, 768)):
        header = cae_header(model, width, height)
        channels, side = LATENTS[model]
        bits_in_file = 24 * channels * side**2
        assert header.n_segments == 1
        assert len(write(header)) - bits_in_file // 8 <= 64


@pytest.mark.parametrize("model", LATENTS)
def test_overhead_of_a_large_image_is_at_most_3_per_mille(model: str) -> None:
    channels, side = LATENTS[model]
    # 160 x 20 patches in segments of 8 KiB, as small as it makes sense.
    header = cae_header(model, 20480, 2560, rows=8, columns=max(1, 8192 // (channels * side**2)))
    in_bits = 160 * 20 * channels * side**2 // 8
    assert in_bits > 100_000
    assert len(write(header)) - in_bits <= 0.003 * in_bits


def test_everything_comes_back_from_a_pipe() -> None:
    header, metadata, strips, segments = read(Pipe(SMALL_FILE))
    assert header == SMALL
    assert metadata == {"icc": b"profile", "exif": b"II*\0", "xmp": b"<x/>"}
    values = np.arange(20 * 22, dtype=np.uint8).reshape(22, 20)
    assert (alpha.decode(strips, header) == values).all()
    assert [s.index for s in segments] == [0, 1, 2, 3]
    assert [s.payload for s in segments] == [payload(SMALL, number) for number in range(4)]
    assert [len(s.payload) for s in segments] == [6, 3, 3, 2]  # 4, 2, 2, 1 patches of 12 bits


def test_planes_come_one_after_the_other() -> None:
    header = replace(SMALL, planes=3, colour=Colour.RGB)
    *_, segments = read(io.BytesIO(write(header)))
    order = [(s.plane, s.index) for s in segments]
    assert order == [(plane, index) for plane in range(3) for index in range(4)]
    assert segments[6].name == "data chunk 7 of 12 (segment 2 of plane 1)"


def test_a_stream_that_takes_little_at_a_time_gets_everything() -> None:
    class Sink(io.RawIOBase):
        got = b""

        def write(self, data: Any) -> int:
            self.got += bytes(data[:5])
            return min(5, len(data))

    sink = Sink()
    writer = Writer(sink, TINY)  # type: ignore[arg-type]
    writer.metadata("xmp", b"<x>")
    writer.segment(Coding.RAW, b"\x90")
    writer.segment(Coding.RAW, b"\x60")
    writer.close()
    assert sink.got == GOLDEN


def test_index_finds_every_segment() -> None:
    file = io.BytesIO(b"before" + SMALL_FILE)
    file.seek(6)
    reader = Reader(file)
    for number, begin in enumerate(cae.read_index(file)):
        assert file.getvalue()[begin : begin + 1] == b"D"
        assert reader.segment(number).payload == payload(SMALL, number)
    assert len(list(reader.segments())) == 4  # reading in order is not disturbed


@pytest.mark.parametrize("stream", [io.BytesIO, Pipe])
def test_every_truncation_is_refused(stream: Callable[[bytes], Any]) -> None:
    for length in range(len(SMALL_FILE)):
        with pytest.raises(Truncated, match=f"the file ends at byte {length}, in "):
            read(stream(SMALL_FILE[:length]))


def flips() -> Iterator[tuple[int, bytes]]:
    for bit in range(8 * len(SMALL_FILE)):
        damaged = bytearray(SMALL_FILE)
        damaged[bit // 8] ^= 1 << bit % 8
        yield bit // 8, bytes(damaged)


def test_every_flipped_bit_is_refused() -> None:
    """None is harmless: what no checksum covers (signature, version, tail) has one legal value."""
    for _, damaged in flips():
        with pytest.raises(CaeError):
            read(Pipe(damaged))


@pytest.mark.parametrize("stream", [io.BytesIO, Pipe])
def test_partial_reading_never_gives_wrong_data(stream: Callable[[bytes], Any]) -> None:
    whole = read(io.BytesIO(SMALL_FILE))
    header_end = 9 + len(chunks.frame("H", SMALL.encode()))
    for position, damaged in flips():
        if position < header_end:
            with pytest.raises(CaeError):
                Reader(stream(damaged), partial=True)
            continue
        try:
            reader = Reader(stream(damaged), partial=True)
        except Unsupported as error:
            raise AssertionError(position) from error
        segments = list(reader.segments())
        assert len(reader.errors) >= 1, position
        assert all(segment in whole[3] for segment in segments)
        assert all(strip in whole[2] for strip in reader.alpha)
        assert reader.metadata.items() <= whole[1].items()
        if stream is io.BytesIO:  # the index confines the damage
            in_data = SMALL_BEGINS[0] <= position < SMALL_END
            assert len(segments) == 4 - in_data, position


def test_partial_reading_keeps_what_comes_before_a_cut() -> None:
    for length in range(SMALL_BEGINS[0], len(SMALL_FILE)):
        reader = Reader(io.BytesIO(SMALL_FILE[:length]), partial=True)
        complete = sum(length >= end for end in [*SMALL_BEGINS[1:], SMALL_END])
        assert [s.index for s in reader.segments()] == list(range(complete))
        assert [type(error) for error in reader.errors] == [Truncated]


def test_messages_say_what_and_where() -> None:
    damaged = bytearray(SMALL_FILE)
    damaged[SMALL_BEGINS[2] + 3] ^= 1
    reader = Reader(io.BytesIO(damaged))
    with pytest.raises(DamagedChunk) as caught:
        list(reader.segments())
    message = "damaged: data chunk 3 of 4 (segment 2) fails its checksum; try --partial"
    assert str(caught.value) == message
    with pytest.raises(ValueError, match="already"):
        list(reader.segments())


@settings(deadline=None)
@given(st.data())
def test_mutations_are_refused_or_change_nothing(data: st.DataObject) -> None:
    mutated = bytearray(SMALL_FILE)
    for _ in range(data.draw(st.integers(1, 3))):
        begin = data.draw(st.integers(0, len(mutated)))
        end = data.draw(st.integers(begin, min(len(mutated), begin + 20)))
        source = data.draw(st.integers(0, len(SMALL_FILE)))
        length = data.draw(st.integers(0, 40))
        patch = data.draw(st.binary(max_size=8)) + SMALL_FILE[source : source + length]
        mutated[begin:end] = patch
    if mutated != SMALL_FILE:
        with pytest.raises(CaeError):
            read(Pipe(bytes(mutated)))


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("HcxmADEqQ"), st.binary(max_size=12), st.integers(0, 3)),
        max_size=8,
    ),
    st.booleans(),
)
def test_made_up_chunks_raise_nothing_else(
    made_up: list[tuple[str, bytes, int]], partial: bool
) -> None:
    """Chunks whose checksums are right, in any order and number, with any body."""
    frames = b"".join(chunks.frame(kind, body, number) for kind, body, number in made_up)
    header = chunks.frame("H", replace(SMALL, colour=Colour.GREY_ALPHA).encode())
    try:
        reader = Reader(io.BytesIO(assemble(header, frames)), partial=partial)
        for segment in reader.segments():
            bits.unpack_segment(segment, reader.header)
        alpha.decode(reader.alpha, reader.header, reader.errors if partial else None)
    except CaeError as error:
        assert "\n" not in str(error)
    else:
        assert reader.errors


@settings(deadline=None)
@given(st.binary(max_size=64))
def test_made_up_headers_raise_nothing_else(body: bytes) -> None:
    try:
        header = Header.decode(body)
    except CaeError as error:
        assert "\n" not in str(error)
    else:
        assert Header.decode(header.encode()) == header


def chunk_list(header: Header) -> list[bytes]:
    """The chunks of a file by hand: H, A, D..., E with its tail."""
    out = [chunks.frame("H", header.encode())]
    values = np.zeros((header.height, header.width), np.uint8)
    for number, (coding, data) in enumerate(alpha.encode(values, header)):
        out.append(chunks.frame("A", bytes([coding]) + data, number))
    for number in range(header.n_chunks):
        out.append(chunks.frame("D", b"\0" + payload(header, number), number))
    return [*out, end([len(chunk) for chunk in out if chunk[:1] == b"D"])]


def end(sizes: list[int]) -> bytes:
    spelled = b"".join(varint.encode(size) for size in sizes)
    chunk = chunks.frame("E", varint.encode(len(sizes)) + spelled)
    return chunk + len(chunk).to_bytes(4, "little")


def test_unknown_optional_chunks_are_skipped() -> None:
    head, *rest = chunk_list(SMALL)
    file = assemble(head, chunks.frame("q", b"later"), chunks.frame("q", b"more", 1), *rest)
    header, _, strips, segments = read(Pipe(file))
    assert (header, len(strips), len(segments)) == (SMALL, 1, 4)


@pytest.mark.parametrize("partial", [False, True])
def test_unknown_required_chunks_are_refused_by_name(partial: bool) -> None:
    head, *rest = chunk_list(SMALL)
    file = assemble(head, chunks.frame("Q", b"later"), *rest)
    with pytest.raises(Unsupported, match="'Q' is required"):
        list(Reader(io.BytesIO(file), partial=partial).segments())


def test_many_optional_chunks_are_refused() -> None:
    head, *rest = chunk_list(SMALL)
    many = b"".join(chunks.frame("q", b"", number) for number in range(65))
    with pytest.raises(Unsupported, match="over 64 chunks"):
        read(io.BytesIO(assemble(head, many, *rest)))


def test_order_and_number_of_chunks() -> None:
    head, strip, a, b, c, d, e = chunk_list(SMALL)
    icc = chunks.frame("c", b"profile")
    wrong: dict[str, bytes] = {
        "second header": assemble(head, chunks.frame("H", SMALL.encode(), 1), strip, a, b, c, d, e),
        "header repeated": assemble(head, head, strip, a, b, c, d, e),
        "header late": assemble(strip, head, a, b, c, d, e),
        "no header": assemble(strip, a, b, c, d, e),
        "no alpha": assemble(head, a, b, c, d, e),
        "alpha twice": assemble(head, strip, chunks.frame("A", b"\1x", 1), a, b, c, d, e),
        "alpha late": assemble(head, a, strip, b, c, d, e),
        "profile late": assemble(head, strip, a, icc, b, c, d, e),
        "profile twice": assemble(
            head, icc, chunks.frame("c", b"profile", 1), strip, a, b, c, d, e
        ),
        "data exchanged": assemble(head, strip, a, c, b, d, e),
        "data missing": assemble(head, strip, a, b, c, e),
        "data missing in both": assemble(head, strip, a, b, c, end([len(a), len(b), len(c)])),
        "data repeated": assemble(head, strip, a, b, c, d, d, e),
        "no end": assemble(head, strip, a, b, c, d),
        "two ends": assemble(head, strip, a, b, c, d, e, e),
        "bytes behind": assemble(head, strip, a, b, c, d, e, b"\0"),
        "no data": assemble(head, strip, e),
    }
    read(io.BytesIO(assemble(head, icc, strip, a, b, c, d, e)))
    read(io.BytesIO(assemble(head, strip, icc, a, b, c, d, e)))
    for name, file in wrong.items():
        with pytest.raises((Damaged, Truncated)):
            read(Pipe(file))
            pytest.fail(name)


def test_alpha_without_alpha_is_refused() -> None:
    head, *rest = chunk_list(replace(SMALL, colour=Colour.RGB))
    file = assemble(head, chunks.frame("A", b"\1x"), *rest)
    with pytest.raises(Damaged, match="an alpha chunk too many"):
        read(io.BytesIO(file))


def test_equal_data_chunks_cannot_be_exchanged() -> None:
    header = replace(TINY, width=16, planes=1, pad_left=0)
    head, a, b, e = chunk_list(header)
    assert len(a) == len(b)
    with pytest.raises(DamagedChunk, match="data chunk 1 of 2"):
        read(io.BytesIO(assemble(head, b, a, e)))


def test_wrong_index_is_refused() -> None:
    *before, last = chunk_list(replace(SMALL, colour=Colour.RGB))
    sizes = [len(chunk) for chunk in before[1:]]
    wrong = {
        "swapped": end(sizes[::-1]),
        "short": end(sizes[:-1]),
        "long": end([*sizes, 5]),
        "off": end([sizes[0] + 1, *sizes[1:]]),
        "none": end([]),
        "tail": last[:-4] + (len(last) - 3).to_bytes(4, "little"),
    }
    for name, tail in wrong.items():
        with pytest.raises(Damaged):
            read(io.BytesIO(assemble(*before, tail)))
            pytest.fail(name)
    for name in ("short", "long", "none", "tail"):
        with pytest.raises(CaeError):
            _ = Reader(io.BytesIO(assemble(*before, wrong[name]))).index
            pytest.fail(name)


class Greedy(io.BytesIO):
    """Counts what is read, and never gives less than asked for while it has it."""

    taken = 0

    def read(self, size: int | None = -1) -> bytes:
        assert size is not None and 0 <= size <= chunks.STEP
        self.taken += size
        return super().read(size)


@pytest.mark.parametrize("kind", ["H", "A", "D", "E", "c", "q", "Q"])
def test_huge_declared_lengths_are_refused_at_once(kind: str) -> None:
    head, strip, *_ = chunk_list(SMALL)
    before = {"H": b"", "D": head + strip}.get(kind, head)
    if kind == "E":
        before = b"".join(chunk_list(SMALL)[:-1])
    file = Greedy(assemble(before, kind.encode() + b"\xff\xff\xff\xff\x0f", bytes(5_000_000)))
    tracemalloc.start()
    with pytest.raises(Damaged, match="4294967295 bytes, more than"):
        read(file)
    assert tracemalloc.get_traced_memory()[1] < 100_000
    tracemalloc.stop()
    assert file.taken < len(before) + 30


def test_a_long_chunk_that_is_not_there_allocates_nothing() -> None:
    head, *_ = chunk_list(SMALL)
    file = assemble(head, b"c\x80\x80\x80\x08", b"only this")  # 16 MiB, the most there may be
    tracemalloc.start()
    with pytest.raises(Truncated, match="in the ICC profile"):
        read(Pipe(file))
    assert tracemalloc.get_traced_memory()[1] < 100_000
    tracemalloc.stop()


def test_index_with_a_huge_count_is_refused() -> None:
    chunk = chunks.frame("E", varint.encode(2**32 - 1))
    with pytest.raises(Damaged, match="counts 4294967295 data chunks"):
        cae.read_index(io.BytesIO(chunk + len(chunk).to_bytes(4, "little")))


def test_signature_and_version() -> None:
    with pytest.raises(Unsupported, match=r"not a \.cae file"):
        Reader(io.BytesIO(b"\x89PNG\r\n\x1a\n" + bytes(50)))
    with pytest.raises(Damaged, match="text mode"):
        Reader(io.BytesIO(GOLDEN.replace(b"\r\n", b"\n")))
    with pytest.raises(Unsupported, match="version 2"):
        Reader(io.BytesIO(GOLDEN[:8] + b"\2" + GOLDEN[9:]))
    with pytest.raises(Truncated, match="byte 0"):
        Reader(io.BytesIO(b""))


def test_unknown_codings_are_refused_by_name() -> None:
    head, strip, a, *rest = chunk_list(SMALL)
    later = chunks.frame("D", b"\7" + a[3:-4])
    with pytest.raises(Unsupported, match=r"coding 7 of data chunk 1 of 4"):
        read(io.BytesIO(assemble(head, strip, later, *rest)))
    later = chunks.frame("A", b"\7x")
    with pytest.raises(Unsupported, match=r"coding 7 of alpha chunk 1 of 1"):
        read(io.BytesIO(assemble(head, later, a, *rest)))


def test_max_pixels() -> None:
    assert Reader(io.BytesIO(GOLDEN), max_pixels=6).header == TINY
    with pytest.raises(Unsupported, match="3 x 2 pixels are more than 5; allow it"):
        Reader(io.BytesIO(GOLDEN), max_pixels=5)


def test_max_pixels_counts_what_narrow_pictures_take() -> None:
    """A picture of one column is drawn in whole patches: 128 times its pixels."""
    model = "cae_32x32x32_zero_pad_bin"
    cae_header(model, 1, 12_555).limit(12_555)  # 1.6 million pixels of patches are few
    narrow = cae_header(model, 1, 40_000)
    assert narrow.grid == (313, 1)
    narrow.limit(None)
    narrow.limit(313 * 128**2 // 4)
    with pytest.raises(Unsupported, match="patches of 1 x 40000 pixels have 5128192, over 4 times"):
        narrow.limit(313 * 128**2 // 4 - 1)
    cae_header(model, 16_384, 10_922).limit(178_956_970)  # as large as is allowed


def test_writer_holds_its_caller_to_the_order() -> None:
    writer = Writer(io.BytesIO(), SMALL)
    with pytest.raises(ValueError, match="strips are missing"):
        writer.segment(Coding.RAW, payload(SMALL, 0))
    writer.alpha(AlphaCoding.ZSTD, b"x")
    with pytest.raises(ValueError, match="too many"):
        writer.alpha(AlphaCoding.ZSTD, b"x")
    writer.metadata("icc", b"x")
    with pytest.raises(ValueError, match="already"):
        writer.metadata("icc", b"x")
    with pytest.raises(ValueError, match="16777216"):
        writer.metadata("xmp", bytes(2**24 + 1))
    with pytest.raises(ValueError, match="payload of 5"):
        writer.segment(Coding.RAW, bytes(5))
    with pytest.raises(ValueError, match="payload of 100"):
        writer.segment(Coding.ZSTD, bytes(100))
    with pytest.raises(ValueError, match="0 of 4"):
        writer.close()
    for number in range(4):
        writer.segment(Coding.RAW, payload(SMALL, number))
    with pytest.raises(ValueError, match="too many"):
        writer.segment(Coding.RAW, payload(SMALL, 0))
    with pytest.raises(ValueError, match="after the data"):
        writer.metadata("xmp", b"x")
