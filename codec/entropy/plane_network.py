"""The exact network behind the plane model, and what it sees of a latent that is half known."""

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nncodec.formats import stages
from nncodec.formats.errors import WeightsError

from .board import COLOURS, SQUARE
from .network import (
    TOP,
    Prepared,
    check_exact,
    check_layer,
    exact_device,
    layer_of,
    layers_of,
)
from .products import wide

PER_OCTAVE = stages.PER_OCTAVE  # step codes: a step is 2^(code / 128) levels
TENT = 64  # step codes from one supporting point of the network's biases to the next
WEIGHT = 8  # what the weights of supporting points add up to
CLASSES = 3  # of planes: the last one, the one before, others
PHASES = COLOURS  # of a plane
TURNS = 4  # of a phase in the last planes: a channel's is its number modulo these
LATE = 4  # such planes: they hold nearly all bits; in others, all channels have one turn
SITUATIONS = 64  # length of a situation's vector
LARGEST = {"value": 16, "size": 24, "lead": 48}  # of the features, in magnitude
SIGNIFICANT, SIGN, REFINE = range(3)
DECISIONS = 3
OWN_SHIFT = 4  # binary places of the weights of a channel's own surroundings
FORECAST = "forecast."  # before the names of the tensors of the layer that foretells signs
TOLD = "told."  # ... of the layer that is told of earlier turns
LARGEST_FORECAST = 2047  # in magnitude
TRUST_SHIFT = 5  # binary places of the trust in a forecast


def turn_of(channels: NDArray[np.intp], plane: int) -> NDArray[np.intp]:
    """The turn in which channels of these numbers are coded in a plane."""
    return channels % (TURNS if plane < LATE else 1)


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


def features(middle: Tensor) -> tuple[Tensor, Tensor]:
    """What the network sees of elements (..., C), as float32 integers.

    Of the :func:`middle` of the interval that each is known to lie in, the "value" is clipped; the
    "size" is four times the logarithm of 1 + its magnitude.
    """
    bound = LARGEST["value"]
    magnitude = LOGARITHM[middle.abs().clamp(max=len(LOGARITHM) - 1).long()]
    return middle.clamp(-bound, bound).float(), magnitude


def middle(size: Tensor, sign: Tensor, done: Tensor) -> Tensor:
    """The middle of the interval that an element is known to lie in, in half units of this plane.

    ``size`` is the magnitude in units of this plane where ``done`` (h, w, 1), of the one before
    elsewhere.
    """
    return torch.where(done, 2 * size + 1, 4 * size + 2) * sign


def lead(value: Tensor) -> Tensor:
    """How far the four neighbours are above each value (..., h, w, C), all together.

    Beyond the edges there are none.
    """
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

    The trunk's first and last layers look at single positions, the others at 3x3 of them at most.
    Before the last one, a turn is told what has become of the channels of earlier turns at each
    position. What is likely to be positive or negative, of the first channels, is a forecast by one
    layer from their values in 3x3 positions; the trunk says how far that is to be trusted. Raises
    WeightsError if layers look elsewhere, or if an accumulator could leave the range in which
    ``dtype`` is exact.
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
        if len(layers) < 3 or layers[0].weight.shape[1] != 2 * channels:
            raise WeightsError(f"not the plane model of a latent of {channels} channels")
        sizes = [layer.weight.shape[-1] for layer in layers]
        if sizes[0] > 1 or sizes[-1] > 1 or max(sizes) > 3:
            raise WeightsError(f"layers that look at {sizes} positions, not 1, at most 3, then 1")
        largest = max(LARGEST["value"], LARGEST["size"])
        forecast, told = layer_of(tensors, FORECAST), layer_of(tensors, TOLD)
        check_layer(len(layers), forecast, LARGEST["value"], 3 * WEIGHT, dtype)
        check_layer(len(layers), told, largest, 3 * WEIGHT, dtype)
        self.foretold = len(forecast.weight)  # channels
        self.forecast, self.told = (Prepared(x, self.device, dtype) for x in (forecast, told))
        own, ahead = tensors["own.weight"].long(), tensors["own.lead"].long()
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
        self.logarithm = LOGARITHM.to(self.device, dtype)
