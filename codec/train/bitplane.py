"""Training of the variable-rate transform: every step size at once, with a proxy of the rate."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from nncodec import weights as shipped
from nncodec.checkpoint import find_weights, parse_tensors
from nncodec.formats.errors import NncodecError
from nncodec.models.bitplane import (
    BITPLANE,
    BLOCKS,
    CHANNELS,
    LEVELS,
    SYNTHESIS_BLOCKS,
    Bitplane,
    Block,
    Linear,
    trade_off,
)

from .data import Crops, validation_crops
from .evenness import EvenAdam, balanced, even_factors, input_sizes
from .files import (
    CHECKPOINT_SUFFIX,
    SHIPPED,
    averaged_weights,
    fill,
    weights_file,
    write_weights,
)
from .loop import Recipe, Settings
from .proxy import Proxy
from .pyramid import MEANS, means_of
from .start_transform import principal_start

START_CROPS = 400  # that the closed-form start is fitted on
MEANS_CROPS, MEANS_LEVEL = 100, 0.5  # that tell which channels are means of blocks
EVEN_CROPS = 24  # that tell how large what blocks read is
NOTHING = "closed-form", "random"  # beginnings in which blocks know nothing: steps are equal
MEMORY = 0.99, 0.999  # Adam's decay of squared slopes from nothing, and from weights
PART = 10  # crops at once
PROXY = "proxy.safetensors"  # its file beside that of the transform
PICTURE = 256  # pixels along a side of the crops to choose by
POINTS = torch.linspace(-0.3, 2.0, 4).tolist()  # levels at which to measure


@dataclass
class Config(Settings):
    """Everything that decides a run."""

    start: str = "closed-form"  # or "random", "shipped", or a file with weights to go on from
    steps: int = 20_000
    blocks: int = BLOCKS  # at the blocks' resolution, in the analysis
    synthesis_blocks: int = SYNTHESIS_BLOCKS
    channels: int = CHANNELS  # of the latent
    lr: float = 1.5e-3
    lr_linear: float = 1.5e-4  # of the layers that start as principal components
    lr_proxy: float = 4e-3  # of the rate's proxy
    warmup: int = 200
    final: float = 0.02
    ema: float = 0.999
    val_every: int = 500
    weight: float = 0.6  # of the loss: e^(weight * level), so that all rates count
    even: float = 0.5  # 0: crops count by what they cost; 1: all crops of a level the same
    frozen: float = 0.0  # fraction of the steps in which only the rate's proxy learns
    quick: bool = False  # train only the analysis of encoders in a hurry
    synthesis: bool = False  # train only the synthesis


class RatedTransform(nn.Module):
    """The transform, and the proxy of its rate, which is trained with it."""

    def __init__(self, model: Bitplane, quick: bool) -> None:
        super().__init__()
        self.model = model
        self.proxy = Proxy(model.analysis.down.out_channels)
        self.quick = quick

    def forward(self, crops: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
        """Bits per pixel and mean squared error, (n,) each, of crops at levels (n,).

        Rounding is noise to the rate's proxy, and passes the gradient on to the synthesis.
        """
        model = self.model
        scaled = model.analysis(crops, self.quick).float() * model.gains.scale(level)
        bits = self.proxy(scaled + torch.rand_like(scaled) - 0.5, level)
        rounded = scaled + (scaled.round() - scaled).detach()
        output = model.synthesis(rounded * model.gains.unscale(level), level).float()
        return bits / crops[0, 0].numel(), (output - crops).square().mean((1, 2, 3))


class TransformRecipe(Recipe[Config]):
    """The transform, on crops, each at a level of its own."""

    settings = Config
    judge, sign, figure = "val", -1, "loss {:.4f}"
    output = "transform.safetensors"
    grain = 32  # the proxy halves the latent

    network: RatedTransform

    def __init__(self, config: Config, folder: Path, device: torch.device) -> None:
        if config.quick and config.synthesis:
            raise NncodecError("give one of --quick and --synthesis: each trains its part alone")
        super().__init__(config, folder, device)
        model = Bitplane(config.blocks, config.channels, config.synthesis_blocks)
        self.network = RatedTransform(model, config.quick)
        self.crops = Crops.from_folder(Path(config.data), config.crop, device)
        self.val = validation_crops(Path(config.val), PICTURE, 2)[::3]

    def begin(self) -> None:
        config, start = self.config, self.config.start
        weights = {} if start in NOTHING else starting_weights(start)
        if self.alone is not None and not any(key.startswith("proxy.") for key in weights):
            option = "--quick" if config.quick else "--synthesis"
            raise NncodecError(
                f"{start}: no checkpoint of the transform; {option} needs its network for the rate"
            )
        if start == "closed-form":
            principal_start(self.network.model, self.draw(START_CROPS).cpu())
        elif weights:
            if config.synthesis:
                weights = shortened(weights, config.synthesis_blocks)
            fill(self.network, self.network.state_dict() | weights, start)
        if not self.network.proxy.means.any():
            self.find_means()
        if config.quick:
            self.begin_quick()

    @torch.no_grad()
    def find_means(self) -> None:
        """Tell the rate's proxy which channels are means of blocks, unless they are too few."""
        model, level = self.network.model, torch.tensor([MEANS_LEVEL])
        crops = self.draw(MEANS_CROPS).cpu()
        scaled = torch.cat([model.analysis(some) for some in torch.split(crops, PART)])
        rounded = (scaled * model.gains.scale(level)).round()
        means = torch.from_numpy(means_of(rounded.permute(0, 2, 3, 1).numpy()))
        if means.sum() == MEANS:
            self.network.proxy.means.copy_(means)

    def begin_quick(self) -> None:
        """Begin the quick analysis with the first blocks of the whole one, unless it has begun."""
        analysis = self.network.model.analysis
        weights = analysis.quick.state_dict().items()
        if not any(bool(x.any()) for name, x in weights if name.endswith("merge.weight")):
            first = analysis.blocks[: len(analysis.quick)]
            analysis.quick.load_state_dict(first.state_dict())

    @property
    def alone(self) -> nn.Module | None:
        """The only part that is trained, if it is not all."""
        model = self.network.model
        if self.config.quick:
            return model.analysis.quick
        return model.synthesis if self.config.synthesis else None

    def optimizers(self) -> list[Optimizer]:
        config, model = self.config, self.network.model
        if self.alone is not None:
            self.network.requires_grad_(False)
            self.alone.requires_grad_()
        factors = {} if config.start in NOTHING else self.factors()
        linear = {p for m in model.modules() if isinstance(m, Linear) for p in m.parameters()}
        known: set[Tensor] = linear | factors.keys()
        groups: list[dict[str, Any]] = [
            {"params": [p for p in params if p.requires_grad], "peak": peak}
            for params, peak in (
                ([p for p in model.parameters() if p not in known], config.lr),
                ([p for p in model.parameters() if p in linear], config.lr_linear),
                (list(self.network.proxy.parameters()), config.lr_proxy),
            )
        ]
        if factors:
            uneven = [p for p in factors if p.requires_grad]
            even = [factors[p] for p in uneven]
            groups.append({"params": uneven, "peak": config.lr, "factors": even})
        memory = MEMORY[config.start not in NOTHING]
        return [EvenAdam(groups, lr=config.lr, betas=(0.9, memory), fused=True)]

    def factors(self) -> dict[Tensor, Tensor]:
        """The weights that blocks begin with, and what their steps are multiplied by, anywhere."""
        model, quick = self.network.model, self.config.quick
        blocks = [m for m in model.modules() if isinstance(m, Block)]
        layers = [layer for block in blocks for layer in (block.expand, block.gate)]
        generator = torch.Generator().manual_seed(self.config.seed)
        crops = self.crops.draw(EVEN_CROPS, generator) * 255 - 127.5
        level = torch.linspace(*LEVELS, EVEN_CROPS, device=self.device)

        def run() -> None:
            scaled = model.analysis(crops, quick) * model.gains.scale(level)
            model.synthesis(scaled.round() * model.gains.unscale(level), level)

        sizes = input_sizes(layers, run)
        return {layer.weight: even_factors(size) for layer, size in sizes.items()}

    def draw(self, count: int) -> Tensor:
        """Random crops (n, 3, h, w), in levels less 127.5."""
        crops = self.crops.draw(count) * 255 - 127.5
        return crops.contiguous(memory_format=torch.channels_last)

    def levels(self, count: int) -> Tensor:
        """One level for each of ``count`` crops, spread evenly over the range."""
        unit = (torch.arange(count) + torch.rand(count)) / count
        return (LEVELS[0] + (LEVELS[1] - LEVELS[0]) * unit).to(self.device)

    def cost(
        self, network: RatedTransform, crops: Tensor, level: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """What crops cost, and their rates and squared errors, (n,) each."""
        with self.autocast():
            rate, error = network(crops, level)
        weight = torch.exp(self.config.weight * level)
        return weight * (rate + trade_off(level) * error), rate, error

    def loss(self, step: int) -> Tensor:
        config = self.config
        if self.alone is None:
            self.network.model.requires_grad_(step >= config.frozen * config.steps)
        crops = self.draw(config.batch)
        level = self.levels(len(crops))
        return balanced(self.cost(self.network, crops, level)[0], level, config.even)

    def validate(self, average: RatedTransform) -> dict[str, float]:
        """Loss, and rate and PSNR at four levels."""
        row, total = {}, 0.0
        for i, value in enumerate(POINTS):
            losses, rates, quality = [], [], []
            for image in self.val:
                crops = image.to(self.device).float() - 127.5
                level = torch.full((len(crops),), value, device=self.device)
                cost, rate, error = self.cost(average, crops, level)
                losses.append(float(cost.mean()))
                rates.append(float(rate.mean()))
                quality += (10 * torch.log10(255**2 / error)).tolist()
            row[f"bpp{i}"] = sum(rates) / len(rates)
            row[f"db{i}"] = sum(quality) / len(quality)
            total += sum(losses) / len(losses) / len(POINTS)
        return {"val": total, **row}

    def export(self, average: RatedTransform, path: Path) -> None:
        model, state = self.config.model, average.state_dict()
        write_weights(shipped_transform(state), path, {"model": model})
        write_weights(shipped_proxy(state), path.with_name(PROXY), {"proxy": model})


def shortened(weights: Mapping[str, Tensor], blocks: int) -> dict[str, Tensor]:
    """Weights of a :class:`RatedTransform` without the synthesis' blocks beyond so many."""

    def beyond(key: str) -> bool:
        block = re.match(r"model\.synthesis\.blocks\.(\d+)\.", key)
        return block is not None and int(block[1]) >= blocks

    return {key: tensor for key, tensor in weights.items() if not beyond(key)}


def shipped_transform(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What ships of the state dict of a :class:`RatedTransform`: the transform, in float16.

    The gains, which are exponents and few, stay in float32.
    """
    return {
        key.replace("model.", "transform.", 1): (
            tensor.float() if key.startswith("model.gains.") else tensor.half()
        )
        for key, tensor in state.items()
        if key.startswith("model.")
    }


def shipped_proxy(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The proxy in the state dict of a :class:`RatedTransform`, in float16."""
    return {key: tensor.half() for key, tensor in state.items() if key.startswith("proxy.")}


def starting_weights(start: str) -> dict[str, Tensor]:
    """Averaged weights in a checkpoint, the transform in a safetensors file, or all that ships.

    Their names are those of a :class:`RatedTransform`.
    """
    if start.endswith(CHECKPOINT_SUFFIX):
        return averaged_weights(Path(start))
    _, data, name = find_weights(BITPLANE, weights_file(start))
    tensors = parse_tensors(data, name)
    if start == SHIPPED and (proxy := shipped.load_proxy_bytes(BITPLANE)):
        tensors |= parse_tensors(proxy, shipped.entry(BITPLANE).proxy["file"])
    return {
        key.replace("transform.", "model.", 1): tensor.float()
        for key, tensor in tensors.items()
        if not key.startswith("planes.")
    }
