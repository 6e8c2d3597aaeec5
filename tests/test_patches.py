"""Patches: cutting, stitching, and what lies beyond the edges of a picture."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nncodec.formats.cae import Colour, Header, PadMode, Tile
from nncodec.patches import (
    cut,
    even_pad,
    fill_border,
    look_at_latent,
    look_at_picture,
    mirrored,
    put,
    span,
    split,
    stitch,
)


def header(width: int, height: int, segment: int = 2) -> Header:
    return Header(
        width=width,
        height=height,
        patch=128,
        pad_top=even_pad(height, 128),
        pad_left=even_pad(width, 128),
        pad_mode=PadMode.EDGE,
        colour=Colour.RGB,
        depth=8,
        model="test",
        fingerprint=bytes(8),
        channels=16,
        side=8,
        segment_rows=segment,
        segment_columns=segment,
    )


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 400), st.integers(1, 400), st.integers(1, 3), st.integers(0, 2**32 - 1))
def test_every_tile_taken_and_put_back_gives_the_picture(
    width: int, height: int, segment: int, seed: int
) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    head = header(width, height, segment)
    copy = np.zeros_like(pixels)
    for index in range(head.n_segments):
        tile = head.segment_patches(index)
        seen, rows, columns = look_at_picture(pixels, head, tile, 80)
        patches = cut(seen[rows.keep, columns.keep], 128)
        assert patches.shape == (tile.rows * tile.columns, 3, 128, 128)
        put(copy, head, tile, stitch(patches, tile.rows, tile.columns))
    assert np.array_equal(copy, pixels)


def test_the_pad_is_split_evenly_as_for_720p() -> None:
    assert header(1280, 720).pad == (24, 0, 24, 0)
    assert header(1280, 720).grid == (6, 10)
    assert header(1, 1).pad == (63, 63, 64, 64)


def test_beyond_the_edges_the_edges_go_on_and_then_a_mirror() -> None:
    pixels = np.arange(3 * 5 * 3, dtype=np.uint8).reshape(3, 5, 3)
    head = header(5, 3)
    seen, rows, columns = look_at_picture(pixels, head, head.segment_patches(0), 80)
    top, left, bottom, right = head.pad
    grid = np.pad(pixels, [(top, bottom), (left, right), (0, 0)], "edge")
    assert np.array_equal(seen, np.pad(grid, [(16, 16), (16, 16), (0, 0)], "symmetric"))
    assert np.array_equal(seen[rows.keep, columns.keep], grid)
    assert mirrored(np.arange(-3, 8), 5).tolist() == [2, 1, 0, 0, 1, 2, 3, 4, 4, 3, 2]


def test_the_latent_is_continued_by_its_edges() -> None:
    head = header(256, 128)
    latent = np.random.default_rng(0).integers(0, 256, (8, 16, 2), np.uint8)
    seen, rows, columns = look_at_latent(latent, head, Tile(0, 1, 1, 1), 4, 1)
    assert seen.shape == (10, 13, 2)
    assert np.array_equal(seen[rows.keep, columns.keep], latent[:, 8:])
    assert np.array_equal(seen[1:-1, :4], latent[:, 4:8])
    assert np.array_equal(seen[1:-1, -1], latent[:, -1]) and np.array_equal(seen[0], seen[1])


def test_a_span_reaches_as_far_as_the_picture_goes_on() -> None:
    assert span(0, 128, 384, 80, 16) == (-16, 208, slice(16, 144))
    assert span(128, 256, 384, 80, 16) == (48, 336, slice(80, 208))
    assert span(256, 384, 384, 80, 16) == (176, 400, slice(80, 208))
    assert span(0, 8, 9, 4, 0) == (0, 9, slice(0, 8))  # there is less than it reaches
    assert span(0, 8, 9, 4, 0).margins == (0, 1) and span(8, 9, 9, 4, 0).margins == (4, 0)


def test_the_parts_of_a_tile_cover_it_once() -> None:
    seen = np.zeros((5, 7), int)
    for part in split(Tile(0, 0, 5, 7), 2):
        assert part.rows <= 2 and part.columns <= 2
        seen[part.row : part.row + part.rows, part.column : part.column + part.columns] += 1
    assert (seen == 1).all()


def test_patches_are_in_raster_order() -> None:
    content = np.zeros((256, 384, 3), np.uint8)
    content[128:, 256:, 1] = 7
    patches = cut(content, 128)
    assert patches.shape == (6, 3, 128, 128)
    assert patches[5, 1].min() == 7 and patches[:5].max() == 0 and patches[5, 0].max() == 0


@pytest.mark.parametrize("border", [0, 2])
def test_the_inside_of_a_patch_goes_on_over_its_border(border: int) -> None:
    patches = np.random.default_rng(0).integers(0, 256, (2, 3, 128, 128), np.uint8)
    filled = patches.copy()
    fill_border(filled, border)
    inner = slice(border, 128 - border)
    assert np.array_equal(filled[..., inner, inner], patches[..., inner, inner])
    if border:
        assert np.array_equal(filled[..., 0, 5], patches[..., 2, 5])
        assert np.array_equal(filled[..., 127, 127], patches[..., 125, 125])
