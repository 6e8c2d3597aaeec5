"""Prediction along a latent's positions: as it is specified, and reversible."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from nncodec.entropy.digits import LARGEST, Latent
from nncodec.entropy.pyramid import ONE, Pyramid
from nncodec.train.pyramid import fitted

Rows = list[list[int]]
FIVE = np.array([True, False, False, True, False])  # which of five channels are means


def pyramid(slopes: NDArray[np.int16] | None = None) -> Pyramid:
    """One for five channels, of which the second and the last are looked at."""
    nothing = np.zeros((2, 2, 2, 4 + 9 * 2), np.int16)
    return Pyramid(FIVE, np.array([1, 4], np.int16), nothing if slopes is None else slopes)


def plain(means: int) -> Pyramid:
    """One that looks at means alone."""
    slopes = np.zeros((2, 2, means, 4), np.int16)
    return Pyramid(np.ones(means, np.bool_), np.zeros(0, np.int16), slopes)


def random_pyramid(seed: int) -> Pyramid:
    rng = np.random.default_rng(seed)
    most = int(rng.choice([3, 90, 32767]))
    return pyramid(rng.integers(-most, most + 1, (2, 2, 2, 22)).astype(np.int16))


def specified(q: Latent, rules: Pyramid) -> list[Rows]:
    """The differences of each mean, (M, h, w), position by position as FORMAT.md has them."""
    height, width, _ = q.shape
    at = q.astype(int).tolist()
    means = np.flatnonzero(rules.means).tolist()
    found = []
    for number, channel in enumerate(means):
        rows = [[at[y][x][channel] for x in range(width)] for y in range(height)]
        for y in range(height):
            for x in range(width):
                distances = [s for s in (8, 4, 2, 1) if y % (2 * s) == s or x % (2 * s) == s]
                if y % 16 == 0 and x % 16 == 0:
                    continue
                s = distances[-1]
                straight = [(y - s, x), (y + s, x), (y, x - s), (y, x + s)]
                diagonal = [(y - s, x - s), (y - s, x + s), (y + s, x - s), (y + s, x + s)]
                between = y % (2 * s) == s and x % (2 * s) == s
                inside = [
                    at[v][u][channel] if 0 <= v < height and 0 <= u < width else None
                    for v, u in (diagonal if between else straight)
                ]
                near = [value for value in inside if value is not None]
                told = (2 * sum(near) + len(near)) // (2 * len(near))
                if s <= 2:
                    slopes = rules.slopes[2 - s, 0 if between else 1, number].tolist()
                    total = sum(
                        slope * (value - told)
                        for slope, value in zip(slopes[:4], inside, strict=True)
                        if value is not None
                    )
                    others = [
                        at[y + i][x + j][other] if 0 <= y + i < height and 0 <= x + j < width else 0
                        for other in rules.others.tolist()
                        for i in (-1, 0, 1)
                        for j in (-1, 0, 1)
                    ]
                    total += sum(a * b for a, b in zip(slopes[4:], others, strict=True))
                    told = max(-LARGEST, min(LARGEST, told + (total + ONE // 2) // ONE))
                rows[y][x] -= told
        found.append(rows)
    return found


def random_latent(height: int, width: int, channels: int, seed: int) -> Latent:
    most = int(np.random.default_rng(seed).choice([1, 30, LARGEST]))
    shape = height, width, channels
    return np.random.default_rng(seed).integers(-most, most + 1, shape).astype(np.int16)


sides = st.one_of(st.integers(1, 5), st.integers(6, 36))
seeds = st.integers(0, 2**32 - 1)


@given(sides, sides, seeds)
def test_differences_are_as_specified_and_reversible(height: int, width: int, seed: int) -> None:
    latent, rules = random_latent(height, width, 5, seed), random_pyramid(seed)
    coded = rules.predicted(latent)
    assert (coded[..., ~FIVE] == latent[..., ~FIVE]).all()
    assert coded[..., FIVE].transpose(2, 0, 1).tolist() == specified(latent, rules)
    assert np.abs(coded).max() <= 2 * LARGEST
    assert (rules.unpredicted(coded) == latent).all()
    assert (rules.unpredicted(2 * coded, 2) == 2 * latent).all()


def test_latents_are_predicted_one_by_one() -> None:
    latents, rules = (
        np.stack([random_latent(9, 20, 5, seed) for seed in range(3)]),
        random_pyramid(7),
    )
    coded = rules.predicted(latents)
    for latent, each in zip(latents, coded, strict=True):
        assert (rules.predicted(latent) == each).all()
    assert (rules.unpredicted(coded) == latents).all()


@pytest.mark.parametrize("slope", [(0, 0), (4, 0), (0, -6), (2, 10)])
def test_of_a_slope_little_is_left(slope: tuple[int, int]) -> None:
    down, across = slope
    latent: Latent = np.fromfunction(
        lambda y, x, c: 100 + down * y + across * x, (33, 49, 1), dtype=np.int16
    )
    found = plain(1).predicted(latent)
    assert (found[1:-1, 1:-1][found[1:-1, 1:-1] != 0]).size <= 2  # of the coarsest, inside
    if slope == (0, 0):
        assert (np.argwhere(found[..., 0]) % 16 == 0).all()


def test_what_another_channel_tells_is_taken_off() -> None:
    """A mean that is, in odd columns, a third channel's element on its left."""
    rng = np.random.default_rng(3)
    latent = np.zeros((16, 16, 5), np.int16)
    latent[..., 4] = rng.integers(-50, 51, (16, 16))
    latent[:, 1::2, 0] = latent[:, ::2, 4]
    slopes = np.zeros((2, 2, 2, 22), np.int16)
    slopes[1, :, 0, 4 + 9 + 3] = ONE  # spacing 1; of the second other, the middle of the left
    found = pyramid(slopes).predicted(latent)[..., 0]
    diagonal = found[1::2, 1::2]  # whose four neighbours, in even columns, are all 0
    assert not diagonal.any() and latent[1::2, 1::2, 0].any()


def test_noise_has_no_means() -> None:
    latents = [random_latent(20, 20, 5, 1)[np.newaxis]]
    found = fitted(latents)
    assert not found.means.any() and found.slopes.shape == (2, 2, 0, 4)
    assert (found.predicted(latents[0]) == latents[0]).all()


def test_means_are_told_from_what_goes_on_in_them() -> None:
    """Of a slope within blocks, which a second channel holds, a first one's means are the sum."""
    rng = np.random.default_rng(2)
    slopes = rng.integers(-40, 41, (4, 32, 32))
    latent = np.zeros((4, 32, 32, 3), np.int16)
    latent[..., 0] = np.cumsum(slopes, 2).clip(-LARGEST, LARGEST)
    latent[..., 1] = slopes
    latent[..., 2] = rng.integers(-3, 4, slopes.shape)
    rules = fitted([latent])
    assert rules.means.tolist() == [True, False, False] and 1 in rules.others
    inside = (slice(None), slice(2, -2), slice(2, -2), 0)
    alone = Pyramid(rules.means, np.zeros(0, np.int16), np.zeros((2, 2, 1, 4), np.int16))
    left, unsaid = (np.abs(x.predicted(latent)[inside]).mean() for x in (rules, alone))
    assert left < 0.8 * unsaid
