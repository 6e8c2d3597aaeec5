"""Training of the context model of a fixed-rate CAE's bits."""

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from nncodec.checkpoint import load_model
from nncodec.entropy.context import PHASES, ContextModel, coding_steps
from nncodec.models.place import place

from .files import weights_file, write_weights
from .latents import LatentSettings, OnLatents, windows
from .quantized import QuantizedConv, QuantizedNetwork, probability_table


@dataclass
class Config(LatentSettings):
    """Everything that decides a run."""

    steps: int = 2_000
    crop: int = 384
    crops: int = 756
    window: int = 24
    batch: int = 16
    clip: float = math.inf
    groups: int = 2  # of channels, coded one after the other
    look: int = 5  # positions along a side of what the first layer sees
    width: int = 64  # channels of the network


def build(channels: int, groups: int, width: int, look: int = 5) -> QuantizedNetwork:
    """The network: a look at the bits around, then three layers, one of which looks further."""
    steps = PHASES * groups
    return QuantizedNetwork(
        [
            QuantizedConv(channels, width, look, steps, places=0),
            QuantizedConv(width, width, 1, steps),
            QuantizedConv(width, width, 3, steps),
            QuantizedConv(width, width, 1, steps),
            QuantizedConv(width, channels, 1, steps, last=True),
        ]
    )


class ContextRecipe(OnLatents[Config]):
    """The chances of bits, each as it is known in one of the steps."""

    settings = Config
    judge, figure = "saved", "{:.1%} of the bits saved"

    network: QuantizedNetwork

    def __init__(self, config: Config, folder: Path, device: torch.device) -> None:
        super().__init__(config, folder, device)
        self.bits, self.val = self.pictures()
        channels, side = self.bits.shape[1], min(config.window, self.bits.shape[2])
        self.network = build(channels, config.groups, config.width, config.look)
        steps = list(coding_steps(config.groups))
        self.coded = torch.zeros(len(steps), channels, side, side, dtype=torch.bool)
        for coded, (rows, columns, group) in zip(self.coded, steps, strict=True):
            coded[group, rows, columns] = True
        self.known = self.coded.cumsum(0) > self.coded.long()

    def pictures(self) -> tuple[Tensor, Tensor]:
        """The ±1 bits (n, C, h, w), int8, to learn from and to choose by."""
        config = self.config
        _, cae, fingerprint = load_model(config.model, weights_file(config.start))
        place(cae, self.device)

        def encode(pixels: Tensor) -> Tensor:
            return (cae.analyse(pixels) > 0).to(torch.int8) * 2 - 1

        return self.latents(encode, fingerprint, every=2)

    def draw(self) -> tuple[Tensor, Tensor, Tensor]:
        """Bits (n, C, h, w), their steps (n,), and what each step knows of them."""
        count = self.config.batch
        bits = windows(self.bits, self.config.window, count)
        step = torch.randperm(count) % len(self.coded)
        return bits, step, bits * self.known[step]

    def loss(self, step: int) -> Tensor:
        """Mean bits that a bit costs."""
        bits, which, known = self.draw()
        seen = known.float().to(self.device, memory_format=torch.channels_last)
        situation = F.one_hot(which, len(self.coded)).float().to(self.device)
        with self.autocast():
            logits = self.network(seen, situation)
        costs = F.softplus(-logits * bits.to(self.device))
        return costs[self.coded[which].to(self.device)].mean() / math.log(2)

    def validate(self, average: QuantizedNetwork) -> dict[str, float]:
        """The share of the bits that coding them saves."""
        model = ContextModel(exported(average), self.val.shape[1])
        latents = (self.val > 0).permute(0, 2, 3, 1).contiguous().numpy()
        size = sum(len(model.encode(latent)) for latent in latents)
        return {"saved": 1 - size * 8 / latents.size}

    def export(self, average: QuantizedNetwork, path: Path) -> None:
        write_weights(exported(average), path, {"context": self.config.model})


def exported(network: QuantizedNetwork) -> dict[str, Tensor]:
    """The tensors of a context model."""
    return {**network.export(), "table": probability_table()}
