"""Comparison of rate-distortion curves: Bjontegaard's delta rate, and one curve read at a point.

A curve is a sequence of (rate, quality) points: bits per pixel above 0, and PSNR in dB. Between
its points it is interpolated over the logarithm of the rate by PCHIP, the monotone piecewise cubic
Hermite interpolation of Fritsch and Butland (1984), which does not overshoot as Bjontegaard's
single cubic does (VCEG-M33, 2001). Outside of its points a curve is not known: nothing is
extrapolated, and what would need it is ``nan``.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Curve = Sequence[tuple[float, float]]
Array = NDArray[np.float64]


class Pchip:
    """The PCHIP through points with strictly increasing ``x``; two or more of them."""

    def __init__(self, x: Array, y: Array) -> None:
        if len(x) < 2 or not np.all(np.diff(x) > 0):
            raise ValueError("PCHIP needs two or more points with strictly increasing x")
        self.x, self.y = x, y
        self.slopes = _slopes(x, y)

    def __call__(self, at: Array) -> Array:
        """Return the values at ``at``; ``nan`` outside of the points."""
        left = np.clip(np.searchsorted(self.x, at, side="right") - 1, 0, len(self.x) - 2)
        constant, linear, square, cube = self._coefficients(left)
        t = at - self.x[left]
        values = constant + t * (linear + t * (square + t * cube))
        inside = (at >= self.x[0]) & (at <= self.x[-1])
        return np.where(inside, values, np.nan)

    def integral(self, low: float, high: float) -> float:
        """Return the exact integral from ``low`` to ``high``, both inside of the points."""
        if not self.x[0] <= low <= high <= self.x[-1]:
            raise ValueError(f"{low}..{high} is not inside {self.x[0]}..{self.x[-1]}")
        constant, linear, square, cube = self._coefficients(np.arange(len(self.x) - 1))
        start, end = (np.clip(v, self.x[:-1], self.x[1:]) - self.x[:-1] for v in (low, high))

        def primitive(t: Array) -> Array:
            return t * (constant + t * (linear / 2 + t * (square / 3 + t * cube / 4)))

        return float(np.sum(primitive(end) - primitive(start)))

    def _coefficients(self, left: NDArray[np.intp]) -> tuple[Array, Array, Array, Array]:
        """Return the cubics of the intervals that begin at the points ``left``."""
        width = self.x[left + 1] - self.x[left]
        secant = (self.y[left + 1] - self.y[left]) / width
        d0, d1 = self.slopes[left], self.slopes[left + 1]
        square = (3 * secant - 2 * d0 - d1) / width
        cube = (d0 + d1 - 2 * secant) / width**2
        return self.y[left], d0, square, cube


def _slopes(x: Array, y: Array) -> Array:
    """Return the derivative at each point: 0 at extrema, else a weighted harmonic mean."""
    width, secant = np.diff(x), np.diff(y) / np.diff(x)
    if len(x) == 2:
        return np.repeat(secant, 2)
    before, after = secant[:-1], secant[1:]
    w_before, w_after = 2 * width[1:] + width[:-1], width[1:] + 2 * width[:-1]
    monotone = before * after > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        harmonic = (w_before + w_after) / (w_before / before + w_after / after)
    inner = np.where(monotone, harmonic, 0.0)
    first = _end_slope(width[0], width[1], secant[0], secant[1])
    last = _end_slope(width[-1], width[-2], secant[-1], secant[-2])
    return np.concatenate([[first], inner, [last]])


def _end_slope(near: float, far: float, secant_near: float, secant_far: float) -> float:
    """Return a one-sided three-point derivative, limited so that the shape is kept."""
    slope = ((2 * near + far) * secant_near - near * secant_far) / (near + far)
    if np.sign(slope) != np.sign(secant_near):
        return 0.0
    if np.sign(secant_near) != np.sign(secant_far) and abs(slope) > 3 * abs(secant_near):
        return 3 * secant_near
    return float(slope)


def frontier(curve: Curve) -> list[tuple[float, float]]:
    """Return the points that no other point beats in both rate and quality, by rising rate."""
    best: list[tuple[float, float]] = []
    for rate, quality in sorted(curve, key=lambda point: (point[0], -point[1])):
        if rate > 0 and math.isfinite(quality) and (not best or quality > best[-1][1]):
            best.append((rate, quality))
    return best


def bd_rate(anchor: Curve, test: Curve) -> float:
    """Return the mean difference in rate of ``test`` to ``anchor`` at equal quality, in percent.

    Negative where ``test`` needs fewer bits. The mean is over the qualities that both curves
    reach, of the difference of the logarithms; ``nan`` where there are none.
    """
    curves = [frontier(anchor), frontier(test)]
    if min(map(len, curves)) < 2:
        return math.nan
    low = max(curve[0][1] for curve in curves)
    high = min(curve[-1][1] for curve in curves)
    if low >= high:
        return math.nan
    areas = [_rate_over_quality(curve).integral(low, high) for curve in curves]
    return 100 * math.expm1((areas[1] - areas[0]) / (high - low))


def quality_at(curve: Curve, rate: float) -> float:
    """Return the quality that ``curve`` has at ``rate``; ``nan`` outside of its rates."""
    points = frontier(curve)
    if len(points) < 2 or rate <= 0:
        return math.nan
    rates, qualities = np.array(points).T
    return float(Pchip(np.log(rates), qualities)(np.array(math.log(rate))))


def between(curve: Curve, low: float, high: float) -> list[tuple[float, float]]:
    """Return the part of ``curve`` at rates from ``low`` to ``high``, its ends interpolated."""
    ends = [(rate, quality_at(curve, rate)) for rate in (low, high)]
    inside = [point for point in curve if low < point[0] < high]
    return sorted(inside + [end for end in ends if math.isfinite(end[1])])


def rate_at(curve: Curve, quality: float) -> float:
    """Return the rate that ``curve`` needs for ``quality``; ``nan`` outside of its qualities."""
    points = frontier(curve)
    if len(points) < 2:
        return math.nan
    return float(np.exp(_rate_over_quality(points)(np.array(quality))))


def _rate_over_quality(points: Curve) -> Pchip:
    rates, qualities = np.array(points).T
    return Pchip(qualities, np.log(rates))
