"""Fixed-rate scalar quantizers: Lloyd-Max cells, Gray codes, and bits given where they pay."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_BITS = 5  # of one component

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Quantizer:
    """A scalar quantizer with 2**bits cells (Lloyd-Max): thresholds and mean squared error."""

    thresholds: Floats
    mse: float

    @property
    def bits(self) -> int:
        return int(math.log2(len(self.thresholds) + 1))

    @property
    def half_cell(self) -> float:
        """Half of a typical cell, the distance that matters for a decision."""
        return float(np.median(np.diff(self.thresholds)) / 2) if self.bits > 1 else 1.0

    def gray(self, plane: int) -> Floats:
        """The thresholds at which bit ``plane`` (0 = most significant) of the Gray code changes."""
        first = 2 ** (self.bits - 1 - plane)
        return self.thresholds[first - 1 :: 2 * first]


def fit_quantizer(samples: Floats, bits: int) -> Quantizer:
    """Lloyd's iteration on ``samples`` (n,)."""
    levels = np.linspace(-2.2, 2.2, 2**bits) * samples.std() + samples.mean()
    for _ in range(40):
        cell = np.searchsorted((levels[1:] + levels[:-1]) / 2, samples)
        count = np.bincount(cell, minlength=len(levels))
        total = np.bincount(cell, weights=samples, minlength=len(levels))
        levels = np.where(count > 0, total / np.maximum(count, 1), levels)
    thresholds = (levels[1:] + levels[:-1]) / 2
    error = samples - levels[np.searchsorted(thresholds, samples)]
    return Quantizer(thresholds, float((error**2).mean()))


def allocate(components: Floats, variances: Floats, bits: int) -> list[Quantizer]:
    """Give ``bits`` one by one to the component whose squared error they lower most.

    ``components`` (n, k) are scaled to unit variance; ``variances`` (k,) weigh their errors.
    Returns the quantizers of the leading components, those without bits left out at the end.
    """
    columns = range(components.shape[1])
    ladder = [[fit_quantizer(components[:, k], b) for b in range(MAX_BITS + 1)] for k in columns]
    given = [0 for _ in columns]
    for _ in range(bits):
        gain = [
            v * (ladder[k][given[k]].mse - ladder[k][min(given[k] + 1, MAX_BITS)].mse)
            for k, v in enumerate(variances)
        ]
        given[int(np.argmax(gain))] += 1
    return [ladder[k][given[k]] for k in columns]
