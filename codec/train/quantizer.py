"""Fixed-rate scalar quantizers: a sign and a magnitude, and bits given where they pay."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_BITS = 6  # of one component

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Quantizer:
    """A symmetric scalar quantizer with 2**bits cells, coded as sign and magnitude.

    ``thresholds`` and ``levels`` are those of the magnitude (Lloyd-Max), whose cell number is
    written in binary, most significant bit first.
    """

    bits: int
    thresholds: Floats
    levels: Floats
    mse: float

    @property
    def half_cell(self) -> float:
        """Half of a typical cell, the distance that matters for a decision."""
        return float(self.levels[0]) / 2 if self.bits < 3 else self._typical()

    def _typical(self) -> float:
        return float(np.median(np.diff(self.thresholds)) / 2)

    def flips(self, plane: int) -> Floats:
        """The magnitudes at which bit ``plane`` of the code (1 = after the sign) flips."""
        step = 2 ** (self.bits - 1 - plane)
        return self.thresholds[step - 1 :: step]


def fit_quantizer(samples: Floats, bits: int) -> Quantizer:
    """Lloyd's iteration on the magnitudes of ``samples`` (n,)."""
    nothing = np.empty(0)
    if bits == 0:
        return Quantizer(0, nothing, nothing, float((samples**2).mean()))
    magnitude = np.abs(samples)
    count = 2 ** (bits - 1)
    levels = (np.arange(count) + 0.5) / count * 2.5 * np.sqrt((samples**2).mean())
    for _ in range(40):
        cell = np.searchsorted((levels[1:] + levels[:-1]) / 2, magnitude)
        size = np.bincount(cell, minlength=count)
        total = np.bincount(cell, weights=magnitude, minlength=count)
        levels = np.where(size > 0, total / np.maximum(size, 1), levels)
    thresholds = (levels[1:] + levels[:-1]) / 2
    error = magnitude - levels[np.searchsorted(thresholds, magnitude)]
    return Quantizer(bits, thresholds, levels, float((error**2).mean()))


def allocate(components: Floats, variances: Floats, bits: int) -> list[Quantizer]:
    """Give ``bits`` one by one to the component whose squared error they lower most.

    ``components`` (n, k) are scaled to unit variance; ``variances`` (k,) weigh their errors.
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
