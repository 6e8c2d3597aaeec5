"""Which channels of a latent are means of blocks, and by which others they are foretold."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nncodec.entropy.board import SQUARE
from nncodec.entropy.digits import Latent
from nncodec.entropy.pyramid import (
    AROUND,
    FOUR,
    NEAR,
    ONE,
    STRAIGHT,
    Pyramid,
    around,
    framed,
    lattices,
    shifted,
)

MEANS = 3  # channels at most that are taken for means of blocks: one of brightness, two of colour
TELLING = 8  # channels that are looked at for each of them
CANDIDATES = 120  # of which these are: those that vary most
ROUNDS = 5  # of least squares, what is far off counting less in each
RIDGE = 5.0

Rows = NDArray[np.float64]


def fitted(latents: Sequence[Latent]) -> Pyramid:
    """The pyramid for quantised latents like these, each (n, h, w, C)."""
    means = means_of(latents[0].astype(np.float32))
    others = telling(latents, means)
    slopes = [
        [slopes_of(*rows(latents, means, others, spacing, kind)) for kind in range(len(AROUND))]
        for spacing in NEAR
    ]
    most = np.iinfo(np.int16).max
    return Pyramid(
        means, others, np.rint(np.array(slopes) * ONE).clip(-most, most).astype(np.int16)
    )


def means_of(latents: NDArray[np.float32]) -> NDArray[np.bool_]:
    """The channels (C,) of latents (n, h, w, C) in whole steps that are means of blocks.

    Those are at most MEANS whose four neighbours tell the most of their variance, and most of it.
    """
    middle = latents[:, 1:-1, 1:-1]
    around = latents[:, 2:, 1:-1] + latents[:, :-2, 1:-1]
    around += latents[:, 1:-1, 2:] + latents[:, 1:-1, :-2]
    whole, left = (np.square(x).mean((0, 1, 2)) for x in (middle, middle - around / 4))
    told = np.where(left < whole / 2, whole - left, 0)
    found: NDArray[np.bool_] = (told > 0) & (told >= np.sort(told)[-MEANS:][0])
    return found


def telling(latents: Sequence[Latent], means: NDArray[np.bool_]) -> NDArray[np.int16]:
    """The other channels that say most of means that straight neighbours leave unsaid."""
    spread = latents[0].astype(np.float32).var((0, 1, 2))
    spread[means] = -1
    candidates = np.argsort(-spread)[: min(CANDIDATES, np.count_nonzero(spread > 0))]
    apart, beside, left = rows(latents[:1], means, candidates, 1, AROUND.index(STRAIGHT))
    size = np.abs(beside).mean(0)
    found: list[int] = []
    for slopes in slopes_of(apart, beside, left)[:, FOUR:]:
        share = (np.abs(slopes) * size).reshape(len(candidates), len(SQUARE)).sum(1)
        found += candidates[np.argsort(-share)[:TELLING]].tolist()
    return np.unique(np.array(found, np.int16))


def slopes_of(apart: Rows, beside: Rows, left: Rows) -> Rows:
    """The slopes (M, 4 + 9 U) that these :func:`rows` ask for."""
    means = range(left.shape[1])
    slopes = [robust(np.hstack([apart[:, mean], beside]), left[:, mean]) for mean in means]
    return np.array(slopes).reshape(len(means), FOUR + beside.shape[1])


def rows(
    latents: Sequence[Latent],
    means: NDArray[np.bool_],
    others: NDArray[np.integer[Any]],
    spacing: int,
    kind: int,
) -> tuple[Rows, Rows, Rows]:
    """What is seen in all lattices of a kind, and what the mean of four leaves of each element.

    How far the four are from their mean (n, M, 4), others around (n, 9 U), and that, (n, M).
    """
    found = []
    for latent in latents:
        field, beside = (framed(latent[..., some].astype(np.int64)) for some in (means, others))
        there, seen = framed(np.ones_like(latent[..., :1], np.int64)), around(beside, SQUARE)
        for lattice in lattices(*latent.shape[-3:-1]):
            if (lattice.spacing, lattice.kind) == (spacing, kind):
                mean, apart = lattice.means(field, there, 1)
                left = shifted(field, 0, 0)[lattice.places] - mean
                count = math.prod(left.shape[:3])
                parts = apart, seen[lattice.places], left
                found.append([x.reshape(count, *x.shape[3:]) for x in parts])
    columns = zip(*found, strict=True)
    far, near, rest = (np.concatenate(column).astype(np.float64) for column in columns)
    return far, near, rest


def robust(x: Rows, y: Rows) -> Rows:
    """Slopes (k,) by which rows of x (n, k) tell y (n,): what is far off counts less.

    Squares would be ruled by edges, but most bits are spent where there are none.
    """
    trust = 1 / (np.abs(x[:, :FOUR]).sum(1) + 1)
    for _ in range(ROUNDS):
        gram = x.T @ (x * trust[:, np.newaxis]) + RIDGE * np.eye(x.shape[1])
        slopes: Rows = np.linalg.solve(gram, x.T @ (trust * y))
        trust = 1 / (np.abs(y - x @ slopes) + 1)
    return slopes
