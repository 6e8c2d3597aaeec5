"""Rate control: the finest step whose file meets a budget, or the coarsest that meets a quality.

A variable-rate model's analysis runs once. What is searched is the step of its quantisation, over
which both the size of the file and the error are nearly exponential: a few tries find the best.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from nncodec.formats.cae import Coding, Header
from nncodec.formats.errors import NncodecError
from nncodec.formats.stages import BIT_PLANES

T = TypeVar("T")
Write = Callable[[Header, Iterable[tuple[Coding, bytes]]], bytes]  # a header and its payloads

# The step codes of quality 0 and 100; each point of quality is the same factor of the step.
COARSEST, FINEST = 1062, 400
DEFAULT_QUALITY = 60.0

MEASURES = ("quality", "size", "bpp", "psnr")
ANY = 1e15  # larger targets are nobody's
ENOUGH = 0.99  # of what is allowed: closer is not looked for
SLOPE = -0.004  # of the logarithm of a size, for each step code, until two tries tell


@dataclass(frozen=True)
class Target:
    """What a file is to reach. At most one of the first four; none is the default quality."""

    quality: float | None = None  # from 0 to 100
    size: int | None = None  # bytes of the file, at most
    bpp: float | None = None  # bits per pixel of the file, at most
    psnr: float | None = None  # dB, at least
    stages: int | None = None  # that it is sent in; None: as many as are worth while

    def __post_init__(self) -> None:
        given = [name for name in MEASURES if getattr(self, name) is not None]
        if len(given) > 1:
            raise NncodecError(f"give one of {', '.join(given)}, not {len(given)}")
        if self.quality is not None and not 0 <= self.quality <= 100:
            raise NncodecError(f"a quality is from 0 to 100, not {self.quality:g}")
        for name in given:
            value = getattr(self, name)
            if name != "quality" and not 0 < value < ANY:
                raise NncodecError(f"{name} {value:g} is not above 0 and below {ANY:g}")
        if self.stages is not None and not 1 <= self.stages <= BIT_PLANES:
            raise NncodecError(f"stages are from 1 to {BIT_PLANES}, not {self.stages}")

    def budget(self, pixels: int) -> int | None:
        """Bytes that the file of a picture of so many pixels may have; None: any number."""
        if self.size is not None:
            return self.size
        return None if self.bpp is None else int(self.bpp * pixels / 8)


class Effort(NamedTuple):
    """What an encoder does for the best decisions."""

    quick: bool  # whether half of the analysis must do, and the filter that all pictures share
    rounds: int  # of refinement


LEAST_EFFORT = Effort(True, 0)
EFFORTS = (LEAST_EFFORT, *(Effort(False, rounds) for rounds in (0, 1, 2, 4, 6, 12, 24, 48)))
DEFAULT_EFFORT = 2


def effort_of(number: int | None) -> Effort:
    """What an effort from 1 to 9 is, the default if it is None. NncodecError for other numbers."""
    number = DEFAULT_EFFORT if number is None else number
    if not 1 <= number <= len(EFFORTS):
        raise NncodecError(f"an effort is from 1 to {len(EFFORTS)}, not {number}")
    return EFFORTS[number - 1]


def step_of(quality: float) -> int:
    """The step code of a quality from 0 to 100."""
    return round(COARSEST + (FINEST - COARSEST) * quality / 100)


def quality_of(step: int) -> float:
    """The quality that has this step code, or the nearest to it; from 0 to 100 for most."""
    return 100 * (COARSEST - step) / (COARSEST - FINEST)


def least_within(
    measure: Callable[[int], tuple[float, T]],
    limit: float,
    first: int,
    last: int,
    guess: int | None = None,
) -> T | None:
    """The result for the least number in ``first``...``last`` whose measure is within ``limit``.

    ``measure`` gives a positive measure, which falls as the number grows, and a result. A number
    whose measure is more than ENOUGH of the limit is good enough. The search begins with ``guess``.
    None if even ``last`` is above the limit.
    """
    if limit <= 0:
        return None
    target = math.log(limit * (1 + ENOUGH) / 2)
    points: dict[int, float] = {}
    low, high = first - 1, last + 1  # the limit lies between: low is above it, high within
    guess = (first + last) // 2 if guess is None else guess
    best = None
    while high - low > 1:
        before = high - low
        value, result = measure(guess)
        points[guess] = math.log(value)
        if value <= limit:
            high, best = guess, result
            if value >= ENOUGH * limit:
                break
        else:
            low = guess
        guess = _crossing(points, target)
        if len(points) > 2 and 2 * (high - low) > before:  # no line, but stairs or a cliff
            guess = (low + high) // 2
        guess = min(max(guess, low + 1), high - 1)
    return best


def _crossing(points: dict[int, float], target: float) -> int:
    """Where the line through the two points next to ``target`` reaches it, rounded up."""
    near = sorted(points, key=lambda number: abs(points[number] - target))[:2]
    here = near[0]
    slope = SLOPE
    if len(near) == 2:
        slope = (points[near[1]] - points[here]) / (near[1] - here)
    return here + math.ceil((target - points[here]) / min(slope, SLOPE / 20))
