"""Prediction along a latent's positions: as it is specified, and reversible."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from nncodec.entropy.digits import LARGEST
from nncodec.entropy.pyramid import Field, differences, restored

Rows = list[list[int]]


def specified(q: Rows) -> Rows:
    """The differences of one channel, (h, w), position by position as FORMAT.md has them."""
    height, width = len(q), len(q[0])
    found = [[*row] for row in q]
    for y in range(height):
        for x in range(width):
            distances = [s for s in (8, 4, 2, 1) if y % (2 * s) == s or x % (2 * s) == s]
            if y % 16 == 0 and x % 16 == 0:
                continue
            s = distances[-1]
            straight = [(y - s, x), (y + s, x), (y, x - s), (y, x + s)]
            diagonal = [(y - s, x - s), (y - s, x + s), (y + s, x - s), (y + s, x + s)]
            around = diagonal if y % (2 * s) == s and x % (2 * s) == s else straight
            near = [q[v][u] for v, u in around if 0 <= v < height and 0 <= u < width]
            found[y][x] -= (2 * sum(near) + len(near)) // (2 * len(near))
    return found


def random_field(height: int, width: int, channels: int, seed: int) -> Field:
    most = int(np.random.default_rng(seed).choice([1, 30, LARGEST]))
    shape = height, width, channels
    return np.random.default_rng(seed).integers(-most, most + 1, shape, np.int32)


sides = st.one_of(st.integers(1, 5), st.integers(6, 36))
seeds = st.integers(0, 2**32 - 1)


@given(sides, sides, st.integers(1, 3), seeds)
def test_differences_are_as_specified_and_reversible(
    height: int, width: int, channels: int, seed: int
) -> None:
    field = random_field(height, width, channels, seed)
    found = differences(field)
    for channel in range(channels):
        assert found[..., channel].tolist() == specified(field[..., channel].tolist())
    assert np.abs(found).max() <= 2 * LARGEST
    assert (restored(found) == field).all()
    assert (restored(2 * found, 2) == 2 * field).all()


def test_fields_are_predicted_one_by_one() -> None:
    fields = np.stack([random_field(9, 20, 2, seed) for seed in range(3)])
    found = differences(fields)
    for field, each in zip(fields, found, strict=True):
        assert (differences(field) == each).all()
    assert (restored(found) == fields).all()


@pytest.mark.parametrize("slope", [(0, 0), (4, 0), (0, -6), (2, 10)])
def test_of_a_slope_little_is_left(slope: tuple[int, int]) -> None:
    down, across = slope
    field: NDArray[np.int32] = np.fromfunction(
        lambda y, x, c: 100 + down * y + across * x, (33, 49, 1), dtype=np.int32
    )
    found = differences(field)
    assert (found[1:-1, 1:-1][found[1:-1, 1:-1] != 0]).size <= 2  # of the coarsest, inside
    if slope == (0, 0):
        assert (np.argwhere(found[..., 0]) % 16 == 0).all()
