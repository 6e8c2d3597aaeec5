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
from torch.nn import functional as F

from nncodec.formats.cae import Header, Tile
from nncodec.formats.stages import Settings

from .entropy.digits import Latent
from .entropy.plane_network import REFINE, SIGN, SIGNIFICANT
from .entropy.planes import PlaneModel
from .patches import shown, split
from .transform import Pixels, Progress
from .variable_transform import VariableTransform, area, level_of, missed_by, to_integers
from .variation import Variation, worth

RATE = 0.0165  # quantisation steps that a usual slope moves an element if there is one round
MORE = 0.22  # exponent with which the first of more rounds moves it farther
CALM = 0.7, 0.33  # what the exponent of its fall begins with, and grows by for each round
STILL = 1e-9  # ... in a round that moves nothing float32 can tell
FINE = 0.5, 0.87  # below this level, the rate grows by this exponent
LONGEST = 0.2  # quantisation steps that an element may go in a round
AGAIN = 8  # rounds after which it is asked again what decisions cost
USUAL = 0.38  # chance of a last digit that is not asked for
SMALL = 1e-3  # of the mean of all channels, what a channel's squared slopes count as at least
WILD = 4.0  # times the error of a position at first, or the mean one, that none may come to
FEW = 4  # elements other than zero of a position: flat pictures have fewer, and might be spoilt
TILE = 4  # patches along a side of what is synthesised at once: its activations are kept


def refine(
    planes: PlaneModel,
    latent: NDArray[np.float32],
    variation: Variation,
    rounds: int,
    progress: Progress | None = None,
) -> Latent:
    """What a latent (h, w, C) of a picture is best rounded to, beside the filter that suits it.

    The segments come one after another, each beside its neighbours as they are by then. There are
    places where the least change makes noise of a picture: what blocks' gates make is of second
    order. Where an error comes to many times what it was, all around is rounded again.
    ``progress`` is told of the patches of each round. ``variation`` is that of what was just
    rounded; it follows what becomes of that, and in the end is that of the result.
    """
    transform, pixels, header = variation.transform, variation.pixels, variation.header
    step = variation.step
    chosen = transform.quantise(latent, step)
    trade = worth(step)
    rates = [rate for rate in paces(step, rounds) if rate > STILL]
    reach = transform.network.synthesis.reach
    for index in range(header.n_segments):
        segment = header.segment_patches(index)
        place = area(header, segment)
        values = transform.scaled(latent[place], step)
        for number, rate in enumerate(rates):
            if number % AGAIN == 0:
                more = dearer(planes, chosen[place], step) / trade
            if number.bit_count() == 1:  # after 1, 2, 4, ... rounds: it changes ever less
                variation.look(chosen, index)
            settings = variation.settings
            slope, error = error_slopes(transform, chosen, pixels, header, segment, settings)
            tax = rise(more, values) * np.sign(values)
            if number == 0:
                usual = usual_slopes(slope + tax * (chosen[place] != 0))
                rounded, bound = values.copy(), WILD * np.maximum(error, error.mean())
            slope += tax
            slope *= rate / usual
            values -= slope.clip(-LONGEST, LONGEST, out=slope)
            wild = around(error > bound, reach)
            values[wild] = rounded[wild]
            chosen[place] = to_integers(values)
            if progress:
                progress(segment.rows * segment.columns * rounds / len(rates))
        tame(transform, chosen, to_integers(rounded), pixels, header, segment, settings, bound)
        variation.look(chosen, index)
    if np.count_nonzero(chosen) >= FEW * chosen[..., 0].size:
        return chosen

    everywhere = range(header.n_segments)

    def cost(found: Latent) -> float:
        variation.look(found, *everywhere)
        places = [area(header, header.segment_patches(n)) for n in everywhere]
        size = sum(len(part) for place in places for part in planes.encode(found[place], step, 1))
        return 8 * size + trade * transform.squared_error(found, header, variation.settings, pixels)

    chosen = min(chosen, transform.quantise(latent, step), key=cost)
    variation.look(chosen, *everywhere)
    return chosen


