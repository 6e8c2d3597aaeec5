"""Reversible prediction along the positions of a latent, for channels of neighbours much alike.

A few channels are little but means of blocks, and those of neighbours hardly differ. Planes of bits
tell such a field badly: when a digit is coded, most of what is around is known no better than the
element itself. So what is coded of them is how far each element is from what is predicted of it:
the predict step of integer lifting (Calderbank, Daubechies, Sweldens, Yeo, "Wavelet transforms that
map integers to integers", 1998), on a quincunx pyramid.

What is predicted is the mean of those around it in a coarser lattice, and on the last lattices
something else is added. The slopes and bends of blocks, which other channels hold, tell how far
the means of two neighbours are apart, since pictures go on from block to block. Other channels are
known everywhere by then, so that both sides can be looked at.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .board import SQUARE
from .digits import LARGEST, Latent

SPACINGS = 8, 4, 2, 1  # of the lattices, in positions; at multiples of 16 nothing is predicted
NEAR = 2, 1  # those in which other channels are looked at
DIAGONAL = (-1, -1), (-1, 1), (1, -1), (1, 1)
STRAIGHT = (-1, 0), (1, 0), (0, -1), (0, 1)
AROUND = DIAGONAL, STRAIGHT  # the four that a mean is of, in either kind of lattice
FOUR = 4
ONE = 256  # what stands for a slope of 1

FARTHEST = np.iinfo(np.int16).max

EDGE = max(SPACINGS)  # zeros around a field

Field = NDArray[np.int64]  # (..., h, w, C)
T = TypeVar("T", np.int64, np.float64)


@dataclass(frozen=True)
class Pyramid:
    """Which channels are means of blocks, and how they are predicted.

    ``means`` (C,) tells which channels are, ``others`` (U,) which are looked at besides. ``slopes``
    (NEAR, AROUND, M means, 4 + 9 U), in units of 1 / ONE, say what is added to the mean of four:
    for how far each of the four is from it, and for each of the others in 3x3 positions.
    """

    means: NDArray[np.bool_]
    others: NDArray[np.int16]
    slopes: NDArray[np.int16]

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> "Pyramid":
        """The one in the tensors of a plane model."""
        return cls(*(tensors[field.name].numpy() for field in fields(cls)))

    def tensors(self) -> dict[str, Tensor]:
        """Those of a plane model that are this one."""
        return {field.name: torch.from_numpy(getattr(self, field.name)) for field in fields(self)}

    def predicted(self, latent: Latent) -> Latent:
        """What is coded of a latent (..., h, w, C) of elements up to LARGEST: of means differences.

        They are up to twice as large.
        """
        coded = latent.copy()
        field = latent[..., self.means].astype(np.int64)
        found = field.copy()
        for places, told in self._predictions(framed(field), latent, 1):
            found[places] -= told
        coded[..., self.means] = found
        return coded

    def unpredicted(self, coded: Latent, unit: int = 1) -> Latent:
        """The latent of which that is coded, both in units of 1 / ``unit``.

        No farther from 0 than int16 is: files can be made up.
        """
        latent = coded.copy()
        frame = framed(coded[..., self.means].astype(np.int64))
        field = frame[..., EDGE:-EDGE, EDGE:-EDGE, :]
        for places, told in self._predictions(frame, coded, unit):
            field[places] += told
        latent[..., self.means] = field.clip(-FARTHEST, FARTHEST)
        return latent

    def _predictions(
        self, frame: Field, latent: Latent, unit: int
    ) -> Iterator[tuple[tuple[Any, ...], Field]]:
        """Where each lattice lies in a field of means, coarse to fine, and what is predicted there.

        Each is predicted from what is in the field's ``frame`` by then.
        """
        height, width = latent.shape[-3:-1]
        there = framed(np.ones((height, width, 1), np.int64))
        slopes, most = self.slopes.astype(np.int64), LARGEST * unit
        beside = around(framed(latent[..., self.others].astype(np.float64)), SQUARE)
        weights = torch.from_numpy(slopes[..., FOUR:]).double().flatten(0, 2)
        products = torch.from_numpy(beside) @ weights.T  # exact: integers below 2^53 in all
        told = products.reshape(*latent.shape[:-1], *slopes.shape[:3]).numpy()
        for lattice in lattices(height, width):
            mean, apart = lattice.means(frame, there, unit)
            if lattice.spacing in NEAR:
                which = NEAR.index(lattice.spacing), lattice.kind
                total = told[(*lattice.places[:-1], *which, slice(None))].astype(np.int64)
                total += (apart * slopes[which][:, :FOUR]).sum(-1)
                mean = (mean + nearest(total, ONE * unit, unit)).clip(-most, most)
            yield lattice.places, mean


@dataclass(frozen=True)
class Lattice:
    """Every 2 * spacing-th position from ``top`` and ``left`` on."""

    spacing: int
    kind: int
    top: int
    left: int

    @property
    def places(self) -> tuple[Any, ...]:
        """Where they are in a field (..., h, w, C)."""
        stride = 2 * self.spacing
        return ..., slice(self.top, None, stride), slice(self.left, None, stride), slice(None)

    def means(self, frame: Field, there: Field, unit: int) -> tuple[Field, Field]:
        """Those of the four around that there are, in multiples of ``unit``.

        And how far each of the four (..., C, 4) is from its mean, 0 beyond the edges. ``there`` is
        the frame of a field of ones.
        """
        four = [(self.spacing * down, self.spacing * across) for down, across in AROUND[self.kind]]
        near, inside = (
            np.stack([shifted(x, *offset)[self.places] for offset in four], -1)
            for x in (frame, there)
        )
        mean = nearest(near.sum(-1), unit * inside.sum(-1), unit)
        return mean, (near - mean[..., np.newaxis]) * inside


def framed(field: NDArray[T]) -> NDArray[T]:
    """A field (..., h, w, C) with EDGE zeros around it."""
    edges = ((0, 0),) * (field.ndim - 3) + ((EDGE, EDGE),) * 2 + ((0, 0),)
    return np.pad(field, edges)


def shifted(frame: NDArray[T], down: int, across: int) -> NDArray[T]:
    """What the positions of a field see in its frame, so far below and on the right; a view."""
    height, width = (side - 2 * EDGE for side in frame.shape[-3:-1])
    top, left = EDGE + down, EDGE + across
    return frame[..., top : top + height, left : left + width, :]


def around(frame: NDArray[T], offsets: Sequence[tuple[int, int]]) -> NDArray[T]:
    """What each position of a field (..., h, w, C) sees, (..., h, w, C * offsets)."""
    seen = np.stack([shifted(frame, *offset) for offset in offsets], -1)
    return seen.reshape(*seen.shape[:-2], seen.shape[-2] * len(offsets))


def lattices(height: int, width: int) -> Iterator[Lattice]:
    """Those of a field, coarse to fine.

    Of the squares of what comes before, first the centres, then the middles of the sides.
    """
    for s in SPACINGS:
        for kind, top, left in (0, s, s), (1, 0, s), (1, s, 0):
            if top < height and left < width:
                yield Lattice(s, kind, top, left)


def nearest(total: Field, count: Field | int, unit: int) -> Field:
    """``unit`` times total / count, rounded, halves upwards."""
    return (2 * total + count) // (2 * count) * unit
