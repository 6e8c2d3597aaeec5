"""PSNR, MS-SSIM and blockiness, against torchmetrics, by hand and at their limits."""

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from nncodec.evaluate.metrics import BAND, SCALE_WEIGHTS, blockiness, decibels, ms_ssim, psnr

Pixels = NDArray[np.uint8]


def scene(height: int, width: int, seed: int = 0) -> Pixels:
    """Something with structure at every scale."""
    rng = np.random.default_rng(seed)
    total = np.zeros((height, width, 3))
    for scale in (1, 4, 16, 64):
        coarse = rng.normal(size=(-(-height // scale), -(-width // scale), 3))
        total += np.kron(coarse, np.ones((scale, scale, 1)))[:height, :width] * 12
    return np.clip(total + 128, 0, 255).astype(np.uint8)


def noisy(picture: Pixels, sigma: float) -> Pixels:
    noise = np.random.default_rng(1).normal(0, sigma, picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


def test_psnr_by_hand() -> None:
    black = np.zeros((2, 2, 3), np.uint8)
    other = black.copy()
    other[0, 0, 0] = 12  # one of twelve samples: a mean squared error of 12
    assert psnr(black, other) == pytest.approx(10 * math.log10(255**2 / 12))
    assert psnr(black, black + 255) == pytest.approx(0)
    assert psnr(black, black) == math.inf


def reference_ms_ssim(original: Pixels, decoded: Pixels) -> float:
    """MS-SSIM from torchmetrics' SSIM, scale by scale and channel by channel.

    Its own MS-SSIM averages the channels at every scale, and keeps the reflected margin at the
    coarsest one; published figures are the means of the channels' over valid windows.
    """
    image = pytest.importorskip("torchmetrics.functional.image")
    ssim = image.structural_similarity_index_measure
    results: list[float] = []
    for channel in range(3):
        x, y = (
            torch.from_numpy(p[None, None, :, :, channel]).double() for p in (decoded, original)
        )
        result = 1.0
        for weight in SCALE_WEIGHTS[:-1]:
            _, contrast = ssim(x, y, data_range=255.0, return_contrast_sensitivity=True)
            result *= max(float(contrast), 0) ** weight
            x, y = (torch.nn.functional.avg_pool2d(z, 2) for z in (x, y))
        _, full = ssim(x, y, data_range=255.0, return_full_image=True)
        results.append(result * max(float(full[:, :, 5:-5, 5:-5].mean()), 0) ** SCALE_WEIGHTS[-1])
    return sum(results) / 3


@pytest.mark.parametrize("sigma", [2.0, 12.0, 60.0])
@pytest.mark.parametrize("shape", [(176, 176), (200, 331)])
def test_ms_ssim_is_that_of_torchmetrics(shape: tuple[int, int], sigma: float) -> None:
    original = scene(*shape)
    decoded = noisy(original, sigma)
    expected = reference_ms_ssim(original, decoded)
    assert ms_ssim(original, decoded) == pytest.approx(expected, abs=1e-5)


def test_ms_ssim_is_near_torchmetrics_own() -> None:
    image = pytest.importorskip("torchmetrics.functional.image")
    original = scene(200, 331)
    decoded = noisy(original, 12)
    planes = [
        torch.from_numpy(p.transpose(2, 0, 1).copy())[None] / 1.0 for p in (decoded, original)
    ]
    expected = image.multiscale_structural_similarity_index_measure(*planes, data_range=255.0)
    assert ms_ssim(original, decoded) == pytest.approx(float(expected), abs=1e-3)


def test_ms_ssim_at_its_limits() -> None:
    picture = scene(180, 190)
    assert ms_ssim(picture, picture) == pytest.approx(1, abs=1e-6)
    assert 0 <= ms_ssim(picture, 255 - picture) < 0.1
    assert math.isnan(ms_ssim(picture[:175], picture[:175]))
    assert decibels(0.99) == pytest.approx(20)


def test_ms_ssim_in_bands_is_that_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = scene(300, 180)
    other = noisy(picture, 10)
    whole = ms_ssim(picture, other)
    assert BAND > 300
    monkeypatch.setattr("nncodec.evaluate.metrics.BAND", 64)
    assert ms_ssim(picture, other) == pytest.approx(whole, abs=1e-6)


def test_blockiness() -> None:
    original = scene(256, 256, seed=3)
    assert blockiness(original, original, [128], [128]) == pytest.approx(1)
    stepped = original.astype(int)
    stepped[128:] += 40
    stepped = np.clip(stepped, 0, 255).astype(np.uint8)
    assert blockiness(original, stepped, [128], []) > 1.5
    assert blockiness(original, stepped, [100], []) == pytest.approx(1, abs=0.05)
    assert math.isnan(blockiness(original, stepped, [], []))
    assert math.isnan(blockiness(original * 0, stepped, [128], []))


def test_pictures_of_other_shapes_are_refused() -> None:
    for measure in (psnr, ms_ssim, lambda a, b: blockiness(a, b, [1], [1])):
        with pytest.raises(ValueError, match="cannot be compared"):
            measure(scene(8, 8), scene(8, 9))
