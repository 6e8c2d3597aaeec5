"""Means restored from their differences, written from FORMAT.md, "Means", alone.

Position by position, as slowly as it is simple.
"""

import numpy as np

SQUARE = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
Tensors = dict[str, np.ndarray]


def restore(middles: np.ndarray, tensors: Tensors) -> np.ndarray:
    """Twice the middles (h, w, C) of a segment, from those of what is coded of it."""
    found = middles.copy()
    others = [middles[:, :, channel] for channel in tensors["others"]]
    for number, channel in enumerate(np.flatnonzero(tensors["means"])):
        slopes = tensors["slopes"][:, :, number].astype(object)  # of Python's integers
        restored = from_differences(middles[:, :, channel], others, slopes)
        found[:, :, channel] = restored.clip(-32767, 32767)
    return found


def from_differences(d: np.ndarray, others: list[np.ndarray], slopes: np.ndarray) -> np.ndarray:
    """Those of one channel, (h, w); all is doubled."""
    found: dict[tuple[int, int], int] = {}
    for _, sides, y, x in sorted((*order(y, x), y, x) for y, x in np.ndindex(*d.shape)):
        s = spacing(y, x)
        step = [(-s, 0), (s, 0), (0, -s), (0, s)] if sides else [(-s, -s), (-s, s), (s, -s), (s, s)]
        around = [(y + i, x + j) for i, j in step] if s < 16 else []
        known = [found[place] for place in around if place in found]
        told = (2 * sum(known) + 2 * len(known)) // (4 * len(known)) if known else 0
        if s <= 2:
            near = [found[place] - 2 * told if place in found else 0 for place in around]
            seen = [get(other, y + i, x + j) for other in others for i, j in SQUARE]
            total = sum(slopes[2 - s, int(sides)] * np.array(near + seen, object))
            told = max(-4095, min(4095, told + (total + 256) // 512))
        found[y, x] = int(d[y, x]) + 2 * told
    return np.array([found[place] for place in np.ndindex(*d.shape)], object).reshape(d.shape)


def get(field: np.ndarray, y: int, x: int) -> int:
    inside = 0 <= y < len(field) and 0 <= x < len(field[0])
    return int(field[y, x]) if inside else 0


def spacing(y: int, x: int) -> int:
    """The largest power of two up to 16 that divides both."""
    return max(s for s in (1, 2, 4, 8, 16) if y % s == x % s == 0)


def order(y: int, x: int) -> tuple[int, bool]:
    """What comes first is smaller: wide spacings, and of one those between four diagonally."""
    s = spacing(y, x)
    return -s, y % (2 * s) == 0 or x % (2 * s) == 0
