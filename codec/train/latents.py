"""What the trainings of context models share: they learn from latents, which are made once."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, TypeVar

import torch
from torch import Tensor
from torch.optim import Adam, Optimizer

from nncodec.checkpoint import parse_tensors, read
from nncodec.formats.errors import WeightsError

from .data import Crops, validation_crops
from .files import (
    CHECKPOINT_SUFFIX,
    SHIPPED,
    State,
    averaged_weights,
    fill,
    kept,
)
from .loop import Recipe, Settings
from .plane_twin import PlaneTwin
from .processes import rank
from .quantized import QuantizedNetwork

PICTURE = 512  # pixels along a side of the pictures that are coded to choose by
AT_ONCE = 12  # crops that are drawn together


@dataclass
class LatentSettings(Settings):
    """Settings of a training on latents; ``start`` is the network that makes them."""

    start: str = SHIPPED
    init: str = ""  # checkpoint of another such run, or integers that ship, to begin with
    lr: float = 3e-3
    crops: int = 600  # pictures whose latents are learned from
    window: int = 16  # latent positions along a side of what a step sees


L = TypeVar("L", bound=LatentSettings)


class OnLatents(Recipe[L]):
    """A context model, on windows of latents."""

    prefix: ClassVar[str] = ""  # of the names of its tensors in what ships

    network: QuantizedNetwork | PlaneTwin

    def begin(self) -> None:
        init = self.config.init
        if init.endswith(CHECKPOINT_SUFFIX):
            fill(self.network, averaged_weights(Path(init)), init)
        elif init:
            tensors = parse_tensors(read(init), init)
            try:
                self.network.restore({k.removeprefix(self.prefix): t for k, t in tensors.items()})
            except (KeyError, RuntimeError):
                raise WeightsError(
                    f"{init}: no weights of such a context model; name one of the same size"
                ) from None

    def optimizers(self) -> list[Optimizer]:
        groups = [{"params": list(self.network.parameters()), "peak": self.config.lr}]
        return [Adam(groups, lr=self.config.lr, betas=(0.9, 0.99), fused=True)]

    def latents(
        self, encode: Callable[[Tensor], Tensor], fingerprint: bytes, every: int
    ) -> tuple[Tensor, Tensor]:
        """Latents (n, C, h, w) of random crops, and of every so many validation images.

        ``encode`` makes them of pixels (n, 3, H, W) in [0, 1] with the weights of this fingerprint.
        They are kept in the folder for when the run goes on.
        """
        config = self.config
        wanted = (config.data, config.val, config.crop, config.crops, config.seed)
        key = f"{fingerprint.hex()} {wanted} {rank()}"

        def made() -> State:
            source = Crops.from_folder(Path(config.data), config.crop, torch.device("cpu"))
            counts = [min(AT_ONCE, config.crops - done) for done in range(0, config.crops, AT_ONCE)]
            train = torch.cat([self._encode(encode, source.draw(count)) for count in counts])
            pictures = validation_crops(Path(config.val), PICTURE, 1)[::every, 0]
            return {"train": train, "val": self._encode(encode, pictures.float() / 255)}

        state = kept(self.folder / f"latents{rank() or ''}.pt", key, made)
        return state["train"], state["val"]

    @torch.inference_mode()
    def _encode(self, encode: Callable[[Tensor], Tensor], pixels: Tensor) -> Tensor:
        found = []
        with self.autocast():
            for part in torch.split(pixels, 4):
                placed = part.to(self.device, memory_format=torch.channels_last)
                found.append(encode(placed).cpu())
        return torch.cat(found)


def windows(latents: Tensor, size: int, count: int) -> Tensor:
    """Random windows (count, C, size, size) of latents (n, C, h, w), as large as there are."""
    size = min(size, *latents.shape[2:])
    which = torch.randint(len(latents), (count,)).tolist()
    top = torch.randint(latents.shape[2] - size + 1, (count,)).tolist()
    left = torch.randint(latents.shape[3] - size + 1, (count,)).tolist()
    return torch.stack(
        [
            latents[i, :, y : y + size, x : x + size]
            for i, y, x in zip(which, top, left, strict=True)
        ]
    )
