"""The exact network behind the plane model, and what it sees of a latent that is half known."""

from collections.abc import Mapping
from functools import lru_cache
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nncodec.formats import stages
from nncodec.formats.errors import WeightsError

from .board import COLOURS, NEIGHBOURS, SQUARE, Board
from .network import (
    TOP,
    Prepared,
    check_exact,
    check_layer,
    exact_device,
    layer_of,
    layers_of,
)
from .products import product, summed, wide

PER_OCTAVE = stages.PER_OCTAVE  # step codes: a step is 2^(code / 128) levels
TENT = 64  # step codes from one supporting point of the network's biases to the next
WEIGHT = 8  # what the weights of supporting points add up to
CLASSES = 3  # of planes: the last one, the one before, others
PHASES = COLOURS  # of a plane
SITUATIONS = 64  # length of a situation's vector
LARGEST = {"value": 16, "size": 24, "lead": 48}  # of the features, in magnitude
SIGNIFICANT, SIGN, REFINE = range(3)
DECISIONS = 3
OWN_SHIFT = 4  # binary places of the weights of a channel's own surroundings
FORECAST = "forecast."  # before the names of the tensors of the layer that foretells signs
LARGEST_FORECAST = 2047  # in magnitude
TRUST_SHIFT = 5  # binary places of the trust in a forecast


def chequer(height: int, width: int, phase: int) -> NDArray[np.bool_]:
    """The positions (h, w) of one colour of the checkerboard."""
    colour: NDArray[np.bool_] = (
        np.arange(height)[:, np.newaxis] + np.arange(width)
    ) % PHASES == phase
    return colour


@lru_cache(maxsize=256)  # a file has two in each plane
def situation(step: int, plane: int, phase: int) -> Tensor:
    """Where in the code this is, as integers (SITUATIONS,) that weigh the network's biases.

    What a plane looks like depends on its threshold, the step times 2^plane, between whose
    supporting points the biases are interpolated.
    """
    vector = torch.zeros(SITUATIONS, dtype=torch.int64)
    point, part = divmod(step + PER_OCTAVE * plane, TENT)
    fine = part * WEIGHT // TENT
    points = SITUATIONS - CLASSES - PHASES
    vector[min(max(point, 0), points - 1)] += WEIGHT - fine
    vector[min(max(point + 1, 0), points - 1)] += fine
    vector[points + min(plane, CLASSES - 1)] = WEIGHT
    vector[points + CLASSES + phase] = WEIGHT
    return vector


