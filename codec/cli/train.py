"""``nncodec train``: a network, or the context model of what it makes, from photographs."""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from nncodec.formats.errors import UnknownModel

from .errors import INTERRUPTED, complain
from .network import keep_memory
from .options import ModelId, device_option, no_progress_option, together

FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
COUNT = click.IntRange(min=1)
RATE = click.FloatRange(min=0, min_open=True)
SHARE = click.FloatRange(0, 1)

OTHERS = ("step", "lr", "seconds")  # columns of the log that are no figures


def setting(name: str, kind: click.ParamType[Any], help: str, metavar: str = "N") -> Any:
    """An option for a field of the recipes' settings."""
    return click.option(name, type=kind, metavar=metavar, help=help)


settings_options = together(
    [
        setting(
            "--start",
            click.STRING,
            "closed-form (the default), random, shipped, or a .safetensors file or checkpoint.pt to"
            " go on from. With --context: the weights of the network, by default shipped.",
            "HOW",
        ),
        setting(
            "--init",
            click.STRING,
            "With --context: what to begin with, the checkpoint.pt of another such run, or a"
            " .safetensors file.",
            "FILE",
        ),
        setting("--steps", COUNT, "Length of the learning rate's schedule."),
        setting("--warmup", click.IntRange(min=0), "Steps in which the learning rate rises."),
        setting("--crop", click.IntRange(min=96), "Pixels along a side of a crop."),
        setting("--batch", COUNT, "Crops or windows a step."),
        setting("--lr", RATE, "Peak learning rate.", "X"),
        setting(
            "--lr-encoder",
            click.FloatRange(min=0),
            "CAE: the encoder's learning rate, relative to the decoder's.",
            "X",
        ),
        setting(
            "--frozen",
            SHARE,
            "Part of the steps in which the encoder of a CAE stays, or the transform, whose start"
            " may be without a network for the rate.",
            "X",
        ),
        setting(
            "--floor", RATE, "CAE: squared error (of 1) below which a crop weighs no more.", "X"
        ),
        setting("--noise", SHARE, "CAE: width of the binarization's noise.", "X"),
        setting("--noise-end", SHARE, "CAE: part of the steps after which it is gone.", "X"),
        setting("--blocks", COUNT, "Variable rate: blocks of the analysis."),
        setting("--synthesis-blocks", COUNT, "Variable rate: blocks of the synthesis."),
        setting("--channels", COUNT, "Variable rate: channels of the latent."),
        click.option(
            "--quick",
            is_flag=True,
            default=None,
            help="Variable rate: train only the analysis of --effort 1; --start is the transform's"
            " checkpoint.pt, or shipped.",
        ),
        click.option(
            "--synthesis",
            is_flag=True,
            default=None,
            help="Variable rate: train only the synthesis, which may have fewer blocks than that of"
            " --start, the transform's checkpoint.pt.",
        ),
        setting("--lr-linear", RATE, "Variable rate: of the layers that carry the picture.", "X"),
        setting("--lr-proxy", RATE, "Variable rate: of the network that stands for the rate.", "X"),
        setting("--crops", COUNT, "Context, filter, ways: crops that are coded to learn from."),
        setting("--rounds", click.IntRange(min=0), "Filter: rounds of refining their latents."),
        setting("--window", COUNT, "Context: latent positions along a side of a window."),
        setting("--groups", COUNT, "Context of a CAE: groups of channels, coded one by one."),
        setting("--look", COUNT, "Context of a CAE: positions along a side that it sees first."),
        setting("--width", COUNT, "Context: channels of the network."),
        setting("--narrow", COUNT, "Context, variable rate: channels where it looks around."),
        setting("--foretold", COUNT, "Context, variable rate: channels whose signs it foretells."),
        setting("--val-every", COUNT, "Steps from one validation, and checkpoint, to the next."),
        setting("--seed", click.INT, "Seed of weights, crops and noise."),
    ]
)


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
@click.option("--context", is_flag=True, help="Train the context model of what MODEL makes.")
@click.option(
    "--filter",
    "finish",
    flag_value="filter",
    help="Variable rate: train the filter of decoded pixels. --start is all else, a .safetensors"
    " file or shipped.",
)
@click.option(
    "--ways",
    "finish",
    flag_value="ways",
    help="Variable rate: train the ways in which that filter may vary from picture to picture.",
)
@settings_options
@click.option("--threads", type=COUNT, metavar="N", help="Threads on a CPU.")
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
    context: bool,
    finish: str | None,
    device: str,
    threads: int | None,
    no_progress: bool,
    **settings: Any,
) -> None:
    """Train the network of MODEL on a folder of photographs.

    The folder of the run gets checkpoint.pt, log.csv and weights.safetensors, which --weights of
    the other commands takes. Interrupted (Ctrl-C, or SIGTERM), the run is saved and goes on when it
    is started again. Under torchrun, several GPUs share each step. Options that do not concern what
    is trained are refused.

    With --context, a network is trained that predicts the bits of a CAE: what --entropy context
    codes with. The variable-rate model, bitplane_256, takes five stages: the first leaves its
    transform in checkpoint.pt, the second, with --quick, adds the analysis of --effort 1, the
    third, with --context, makes all of it one weights.safetensors, the fourth, with --filter,
    teaches that to filter what it decodes, and the fifth, with --ways, to do so in a way of its own
    for each picture.

    \b
    Example:
      nncodec train cae_16x16x16_zero_pad_bin --data photos/train --val photos/val -o run
      nncodec compress photo.png --weights run/weights.safetensors
      nncodec train cae_16x16x16_zero_pad_bin --context --data photos/train --val photos/val -o bits
      nncodec train bitplane_256 --data photos/train --val photos/val -o one
      nncodec train bitplane_256 --quick --start one/checkpoint.pt \\
          --data photos/train --val photos/val -o two
      nncodec train bitplane_256 --context --start two/checkpoint.pt \\
          --data photos/train --val photos/val -o three
      nncodec train bitplane_256 --filter --start three/weights.safetensors \\
          --data photos/train --val photos/val -o four
      nncodec train bitplane_256 --ways --start four/weights.safetensors \\
          --data photos/train --val photos/val -o five
    """
    import torch

    from nncodec.train.loop import Run
    from nncodec.train.processes import rank
    from nncodec.train.recipes import recipe_for
    from nncodec.transform import pick_device

    try:
        recipe = recipe_for(model, context, finish)
    except UnknownModel as error:
        raise click.UsageError(str(error)) from None
    given = {name: value for name, value in settings.items() if value is not None}
    for name in given.keys() - {field.name for field in dataclasses.fields(recipe.settings)}:
        option = "--" + name.replace("_", "-")
        how = f"with --{finish}" if finish else f"{'with' if context else 'without'} --context"
        raise click.UsageError(f"{option} has no meaning for {model} {how}")
    config = recipe.settings(model, str(data), str(val), **given)
    keep_memory()
    if threads:
        torch.set_num_threads(threads)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        torch.distributed.init_process_group()
        device = f"cuda:{os.environ['LOCAL_RANK']}" if torch.cuda.is_available() else "cpu"

    run = Run(recipe(config, output, pick_device(device)))
    first = rank() == 0
    with progress(config.steps, model, no_progress or not first) as bar, until_told() as told:
        best = run.train(reporter(bar), told)
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    if run.step < config.steps:
        complain(f"interrupted; the same command goes on from {run.checkpoint}")
        ctx.exit(INTERRUPTED)
    if first:
        click.echo(f"{output / recipe.output}: {recipe.figure.format(best)} on {val}")


@contextmanager
def until_told() -> Iterator[Callable[[], bool]]:
    """What tells whether the process has been interrupted, or told to end."""
    heard: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [
        signal.signal(number, lambda number, frame: heard.append(number)) for number in numbers
    ]
    try:
        yield lambda: bool(heard)
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def progress(steps: int, label: str, hidden: bool) -> Any:
    """A bar on the terminal's standard error."""
    return click.progressbar(
        length=steps,
        label=label,
        file=sys.stderr,
        hidden=hidden or not sys.stderr.isatty(),
        show_pos=True,
    )


def reporter(bar: Any) -> Callable[[int, dict[str, float]], None]:
    """What moves the bar, and writes a line for every validation."""

    def report(step: int, row: dict[str, float]) -> None:
        bar.update(step - bar.pos)
        if "step" in row:
            figures = [f"{name} {value:.4f}" for name, value in row.items() if name not in OTHERS]
            line = "  ".join([f"step {step}", *figures])
            click.echo(("\r" if not bar.hidden else "") + line, err=True)

    return report
