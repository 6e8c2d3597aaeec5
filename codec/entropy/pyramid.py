"""Reversible prediction along the positions of a latent, for channels of neighbours much alike.

A few channels are little but means of blocks, and those of neighbours hardly differ. Planes of bits
tell such a field badly: when a digit is coded, most of what is around is known no better than the
element itself. So what is coded of them is how far each element is from the mean of those around it
in a coarser lattice: the predict step of integer lifting (Calderbank, Daubechies, Sweldens, Yeo,
"Wavelet transforms that map integers to integers", 1998), on a quincunx pyramid.
"""

from collections.abc import Iterator, Sequence
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .digits import Latent

SPACINGS = 8, 4, 2, 1  # of the lattices, in positions; at multiples of 16 nothing is predicted
DIAGONAL = (-1, -1), (-1, 1), (1, -1), (1, 1)
STRAIGHT = (-1, 0), (1, 0), (0, -1), (0, 1)

FARTHEST = np.iinfo(np.int16).max

Field = NDArray[np.int32]  # (..., h, w, C)


def predicted(latent: Latent, means: NDArray[np.bool_]) -> Latent:
    """What is coded of a latent (..., h, w, C) of elements up to LARGEST: of ``means`` differences.

    ``means`` (C,) tells which channels are.
    """
    coded = latent.copy()
    coded[..., means] = differences(latent[..., means].astype(np.int32))
    return coded


def unpredicted(coded: Latent, means: NDArray[np.bool_], unit: int = 1) -> Latent:
    """The latent of which that is coded, both in units of 1 / ``unit``.

    No farther from 0 than int16 is: files can be made up.
    """
    latent = coded.copy()
    field = restored(coded[..., means].astype(np.int32), unit)
    latent[..., means] = field.clip(-FARTHEST, FARTHEST)
    return latent


def differences(field: Field) -> Field:
    """How far each element is from what is predicted of it."""
    found = field.copy()
    for places, told in predictions(field, 1):
        found[places] -= told
    return found


def restored(found: Field, unit: int = 1) -> Field:
    """The field of these :func:`differences`, both in units of 1 / ``unit``."""
    field = found.copy()
    for places, told in predictions(field, unit):
        field[places] += told
    return field


def predictions(field: Field, unit: int) -> Iterator[tuple[tuple[Any, ...], Field]]:
    """Where each lattice lies in a field, coarse to fine, and what is predicted there.

    Of the squares of what comes before, first the centres, then the middles of the sides. What is
    predicted is the mean of those of four that are there, to the nearest multiple of ``unit``,
    halves upwards. Each is predicted from what the field has become by then.
    """
    height, width = field.shape[-3:-1]
    there = np.ones((height, width, 1), np.int32)
    for s in SPACINGS:
        for top, left, around in ((s, s, DIAGONAL), (0, s, STRAIGHT), (s, 0, STRAIGHT)):
            if top < height and left < width:
                total, count = (sums(x, s, top, left, around) for x in (field, there))
                places = (..., slice(top, None, 2 * s), slice(left, None, 2 * s), slice(None))
                yield places, (2 * total + unit * count) // (2 * unit * count) * unit


def sums(field: Field, s: int, top: int, left: int, around: Sequence[tuple[int, int]]) -> Field:
    """The sums of what lies ``around`` every 2 s-th position of a field, s being the unit of that.

    ``top`` and ``left`` are the first such position. Beyond the edges there are zeros.
    """
    height, width = field.shape[-3:-1]
    padded = np.pad(field, ((0, 0),) * (field.ndim - 3) + ((s, s), (s, s), (0, 0)))
    corners = [(s + top + down * s, s + left + across * s) for down, across in around]
    return reduce(
        np.add,
        [
            padded[..., y : y + height - top : 2 * s, x : x + width - left : 2 * s, :]
            for y, x in corners
        ],
    )
