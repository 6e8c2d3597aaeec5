"""The loop that all training shares: it can stop after any step, and goes on exactly.

A recipe says what is trained, on what, and how that is measured. The rest is the same for all: the
schedule of the learning rates, averaged weights, checkpoints, the log. What is drawn at random in a
step depends on the seed and the number of the step alone, so that no generator need be kept.
"""

import copy
import dataclasses
import math
import time
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from nncodec.formats.errors import NncodecError, WeightsError
from nncodec.models.place import place
from nncodec.transform import quick_in_bf16

from .files import State, append_row, fill, read_state, write_state
from .processes import anywhere, average_gradients, meet, rank, share_weights

CHECKPOINT = "checkpoint.pt"
LOG = "log.csv"

Report = Callable[[int, dict[str, float]], None]


@dataclass
class Settings:
    """What decides a run, whatever its recipe; saved with its checkpoints."""

    model: str  # the id of the model that this is, or belongs to
    data: str  # folder of training images
    val: str  # folder of images for choosing
    start: str = ""  # the weights to begin with
    steps: int = 4_000  # the learning rate's cosine ends here
    crop: int = 192  # pixels along a side of a training crop
    batch: int = 4  # crops a step, on each process
    lr: float = 1e-3  # peak learning rate
    warmup: int = 50  # steps of linear warm-up
    final: float = 0.01  # what is left of the learning rates in the end
    ema: float = 0.998  # decay of the averaged weights, which are what is kept
    clip: float = 1.0  # largest norm of the gradient
    val_every: int = 200  # steps from one validation, and checkpoint, to the next
    seed: int = 0
    bf16: bool = True  # matrix arithmetic in bfloat16, on devices that are quicker in it


S = TypeVar("S", bound=Settings)


class Recipe(ABC, Generic[S]):
    """What is trained, on what, and how that is measured.

    A constructor makes the ``network``, all that is trained, with random weights on the CPU, and
    reads the images.
    """

    settings: ClassVar[type[Settings]]
    judge: ClassVar[str]  # the column of the log that the best weights are told by
    sign: ClassVar[int] = 1  # -1: the smaller the better
    figure: ClassVar[str]  # how that column is written
    output: ClassVar[str] = "weights.safetensors"
    grain: ClassVar[int] = 16  # pixels that the side of a crop is a multiple of

    network: nn.Module

    def __init__(self, config: S, folder: Path, device: torch.device) -> None:
        if config.crop % self.grain:
            raise NncodecError(f"the side of a crop is {config.crop}, no multiple of {self.grain}")
        self.config = config
        self.folder = folder
        self.device = device
        folder.mkdir(parents=True, exist_ok=True)
        seed(config, "start")

    @property
    def fresh(self) -> bool:
        """Whether the run has yet to begin."""
        return not (self.folder / CHECKPOINT).exists()

    def autocast(self) -> torch.autocast:
        """Arithmetic as the settings want it."""
        wanted = self.config.bf16 and quick_in_bf16(self.device)
        return torch.autocast(self.device.type, torch.bfloat16, enabled=wanted)

    @abstractmethod
    def begin(self) -> None:
        """Give the network its first weights."""

    @abstractmethod
    def optimizers(self) -> list[Optimizer]:
        """Of all weights; "peak" is the learning rate of a group, before the schedule."""

    @abstractmethod
    def loss(self, step: int) -> Tensor:
        """The loss of a batch that is drawn now."""

    @abstractmethod
    def validate(self, average: Any) -> dict[str, float]:
        """The figures of the log for a network with averaged weights, or parts of them."""

    @abstractmethod
    def export(self, average: Any, path: Path) -> None:
        """Write what ships."""


def seed(config: Settings, when: int | str) -> None:
    """Let all random numbers from now on depend on the seed, the process and ``when`` alone."""
    torch.manual_seed(zlib.crc32(f"{config.seed} {rank()} {when}".encode()))


def schedule(config: Settings, step: int) -> float:
    """Factor of the learning rates: linear warm-up, then a cosine down to what is left."""
    if step < config.warmup:
        return (step + 1) / config.warmup
    t = min(1.0, (step - config.warmup) / max(1, config.steps - config.warmup))
    return config.final + (1 - config.final) * (1 + math.cos(math.pi * t)) / 2


