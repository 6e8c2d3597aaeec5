"""Distortion of a decoded picture: PSNR, MS-SSIM and blockiness, over RGB samples of 8 bits.

Pictures are uint8 arrays (H, W, 3) of the same shape, as they are shown: after decoding, clipping
and rounding.
"""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from nncodec.seams import Borders, Pixels

# Wang, Simoncelli, Bovik: Multi-scale structural similarity for image quality assessment, 2003.
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # finest first
TAPS, SIGMA = 11, 1.5  # the Gaussian window
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
MS_SSIM_MIN_SIDE = TAPS * 2 ** (len(SCALE_WEIGHTS) - 1)  # 176: the window fits the coarsest scale

BAND = 1024  # rows whose MS-SSIM statistics are held at once


def psnr(original: Pixels, decoded: Pixels) -> float:
    """Return the peak signal-to-noise ratio in dB, from one mean squared error over R, G and B.

    Identical pictures have ``inf``. Raises ValueError where the shapes differ.
    """
    _check(original, decoded)
    difference = original.astype(np.int16) - decoded
    error = float(np.mean(np.square(difference, dtype=np.int32), dtype=np.float64))
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


def ms_ssim(original: Pixels, decoded: Pixels) -> float:
    """Return the multi-scale structural similarity, at most 1: the mean of those of R, G and B.

    Five scales, valid windows only, 2x2 means between the scales: the convention of the published
    figures of learned codecs. Pictures with a side of less than 176 pixels have ``nan``: the
    window does not fit their coarsest scale, and a similarity over fewer scales would be another
    measure. Raises ValueError where the shapes differ.
    """
    _check(original, decoded)
    if min(original.shape[:2]) < MS_SSIM_MIN_SIDE:
        return math.nan
    x, y = _planes(original), _planes(decoded)
    product = torch.ones(3, dtype=torch.float64)
    for scale, weight in enumerate(SCALE_WEIGHTS):
        if scale:
            x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
        similarity, contrast = _ssim(x, y)
        # A negative mean (opposite structure everywhere) has no real power: it counts as 0.
        factor = similarity if scale == len(SCALE_WEIGHTS) - 1 else contrast
        product *= factor.clamp(min=0) ** weight
    return float(product.mean())


def decibels(similarity: float) -> float:
    """Return an MS-SSIM on the scale -10 log10(1 - x) that spreads the values near 1."""
    return math.inf if similarity >= 1 else -10 * math.log10(1 - similarity)


def blockiness(original: Pixels, decoded: Pixels, rows: Borders, columns: Borders) -> float:
    """Return how much more the seams of ``decoded`` show than those places do in ``original``.

    In one picture, the seams show as much as the mean absolute step across the borders exceeds
    the mean absolute step between neighbouring pixels everywhere else. This is that ratio for
    ``decoded`` divided by the one for ``original``: 1 where nothing tells the borders from other
    places, above 1 where they show, below 1 where they are smoother than the picture is.

    ``rows`` and ``columns`` are the first pixels after each border. ``nan`` without any, or where
    a picture is flat.
    """
    _check(original, decoded)
    shown, natural = (_seam_ratio(picture, rows, columns) for picture in (decoded, original))
    return shown / natural if natural > 0 else math.nan


def _seam_ratio(picture: Pixels, rows: Borders, columns: Borders) -> float:
    at_sum, at_count, else_sum, else_count = 0.0, 0, 0.0, 0
    for axis, borders in enumerate((rows, columns)):
        steps = np.abs(np.diff(picture.astype(np.int16), axis=axis))
        sums = steps.sum(axis=(1 - axis, 2), dtype=np.float64)  # one for each line of the grid
        seam = np.isin(np.arange(1, picture.shape[axis]), borders)
        line = picture.shape[1 - axis] * picture.shape[2]
        at_sum, at_count = at_sum + sums[seam].sum(), at_count + seam.sum() * line
        else_sum, else_count = else_sum + sums[~seam].sum(), else_count + (~seam).sum() * line
    if not at_count or not else_sum:
        return math.nan
    return float((at_sum / at_count) / (else_sum / else_count))


def _ssim(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean similarity and the mean contrast-structure, (3,) each, of planes."""
    similarity, contrast = torch.zeros(2, 3, dtype=torch.float64)
    count = 0
    # In bands, so that the statistics of a large picture do not take twenty times its memory.
    for top in range(0, x.shape[2] - TAPS + 1, BAND):
        a, b = (plane[:, :, top : top + BAND + TAPS - 1] for plane in (x, y))
        mean_a, mean_b, aa, bb, ab = _blur(torch.stack([a, b, a * a, b * b, a * b]))
        variances = aa - mean_a.square() + bb - mean_b.square()
        covariance = ab - mean_a * mean_b
        structure = (2 * covariance + C2) / (variances + C2)
        luminance = (2 * mean_a * mean_b + C1) / (mean_a.square() + mean_b.square() + C1)
        similarity += (luminance * structure).sum(dim=(1, 2, 3), dtype=torch.float64)
        contrast += structure.sum(dim=(1, 2, 3), dtype=torch.float64)
        count += structure[0].numel()
    return similarity / count, contrast / count


def _blur(planes: Tensor) -> Tensor:
    """Filter planes (..., H, W) by the Gaussian window, to (..., H - 10, W - 10)."""
    offsets = range(-(TAPS // 2), TAPS // 2 + 1)
    window = [math.exp(-(offset**2) / (2 * SIGMA**2)) for offset in offsets]
    # Sums of shifted planes: ten times as fast as torch's convolution of single channels.
    for axis in (-2, -1):
        length = planes.shape[axis] - TAPS + 1
        total = torch.zeros_like(planes.narrow(axis, 0, length))
        for place, weight in enumerate(window):
            total.add_(planes.narrow(axis, place, length), alpha=weight / sum(window))
        planes = total
    return planes


def _planes(picture: Pixels) -> Tensor:
    """Return float32 planes (3, 1, H, W) in 0..255."""
    return torch.from_numpy(picture.transpose(2, 0, 1).astype(np.float32)).unsqueeze(1)


def _check(original: Pixels, decoded: Pixels) -> None:
    if original.shape != decoded.shape or original.ndim != 3:
        raise ValueError(f"pictures of {original.shape} and {decoded.shape} cannot be compared")
