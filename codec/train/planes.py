"""Training of the plane model: the chances of the latent's decisions, at every step size."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from nncodec import weights as shipped
from nncodec.checkpoint import build_transform, parse_tensors, read
from nncodec.entropy.digits import MAX_TOP, Latent, tops_of
from nncodec.entropy.plane_network import (
    LATE,
    PER_OCTAVE,
    PHASES,
    SITUATIONS,
    TENT,
    chequer,
    middle,
    situation,
)
from nncodec.entropy.planes import PlaneModel
from nncodec.formats.errors import WeightsError
from nncodec.models.bitplane import LEVELS, STEP, STRIDE, Bitplane
from nncodec.variable_transform import VariableTransform

from .bitplane import POINTS, TransformRecipe, shipped_transform, starting_weights
from .files import write_weights
from .latents import PICTURE, LatentSettings, OnLatents
from .plane_twin import PlaneTwin
from .pyramid import fitted

BEYOND = 0.2  # how far levels are drawn beyond those that the transform is trained for
SOME = 300  # latents that tell how means of blocks are predicted
LEARNED = (0.0, 0.6, 1.3)  # levels at which they do
AT_ONCE = 50  # latents that are quantised together


@dataclass
class Config(LatentSettings):
    """Everything that decides a run; ``start`` names the transform's weights."""

    steps: int = 6_000
    crop: int = 512
    batch: int = 8
    warmup: int = 100
    val_every: int = 500
    width: int = 64  # channels of the network
    narrow: int = 56  # channels where it looks around
    foretold: int = 32  # channels of the latent, the first ones, whose signs are


class Question(NamedTuple):
    """What is known when half of a plane is coded, what is then asked, and the answers.

    Each may have a leading dimension n. Weighted, a loss is that of all halves of all planes.
    """

    size: Tensor  # (h, w, C)
    sign: Tensor  # (h, w, C)
    done: Tensor  # (h, w, 1)
    after: Tensor  # (h, w, C), the middles with this plane, of which later turns are told
    situation: Tensor  # (S,)
    asked: Tensor  # (3 decisions, h, w, C)
    answer: Tensor  # (3 decisions, h, w, C)
    weight: Tensor  # ()


def question(
    q: Latent, tops: NDArray[np.uint8], step: int, plane: int, phase: int, weight: float = 1.0
) -> Question:
    """The question of one half of a plane of what is coded of a latent (h, w, C)."""
    height, width, _ = q.shape
    latent = torch.from_numpy(q.astype(np.int32))
    size, sign = latent.abs(), latent.sign()
    where = torch.from_numpy(chequer(height, width, phase))[..., None]
    done = ~where if phase else torch.zeros_like(where)
    fine = size >> plane
    known = torch.where(done, fine, size >> (plane + 1))
    active = where & (torch.from_numpy(tops) > plane)
    zero, new = known == 0, (known == 0) & (fine > 0)
    after = middle(fine, sign * (fine > 0), torch.ones_like(done))
    return Question(
        known,
        sign * (known > 0),
        done,
        after if plane < LATE else torch.zeros_like(after),
        situation(step, plane, phase),
        torch.stack([zero & active, new & active, ~zero & active]),
        torch.stack([fine > 0, sign > 0, fine % 2 == 1]),
        torch.tensor(weight),
    )


def step_code(level: float) -> int:
    """The step code that is nearest to a level."""
    return round(PER_OCTAVE * math.log2(STEP * math.exp(level)))


def plane_shares(count: int) -> Tensor:
    """How often each plane is drawn in training, (count,): the last ones hold most of the bits."""
    weights = (0.3 * 0.7 ** torch.arange(count)).clamp_min(0.04)
    return weights / weights.sum()


