"""Smoothing of seams: the definition, what it does to pictures, and strip by strip."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nncodec.seams import METHODS, Method, borders, smooth, smooth_strips

Pixels = NDArray[np.uint8]
methods = pytest.mark.parametrize("method", METHODS)


def noise(*shape: int, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def slow_linear(pixels: Pixels, rows: list[int], columns: list[int], window: int) -> Pixels:
    """Interpolation smoothing as it is defined, one row and one column after the other."""
    samples: NDArray[Any] = pixels.astype(np.float64)
    h = window // 2
    for y in rows:
        above, below = samples[y - h].copy(), samples[y + h].copy()
        for i in range(window):
            weight = (i + 1) / (window + 1)
            samples[y - h + i] = (1 - weight) * above + weight * below
    for x in columns:
        left, right = samples[:, x - h].copy(), samples[:, x + h].copy()
        for i in range(window):
            weight = (i + 1) / (window + 1)
            samples[:, x - h + i] = (1 - weight) * left + weight * right
    return samples


@pytest.mark.parametrize("window", [2, 4, 8, 16])
def test_linear_is_the_definition(window: int) -> None:
    pixels = noise(90, 150, 3)
    rows, columns = [30, 62], [20, 84]
    expected = slow_linear(pixels, rows, columns, window)
    actual = smooth(pixels, rows, columns, window, "linear")
    assert np.abs(actual - expected).max() <= 0.501  # rounding


@methods
def test_strips_give_the_whole_picture(method: Method) -> None:
    pixels = noise(300, 200, 3)
    rows, columns = borders(300, 41), borders(200, 100)
    strips = np.split(pixels, rows)
    pieces = list(smooth_strips(iter(strips), columns, 8, method))
    whole = smooth(pixels, rows, columns, 8, method)
    assert np.array_equal(np.concatenate(pieces), whole)
    # Nothing but the windows has changed, and a row only hangs on the strips next to it.
    changed = np.zeros(pixels.shape, bool)
    for y in rows:
        changed[y - 4 : y + 4] = True
    for x in columns:
        changed[:, x - 4 : x + 4] = True
    assert np.array_equal(whole[~changed], pixels[~changed])
    first_two = smooth(pixels[: rows[1]], rows[:1], columns, 8, method)
    assert np.array_equal(first_two[: rows[1] - 4], whole[: rows[1] - 4])


@methods
def test_strips_are_held_back_by_half_a_window_only(method: Method) -> None:
    strips = iter(np.split(noise(512, 16, 3), 4))
    heights = [len(piece) for piece in smooth_strips(strips, [], 8, method)]
    assert heights == [124, 128, 128, 128, 4]


@methods
def test_a_picture_without_borders_or_window_stays(method: Method) -> None:
    pixels = noise(40, 50, 3)
    assert np.array_equal(smooth(pixels, [], [], 8, method), pixels)
    assert np.array_equal(smooth(pixels, [20], [20], 0, method), pixels)


@methods
@pytest.mark.parametrize("shape", [(1, 2), (2, 1), (3, 3), (129, 4), (5, 300)])
def test_narrow_pictures(method: Method, shape: tuple[int, int]) -> None:
    pixels = noise(*shape, 3)
    down, across = (list(range(1, side)) for side in shape)  # every patch shows one pixel
    assert np.array_equal(smooth(pixels, down, across, 8, method), pixels)
    rows, columns = borders(shape[0], 127), borders(shape[1], 126)
    assert smooth(pixels, rows, columns, 16, method).shape == pixels.shape


@methods
def test_flat_patches_lose_their_step(method: Method) -> None:
    pixels = np.full((256, 256, 3), 100, np.uint8)
    pixels[128:] += 12
    pixels[:, 128:] += 6
    smoothed = smooth(pixels, [128], [128], 8, method).astype(int)
    assert np.abs(np.diff(smoothed, axis=0)).max() <= 2
    assert np.abs(np.diff(smoothed, axis=1)).max() <= 2
    assert smoothed.min() == 100
    assert smoothed.max() == 118


def test_step_keeps_edges_of_the_scene_and_texture() -> None:
    pixels = np.full((256, 64, 3), 20, np.uint8)
    pixels[128:] = 220
    kept = smooth(pixels, [128], [], 8, "step").astype(int)
    assert (kept[128] - kept[127]).min() > 130

    texture = noise(256, 256, 3) // 8 + 100
    steps = [
        np.abs(smooth(texture, [128], [], 16, m) - texture.astype(int)).mean() for m in METHODS
    ]
    assert dict(zip(METHODS, steps, strict=True))["step"] < 0.7 * steps[METHODS.index("linear")]


def test_vertical_and_horizontal_are_alike() -> None:
    pixels = noise(128, 256, 3)
    across = smooth(pixels, [], [128], 8, "step")
    down = smooth(pixels.swapaxes(0, 1), [128], [], 8, "step")
    assert np.array_equal(across, down.swapaxes(0, 1))


def test_borders() -> None:
    assert borders(512).tolist() == [128, 256, 384]
    assert borders(720, 24).tolist() == [104, 232, 360, 488, 616]
    assert borders(100, 14).tolist() == []
    assert borders(1).tolist() == []


@pytest.mark.parametrize("window", [-2, 3])
def test_windows_are_even(window: int) -> None:
    with pytest.raises(ValueError, match="even"):
        smooth(noise(8, 8, 3), [4], [4], window)
