"""``nncodec models``: the models that ship, and checkpoints from elsewhere."""

import json
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import Any

import click

from nncodec.weights import Entry

from .errors import complain
from .options import ModelId, json_option


@click.group(invoke_without_command=True)
@click.pass_context
def models(ctx: click.Context) -> None:
    """List the models, or convert a checkpoint to one.

    \b
    Example:
      nncodec models
      nncodec models show cae_16x16x16_zero_pad_bin
      nncodec models import model.pth --as cae_32x32x32_zero_pad_bin -o mine.safetensors
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_models, as_json=False)


@models.command("list")
@json_option
def list_models(as_json: bool) -> None:
    """List the models that ship, with what they measure on the 24 Kodak images.

    \b
    Example:
      nncodec models list --json
    """
    from nncodec.weights import default_model, manifest

    if as_json:
        for entry in manifest().values():
            click.echo(json.dumps(record(entry)))
        return
    rows = [("", "MODEL", "LATENT", "BPP", "PSNR", "MS-SSIM")]
    for entry in manifest().values():
        mark = "*" if entry.id == default_model() else ""
        latent = f"{entry.channels} x {entry.side} x {entry.side}"
        rows.append((mark, entry.id, latent, *figures(entry)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())
    click.echo("* used when -m names none; of a variable rate: figures at quality 60")


@models.command()
@click.argument("model", type=ModelId(), metavar="ID")
@json_option
def show(model: str, as_json: bool) -> None:
    """Show all that is known of a model: weights, figures, training.

    \b
    Example:
      nncodec models show cae_16x16x16_zero_pad_bin
    """
    from nncodec.weights import entry

    known = record(entry(model))
    if as_json:
        click.echo(json.dumps(known))
        return
    for name, value in known.items():
        if isinstance(value, dict):
            click.echo(f"{name}:")
            for key, item in value.items():
                click.echo(f"  {key}: {item}")
        else:
            click.echo(f"{name}: {value}")


@models.command()
@click.argument("model", type=ModelId(), metavar="ID")
def path(model: str) -> None:
    """Print where the weights of a model are.

    \b
    Example:
      cp "$(nncodec models path cae_16x16x16_zero_pad_bin)" .
    """
    from nncodec import weights

    click.echo(str(resources.files(weights).joinpath(weights.entry(model).file)))


@models.command("import")
@click.argument("checkpoint", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--as", "model", type=ModelId(), required=True, metavar="ID", help="The model that it is of."
)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    metavar="FILE",
    help="The .safetensors file to write.",
)
@click.option("-f", "--force", is_flag=True, help="Overwrite.")
def import_(checkpoint: Path, model: str, output: Path, force: bool) -> None:
    """Convert a PyTorch state dict to weights for --weights.

    Files made with these weights can be decompressed with them only.

    \b
    Example:
      nncodec models import model.pth --as cae_32x32x32_zero_pad_bin -o mine.safetensors
      nncodec compress photo.png --weights mine.safetensors
    """
    from nncodec.formats.files import check_output

    check_output(output, force=force, source=checkpoint)
    from nncodec.checkpoint import import_checkpoint

    import_checkpoint(checkpoint, model, output)
    complain(f"{output}: weights for {model}")


def record(entry: Entry) -> dict[str, Any]:
    """Return an entry of the manifest as ``--json`` writes it."""
    from nncodec.weights import default_model

    known = asdict(entry) | {"fingerprint": entry.fingerprint.hex()}
    return known | {"default": entry.id == default_model()}


def figures(entry: Entry) -> tuple[str, str, str]:
    """Return rate, PSNR and MS-SSIM on the Kodak images, as far as measured."""
    forms = {"bpp": ".4f", "psnr": ".2f", "ms_ssim": ".4f"}
    known = entry.kodak
    bpp, psnr, ms_ssim = (format(known[k], f) if k in known else "-" for k, f in forms.items())
    return bpp, psnr, ms_ssim
