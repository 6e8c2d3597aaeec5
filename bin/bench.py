"""Speed of the pipeline around the networks, as ratios measured in one run; see --help."""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import click
import torch
from PIL import Image
from torch import Tensor, nn

from nncodec.api import Codec, codec_for
from nncodec.evaluate.table import aligned
from nncodec.formats.cae import Reader
from nncodec.formats.images import read_image, write_image

Batches = Sequence[tuple[Tensor, ...]]  # the arguments of every call

SAMPLES = Path(__file__).parents[1] / "tests" / "data"
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".ppm")


class Recorder:
    """Takes the place of a network's function, and keeps every batch that goes through it."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        self.function = function
        self.batches: list[tuple[Tensor, ...]] = []

    def __call__(self, *batch: Tensor) -> Tensor:
        self.batches.append(tuple(tensor.clone() for tensor in batch))
        return self.function(*batch)


def compress(codec: Codec, image: Path, file: Path) -> None:
    """Do what ``nncodec compress`` does with one image, from file to file."""
    with file.open("wb") as stream:
        stream.write(codec.compress_picture(read_image(image)))


def decompress(codec: Codec, file: Path, image: Path) -> None:
    """Do what ``nncodec decompress`` does with one file, from file to file."""
    with file.open("rb") as stream:
        picture = codec.decompress_from(Reader(stream))
    with image.open("wb") as stream:
        write_image(picture, stream, "ppm")  # the cost of another format is not the codec's


def halves(codec: Codec) -> list[tuple[nn.Module, str]]:
    """Return where the network's two directions are: a module, and its function's name."""
    network = codec.engine.transform.network
    if codec.variable:
        return [(network.analysis, "forward"), (network.synthesis, "forward")]
    return [(network, "encode"), (network, "decode")]


def record(codec: Codec, images: Sequence[Path], folder: Path) -> tuple[Batches, Batches]:
    """Compress and decompress all images; return the batches that each direction was given."""
    encode, decode = (Recorder(getattr(owner, name)) for owner, name in halves(codec))
    for (owner, name), recorder in zip(halves(codec), (encode, decode), strict=True):
        vars(owner)[name] = recorder  # found before the function itself
    try:
        for number, image in enumerate(images):
            compress(codec, image, folder / f"{number}.cae")
            decompress(codec, folder / f"{number}.cae", folder / f"{number}.ppm")
    finally:
        for owner, name in halves(codec):
            del vars(owner)[name]
    return encode.batches, decode.batches


@torch.inference_mode()
def through(network: Callable[..., Tensor], batches: Batches) -> None:
    """Send the batches through a bare network, and wait for the last result."""
    for batch in batches:
        result = network(*batch)
    result.cpu()


def seconds(action: Callable[[], object]) -> float:
    """Return how long an action takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def pipeline(codec: Codec, images: Sequence[Path], repeat: int) -> str:
    """Return the table of both directions: the network alone, the whole, and the ratio."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        to_bits, to_pixels = record(codec, images, folder)
        files = [(folder / f"{n}.cae", folder / f"{n}.ppm") for n in range(len(images))]
        pixels = sum(Image.open(image).width * Image.open(image).height for image in images)

        def compress_all() -> None:
            for image, (file, _) in zip(images, files, strict=True):
                compress(codec, image, file)

        def decompress_all() -> None:
            for file, image in files:
                decompress(codec, file, image)

        encode, decode = (getattr(owner, name) for owner, name in halves(codec))
        directions = {
            "compress": (lambda: through(encode, to_bits), compress_all),
            "decompress": (lambda: through(decode, to_pixels), decompress_all),
        }
        rows = []
        for direction, (bare, whole) in directions.items():
            # In turns, so that whatever else the machine does meets both alike.
            pairs = [(seconds(bare), seconds(whole)) for _ in range(repeat)]
            alone, together = (min(times) for times in zip(*pairs, strict=True))
            ratio = statistics.median(one / both for one, both in pairs)
            speeds = [f"{pixels / 1e6 / t:.3f}" for t in (alone, together)]
            rows.append((direction, *speeds, f"{ratio:.2f}"))
    return aligned(("direction", "network MP/s", "pipeline MP/s", "ratio"), rows)


def start_up(file: Path, repeat: int) -> str:
    """Return the table of the times that commands without a network take, process and all."""
    program = Path(sys.executable).with_name("nncodec")
    call = [str(program)] if program.exists() else [sys.executable, "-m", "nncodec"]
    rows = []
    for name, arguments in (("nncodec --help", ["--help"]), ("nncodec info", ["info", str(file)])):

        def run(arguments: Sequence[str] = arguments) -> None:
            subprocess.run([*call, *arguments], check=True, capture_output=True)

        run()  # the first start reads everything from the disk
        times = [seconds(run) for _ in range(repeat)]
        rows.append((name, f"{min(times):.3f}", f"{statistics.median(times):.3f}"))
    return aligned(("command", "best s", "median s"), rows)


@click.command()
@click.argument("folder", default=SAMPLES, type=click.Path(exists=True, path_type=Path))
@click.option("-m", "--model", metavar="ID", help="Default: the default model.")
@click.option("--weights", metavar="FILE", help="Use the weights in this .safetensors file.")
@click.option("--device", default="cpu", show_default=True, metavar="DEV")
@click.option("--repeat", default=3, show_default=True, type=click.IntRange(1), metavar="N")
def bench(folder: Path, model: str | None, weights: str | None, device: str, repeat: int) -> None:
    """Measure speed on the images in FOLDER; default: the samples of the tests.

    The pipeline goes from image file to .cae file, and back to an image; the network is given the
    same batches from memory. Its speed is that of the best round, the ratio the median over
    the rounds of pipeline to network: 1.00 would be a pipeline that costs nothing. Then the
    whole time of commands that need no network.

    \b
    Example:
      bin/bench photos -m cae_16x16x16_zero_pad_bin
    """
    images = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if not images:
        raise click.UsageError(f"{folder} holds no images")
    codec = codec_for(model, device, weights)
    click.echo(
        f"{codec.model}, {len(images)} images, {codec.engine.transform.device}, {repeat} rounds\n"
    )
    click.echo(pipeline(codec, images, repeat) + "\n")
    with tempfile.TemporaryDirectory() as name:
        file = Path(name, "sample.cae")
        compress(codec, images[0], file)
        click.echo(start_up(file, max(repeat, 10)))


if __name__ == "__main__":
    bench()
