"""Training of a fixed-rate CAE."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Adam, Optimizer

from nncodec.checkpoint import load_model, save_weights
from nncodec.models.cae import SPECS, Cae

from .data import Crops, validation_crops
from .files import CHECKPOINT_SUFFIX, averaged_weights, fill, weights_file
from .loop import Recipe, Settings
from .muon import Muon
from .start import closed_form_start

MARGIN = 16  # pixels along the border of a crop that its padding spoils
START_CROPS = 150  # that the closed-form start is fitted on


@dataclass
class Config(Settings):
    """Everything that decides a run."""

    start: str = "closed-form"  # or "random", "shipped", or a file with weights to go on from
    batch: int = 2
    lr: float = 1e-3  # of the filters (Muon)
    lr_bias: float = 2e-4  # peak learning rate of the biases (Adam)
    lr_encoder: float = 0.1  # the encoder's rates, relative to the decoder's
    frozen: float = 0.25  # fraction of the steps in which the encoder keeps its start
    noise: float = 0.2  # width of the binarization noise at the start ...
    noise_end: float = 0.4  # ... from this fraction of the steps on there is none
    floor: float = 1e-3  # squared error below which a crop no longer weighs more
    val_crops: int = 3  # crops of each validation image


def squared_error(output: Tensor, crops: Tensor) -> Tensor:
    """Mean squared error of each crop, (n,), less what its padding spoils.

    A decoder that sees the bits around a patch has that padding at the edges of the picture only.
    """
    inner = slice(MARGIN, -MARGIN)
    return (output - crops)[..., inner, inner].square().mean((1, 2, 3))


def psnr_loss(output: Tensor, crops: Tensor, floor: float) -> Tensor:
    """Mean over crops of log(mse + floor).

    Quality is reported as mean PSNR, a logarithm; a plain mean of squared errors would
    spend the network on the few that no code of this rate can render.
    """
    return torch.log(squared_error(output, crops) + floor).mean()


def noise_width(config: Config, step: int) -> float:
    """Noise falls linearly, so that the decoder ends on the bits that inference will give it."""
    end = config.noise_end * config.steps
    return config.noise * max(0.0, 1 - step / end) if end > 0 else 0.0


class CaeRecipe(Recipe[Config]):
    """A CAE, on crops; the encoder waits while the decoder learns to read its start."""

    settings = Config
    judge, figure = "val_psnr", "{:.2f} dB"

    network: Cae

    def __init__(self, config: Config, folder: Path, device: torch.device) -> None:
        super().__init__(config, folder, device)
        self.network = Cae(SPECS[config.model])
        self.crops = Crops.from_folder(Path(config.data), config.crop, device)
        self.val = validation_crops(Path(config.val), config.crop, config.val_crops)

    def begin(self) -> None:
        start = self.config.start
        if start == "closed-form":
            closed_form_start(self.network, self.crops.draw(START_CROPS).cpu())
        elif start.endswith(CHECKPOINT_SUFFIX):
            fill(self.network, averaged_weights(Path(start)), start)
        elif start != "random":
            _, network, _ = load_model(self.config.model, weights_file(start))
            self.network.load_state_dict(network.state_dict())

    def optimizers(self) -> list[Optimizer]:
        """Muon for the filters, Adam for the biases; the encoder's in a group of their own."""

        def groups(dims: int, lr: float) -> list[dict[str, Any]]:
            named = [(n, p) for n, p in self.network.named_parameters() if p.ndim == dims]
            encoder = [p for n, p in named if n.startswith("e_")]
            decoder = [p for n, p in named if not n.startswith("e_")]
            slow = lr * self.config.lr_encoder
            return [{"params": decoder, "peak": lr}, {"params": encoder, "peak": slow}]

        config = self.config
        return [
            Muon(groups(4, config.lr), lr=config.lr),
            Adam(groups(1, config.lr_bias), betas=(0.9, 0.99)),
        ]

    def loss(self, step: int) -> Tensor:
        config = self.config
        frozen = step < config.frozen * config.steps
        for name, parameter in self.network.named_parameters():
            parameter.requires_grad_(not (frozen and name.startswith("e_")))
        crops = self.crops.draw(config.batch).contiguous(memory_format=torch.channels_last)
        with self.autocast():
            output = self.network(crops, noise_width(config, step))
        return psnr_loss(output.float(), crops, config.floor)

    def validate(self, average: Cae) -> dict[str, float]:
        """Mean over images of the PSNR (dB), in float32."""
        quality = []
        for image in self.val:
            crops = image.to(self.device).float() / 255
            error = squared_error(average.decode(average.encode(crops)), crops).mean()
            quality.append(-10 * math.log10(float(error)))
        return {"val_psnr": sum(quality) / len(quality)}

    def export(self, average: Cae, path: Path) -> None:
        save_weights(average.state_dict(), self.config.model, path, half=True, force=True)
