"""The alpha channel: exact, in strips, and what damage does to it."""

from __future__ import annotations

import io
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nncodec.formats import alpha, cae, chunks, zstd
from nncodec.formats.cae import AlphaCoding, Coding, Colour, Header, PadMode, Reader, Writer
from nncodec.formats.errors import CaeError, DamagedChunk

SMALL = Header(
    width=20,
    height=22,
    patch=8,
    pad_top=0,
    pad_left=0,
    pad_mode=PadMode.EDGE,
    colour=Colour.RGB_ALPHA,
    depth=8,
    model="tiny",
    fingerprint=bytes(8),
    channels=1,
    side=2,
    segment_rows=64,
    segment_columns=64,
)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1), st.integers(0, 2))
def test_alpha_round_trip(width: int, height: int, seed: int, form: int) -> None:
    header = replace(SMALL, width=width, height=height)
    values = np.random.default_rng(seed).integers(0, 256, (height, width), np.uint8)
    if form == 1:
        values = np.arange(width * height, dtype=np.uint8).reshape(height, width)
    elif form == 2:
        values = np.add.outer(np.arange(height), np.arange(width)).astype(np.uint8) * 3
    strips = [
        cae.AlphaStrip(index, *coded, "alpha")
        for index, coded in enumerate(alpha.encode(values, header))
    ]
    assert (alpha.decode(strips, header) == values).all()


def test_every_alpha_coding_is_inverted() -> None:
    header = replace(SMALL, width=64, height=64)
    y, x = np.mgrid[:64, :64]
    found = set()
    rng = np.random.default_rng(1)
    noise = rng.choice(np.array([0, 255], np.uint8), (64, 64))
    walk = np.cumsum(rng.integers(0, 3, (64, 64)), axis=1)
    for values in (noise, walk.astype(np.uint8), (x * y).astype(np.uint8)):
        ((coding, data),) = alpha.encode(values, header)
        found.add(coding)
        assert (alpha.decode([cae.AlphaStrip(0, coding, data, "alpha")], header) == values).all()
    assert found == set(AlphaCoding)


def test_alpha_of_a_wide_image_goes_in_strips() -> None:
    header = replace(SMALL, width=1_500_000, height=5, patch=512, segment_columns=4096)
    assert (header.alpha_rows, header.n_alpha_strips) == (2, 3)
    values = np.zeros((5, 1_500_000), np.uint8)
    values[2, 7:1_400_000] = 200
    values[4] = 9
    file = io.BytesIO()
    writer = Writer(file, header)
    for coding, data in alpha.encode(values, header):
        writer.alpha(coding, data)
    for index in range(header.n_segments):
        writer.segment(Coding.RAW, bytes(header.segment_bytes(index)))
    writer.close()
    data = file.getvalue()
    strips = Reader(io.BytesIO(data)).alpha
    assert (alpha.decode(strips, header) == values).all()

    damaged = bytearray(data)
    first = chunks.frame("H", header.encode()) + chunks.frame("A", b"\1" + strips[0].payload)
    damaged[9 + len(first) + 10] ^= 1  # within the second strip
    with pytest.raises(DamagedChunk, match="alpha chunk 2 of 3"):
        Reader(io.BytesIO(damaged))
    reader = Reader(io.BytesIO(damaged), partial=True)
    assert [strip.index for strip in reader.alpha] == [0, 2]
    expected = values.copy()
    expected[2:4] = alpha.OPAQUE
    assert (alpha.decode(reader.alpha, header) == expected).all()
    assert len(list(reader.segments())) == header.n_chunks
    assert len(reader.errors) == 2


def test_an_alpha_bomb_does_not_inflate() -> None:
    strip = cae.AlphaStrip(0, AlphaCoding.ZSTD, zstd.deflate(bytes(50_000_000)), "alpha chunk 1")
    tracemalloc.start()
    with pytest.raises(DamagedChunk, match="alpha chunk 1 does not inflate to 440 bytes"):
        alpha.decode([strip], SMALL)
    errors: list[CaeError] = []
    assert (alpha.decode([strip], SMALL, errors) == alpha.OPAQUE).all()
    assert tracemalloc.get_traced_memory()[1] < 200_000
    tracemalloc.stop()
    assert len(errors) == 1
