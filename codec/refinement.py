"""Decisions of an encoder: what a latent is rounded to, for fewer bits and a smaller error at once.

Rounding each element to its nearest integer minimises neither: the synthesis is not orthonormal,
and small numbers in surprising places are dear. So the latent is moved down the gradient of what
the weights were trained for, bits + trade * squared error, taken where it rounds to and passed
straight through the rounding, before it is rounded for good: iterative inference (Yang, Bamler,
Mandt, "Improving inference for neural image compression", 2020). Channels differ in how much a
change of one weighs, and pictures do; so slopes are taken relative to how large a channel's are at
first. The decoder knows nothing of it.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nncodec.formats.cae import Header, Tile

from .entropy.digits import Latent
from .entropy.plane_network import REFINE, SIGN, SIGNIFICANT
from .entropy.planes import PlaneModel
from .models.bitplane import trade_off
from .patches import shown, split
from .transform import Pixels, Progress
from .variable_transform import VariableTransform, area, level_of, to_integers

RATE = 0.025  # quantisation steps that a usual slope moves an element in the first of many rounds
CALM = 0.7, 0.33  # what the exponent of its fall begins with, and grows by for each round
STILL = 1e-9  # ... in a round that moves nothing float32 can tell
FINE = 0.5, 0.87  # below this level, the rate grows by this exponent
LONGEST = 0.2  # quantisation steps that an element may go in a round
SMALL = 1e-3  # of the mean of all channels, what a channel's squared slopes count as at least
TILE = 4  # patches along a side of what is synthesised at once: its activations are kept


def refine(
    transform: VariableTransform,
    planes: PlaneModel,
    latent: NDArray[np.float32],
    pixels: Pixels,
    header: Header,
    step: int,
    rounds: int,
    progress: Progress | None = None,
) -> Latent:
    """What a latent (h, w, C) of a picture is best rounded to for a step code.

    The segments come one after another, each beside its neighbours as they are by then.
    ``progress`` is told of the patches of each round.
    """
    chosen = transform.quantise(latent, step)
    if not rounds:
        return chosen
    trade = float(trade_off(level_of(step))) / 3  # bits that a unit of squared error weighs
    rates = [rate for rate in paces(step, rounds) if rate > STILL]
    for index in range(header.n_segments):
        segment = header.segment_patches(index)
        place = area(header, segment)
        values = transform.scaled(latent[place], step)
        goal, toll = likelier(planes, chosen[place], step)
        goal, toll = np.copysign(goal, values), toll / trade
        for number, rate in enumerate(rates):
            slope = error_slopes(transform, chosen, pixels, header, segment, step)
            tax = np.copysign(toll, values - goal)
            if number == 0:
                usual = usual_slopes(slope + tax * (chosen[place] != 0))
            slope += tax
            slope *= rate / usual
            values -= slope.clip(-LONGEST, LONGEST, out=slope)
            chosen[place] = to_integers(values)
            if progress:
                progress(segment.rows * segment.columns * rounds / len(rates))
    return chosen


def likelier(
    planes: PlaneModel, latent: Latent, step: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The likelier of the two magnitudes that the last digit of each element (h, w, C) tells apart.

    Of 0 and 1, the second is a significant element with its sign. And what it saves, in bits: of
    means nothing, as what one costs hangs on those around it.
    """
    chances = planes.chances(latent, 0, step) / np.float32(1 << 16)
    odds = np.log2(1 / chances[[SIGNIFICANT, REFINE]] - 1)
    sign = -np.log2(np.where(latent < 0, 1 - chances[SIGN], chances[SIGN]))
    size = np.abs(latent)
    dearer = np.where(size > 1, odds[1], odds[0] + sign)  # what the larger one costs more
    dearer[..., planes.pyramid.means] = 0
    goal: NDArray[np.float32] = (size & ~1) + (dearer < 0).astype(np.float32)
    return goal, np.abs(dearer)


def error_slopes(
    transform: VariableTransform,
    latent: Latent,
    pixels: Pixels,
    header: Header,
    segment: Tile,
    step: int,
) -> NDArray[np.float32]:
    """The derivatives of a segment's squared errors by its elements (h, w, C) of the latent."""
    place = area(header, segment)
    slopes = np.zeros(latent[place].shape, np.float32)
    for tile in split(segment, TILE):
        part = shown(header, tile)
        due = torch.from_numpy(pixels[part.rows, part.columns].astype(np.float32))
        due = due.to(transform.device)

        def force(found: Tensor, due: Tensor = due) -> Tensor:
            derivatives = torch.zeros_like(found)
            found = found[: due.shape[0], : due.shape[1]]
            inside = (found > 0) & (found < 255)  # the rest is clipped, however far it goes
            derivatives[: due.shape[0], : due.shape[1]] = 2 * (found - due) * inside
            return derivatives

        around, pulled = transform.pull(latent, header, tile, step, force)
        (rows, seen_rows), (columns, seen_columns) = map(overlap, place, around)
        slopes[rows, columns] += pulled[seen_rows, seen_columns]
    return slopes


def usual_slopes(slopes: NDArray[np.float32]) -> NDArray[np.float32]:
    """How large the slopes (h, w, C) of each channel are, (C,): their root mean square.

    While they come from rounding alone, that goes with how much a change of one in that channel
    weighs: a preconditioner that costs nothing (as in RMSProp).
    """
    squares: NDArray[np.float32] = np.square(slopes).mean((0, 1))
    squares += np.finfo(np.float32).tiny  # all may be zero
    found: NDArray[np.float32] = np.sqrt(np.maximum(squares, squares.mean() * SMALL))
    return found


def paces(step: int, rounds: int) -> list[float]:
    """Quantisation steps that a usual slope moves an element in each of so many rounds.

    Elements that are as good as either of two integers come to lie between them, and go over to
    and fro, many at once, which get into each other's way. So the rates fall ever more steeply:
    ever fewer of those that the last round brought to the border are sent across by the next. At
    fine steps, elements get less into each other's way.
    """
    least, growth = CALM
    fall = least + growth * rounds
    level, haste = FINE
    first = RATE * -math.expm1(-rounds) * math.exp(max(haste * (level - float(level_of(step))), 0))
    return [first * (1 - number / rounds) ** fall for number in range(rounds)]


def overlap(one: slice, other: slice) -> tuple[slice, slice]:
    """What two slices share, as a slice of what is in either."""
    begin, end = max(one.start, other.start), min(one.stop, other.stop)
    return slice(begin - one.start, end - one.start), slice(begin - other.start, end - other.start)
