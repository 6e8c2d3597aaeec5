"""PCHIP against SciPy's; BD-rate where the answer is known."""

import math

import numpy as np
import pytest

from nncodec.evaluate.bdrate import Pchip, bd_rate, frontier, quality_at, rate_at


@pytest.mark.parametrize("points", [2, 3, 4, 9])
@pytest.mark.parametrize("monotone", [True, False])
def test_pchip_is_that_of_scipy(points: int, monotone: bool) -> None:
    interpolate = pytest.importorskip("scipy.interpolate")
    rng = np.random.default_rng(points)
    for _ in range(20):
        x = np.cumsum(rng.uniform(0.05, 2, points))
        y = np.cumsum(rng.uniform(0, 1, points)) if monotone else rng.normal(size=points)
        ours, scipys = Pchip(x, y), interpolate.PchipInterpolator(x, y)
        at = np.linspace(x[0], x[-1], 101)
        assert ours(at) == pytest.approx(scipys(at), abs=1e-12)
        low, high = np.sort(rng.uniform(x[0], x[-1], 2))
        assert ours.integral(low, high) == pytest.approx(scipys.integrate(low, high), abs=1e-12)
        assert np.isnan(ours(np.array([x[0] - 1e-6, x[-1] + 1e-6]))).all()


def test_pchip_refuses_what_is_no_curve() -> None:
    with pytest.raises(ValueError, match="increasing"):
        Pchip(np.array([1.0, 1.0]), np.array([0.0, 1.0]))
    with pytest.raises(ValueError, match="increasing"):
        Pchip(np.array([1.0]), np.array([0.0]))


CURVE = [(0.1, 25.0), (0.2, 28.0), (0.5, 31.5), (1.0, 35.0), (2.0, 39.0)]


@pytest.mark.parametrize("factor", [0.5, 0.9, 1.0, 1.3])
def test_bd_rate_of_a_curve_with_its_rates_scaled(factor: float) -> None:
    scaled = [(rate * factor, quality) for rate, quality in CURVE]
    assert bd_rate(CURVE, scaled) == pytest.approx(100 * (factor - 1), abs=1e-9)
    assert bd_rate(scaled, CURVE) == pytest.approx(100 * (1 / factor - 1), abs=1e-9)


def test_bd_rate_is_over_the_common_qualities_only() -> None:
    upper = [(rate * 0.8, quality) for rate, quality in CURVE if quality > 30]
    assert bd_rate(CURVE, upper) == pytest.approx(-20, abs=1.5)
    above = [(rate, quality + 20) for rate, quality in CURVE]
    assert math.isnan(bd_rate(CURVE, above))
    assert math.isnan(bd_rate(CURVE, [(0.5, 30.0)]))


def test_curves_are_read_inside_of_their_points_only() -> None:
    for rate, quality in CURVE:
        assert quality_at(CURVE, rate) == pytest.approx(quality)
        assert rate_at(CURVE, quality) == pytest.approx(rate)
    assert 28 < quality_at(CURVE, 0.3) < 31.5
    assert math.isnan(quality_at(CURVE, 0.09))
    assert math.isnan(rate_at(CURVE, 39.5))
    assert math.isnan(quality_at(CURVE[:1], 0.1))


def test_points_that_another_beats_are_left_out() -> None:
    curve = [(1.0, 30.0), (0.5, 31.0), (0.5, 29.0), (2.0, math.inf), (2.0, 35.0)]
    assert frontier(curve) == [(0.5, 31.0), (2.0, 35.0)]