class PlanesRecipe(OnLatents[Config]):
    """The chances of decisions, on windows of latents, each at a step, plane and phase of its own.

    A run keeps to the transform that it began with, in the form in which that ships.
    """

    settings = Config
    judge, sign, figure = "bpp", -1, "{:.4f} bits per pixel"
    prefix = "planes."

    network: PlaneTwin

    def __init__(self, config: Config, folder: Path, device: torch.device) -> None:
        super().__init__(config, folder, device)
        kept = folder / TransformRecipe.output
        if self.fresh:
            self.shipped = shipped_transform(starting_weights(config.start))
            model = build(self.shipped, config.start)
            write_weights(self.shipped, kept, {"model": config.model})
        else:
            self.shipped = parse_tensors(read(kept), str(kept))
            model = build(self.shipped, str(kept))
        self.transform = VariableTransform(model, device)

        def encode(pixels: Tensor) -> Tensor:
            latent: Tensor = model.analysis(pixels * 255 - 127.5).half()
            return latent

        self.pictures, self.val = self.latents(encode, shipped.fingerprint(read(kept)), every=3)
        some = channels_last(self.pictures[:SOME])
        self.pyramid = fitted(
            [
                self.transform.quantise(some[i :: len(LEARNED)], step_code(level))
                for i, level in enumerate(LEARNED)
            ]
        )
        self.tops = self.top_table()
        channels = self.pictures.shape[1]
        foretold = min(channels, config.foretold)
        self.network = PlaneTwin(channels, config.width, config.narrow, foretold)

    def draw(self) -> Question:
        """A batch of questions, at steps that are spread evenly over the range."""
        config = self.config
        pictures = channels_last(self.pictures[torch.randint(len(self.pictures), (config.batch,))])
        low, high = LEVELS[0] - BEYOND, LEVELS[1] + BEYOND
        unit = (torch.arange(config.batch) + torch.rand(config.batch)) / config.batch
        drawn = []
        for latent, level in zip(pictures, (low + (high - low) * unit).tolist(), strict=True):
            step = step_code(level)
            q = window(self.coded(latent, step), config.window)
            tops = tops_of(np.abs(q).max((0, 1)))
            shares = plane_shares(max(1, int(tops.max())))
            plane, phase = int(torch.multinomial(shares, 1)), int(torch.randint(PHASES, ()))
            weight = PHASES / float(shares[plane])
            drawn.append(question(q, tops, step, plane, phase, weight))
        return Question(*(torch.stack(column) for column in zip(*drawn, strict=True)))

    def coded(self, latents: NDArray[np.float32], step: int) -> Latent:
        """What is coded of latents (..., h, w, C), quantised with a step code."""
        return self.pyramid.predicted(self.transform.quantise(latents, step))

    def loss(self, step: int) -> Tensor:
        """Mean bits per pixel."""
        batch = self.draw()
        with self.autocast():
            logits = self.network(batch.size, batch.sign, batch.done, batch.after, batch.situation)
        asked, answer, weight = (
            x.to(self.device) for x in (batch.asked, batch.answer, batch.weight)
        )
        wanted = answer.permute(0, 1, 4, 2, 3)
        bits = F.softplus(torch.where(wanted, -logits, logits)) / math.log(2)
        total = (bits * asked.permute(0, 1, 4, 2, 3)).sum((1, 2, 3, 4))
        pixels = bits[0, 0, 0].numel() * STRIDE**2
        return (total * weight / pixels).mean()

    def validate(self, average: PlaneTwin) -> dict[str, float]:
        """Bits per pixel of pictures that are really coded, at four levels and their mean."""
        model = PlaneModel(self.exported(average), average.channels)
        rates = {}
        for i, level in enumerate(POINTS):
            step = step_code(level)
            size = 0
            for latent in channels_last(self.val):
                q = self.transform.quantise(latent, step)
                size += sum(map(len, model.encode(q, step, 1)))
            rates[f"bpp{i}"] = 8 * size / (len(self.val) * PICTURE**2)
        return {"bpp": sum(rates.values()) / len(rates), **rates}

    def export(self, average: PlaneTwin, path: Path) -> None:
        planes = {self.prefix + key: tensor for key, tensor in self.exported(average).items()}
        write_weights({**self.shipped, **planes}, path, {"model": self.config.model})

    def exported(self, network: PlaneTwin) -> dict[str, Tensor]:
        """The tensors of a plane model."""
        return {**network.export(), "tops": self.tops, **self.pyramid.tensors()}

    def top_table(self) -> Tensor:
        """Chances (points, C, MAX_TOP) out of 2^16 that a top plane is above 0, 1, ..."""
        channels = self.pictures.shape[1]
        table = torch.full((SITUATIONS, channels, MAX_TOP), 2**15, dtype=torch.float64)
        first, last = (step_code(level) // TENT for level in LEVELS)
        for point in range(first, last + 1):
            coded = (
                self.coded(channels_last(some), point * TENT + TENT // 2)
                for some in torch.split(self.pictures, AT_ONCE)
            )
            tops = torch.from_numpy(np.concatenate([tops_of(np.abs(q).max((1, 2))) for q in coded]))
            for plane in range(MAX_TOP):
                reached = (tops >= plane).sum(0).double()
                above = (tops > plane).sum(0).double()
                table[point, :, plane] = (above + 0.5) / (reached + 1) * 2**16
        table[:first] = table[first]
        table[last + 1 :] = table[last]
        return table.round().clamp(64, 2**16 - 64).to(torch.uint16)


def window(latent: Latent, size: int) -> Latent:
    """A random window (size, size, C) of a latent (h, w, C), or as large as there is.

    Its corner has the first colour of the checkerboard, as that of the whole.
    """
    top, left = (
        int(torch.randint(max(side - size, 0) // 2 + 1, ())) * 2 for side in latent.shape[:2]
    )
    return latent[top : top + size, left : left + size]


def channels_last(latents: Tensor) -> NDArray[np.float32]:
    """Latents (n, C, h, w) as arrays (n, h, w, C)."""
    arrays: NDArray[np.float32] = latents.float().permute(0, 2, 3, 1).numpy()
    return arrays


def build(tensors: Mapping[str, Tensor], name: str) -> Bitplane:
    """The transform that ships with these tensors of the file ``name``, of any size."""
    state = {key.removeprefix("transform."): tensor for key, tensor in tensors.items()}
    if "analysis.down.bias" not in state:
        raise WeightsError(f"{name}: there is no transform in this file")
    return build_transform(state, name)