class Run:
    """A recipe on its way: the network and its average, the optimizers, the step.

    The run that is found in the recipe's folder goes on, else one begins. Raises WeightsError if
    what is found there is of another network.
    """

    def __init__(self, recipe: Recipe[Any]) -> None:
        self.recipe = recipe
        self.config: Settings = recipe.config
        self.network = recipe.network
        self.checkpoint = recipe.folder / CHECKPOINT
        self.step = 0
        self.best = -recipe.sign * math.inf
        self.seconds = 0.0
        state = None if recipe.fresh else read_state(self.checkpoint)
        if state is None:
            recipe.begin()
        place(self.network, recipe.device)
        share_weights(self.network)
        self.average = copy.deepcopy(self.network).eval().requires_grad_(False)
        self.optimizers = recipe.optimizers()
        if state is not None:
            self._load(state)

    def _load(self, state: State) -> None:
        """Take everything from a checkpoint but the settings, which may have changed."""
        name = str(self.checkpoint)
        try:
            fill(self.network, state["model"], name)
            fill(self.average, state["ema"], name)
            for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
                peaks = [group["peak"] for group in optimizer.param_groups]
                optimizer.load_state_dict(saved)
                for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                    group["peak"] = peak
            self.step = state["step"]
            same = state["config"].get("model", self.config.model) == self.config.model
        except (KeyError, ValueError):
            same = False
        if not same:
            raise WeightsError(f"{name}: of another training; choose another folder for this one")
        self.best = state.get("best", self.best)
        self.seconds = state.get("seconds", 0.0)

    def save(self) -> None:
        """Write the checkpoint."""
        state = {
            "config": dataclasses.asdict(self.config),
            "model": self.network.state_dict(),
            "ema": self.average.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "step": self.step,
            "best": self.best,
            "seconds": self.seconds,
        }
        write_state(state, self.checkpoint)

    def update(self) -> float:
        """One step of the optimizers; returns the loss."""
        config = self.config
        seed(config, self.step)
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        loss = self.recipe.loss(self.step)
        loss.backward()  # type: ignore[no-untyped-call]
        average_gradients(self.network)
        nn.utils.clip_grad_norm_(self.network.parameters(), config.clip)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * schedule(config, self.step)
            optimizer.step()
        self.step += 1
        decay = min(config.ema, self.step / (self.step + 10))
        averages = list(self.average.state_dict().values())
        with torch.no_grad():
            torch._foreach_lerp_(averages, list(self.network.state_dict().values()), 1 - decay)
        return float(loss.detach())

    @torch.inference_mode()
    def validate(self) -> dict[str, float]:
        """Measure the averaged weights, and keep them if they are the best."""
        recipe = self.recipe
        seed(self.config, "validation")
        figures = recipe.validate(self.average)
        found = figures[recipe.judge]
        if recipe.sign * (found - self.best) > 0:
            self.best = found
            recipe.export(self.average, recipe.folder / recipe.output)
        return figures

    def train(
        self, report: Report = lambda step, row: None, stop: Callable[[], bool] = lambda: False
    ) -> float:
        """Train to the last step; returns the best figure that was measured.

        Leaves the checkpoint, the log and the averaged weights that measured best in the folder.
        ``report`` gets every step's loss, and after a validation the log's row. ``stop`` is asked
        after every step; a run that was stopped goes on exactly.
        """
        config, began = self.config, time.monotonic() - self.seconds
        losses: list[float] = []
        while self.step < config.steps and not anywhere(stop()):
            losses.append(self.update())
            self.seconds = time.monotonic() - began
            row = {"loss": losses[-1]}
            due = self.step % config.val_every == 0 or self.step == config.steps
            if due and rank() == 0:
                row = {
                    "step": self.step,
                    "loss": sum(losses) / len(losses),
                    **self.validate(),
                    "lr": config.lr * schedule(config, self.step),
                    "seconds": self.seconds,
                }
                losses.clear()
                append_row(self.recipe.folder / LOG, row)
                self.save()
            report(self.step, row)
        if rank() == 0:
            self.save()
        meet()  # nobody reads the checkpoint, or leaves, before it is whole
        return self.best
