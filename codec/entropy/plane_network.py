"""The exact network behind the plane model, and what it sees of a latent that is half known."""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from nncodec.formats import stages
from nncodec.formats.errors import WeightsError

from .network import TOP, Prepared, check_exact, exact_arithmetic, exact_device, layers_of

PER_OCTAVE = stages.PER_OCTAVE  # step codes: a step is 2^(code / 128) levels
TENT = 64  # step codes from one supporting point of the network's biases to the next
WEIGHT = 8  # what the weights of supporting points add up to
CLASSES = 3  # of planes: the last one, the one before, others
PHASES = 2  # of the checkerboard
SITUATIONS = 64  # length of a situation's vector
LARGEST = {"value": 16, "size": 24, "lead": 48}  # of the features, in magnitude
SIGNIFICANT, SIGN, REFINE = range(3)
DECISIONS = 3
OWN_SHIFT = 4  # binary places of the weights of a channel's own surroundings


def chequer(height: int, width: int, phase: int) -> NDArray[np.bool_]:
    """The positions (h, w) of one colour of the checkerboard."""
    colour: NDArray[np.bool_] = (
        np.arange(height)[:, np.newaxis] + np.arange(width)
    ) % PHASES == phase
    return colour


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
    middle = torch.where(done, 2 * size + 1, 4 * size + 2)
    value = (middle * sign).float()
    bound = LARGEST["value"]
    magnitude = LOGARITHM[value.abs().clamp(max=len(LOGARITHM) - 1).long()]
    return value.clamp(-bound, bound), magnitude, lead(value)


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

    Raises WeightsError if an accumulator could leave the range in which ``dtype`` is exact.
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
        own, ahead = tensors["own.weight"].long(), tensors["own.lead"].long()
        largest = max(LARGEST["value"], LARGEST["size"])
        reached = own.abs().sum((1, 2)) * largest + ahead.abs() * LARGEST["lead"]
        check_exact(len(layers), int(reached.max()), dtype)
        for number, layer in enumerate(layers):
            check_exact(number, layer.largest(largest, 3 * WEIGHT), dtype)
            largest = TOP
        prepared = [Prepared(layer, self.device, dtype) for layer in layers]
        self.first, *self.middle, self.last = prepared
        self.own, self.ahead = own.to(self.device, dtype), ahead.to(self.device, dtype)

    @torch.inference_mode()
    def __call__(
        self,
        size: Tensor,
        sign: Tensor,
        done: NDArray[np.bool_],
        where: NDArray[np.bool_],
        active: Tensor,
        at: Tensor,
    ) -> Tensor:
        """Outputs (positions, 3 decisions, active channels), where ``where`` (h, w) is true.

        ``size`` and ``sign`` (h, w, active) are those of the channels whose indices are ``active``,
        as :func:`features` takes them; ``at`` is the situation.
        """
        with exact_arithmetic(self.device):
            seen = features(size, sign, torch.from_numpy(done)[..., None])
            value, magnitude, ahead = (x.to(self.device, self.dtype) for x in seen)
            active, at = active.to(self.device), at.to(self.device, self.dtype)
            picked = torch.from_numpy(where).to(self.device)
            first = self.first.part(inputs=torch.cat([active, active + self.channels]))
            x = first(torch.cat([value, magnitude], -1)[None], at).clamp_(0, TOP)
            for layer in self.middle:
                result = layer(x, at)
                x = (result + x if layer.skip else result).clamp_(0, TOP)
            outputs = [active + i * self.channels for i in range(DECISIONS)]
            last = self.last.part(outputs=torch.cat(outputs))
            trunk = last(x[0][picked][None, None], at).reshape(-1, DECISIONS, len(active))
            own = self._surroundings(value, magnitude, ahead, active)
            return trunk + torch.stack([decision[picked] for decision in own], 1)

    def _surroundings(
        self, value: Tensor, magnitude: Tensor, ahead: Tensor, active: Tensor
    ) -> list[Tensor]:
        """What each channel's own 3x3 neighbourhood adds to the decisions, each (h, w, active)."""
        height, width, _ = value.shape
        weights, leads = self.own[..., active], self.ahead[:, active]
        totals = [ahead * lead for lead in leads]
        totals[REFINE] *= value.sign()
        for decision, source in enumerate((magnitude, value, magnitude)):
            padded = F.pad(source, (0, 0, 1, 1, 1, 1))
            for i in range(3):
                for j in range(3):
                    tap = padded[i : i + height, j : j + width]
                    totals[decision].addcmul_(tap, weights[decision, i, j])
        return [total.mul_(2.0**-OWN_SHIFT).floor_() for total in totals]
