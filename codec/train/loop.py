"""Training of a fixed-rate CAE: one loop, resumable at any step."""

import csv
import dataclasses
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, nn

from nncodec.checkpoint import load_model, save_weights
from nncodec.models.cae import SPECS, Cae

from .data import Crops, validation_crops
from .muon import Muon
from .start import closed_form_start

MARGIN = 16  # pixels along the border of a crop that its padding spoils
START_CROPS = 150  # that the closed-form start is fitted on


@dataclass
class Config:
    """Everything that decides a run; saved with its checkpoints."""

    model: str  # an id of nncodec.models.cae.SPECS
    data: str  # folder of training images
    val: str  # folder of images for choosing
    start: str = "closed-form"  # or "random", or a safetensors file with weights to go on from
    steps: int = 4_000  # the learning rate's cosine ends here
    crop: int = 192  # pixels along a side of a training crop, a multiple of 16
    batch: int = 2  # crops a step, on each process
    lr: float = 1e-3  # peak learning rate of the filters (Muon)
    lr_bias: float = 2e-4  # peak learning rate of the biases (Adam)
    lr_encoder: float = 0.1  # the encoder's rates, relative to the decoder's
    frozen: float = 0.25  # fraction of the steps in which the encoder keeps its start
    warmup: int = 50  # steps of linear warm-up
    noise: float = 0.2  # width of the binarization noise at the start ...
    noise_end: float = 0.4  # ... from this fraction of the steps on there is none
    floor: float = 1e-3  # squared error below which a crop no longer weighs more
    ema: float = 0.998  # decay of the averaged weights, which are what is kept
    clip: float = 1.0  # largest norm of the gradient
    val_every: int = 200
    val_crops: int = 3  # crops of each validation image
    seed: int = 0
    bf16: bool = True  # matrix arithmetic in bfloat16


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
    mse = squared_error(output, crops)
    return torch.log(mse + floor).mean()


def schedule(config: Config, step: int) -> float:
    """Factor of the learning rates: linear warm-up, then a cosine down to 1 %."""
    if step < config.warmup:
        return (step + 1) / config.warmup
    t = min(1.0, (step - config.warmup) / max(1, config.steps - config.warmup))
    return 0.01 + 0.99 * (1 + math.cos(math.pi * t)) / 2


def noise_width(config: Config, step: int) -> float:
    """Noise falls linearly, so that the decoder ends on the bits that inference will give it."""
    end = config.noise_end * config.steps
    return config.noise * max(0.0, 1 - step / end) if end > 0 else 0.0


def average_gradients(model: nn.Module) -> None:
    """Over all processes, if there are several."""
    if distributed.is_initialized():
        for parameter in model.parameters():
            if parameter.grad is not None:
                distributed.all_reduce(parameter.grad)
                parameter.grad /= distributed.get_world_size()


