"""The float twin of the plane model's network."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nncodec.entropy.network import TOP
from nncodec.entropy.plane_network import (
    DECISIONS,
    FORECAST,
    LARGEST_FORECAST,
    OWN_SHIFT,
    REFINE,
    SIGN,
    SITUATIONS,
    TOLD,
    TURNS,
    WEIGHT,
    features,
    lead,
    middle,
)

from .quantized import (
    HIDDEN_BITS,
    OUTPUT_BITS,
    QuantizedConv,
    QuantizedNetwork,
    probability_table,
    round_through,
)

PLACES = 3  # binary places of the features, in the trunk
GRID = 2.0**-OUTPUT_BITS  # of outputs
OWN_UNIT = 2.0**-OWN_SHIFT * GRID  # of the weights of a channel's own surroundings
MOST = LARGEST_FORECAST * GRID
TRUST = 0.4  # in a forecast, at first
KINDS = 3  # of numbers in a situation, each of which adds a bias


def floor_through(x: Tensor) -> Tensor:
    """Round down to what outputs are multiples of; the gradient passes."""
    return x + ((x / GRID).floor() * GRID - x).detach()


class PlaneTwin(nn.Module):
    """The float twin of :class:`nncodec.entropy.plane_network.PlaneNetwork`."""

    def __init__(self, channels: int, width: int, narrow: int, foretold: int) -> None:
        super().__init__()
        self.channels = channels
        self.foretold = foretold
        s, w = SITUATIONS, WEIGHT
        self.trunk = QuantizedNetwork(
            [
                QuantizedConv(2 * channels, width, 1, s, places=PLACES, total=w),
                QuantizedConv(width, narrow, 3, s, total=w),
                QuantizedConv(narrow, narrow, 3, s, total=w),
                QuantizedConv(narrow, width, 1, s, total=w),
                QuantizedConv(width, DECISIONS * channels + foretold, 1, s, total=w, last=True),
            ]
        )
        self.told = QuantizedConv(
            2 * channels, width, 1, s, places=PLACES, total=w, last=True, out_places=HIDDEN_BITS
        )
        self.forecast = QuantizedConv(foretold, foretold, 3, s, places=PLACES, total=w, last=True)
        self.trunk.convolutions[-1].bias.data[:, DECISIONS * channels :] = TRUST / KINDS
        self.own = nn.Parameter(torch.zeros(DECISIONS, channels, 1, 3, 3))
        self.lead = nn.Parameter(torch.zeros(DECISIONS, channels))

    def forward(
        self, size: Tensor, sign: Tensor, done: Tensor, after: Tensor, at: Tensor
    ) -> Tensor:
        """Logits (n, 3, C, h, w) for size and sign (n, h, w, C), situations ``at`` (n, S).

        ``after`` (n, h, w, C) are the middles with this plane, of which later turns are told. What
        is known is looked at on the CPU, the network is where its weights are.
        """
        device = self.lead.device
        before = middle(size, sign, done)
        value, magnitude, ahead, *heard = (
            x.permute(0, 3, 1, 2).to(device)
            for x in (*features(before), lead(before).float(), *features(after))
        )
        at = at.float().to(device)
        seen = torch.cat([value, magnitude], 1) * 2.0**-PLACES
        said = self.said(seen, torch.cat(heard, 1) * 2.0**-PLACES, at)
        trunk, trust = said.tensor_split([DECISIONS * self.channels], 1)
        count, _, height, width = trunk.shape
        trunk = trunk.reshape(count, DECISIONS, self.channels, height, width)
        own, ahead_by = (
            round_through(x, OWN_UNIT).clamp(-127 * OWN_UNIT, 127 * OWN_UNIT)
            for x in (self.own, self.lead)
        )
        around = [
            F.conv2d(source, own[i], padding=1, groups=self.channels)
            for i, source in enumerate((magnitude, value, magnitude))
        ]
        leads = [ahead_by[i][:, None, None] * ahead for i in range(DECISIONS)]
        leads[REFINE] = leads[REFINE] * value.sign()
        total = torch.stack(around, 1).float() + torch.stack(leads, 1)
        logits: Tensor = trunk + floor_through(total)
        forecast = self.forecast(seen[:, : self.foretold], at).clamp(-MOST, MOST)
        logits[:, SIGN, : self.foretold] += floor_through(forecast * trust.clamp(0, TOP * GRID))
        return logits

    def said(self, seen: Tensor, heard: Tensor, at: Tensor) -> Tensor:
        """The trunk's outputs for its inputs (n, 2 C, h, w), before this plane and with it."""
        hidden, last = self.trunk.hidden(seen, at), self.trunk.convolutions[-1]
        weight, bias = last.rounded()
        told_weight, told_bias = self.told.rounded()
        sums = torch.zeros_like(hidden)
        found, order = [], []
        for turn in range(TURNS):
            mine = torch.arange(turn, self.channels, TURNS)
            told = self.told.finished(sums, told_bias, at)
            x = (hidden + told).clamp(0, TOP * 2.0**-HIDDEN_BITS)
            outputs = [mine + decision * self.channels for decision in range(DECISIONS)]
            outputs.append(mine[mine < self.foretold] + DECISIONS * self.channels)
            order.append(torch.cat(outputs).to(x.device))
            found.append(last.finished(F.conv2d(x, weight[order[-1]]), bias[order[-1]], at))
            inputs = torch.cat([mine, mine + self.channels]).to(x.device)
            sums = sums + F.conv2d(heard[:, inputs], told_weight[:, inputs])
        return torch.cat(found, 1)[:, torch.cat(order).argsort()]

    def export(self) -> dict[str, Tensor]:
        """The tensors of a plane model, less its table of top planes."""

        def integers(x: Tensor) -> Tensor:
            return (x.detach() / OWN_UNIT + 0.5).floor().clamp(-127, 127).to(torch.int8)

        return {
            **self.trunk.export(),
            **{FORECAST + name: tensor for name, tensor in self.forecast.export().items()},
            **{TOLD + name: tensor for name, tensor in self.told.export().items()},
            "own.weight": integers(self.own)[:, :, 0].permute(0, 2, 3, 1).contiguous(),
            "own.lead": integers(self.lead),
            "table": probability_table(),
        }

    @torch.no_grad()
    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take the weights that the tensors of a plane model stand for."""
        self.trunk.restore(tensors)
        for layer, prefix in ((self.forecast, FORECAST), (self.told, TOLD)):
            layer.restore({n: tensors[prefix + n] for n in ("weight", "bias", "shift")})
        self.own.copy_(tensors["own.weight"].permute(0, 3, 1, 2)[:, :, None] * OWN_UNIT)
        self.lead.copy_(tensors["own.lead"] * OWN_UNIT)
