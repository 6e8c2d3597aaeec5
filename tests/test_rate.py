"""Rate control: what may be asked for, and how few tries find it."""

import math
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nncodec.formats.errors import NncodecError
from nncodec.formats.stages import MAX_STEP
from nncodec.rate import COARSEST, ENOUGH, FINEST, Target, least_within, quality_of, step_of

Measure = Callable[[int], float]
TRIES = 2 + 2 * 11  # at worst, every second one halves what is left of 2048 step codes


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"quality": -1}, "a quality is from 0 to 100, not -1"),
        ({"quality": 100.5}, "a quality is from 0 to 100, not 100.5"),
        ({"quality": math.nan}, "a quality is from 0 to 100, not nan"),
        ({"size": 0}, "size 0 is not above 0"),
        ({"bpp": -0.5}, "bpp -0.5 is not above 0"),
        ({"bpp": math.inf}, "bpp inf is not above 0 and below"),
        ({"psnr": math.nan}, "psnr nan is not above 0"),
        ({"psnr": 30, "size": 1000}, "give one of size, psnr, not 2"),
        ({"quality": 0, "size": 1, "bpp": 1, "psnr": 1}, "give one of .*, not 4"),
    ],
)
def test_targets_that_make_no_sense(fields: dict[str, float], message: str) -> None:
    with pytest.raises(NncodecError, match=f"^{message}"):
        Target(**fields)  # type: ignore[arg-type]


def test_budgets() -> None:
    assert Target().budget(1000) is None
    assert Target(quality=50).budget(1000) is None
    assert Target(psnr=30).budget(1000) is None
    assert Target(size=777).budget(1000) == 777
    assert Target(bpp=0.1).budget(768 * 512) == 4915  # 4915.2: never more
    assert Target(bpp=0.001).budget(40 * 30) == 0
    assert Target(bpp=9e14).budget(1 << 32) > 1 << 60


def test_quality_is_a_geometric_scale_of_steps() -> None:
    assert (step_of(0), step_of(100)) == (COARSEST, FINEST)
    steps = [step_of(quality / 10) for quality in range(1001)]
    assert steps == sorted(steps, reverse=True)
    assert 0 < min(steps) and max(steps) < MAX_STEP
    for step in range(FINEST, COARSEST + 1):
        assert 0 <= quality_of(step) <= 100
        assert step_of(round(quality_of(step), 1)) == step  # what `info` prints is enough


def smooth(height: float, slope: float) -> Measure:
    return lambda n: math.exp(height - slope * n)


def bent(height: float, slope: float, place: int, other: float) -> Measure:
    return lambda n: math.exp(height - slope * min(n, place) - other * max(0, n - place))


def floored(height: float, slope: float, floor: float) -> Measure:
    return lambda n: floor + math.exp(height - slope * n)


def stairs(height: float, slope: float, width: int) -> Measure:
    return lambda n: math.exp(height - slope * (n // width * width))


def cliff(height: float, place: int) -> Measure:
    return lambda n: math.exp(height - (6 if n >= place else 0))


SLOPES = st.floats(0.0005, 0.02)
NUMBERS = st.integers(1, MAX_STEP - 1)
GENTLE = st.one_of(
    st.builds(smooth, st.floats(5, 20), SLOPES),
    st.builds(bent, st.floats(5, 20), SLOPES, NUMBERS, SLOPES),
    st.builds(floored, st.floats(5, 20), SLOPES, st.floats(1, 200)),
)
ROUGH = st.one_of(
    st.builds(stairs, st.floats(5, 20), SLOPES, st.integers(2, 500)),
    st.builds(cliff, st.floats(5, 20), NUMBERS),
    st.builds(lambda value: lambda n: value, st.floats(1, 1e6)),
)


def check(measure: Measure, limit: float, most: int) -> None:
    tries = []

    def measured(number: int) -> tuple[float, int]:
        tries.append(number)
        return measure(number), number

    found = least_within(measured, limit, 0, MAX_STEP - 1)
    assert len(tries) == len(set(tries)) <= most
    if found is None:
        assert measure(MAX_STEP - 1) > limit
    else:
        assert measure(found) <= limit
        least = found == 0 or measure(found - 1) > limit
        assert least or measure(found) >= ENOUGH * limit


@settings(max_examples=300)
@given(GENTLE, st.floats(1, 1e6))
def test_what_is_found_is_within_and_nearly_the_least(measure: Measure, limit: float) -> None:
    check(measure, limit, TRIES)


@settings(max_examples=200)
@given(ROUGH, st.floats(1, 1e6))
def test_stairs_and_cliffs_take_no_long_search(measure: Measure, limit: float) -> None:
    check(measure, limit, TRIES)


@pytest.mark.parametrize("limit", [100, 1000, 20_000, 100_000])
def test_a_smooth_measure_takes_few_tries(limit: float) -> None:
    check(smooth(12.5, 0.004), limit, 2)
    check(smooth(12.5, 0.006), limit, 4)
    check(smooth(12.5, 0.002), limit, 5)
    check(floored(12.5, 0.005, 90), limit, 8)


@pytest.mark.parametrize("limit", [0, -1])
def test_nothing_is_within_nothing(limit: float) -> None:
    check(smooth(12.5, 0.004), limit, 0)
    assert least_within(lambda n: (1.0, n), limit, 0, 9) is None
