"""``nncodec train``: weights for one of the networks, from a folder of photographs."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from .errors import INTERRUPTED, complain
from .options import ModelId, device_option, no_progress_option

FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command()
@click.argument("model", type=ModelId(), metavar="MODEL")
@click.option("--data", type=FOLDER, required=True, help="Photographs to train on.")
@click.option("--val", type=FOLDER, required=True, help="Photographs to choose the weights by.")
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Folder of the run; a run that is found there goes on.",
)
@click.option(
    "--start",
    default="closed-form",
    show_default=True,
    metavar="HOW",
    help="closed-form, random, or a .safetensors file to go on from.",
)
@click.option("--steps", type=click.IntRange(min=1), help="Length of the learning rate's schedule.")
@click.option("--crop", type=click.IntRange(min=96), help="Pixels along a side of a crop.")
@click.option("--batch", type=click.IntRange(min=1), help="Crops a step.")
@click.option("--lr", type=click.FloatRange(min=0, min_open=True), help="Peak learning rate.")
@click.option(
    "--lr-encoder",
    type=click.FloatRange(min=0),
    help="The encoder's learning rate, relative to the decoder's.",
)
@click.option(
    "--frozen",
    type=click.FloatRange(0, 1),
    help="Part of the steps in which the encoder stays as it starts.",
)
@click.option(
    "--floor",
    type=click.FloatRange(min=0, min_open=True),
    help="Squared error (of 1) below which a crop no longer weighs more.",
)
@click.option("--noise", type=click.FloatRange(0, 1), help="Width of the binarization's noise.")
@click.option(
    "--noise-end", type=click.FloatRange(0, 1), help="Part of the steps after which it is gone."
)
@click.option("--val-every", type=click.IntRange(min=1), help="Steps between validations.")
@click.option("--seed", type=int, help="Seed of weights, crops and noise.")
@click.option("--threads", type=click.IntRange(min=1), help="Threads on a CPU.")
@device_option
@no_progress_option
@click.pass_context
def train(
    ctx: click.Context,
    /,
    model: str,
    data: Path,
    val: Path,
    output: Path,
    device: str,
    threads: int | None,
    no_progress: bool,
    **settings: Any,
) -> None:
    """Train the network of MODEL on a folder of photographs.

    The folder of the run gets checkpoint.pt, log.csv and weights.safetensors, which --weights of
    the other commands takes. Interrupted (Ctrl-C, or SIGTERM), the run is saved and goes on when it
    is started again. Under torchrun, several GPUs share each step.

    \b
    Example:
      nncodec train cae_16x16x16_zero_pad_bin --data photos/train --val photos/val -o run
      nncodec compress photo.png --weights run/weights.safetensors
    """
    import torch

    from nncodec.models.cae import SPECS
    from nncodec.train.loop import Config
    from nncodec.train.loop import train as run
    from nncodec.transform import pick_device

    if model not in SPECS:
        raise click.UsageError(f"no network {model!r}; known are {', '.join(SPECS)}")
    if threads:
        torch.set_num_threads(threads)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        torch.distributed.init_process_group()
        device = f"cuda:{os.environ['LOCAL_RANK']}" if torch.cuda.is_available() else "cpu"
    given = {name: value for name, value in settings.items() if value is not None}
    config = Config(model=model, data=str(data), val=str(val), **given)

    stopped = False

    def stop(number: int, frame: object) -> None:
        nonlocal stopped
        stopped = True

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    bar = click.progressbar(
        length=config.steps,
        label=model,
        file=sys.stderr,
        hidden=no_progress or not sys.stderr.isatty(),
        show_pos=True,
    )
    with bar:
        best = run(config, output, pick_device(device), reporter(bar), lambda: stopped)
    if stopped:
        complain(f"interrupted; the same command goes on from {output / 'checkpoint.pt'}")
        ctx.exit(INTERRUPTED)
    click.echo(f"{output / 'weights.safetensors'}: {best:.2f} dB on {val}")


def reporter(bar: Any) -> Callable[[int, dict[str, float]], None]:
    """What moves the bar, and writes a line for every validation."""

    def report(step: int, row: dict[str, float]) -> None:
        bar.update(step - bar.pos)
        if "val_psnr" in row:
            line = f"step {step}  loss {row['loss']:.4f}  validation {row['val_psnr']:.3f} dB"
            click.echo(("\r" if not bar.hidden else "") + line, err=True)

    return report
