"""Bits to bytes and back, and payloads that are not what they claim."""

from __future__ import annotations

import math
import tracemalloc
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from nncodec.formats import bits, zstd
from nncodec.formats.cae import Coding, Colour, Header, PadMode, Segment
from nncodec.formats.errors import DamagedChunk, Unsupported


def random_bits(shape: tuple[int, ...], seed: int = 0) -> NDArray[np.int8]:
    return np.random.default_rng(seed).choice(np.array([-1, 1], np.int8), shape)


def compressible(size: int) -> bytes:
    return bytes(i // 100 % 256 for i in range(size))


def test_the_first_bit_is_the_most_significant() -> None:
    values = -np.ones((1, 2, 2, 3), np.int8)
    values[0, 0, 0, 0] = 1
    values[0, 1, 0, 2] = 1  # the ninth bit
    values[0, 1, 1, 2] = 1  # the last of twelve
    assert bits.pack(values) == bytes([0b1000_0000, 0b1001_0000])


@pytest.mark.parametrize("kind", [np.int8, np.float32, np.bool_])
def test_pack_takes_signs_and_booleans(kind: Any) -> None:
    values = random_bits((2, 4, 3, 2))
    given_as = values > 0 if kind is np.bool_ else values.astype(kind)
    assert (bits.unpack(bits.pack(given_as), values.shape) == values).all()


@settings(deadline=None)
@given(
    st.tuples(*[st.integers(1, 5)] * 4),
    st.integers(0, 2**32 - 1),
)
def test_pack_round_trip(shape: tuple[int, int, int, int], seed: int) -> None:
    values = random_bits(shape, seed)
    packed = bits.pack(values)
    assert len(packed) == -(-math.prod(shape) // 8)
    unpacked = bits.unpack(packed, shape)
    assert unpacked.dtype == np.int8
    assert (unpacked == values).all()


def test_pack_follows_the_shape_and_not_the_memory() -> None:
    values = random_bits((2, 3, 4, 5)).transpose(0, 2, 3, 1)
    assert bits.pack(values) == bits.pack(np.ascontiguousarray(values))


def test_unpack_refuses_other_sizes_and_filling() -> None:
    with pytest.raises(DamagedChunk, match="part holds 2 bytes, 1 are due"):
        bits.unpack(b"\x80\x00", (1, 1, 2, 2), "part")
    with pytest.raises(DamagedChunk, match="not filled up with zeros"):
        bits.unpack(b"\x81", (1, 1, 2, 2))
    assert bits.unpack(b"\x80", (1, 1, 2, 2)).tolist() == [[[[1, -1], [-1, -1]]]]


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=3000))
def test_coding_round_trip(packed: bytes) -> None:
    assert bits.decode(Coding.RAW, packed, len(packed)) == packed
    assert bits.decode(Coding.ZSTD, zstd.deflate(packed), len(packed)) == packed


def test_a_payload_is_a_frame_without_its_header() -> None:
    data = compressible(5000)
    plain = zstandard.ZstdCompressor(level=19).compress(data)
    payload = zstd.deflate(data)
    assert len(payload) <= len(plain) - 6
    frame = bytes.fromhex("28b52ffda0") + len(data).to_bytes(4, "little") + payload
    assert zstandard.ZstdDecompressor().decompress(frame) == data


@settings(deadline=None)
@given(st.integers(1, 20_000), st.integers(1, 40_000))
def test_only_the_exact_size_inflates(size: int, claimed: int) -> None:
    payload = zstd.deflate(compressible(size))
    if claimed == size:
        assert zstd.inflate(payload, size, "x") == compressible(size)
    else:
        with pytest.raises(DamagedChunk, match=f"x does not inflate to {claimed} bytes$"):
            zstd.inflate(payload, claimed, "x")


def test_payloads_that_are_no_frame_are_refused() -> None:
    data = compressible(1000)
    payload = zstd.deflate(data)
    for cut in range(len(payload)):
        with pytest.raises(DamagedChunk):
            bits.decode(Coding.ZSTD, payload[:cut], 1000)
    with pytest.raises(DamagedChunk):
        bits.decode(Coding.ZSTD, payload + b"\0", 1000)
    with pytest.raises(DamagedChunk):
        bits.decode(Coding.ZSTD, payload + payload, 2000)
    with pytest.raises(DamagedChunk):
        bits.decode(Coding.ZSTD, zstandard.compress(data), 1000)
    with pytest.raises(DamagedChunk, match="holds 999 bytes, 1000 are due"):
        bits.decode(Coding.RAW, data[:-1], 1000)
    with pytest.raises(Unsupported, match="part is context coded"):
        bits.decode(Coding.CONTEXT, data, 1000, "part")


@settings(deadline=None)
@given(st.binary(max_size=200), st.integers(1, 10_000))
def test_made_up_payloads_raise_nothing_else(payload: bytes, size: int) -> None:
    with suppress(DamagedChunk):
        assert len(bits.decode(Coding.ZSTD, payload, size)) == size


def test_a_bomb_does_not_inflate() -> None:
    bomb = zstd.deflate(bytes(100_000_000))
    assert len(bomb) < 20_000
    tracemalloc.start()
    with pytest.raises(DamagedChunk):
        bits.decode(Coding.ZSTD, bomb, 1000)
    assert tracemalloc.get_traced_memory()[1] < 100_000
    tracemalloc.stop()


def test_unpack_segment_gives_the_patches_in_order() -> None:
    header = Header(
        width=24,
        height=16,
        patch=8,
        pad_top=0,
        pad_left=0,
        pad_mode=PadMode.ZEROS,
        colour=Colour.RGB,
        depth=8,
        model="tiny",
        fingerprint=bytes(8),
        channels=3,
        side=2,
        segment_rows=1,
        segment_columns=2,
    )
    values = random_bits((2, 3, 2, 2))
    segment = Segment(0, 0, Coding.RAW, bits.pack(values), "data chunk 1 of 4 (segment 0)")
    assert (bits.unpack_segment(segment, header) == values).all()
    clipped = Segment(1, 0, Coding.RAW, bits.pack(values[:1]), "data chunk 2 of 4 (segment 1)")
    assert (bits.unpack_segment(clipped, header) == values[:1]).all()
    wrong = Segment(1, 0, Coding.ZSTD, b"nonsense", "data chunk 2 of 4 (segment 1)")
    with pytest.raises(DamagedChunk, match=r"data chunk 2 of 4 \(segment 1\) does not inflate"):
        bits.unpack_segment(wrong, header)
