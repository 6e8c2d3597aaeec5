"""A small convolutional network whose every result is an integer, the same on every machine.

A decoder must compute the very probabilities that the encoder computed, or it loses the rest of
the file. Floating point does not promise that: the order of a sum differs between processors,
thread counts and libraries, and so does its rounding. Here nothing is ever rounded by the
hardware. Weights and activations are small integers, held in bytes or in floating point; a sum of
products of them is exact in any order as long as no partial sum reaches 2^24 in float32 (2^53 in
float64). :class:`IntegerNetwork` computes the largest accumulator that its weights could ever
produce, and refuses weights that could reach that bound. Results become activations again by an
arithmetic shift: a product with a power of two and a floor, both exact. Convolutions are sums of
plain matrix products: no Winograd or Fourier transform, no TF32, no bfloat16. (Ballé et al.,
"Integer networks for data compression with latent-variable models", 2019.)
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nncodec.formats.errors import WeightsError

from .products import BYTE, EXACT, product, wide

TOP = 127  # largest activation
Where = tuple[slice, slice, slice]  # rows, columns, channels
ALL = slice(None)
EVERYWHERE: Where = (ALL, ALL, ALL)
Picked = slice | Tensor  # some channels, by their indices


@dataclass(frozen=True)
class Layer:
    """One convolution in integers: out = (sum of weight * in + bias) >> shift, rounded.

    ``weight`` is (outputs, inputs, size, size), ``bias`` (steps, outputs), ``shift`` (outputs,).
    With ``skip`` the layer's input is added to its result before it is clamped to 0...TOP.
    """

    weight: Tensor
    bias: Tensor
    shift: Tensor
    skip: bool

    def largest(self, largest_input: int, situation: int = 1) -> int:
        """The largest magnitude that an accumulator of this layer can reach.

        ``situation`` is what the weights of the biases add up to.
        """
        products = self.weight.long().abs().sum((1, 2, 3)) * largest_input
        biases = self.bias.long().abs().amax(0) * situation
        return int((products + biases + (1 << self.shift.long()) // 2).max())


class IntegerNetwork:
    """Layers of exact integer arithmetic, carried by numbers of type ``dtype``.

    Inputs are integers of at most ``largest_input`` in magnitude, results integers clamped to
    +-``largest_output``. Every layer has one bias for each of ``steps`` situations. Raises
    WeightsError if an accumulator could leave the range in which ``dtype`` is exact.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        largest_input: int,
        largest_output: int,
        device: torch.device | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.device = exact_device(device)
        self.dtype = dtype
        self._bound = largest_output
        self.steps = len(layers[0].bias)
        largest = largest_input
        self._layers = []
        for number, layer in enumerate(layers):
            check_layer(number, layer, largest, 1, dtype)
            self._layers.append(Prepared(layer, self.device, dtype))
            largest = TOP
        # From the last layer on that looks around, results are computed where they are wanted only.
        looks = [number for number, layer in enumerate(layers) if layer.weight.shape[-1] > 1]
        self._last_look = max(looks, default=len(layers) - 1)

    def __call__(self, inputs: Tensor, step: int, where: Where = EVERYWHERE) -> Tensor:
        """Map integers (n, h, w, inputs) to integers (n, h', w', outputs), in any dtype.

        ``where`` picks rows, columns and channels of the results; what only others need is not
        computed.
        """
        x = inputs.to(self.device, self.dtype)
        situation = torch.zeros(self.steps, dtype=wide(self.dtype), device=self.device)
        situation[step] = 1
        with exact_arithmetic(self.device):
            *hidden, last = self._layers
            for number, layer in enumerate(hidden):
                rows, columns, _ = where if number == self._last_look else EVERYWHERE
                result = layer(x, situation, rows, columns)
                if layer.skip:
                    result += x[:, rows, columns]
                x = result.clamp_(0, TOP).to(self.dtype)
            rows, columns, channels = where
            if self._last_look < len(hidden):  # then x is at these rows and columns
                rows, columns, _ = EVERYWHERE
            found = last.part(outputs=channels)(x, situation, rows, columns)
            return found.clamp_(-self._bound, self._bound)


def exact_device(device: torch.device | None) -> torch.device:
    """Where to compute for a codec on ``device``: Apple's GPUs promise no exact products."""
    return device if device is not None and device.type == "cuda" else torch.device("cpu")


def check_exact(number: int, largest: int, dtype: torch.dtype) -> None:
    """Raise WeightsError if layer ``number`` could leave the range in which ``dtype`` is exact."""
    if largest >= EXACT[dtype]:
        raise WeightsError(
            f"layer {number} of the context model could reach {largest}, "
            f"but {dtype} is exact below {EXACT[dtype]} only"
        )


def check_layer(
    number: int, layer: Layer, largest_input: int, situation: int, dtype: torch.dtype
) -> None:
    """Raise WeightsError if numbers of type ``dtype`` cannot carry a layer's arithmetic."""
    check_exact(number, layer.largest(largest_input, situation), dtype)
    if dtype == torch.int8 and int(layer.weight.long().abs().max()) > BYTE:
        raise WeightsError(f"layer {number} of the context model has weights beyond +-{BYTE}")