class Trainer:
    """The state of a run: model, averaged weights, optimizer, step and random generators."""

    def __init__(self, config: Config, device: torch.device) -> None:
        self.config = config
        self.device = device
        self.rank = int(os.environ.get("RANK", "0"))
        torch.manual_seed(config.seed)
        self.generator = torch.Generator().manual_seed(config.seed + self.rank)
        self.model = Cae(SPECS[config.model])
        self.optimizers = self.make_optimizers()
        self.ema: dict[str, Tensor] = {}
        self.step = 0
        self.best = -math.inf

    def make_optimizers(self) -> list[torch.optim.Optimizer]:
        """Muon for the filters, Adam for the biases; the encoder's in a group of their own."""

        def groups(dims: int, lr: float) -> list[dict[str, Any]]:
            named = [(n, p) for n, p in self.model.named_parameters() if p.ndim == dims]
            encoder = [p for n, p in named if n.startswith("e_")]
            decoder = [p for n, p in named if not n.startswith("e_")]
            slow = lr * self.config.lr_encoder
            return [{"params": decoder, "peak": lr}, {"params": encoder, "peak": slow}]

        config = self.config
        return [
            Muon(groups(4, config.lr), lr=config.lr),
            torch.optim.Adam(groups(1, config.lr_bias), betas=(0.9, 0.99)),
        ]

    def begin(self, crops: Crops) -> None:
        """Give the model its first weights."""
        if self.config.start == "closed-form":
            closed_form_start(self.model, crops.draw(START_CROPS, self.generator).cpu())
        elif self.config.start != "random":
            _, network, _ = load_model(self.config.model, self.config.start)
            self.model.load_state_dict(network.state_dict())
        if distributed.is_initialized():
            for tensor in self.model.state_dict().values():
                distributed.broadcast(tensor, 0)
        self.ema = {k: v.clone() for k, v in self.model.state_dict().items()}

    def save(self, path: Path) -> None:
        state = {
            "config": dataclasses.asdict(self.config),
            "model": self.model.state_dict(),
            "ema": self.ema,
            "optimizers": [o.state_dict() for o in self.optimizers],
            "step": self.step,
            "best": self.best,
            "generator": self.generator.get_state(),
            "torch_rng": torch.get_rng_state(),
        }
        partial = path.with_suffix(".part")
        torch.save(state, partial)
        partial.replace(path)

    def load(self, path: Path) -> None:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        self.model.load_state_dict(state["model"])
        self.ema = state["ema"]
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.step, self.best = state["step"], state["best"]
        self.generator.set_state(state["generator"])
        torch.set_rng_state(state["torch_rng"])

    def to_device(self) -> None:
        self.model.place(self.device)
        self.ema = {k: v.to(self.device) for k, v in self.ema.items()}

    def update(self, crops: Tensor) -> float:
        """One step of the optimizers; returns the loss."""
        config = self.config
        frozen = self.step < config.frozen * config.steps
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(not (frozen and name.startswith("e_")))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=config.bf16):
            output = self.model(crops, noise_width(config, self.step))
        loss = psnr_loss(output.float(), crops, config.floor)
        self.model.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        average_gradients(self.model)
        nn.utils.clip_grad_norm_(self.model.parameters(), config.clip)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * schedule(config, self.step)
            optimizer.step()
        self.step += 1
        decay = min(config.ema, self.step / (self.step + 10))
        with torch.no_grad():
            averages = list(self.ema.values())
            torch._foreach_lerp_(averages, list(self.model.state_dict().values()), 1 - decay)
        return float(loss.detach())

    @torch.inference_mode()
    def validate(self, crops: Tensor) -> float:
        """Mean over images of the PSNR (dB) of the averaged weights, in float32.

        ``crops`` is uint8 (images, per image, 3, size, size).
        """
        average = Cae(self.model.spec)
        average.load_state_dict(self.ema)
        average.place(self.device).eval()
        quality = []
        for image in crops:
            x = image.to(self.device).float() / 255
            output = average.decode(average.encode(x))
            error = squared_error(output, x).mean()
            quality.append(-10 * math.log10(float(error)))
        return sum(quality) / len(quality)


def train(
    config: Config,
    folder: Path,
    device: torch.device,
    report: Callable[[int, dict[str, float]], None] = lambda step, row: None,
    stop: Callable[[], bool] = lambda: False,
) -> float:
    """Train, or go on with the run in ``folder``; returns the best validation PSNR in dB.

    Leaves ``checkpoint.pt`` (everything, to resume), ``weights.safetensors`` (the averaged weights
    that measured best) and ``log.csv`` in ``folder``. ``stop`` is asked after every step; a
    stopped run resumes exactly.
    """
    folder.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(config, device)
    crops = Crops.from_folder(Path(config.data), config.crop, device)
    val = validation_crops(Path(config.val), config.crop, config.val_crops)
    checkpoint = folder / "checkpoint.pt"
    if checkpoint.exists():
        trainer.load(checkpoint)
    else:
        trainer.begin(crops)
    trainer.to_device()

    began, seen, total = time.monotonic(), 0, 0.0
    while trainer.step < config.steps and not stop():
        drawn = crops.draw(config.batch, trainer.generator)
        loss = trainer.update(drawn.contiguous(memory_format=torch.channels_last))
        seen, total = seen + 1, total + loss
        row = {"loss": loss}
        if trainer.rank == 0 and trainer.step % config.val_every == 0:
            row = {
                "step": trainer.step,
                "loss": total / seen,
                "val_psnr": trainer.validate(val),
                "noise": noise_width(config, trainer.step),
                "lr": config.lr * schedule(config, trainer.step),
                "seconds": time.monotonic() - began,
            }
            seen, total = 0, 0.0
            append_row(folder / "log.csv", row)
            if row["val_psnr"] > trainer.best:
                trainer.best = row["val_psnr"]
                weights = folder / "weights.safetensors"
                save_weights(trainer.ema, config.model, weights, half=True, force=True)
            trainer.save(checkpoint)
        report(trainer.step, row)
    if trainer.rank == 0:
        trainer.save(checkpoint)
    return trainer.best


def append_row(path: Path, row: dict[str, float]) -> None:
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        if new:
            writer.writeheader()
        writer.writerow({k: round(v, 6) for k, v in row.items()})
