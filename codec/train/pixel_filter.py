"""Training of the filter of decoded pixels, on what the finished rest of the model decodes.

It is trained last and alone, on pictures that were just rounded and on refined ones by turns:
refining leaves more for it to do, and no refining is part of the other stages.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.optim import Adam, Optimizer

from nncodec import weights as shipped
from nncodec.api import Codec
from nncodec.checkpoint import find_weights, parse_tensors
from nncodec.decisions import decide
from nncodec.entropy.digits import Latent
from nncodec.formats.cae import Header
from nncodec.formats.images import Picture
from nncodec.models.bitplane import ALONE, BITPLANE, LEVELS
from nncodec.models.pixel_filter import MARGIN, PixelFilter
from nncodec.rate import Effort
from nncodec.transform import Pixels
from nncodec.variable import VariableRate
from nncodec.variable_transform import VariableTransform, level_of

from .data import Crops, validation_crops
from .files import SHIPPED, State, fill, kept, weights_file, write_weights
from .loop import Recipe, Settings
from .planes import step_code
from .processes import rank

PREFIX = "transform.synthesis.filter."
WINDOW = 96  # pixels along a side of what a step sees of a crop
LEAST = 0.5  # squared error below which a window weighs no more


@dataclass
class Config(Settings):
    """Everything that decides a run; ``start`` names all weights but those of the filter."""

    start: str = SHIPPED
    steps: int = 4_000
    crop: int = 256
    batch: int = 8
    lr: float = 4e-3
    warmup: int = 50
    val_every: int = 500
    crops: int = 320  # pictures that are decoded to learn from, and as many refined ones
    rounds: int = 48  # of refining


@dataclass(frozen=True)
class Decoded:
    """Crops (n, 3, h, w), uint8, and what was decoded of them, (2, n, 3, h, w), at levels (n,).

    What is decoded, in float16, was rounded first, then refined, and has not been filtered.
    """

    crops: Tensor
    found: Tensor
    level: Tensor


class FilterRecipe(Recipe[Config]):
    """The filter, on decoded crops, each at a level of its own."""

    settings = Config
    judge, figure = "gain", "{:.4f} dB"

    network: PixelFilter

    def __init__(self, config: Config, folder: Path, device: torch.device) -> None:
        super().__init__(config, folder, device)
        _, data, name = find_weights(BITPLANE, weights_file(config.start))
        self.weights = parse_tensors(data, name)
        self.network = PixelFilter()
        wanted = (config.data, config.val, config.crop, config.crops, config.rounds, config.seed)
        self.key = f"{shipped.fingerprint(data).hex()} {wanted}"
        codec = Codec(BITPLANE, str(device), weights=weights_file(config.start))

        def drawn() -> Tensor:
            source = Crops.from_folder(Path(config.data), config.crop, torch.device("cpu"))
            return in_bytes(source.draw(config.crops))

        self.train = self.decoded(codec, "train", drawn)
        self.val = self.decoded(
            codec, "val", lambda: validation_crops(Path(config.val), config.crop, 1)[:, 0]
        )

    def begin(self) -> None:
        own = {k.removeprefix(PREFIX): t for k, t in self.weights.items() if k.startswith(PREFIX)}
        if own:
            fill(self.network, own, self.config.start)

    def decoded(self, codec: Codec, name: str, drawn: Callable[[], Tensor]) -> Decoded:
        """What comes of crops (n, 3, h, w), uint8; kept for when the run goes on."""

        def made() -> State:
            assert isinstance(codec.engine, VariableRate)
            transform, planes = codec.engine.transform, codec.engine.planes
            pixels = drawn()
            found, level = [], []
            for picture, header, step in pictures(codec, pixels):
                latent = transform.analyse(picture, header)
                for rounds in (0, self.config.rounds):
                    effort = Effort(not rounds, rounds)
                    chosen, _ = decide(transform, planes, latent, picture, header, step, effort)
                    found.append(unfiltered(transform, chosen, step).half())
                level.append(level_of(step))
            both = torch.stack([torch.stack(found[k::2]) for k in (0, 1)])
            return {"crops": pixels, "found": both, "level": torch.cat(level)}

        state = kept(self.folder / f"{name}{rank() or ''}.pt", self.key, made)
        return Decoded(state["crops"], state["found"], state["level"])

    def optimizers(self) -> list[Optimizer]:
        groups = [{"params": list(self.network.parameters()), "peak": self.config.lr}]
        return [Adam(groups, lr=self.config.lr, betas=(0.9, 0.99), fused=True)]

    def loss(self, step: int) -> Tensor:
        """The squared error that is left of windows of crops, rounded or refined, on average."""
        data, config = self.train, self.config
        which = torch.randint(len(data.crops), (config.batch,))
        side = min(WINDOW, config.crop)
        top, left = torch.randint(config.crop - side + 1, (2,)).tolist()
        window = ..., slice(top, top + side), slice(left, left + side)
        due = data.crops[which][window].to(self.device).float() - 127.5
        found = data.found[step % 2, which][window].to(self.device).float()
        before, after = errors(self.network, found, due, data.level[which].to(self.device))
        return (after / before.clamp_min(LEAST)).mean()

    def validate(self, average: PixelFilter) -> dict[str, float]:
        """What PSNR gains, in dB, by pictures that were rounded and by refined ones."""
        data = self.val
        due = data.crops.to(self.device).float() - 127.5
        gains = {}
        for name, found in zip(("rounded", "refined"), data.found, strict=True):
            seen = found.to(self.device).float()
            before, after = errors(average, seen, due, data.level.to(self.device))
            gains[name] = float((10 * torch.log10(before / after)).mean())
        return {"gain": sum(gains.values()) / len(gains), **gains}

    def export(self, average: PixelFilter, path: Path) -> None:
        found = {PREFIX + name: tensor.half() for name, tensor in average.state_dict().items()}
        write_weights({**self.weights, **found}, path, {"model": self.config.model})


def in_bytes(crops: Tensor) -> Tensor:
    """Crops in [0, 1] as uint8, which files are made of."""
    return (crops * 255).round().to(torch.uint8)


def pictures(codec: Codec, crops: Tensor) -> Iterator[tuple[Pixels, Header, int]]:
    """Crops (n, 3, h, w), uint8, as pictures (h, w, 3), each with a header and a step by chance."""
    for crop, unit in zip(crops, torch.rand(len(crops)), strict=True):
        pixels = crop.permute(1, 2, 0).contiguous().numpy()
        step = step_code(LEVELS[0] + (LEVELS[1] - LEVELS[0]) * float(unit))
        yield pixels, codec.header(Picture(pixels)), step


def unfiltered(transform: VariableTransform, latent: Latent, step: int) -> Tensor:
    """The pixels (3, h, w) of a latent (h, w, C), less 127.5, as the filter is given them."""
    network, level = transform.network, level_of(step).to(transform.device)
    values = torch.from_numpy(latent).to(transform.device).permute(2, 0, 1)[None].float()
    with torch.inference_mode():
        found: Tensor = network.synthesis.drawn(values * network.gains.unscale(level), level)
    return found[0].cpu()


def errors(
    network: PixelFilter, found: Tensor, due: Tensor, level: Tensor
) -> tuple[Tensor, Tensor]:
    """The squared errors of pictures (n, 3, h, w) at levels (n,), before and after, (n,) each.

    Those at the border, where a picture may go on that the filter is not shown, do not count.
    """
    inside = ..., slice(MARGIN, -MARGIN), slice(MARGIN, -MARGIN)
    before, after = (
        (x - due)[inside].square().mean((1, 2, 3))
        for x in (found, network(found, level.clamp(*LEVELS), ALONE))
    )
    return before, after
