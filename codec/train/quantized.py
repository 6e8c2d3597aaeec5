"""The float twin of the integer network: trained with its rounding in the loop, then exported.

Every rounding passes the gradient straight through (Jacob et al. 2018, section 3). Weights have
eight bits and a power of two of their own for each output, so that a shift is all that brings a
sum back to the units of the next layer.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nncodec.entropy.network import TOP

HIDDEN_BITS = 4  # binary places of an activation: 0...127 stands for 0...7.94
OUTPUT_BITS = 5  # of an output, a logit in natural units


def round_through(x: Tensor, unit: float) -> Tensor:
    """Round to multiples of ``unit``, halves upwards; the gradient passes."""
    return x + ((x / unit + 0.5).floor() * unit - x).detach()


class QuantizedConv(nn.Module):
    """A convolution whose weights, biases and results lie on the grid of the integer network."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        size: int,
        steps: int,
        *,
        places: int = HIDDEN_BITS,
        total: int = 1,
        last: bool = False,
        out_places: int = 0,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs, size, size))
        nn.init.kaiming_normal_(self.weight, nonlinearity="relu")
        self.bias = nn.Parameter(torch.zeros(steps, outputs))
        if last:
            nn.init.zeros_(self.weight)
        self.places = places  # binary places of the inputs
        self.total = total  # what a situation's weights of one kind add up to
        self.out_places = out_places or (OUTPUT_BITS if last else HIDDEN_BITS)
        self.last = last  # no activation follows
        # Only activations can be added to activations: an input has other units.
        self.skip = not last and inputs == outputs and places == HIDDEN_BITS
        self.exact = True  # False: without rounding, to measure what it costs

    def exponents(self) -> Tensor:
        """The binary places of each output's weights: as many as eight bits hold."""
        largest = self.weight.detach().abs().amax((1, 2, 3)).clamp_min(1e-6)
        least = max(0, self.out_places - self.places)
        return torch.floor(torch.log2((TOP + 0.49) / largest)).clamp(least, 12)

    def forward(self, x: Tensor, situation: Tensor) -> Tensor:
        """Map (n, inputs, h, w) to (n, outputs, h, w); ``situation`` (n, steps): as in Layer."""
        weight, bias = self.rounded()
        result = self.finished(F.conv2d(x, weight, padding=weight.shape[-1] // 2), bias, situation)
        if self.skip:
            result = result + x
        return result if self.last else result.clamp(0, TOP * 2.0**-HIDDEN_BITS)

    def rounded(self) -> tuple[Tensor, Tensor]:
        """The weights, and the biases (outputs, steps), of integers."""
        weight: Tensor = self.weight
        bias = self.bias.T / self.total
        if self.exact:
            unit = torch.exp2(-self.exponents())
            grid = unit[:, None, None, None]
            weight = weight + ((weight / grid).round().clamp(-TOP, TOP) * grid - weight).detach()
            fine = unit[:, None] * 2.0**-self.places
            bias = bias + ((bias / fine).round() * fine - bias).detach()
        return weight, bias

    def finished(self, sums: Tensor, bias: Tensor, situation: Tensor) -> Tensor:
        """Sums of products (n, outputs, h, w) with the biases of situations (n, steps), rounded."""
        with torch.autocast(sums.device.type, enabled=False):
            shown = situation.float() @ bias.T
        result = sums.float() + shown[:, :, None, None]
        return round_through(result, 2.0**-self.out_places) if self.exact else result

    def export(self) -> dict[str, Tensor]:
        """The integers that :class:`nncodec.entropy.network.Layer` holds."""
        places = self.exponents()
        weight = (self.weight.detach() * torch.exp2(places)[:, None, None, None]).round()
        bias = (self.bias.detach() / self.total * torch.exp2(places + self.places)).round()
        return {
            "weight": weight.clamp(-TOP, TOP).to(torch.int8),
            "bias": bias.to(torch.int32),
            "shift": (places + self.places - self.out_places).to(torch.int8),
            "skip": torch.tensor(self.skip),
        }

    @torch.no_grad()
    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take the weights that integers stand for: those of which :meth:`export` makes them."""
        places = tensors["shift"].float() + self.out_places - self.places
        self.weight.copy_(tensors["weight"] * torch.exp2(-places)[:, None, None, None])
        self.bias.copy_(tensors["bias"] * self.total * torch.exp2(-places - self.places))


class QuantizedNetwork(nn.Module):
    """Layers in a row; ``export`` gives the tensors of the integer network."""

    def __init__(self, layers: list[QuantizedConv]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.convolutions = layers

    def forward(self, x: Tensor, situation: Tensor) -> Tensor:
        last: Tensor = self.convolutions[-1](self.hidden(x, situation), situation)
        return last

    def hidden(self, x: Tensor, situation: Tensor) -> Tensor:
        """What the last layer is given."""
        for layer in self.convolutions[:-1]:
            x = layer(x, situation)
        return x

    def rounding(self, exact: bool) -> None:
        """Whether results are rounded as the integer network's are."""
        for layer in self.convolutions:
            layer.exact = exact

    def export(self) -> dict[str, Tensor]:
        return {
            f"{number}.{name}": tensor
            for number, layer in enumerate(self.convolutions)
            for name, tensor in layer.export().items()
        }

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take the weights that the tensors of an integer network stand for."""
        for number, layer in enumerate(self.convolutions):
            parts = ("weight", "bias", "shift")
            layer.restore({part: tensors[f"{number}.{part}"] for part in parts})


def probability_table() -> Tensor:
    """The chance out of 2^16 of every output from -L to L: a logistic curve, up to 1 - 2^-16."""
    span = int(torch.log(torch.tensor(2.0**16 - 1)) * 2**OUTPUT_BITS)
    logits = torch.arange(-span, span + 1, dtype=torch.float64) * 2.0**-OUTPUT_BITS
    return (torch.sigmoid(logits) * 2**16).round().clamp(1, 2**16 - 1).to(torch.uint16)