def features(size: Tensor, sign: Tensor, done: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What the network sees of magnitudes and signs (..., h, w, C), as float32 integers.

    ``size`` is the magnitude in units of this plane where ``done`` (h, w, 1), of the one before
    elsewhere. In half units of this plane, the middle of the interval that an element is known to
    lie in is the "value", clipped; its "size" is four times the logarithm of 1 + |value|; its
    "lead" is how far the four neighbours are above it, all together.
    """
    value = middle(size, sign, done).float()
    bound = LARGEST["value"]
    magnitude = LOGARITHM[value.abs().clamp(max=len(LOGARITHM) - 1).long()]
    return value.clamp(-bound, bound), magnitude, lead(value)


def middle(size: Tensor, sign: Tensor, done: Tensor) -> Tensor:
    """The middle of the interval that an element is known to lie in, in half units."""
    return torch.where(done, 2 * size + 1, 4 * size + 2) * sign


def lead(value: Tensor) -> Tensor:
    """Sum of the four neighbours' differences to each value; beyond the edges there are none."""
    total = torch.zeros_like(value)
    for axis in (-3, -2):
        step = value.diff(dim=axis)
        total.narrow(axis, 0, step.shape[axis]).add_(step)
        total.narrow(axis, 1, step.shape[axis]).sub_(step)
    bound = LARGEST["lead"]
    return total.clamp(-bound, bound)


def _logarithms() -> Tensor:
    """round(4 * log2(1 + u)) for u = 0...63, compared in integers."""
    table = [0]
    for u in range(1, 64):
        n = table[-1]
        while (1 + u) ** 8 >= 2 ** (2 * n + 1):  # 4 * log2(1 + u) >= n + 1/2
            n += 1
        table.append(n)
    return torch.tensor(table, dtype=torch.float32)


LOGARITHM = _logarithms()


class PlaneNetwork:
    """The exact network: a trunk over all channels, and a look at each channel's own surroundings.

    The trunk's first layer looks at single positions, the others at 3x3 of them at most. What is
    likely to be positive or negative, of the first channels, is a forecast by one layer from their
    values in 3x3 positions; the trunk says how far that is to be trusted. Raises WeightsError if
    they do not, or if an accumulator could leave the range in which ``dtype`` is exact.
    """

    def __init__(
        self,
        tensors: Mapping[str, Tensor],
        channels: int,
        device: torch.device | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.device = exact_device(device)
        self.dtype = dtype
        self.channels = channels
        layers = layers_of(tensors)
        if len(layers) < 2 or layers[0].weight.shape[1] != 2 * channels:
            raise WeightsError(f"not the plane model of a latent of {channels} channels")
        sizes = [layer.weight.shape[-1] for layer in layers]
        if sizes[0] > 1 or max(sizes) > 3:
            raise WeightsError(f"layers that look at {sizes} positions, not 1, then at most 3")
        forecast = layer_of(tensors, FORECAST)
        check_layer(len(layers), forecast, LARGEST["value"], 3 * WEIGHT, dtype)
        self.foretold = len(forecast.weight)  # channels
        self.forecast = Prepared(forecast, self.device, dtype)
        own, ahead = tensors["own.weight"].long(), tensors["own.lead"].long()
        largest = max(LARGEST["value"], LARGEST["size"])
        reached = own.abs().sum((1, 2)) * largest + ahead.abs() * LARGEST["lead"]
        check_exact(len(layers), int(reached.max()), dtype)
        for number, layer in enumerate(layers):
            check_layer(number, layer, largest, 3 * WEIGHT, dtype)
            largest = TOP
        prepared = [Prepared(layer, self.device, dtype) for layer in layers]
        self.first, *self.hidden, self.last = prepared
        looks = [number for number, size in enumerate(sizes[1:]) if size > 1]
        self.last_look = max(looks, default=0)  # of the layers after the first
        # (9 places, 3 decisions, C); the shift done beforehand, as in the layers
        around = own.reshape(DECISIONS, len(SQUARE), channels).transpose(0, 1)
        self.own, self.ahead = (
            (weights * 2.0**-OWN_SHIFT).to(self.device, wide(dtype)) for weights in (around, ahead)
        )
        self.logarithm = LOGARITHM.to(self.device, wide(dtype))


class View:
    """What a network sees of the active channels of a latent, and what it says of them.

    ``middles`` (2 * length, active) are on a board, ``active`` being the channels' indices. In half
    units of the plane that is being coded, they hold the middle of the interval that an element is
    known to lie in, 0 if it may be 0. What follows from one colour alone is computed once, by
    :meth:`see`, which is to be called where they have changed; nothing is computed where nobody
    asks. All this within :func:`exact_arithmetic`.
    """

    def __init__(
        self,
        network: PlaneNetwork,
        board: Board,
        active: NDArray[np.intp],
        middles: NDArray[np.float32],
    ) -> None:
        self._network, self._board = network, board
        self._told = torch.from_numpy(middles)
        picked = torch.from_numpy(active).to(network.device)
        self._foretold = (picked < network.foretold).nonzero().flatten()
        told = picked[self._foretold]
        of = [picked + i * network.channels for i in range(DECISIONS)]
        self._first = network.first.part(inputs=torch.cat(of[:2]))
        of.append(told + DECISIONS * network.channels)
        self._last = network.last.part(outputs=torch.cat(of))
        self._forecast = network.forecast.part(inputs=told, outputs=told)
        self._own = network.own[..., picked].unsqueeze(2).unbind()
        self._ahead = network.ahead[:, np.newaxis, picked]
        self._beyond = torch.from_numpy(board.beyond).to(network.device)
        self._neighbours = self._tensor(torch.from_numpy(board.neighbours))
        self._middle = self._tensor(self._told)
        # what each decision sees of a channel's own surroundings
        self._seen = self._middle.new_empty(DECISIONS, *middles.shape)
        self._known = self._middle.new_empty(len(middles), len(told), dtype=network.dtype)
        self._products = self._middle.new_empty(len(middles), self._first.taps.shape[-1])
        self._outputs = self._middle.new_empty(DECISIONS, board.count, len(active))
        self._see(slice(None))

    def see(self, colour: int) -> None:
        """Take in the middles of a colour: the trunk's features, and its products with them."""
        self._see(self._board.row(colour))

    @torch.inference_mode()
    def _see(self, rows: slice) -> None:
        middle, value = self._middle[rows], self._seen[SIGN, rows]
        middle.copy_(self._told[rows])
        torch.clamp(middle, -LARGEST["value"], LARGEST["value"], out=value)
        entries = middle.abs().clamp_(max=len(LOGARITHM) - 1).int()
        magnitude = self._network.logarithm.index_select(0, entries.view(-1)).view(middle.shape)
        self._seen[SIGNIFICANT, rows] = self._seen[REFINE, rows] = magnitude
        self._known[rows] = value.index_select(1, self._foretold).to(self._network.dtype)
        features = torch.cat([value, magnitude], 1).to(self._network.dtype)
        self._products[rows] = product(features, self._first.taps[0, 0])

    @torch.inference_mode()
    def __call__(self, colour: int, at: Tensor) -> Tensor:
        """Outputs (3 decisions, count, active) at a colour's run, in the situation ``at``.

        They are where those of the next call will be.
        """
        at = self._tensor(at)
        outputs = self._surroundings(colour)
        found, trust = self._trunk(colour, at).tensor_split([DECISIONS * outputs.shape[2]], 1)
        outputs += found.reshape(len(found), DECISIONS, -1).transpose(0, 1)
        outputs[SIGN].index_add_(1, self._foretold, self._foreseen(colour, at, trust))
        return outputs

    def _foreseen(self, colour: int, at: Tensor, trust: Tensor) -> Tensor:
        """What the forecast says of signs at a colour's run, (count, foretold)."""
        sums = self._sums(self._known, self._forecast, colour)
        forecast = self._forecast.shifted(sums, at).clamp_(-LARGEST_FORECAST, LARGEST_FORECAST)
        return (forecast * trust.clamp(0, TOP) * 2.0**-TRUST_SHIFT).floor_()

    def _trunk(self, colour: int, at: Tensor) -> Tensor:
        """What the trunk says of a colour's run, (count, outputs)."""
        network, board = self._network, self._board
        x = self._activations(self._first.shifted(self._products, at))
        for layer in network.hidden[: network.last_look]:
            found = self._products.new_zeros(len(x), layer.taps.shape[-1])
            for here in range(COLOURS):
                found[board.run(here)] = layer.shifted(self._sums(x, layer, here), at)
            x = self._activations(found.add_(x) if layer.skip else found)
        # From the last layer on that looks around, all that counts is at this colour.
        layers = [*network.hidden[network.last_look :], self._last]
        found = layers[0].shifted(self._sums(x, layers[0], colour), at)
        x = x[board.run(colour)]
        for layer, following in pairwise(layers):
            x = (found.add_(x) if layer.skip else found).clamp_(0, TOP).to(network.dtype)
            found = following.shifted(product(x, following.taps[0, 0]), at)
        return found

    def _activations(self, sums: Tensor) -> Tensor:
        """What becomes of the sums (2 * length, width) of all places; nothing beyond the edges."""
        return sums.clamp_(0, TOP).index_fill_(0, self._beyond, 0).to(self._network.dtype)

    def _sums(self, x: Tensor, layer: Prepared, colour: int) -> Tensor:
        """A layer's sums of products at a colour's run, (count, outputs)."""
        taps = layer.taps.flatten(0, 1)
        places = SQUARE if len(taps) > 1 else ((0, 0),)
        return summed([x[self._board.run(colour, *at)] for at in places], taps)

    def _surroundings(self, colour: int) -> Tensor:
        """What each channel's own 3x3 neighbourhood adds to the decisions, (3, count, active)."""
        run = self._board.run
        lead = -self._neighbours[colour] * self._middle[run(colour)]
        for place in NEIGHBOURS:
            lead += self._middle[run(colour, *place)]
        lead.clamp_(-LARGEST["lead"], LARGEST["lead"])
        totals = torch.mul(lead, self._ahead, out=self._outputs)
        totals[REFINE] *= self._seen[SIGN, run(colour)].sign()
        for place, weights in zip(SQUARE, self._own, strict=True):
            totals.addcmul_(self._seen[:, run(colour, *place)], weights)
        return totals.floor_()

    def _tensor(self, x: Tensor) -> Tensor:
        return x.to(self._network.device, wide(self._network.dtype))
