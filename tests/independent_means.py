"""Means restored from their differences, written from FORMAT.md, "Means", alone.

Position by position, as slowly as it is simple.
"""

import numpy as np


def restore(middles: np.ndarray, means: np.ndarray) -> np.ndarray:
    """Twice the middles (h, w, C) of a segment, from those of what is coded of it."""
    found = middles.copy()
    for channel in np.flatnonzero(means):
        found[:, :, channel] = from_differences(middles[:, :, channel]).clip(-32767, 32767)
    return found


def from_differences(d: np.ndarray) -> np.ndarray:
    """Those of one channel, (h, w), both doubled."""
    found: dict[tuple[int, int], int] = {}
    for _, sides, y, x in sorted((*order(y, x), y, x) for y, x in np.ndindex(*d.shape)):
        s = spacing(y, x)
        step = [(-s, 0), (s, 0), (0, -s), (0, s)] if sides else [(-s, -s), (-s, s), (s, -s), (s, s)]
        around = [(y + i, x + j) for i, j in step] if s < 16 else []
        known = [found[place] for place in around if place in found]
        mean = (2 * sum(known) + 2 * len(known)) // (4 * len(known)) if known else 0
        found[y, x] = int(d[y, x]) + 2 * mean
    return np.array([found[place] for place in np.ndindex(*d.shape)]).reshape(d.shape)


def spacing(y: int, x: int) -> int:
    """The largest power of two up to 16 that divides both."""
    return max(s for s in (1, 2, 4, 8, 16) if y % s == x % s == 0)


def order(y: int, x: int) -> tuple[int, bool]:
    """What comes first is smaller: wide spacings, and of one those between four diagonally."""
    s = spacing(y, x)
    return -s, y % (2 * s) == 0 or x % (2 * s) == 0