class Prepared:
    """A layer's numbers, laid out as its arithmetic wants them."""

    def __init__(self, layer: Layer, device: torch.device, dtype: torch.dtype) -> None:
        self.skip = layer.skip
        # (row, column, inputs, outputs)
        self.taps = layer.weight.permute(2, 3, 1, 0).to(device, dtype).contiguous()
        # What a shift is to a product; a power of two takes nothing from a sum's exactness.
        scale = torch.pow(2.0, -layer.shift.double())
        self.scale = scale.to(device, wide(dtype))
        self.biases = (layer.bias * scale).to(device, wide(dtype))
        half = (1 << layer.shift.long()) // 2  # so that the shift's floor rounds to nearest
        self.half = (half * scale).to(device, wide(dtype))

    def part(self, inputs: Picked = ALL, outputs: Picked = ALL) -> "Prepared":
        """The same layer between some of its inputs and outputs only."""
        found = copy(self)
        found.taps = self.taps[:, :, inputs][..., outputs]
        found.scale, found.half = self.scale[outputs], self.half[outputs]
        found.biases = self.biases[:, outputs]
        return found

    def bias(self, situation: Tensor) -> Tensor:
        """What is added to all sums, (outputs,), where ``situation`` (steps,) weighs the biases."""
        return torch.addmv(self.half, self.biases.T, situation)

    def __call__(
        self, x: Tensor, situation: Tensor, down: slice = ALL, across: slice = ALL
    ) -> Tensor:
        """Map (n, h, w, inputs) to (n, h', w', outputs), at the rows ``down``, columns ``across``.

        ``situation`` (steps,) weighs the biases.
        """
        size, _, inputs, outputs = self.taps.shape
        shape = x[:, down, across].shape[:3]
        sums = self.scale.new_zeros(shape.numel(), outputs)
        for taps, seen in zip(self.taps, self._seen(x, down, across), strict=True):
            sums += product(seen, taps.reshape(size * inputs, outputs))
        return self.shifted(sums, situation).reshape(*shape, outputs)

    def shifted(self, sums: Tensor, situation: Tensor) -> Tensor:
        """Sums of products (n, outputs) with the bias, shifted."""
        return torch.addcmul(self.bias(situation), sums, self.scale).floor_()

    def _seen(self, x: Tensor, down: slice, across: slice) -> Iterator[Tensor]:
        """What each row of taps sees, (positions, taps * inputs); beyond the edges, zeros."""
        size = len(self.taps)
        height, width, channels = x.shape[1:]
        if size == 1:
            yield x[:, down, across].reshape(-1, channels)
            return
        padded = torch.nn.functional.pad(x, (0, 0, *[size // 2] * 4))
        row = x.new_empty(
            *x[:, down, across].shape[:3], size * channels
        )  # for one row after another
        for i in range(size):
            rows = padded[:, i : i + height][:, down]
            seen = [rows[:, :, j : j + width][:, :, across] for j in range(size)]
            yield torch.cat(seen, -1, out=row).reshape(-1, size * channels)


@contextmanager
def exact_arithmetic(device: torch.device) -> Iterator[None]:
    """Full float32 products, whatever the program around has chosen for its own networks.

    Nothing is kept for gradients: there are none.
    """
    with full_precision(), torch.autocast(device.type, enabled=False), torch.inference_mode():
        yield


@contextmanager
def full_precision() -> Iterator[None]:
    """Products of float32 in float32, not in less."""
    backends: list[Any] = [torch.backends.cuda, torch.backends.mkldnn]
    matmuls: list[Any] = [getattr(backend, "matmul", None) for backend in backends]
    matmuls = [m for m in matmuls if hasattr(m, "fp32_precision")]  # torch 2.9 and later
    before = [matmul.fp32_precision for matmul in matmuls]
    try:
        general: str | None = torch.get_float32_matmul_precision()
    except RuntimeError:  # the program has set one of these alone: then there is no general one
        general = None
    try:
        if general:
            torch.set_float32_matmul_precision("highest")
        for matmul in matmuls:
            matmul.fp32_precision = "ieee"
        yield
    finally:
        if general:
            torch.set_float32_matmul_precision(general)
        for matmul, chosen in zip(matmuls, before, strict=True):
            matmul.fp32_precision = chosen


def layers_of(tensors: Mapping[str, Tensor]) -> list[Layer]:
    """The layers in tensors named 0.weight, 0.bias, 0.shift, 0.skip, 1.weight and so on."""
    layers: list[Layer] = []
    while f"{len(layers)}.weight" in tensors:
        layers.append(layer_of(tensors, f"{len(layers)}."))
    return layers


def layer_of(tensors: Mapping[str, Tensor], prefix: str) -> Layer:
    """The layer in the tensors of these names."""
    parts = (tensors[prefix + name] for name in ("weight", "bias", "shift", "skip"))
    weight, bias, shift, skip = parts
    return Layer(weight, bias, shift, bool(skip))