def dearer(planes: PlaneModel, latent: Latent, step: int) -> NDArray[np.float32]:
    """Bits that an element costs more if it is 1, 2 or 3 instead of one less, (3, h, w, C).

    The last plane tells what 1 costs those below 2, and 3 those above 1, the plane before what it
    costs to be one of the latter. Chances of what is not coded of an element are guessed: of a last
    digit the usual one, and of 1 as if it were Laplacian, where P(1 or more) is the third root of
    P(2 or more). Nothing is told of means: what one costs hangs on those around it.
    """
    last, before = (planes.chances(latent, plane, step) / np.float32(1 << 16) for plane in (0, 1))
    small, two = np.abs(latent) < 2, before[SIGNIFICANT]
    one = np.where(small, last[SIGNIFICANT], (np.cbrt(two) - two) / (1 - two))
    digit = np.where(small, np.float32(USUAL), last[REFINE])
    sign = np.where(small, np.where(latent < 0, 1 - last[SIGN], last[SIGN]), np.float32(0.5))
    more = np.stack(
        [
            odds(one) - np.log2(sign),
            odds(two) + np.log2(one) - np.log2(1 - digit),
            odds(digit),
        ]
    )
    more[..., planes.pyramid.means] = 0
    return more


def odds(chance: NDArray[np.float32]) -> NDArray[np.float32]:
    """Bits that what has this chance costs more than that it does not happen."""
    found: NDArray[np.float32] = np.log2(1 / chance - 1)
    return found


def rise(more: NDArray[np.float32], values: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the integer above each magnitude costs more than that below, (h, w, C).

    ``more`` is what :func:`dearer` found. From 2 on, the last digit tells an even magnitude and the
    next apart; of others nothing is known, and they stay on their side.
    """
    size = np.abs(values)
    below = size.astype(np.int16)
    known = np.take_along_axis(more, np.where(below < 2, below, 2)[np.newaxis], 0)[0]
    beyond = (below > 2) & (below % 2 > 0)
    found: NDArray[np.float32] = np.where(beyond, np.copysign(known, below + 0.5 - size), known)
    return found


def error_slopes(
    transform: VariableTransform,
    latent: Latent,
    pixels: Pixels,
    header: Header,
    segment: Tile,
    settings: Settings,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The derivatives of a segment's squared errors by its elements (h, w, C) of the latent.

    The second result are those errors, (h, w): of the pixels of each position.
    """
    place = area(header, segment)
    slopes = np.zeros(latent[place].shape, np.float32)
    missed = np.zeros(slopes.shape[:2], np.float32)
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

        seen, pulled, found = transform.pull(latent, header, tile, settings, force)
        (rows, seen_rows), (columns, seen_columns) = map(overlap, place, seen)
        slopes[rows, columns] += pulled[seen_rows, seen_columns]
        (rows, _), (columns, _) = map(overlap, place, area(header, tile))
        missed[rows, columns] = missed_by(found.clip(0, 255), header, tile, pixels)
    return slopes, missed


def tame(
    transform: VariableTransform,
    chosen: Latent,
    rounded: Latent,
    pixels: Pixels,
    header: Header,
    segment: Tile,
    settings: Settings,
    bound: NDArray[np.float32],
) -> None:
    """Round a segment of what is chosen (h, w, C) again where its errors are beyond a bound.

    And around there, ever farther until none is: in the end everywhere.
    """
    place, reach = area(header, segment), transform.network.synthesis.reach
    while reach < 2 * max(bound.shape):
        wild = transform.rough_errors(chosen, header, segment, settings, pixels) > bound
        if not wild.any():
            break
        wild = around(wild, reach)
        chosen[place][wild] = rounded[wild]
        reach *= 2


def around(places: NDArray[np.bool_], reach: int) -> NDArray[np.bool_]:
    """The positions (h, w) at most ``reach`` away from one of these, along both axes."""
    spread = torch.from_numpy(places).float()[None]
    found: NDArray[np.bool_] = F.max_pool2d(spread, 2 * reach + 1, 1, reach)[0].bool().numpy()
    return found


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
    first = RATE * rounds**MORE * math.exp(max(haste * (level - float(level_of(step))), 0))
    return [first * (1 - number / rounds) ** fall for number in range(rounds)]


def overlap(one: slice, other: slice) -> tuple[slice, slice]:
    """What two slices share, as a slice of what is in either."""
    begin, end = max(one.start, other.start), min(one.stop, other.stop)
    return slice(begin - one.start, end - one.start), slice(begin - other.start, end - other.start)
