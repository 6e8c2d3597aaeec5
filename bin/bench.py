"""Speed of the pipeline, against its networks and other codecs, in one run; see --help."""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from hyperprior import Coded, Hyperprior
from PIL import Image
from torch import Tensor, nn

from nncodec.api import Codec, codec_for
from nncodec.cli.network import keep_memory
from nncodec.evaluate.peers import PEERS, nearest
from nncodec.evaluate.table import Table, aligned
from nncodec.formats.cae import Reader
from nncodec.formats.images import read_image, write_image

Batches = Sequence[tuple[bool, tuple[Any, ...]]]  # of every call: whether in bfloat16; arguments

SAMPLES = Path(__file__).parents[1] / "tests" / "data"
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".ppm")


class Recorder:
    """Takes the place of a network's function, and keeps every batch that goes through it."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        self.function = function
        self.batches: list[tuple[bool, tuple[Any, ...]]] = []

    def __call__(self, *batch: Any) -> Tensor:
        kept = tuple(x.clone() if isinstance(x, Tensor) else x for x in batch)
        self.batches.append((torch.is_autocast_enabled(batch[0].device.type), kept))
        return self.function(*batch)


def compress(codec: Codec, image: Path, file: Path) -> None:
    """Do what ``nncodec compress -e 1`` does with one image, from file to file."""
    effort = 1 if codec.variable else None
    with file.open("wb") as stream:
        stream.write(codec.compress_picture(read_image(image), effort=effort))


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
    """Send the batches through a bare network as they went, and wait for the last result."""
    for quick, batch in batches:
        with torch.autocast(batch[0].device.type, torch.bfloat16, enabled=quick):
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
    return aligned(Table(("direction", "network MP/s", "pipeline MP/s", "ratio"), rows))


@dataclass(frozen=True)
class Rival:
    """Another codec, from image file to file and back."""

    name: str
    encode: Callable[[Path, Path], None]
    decode: Callable[[Path, Path], None]


def avif(images: Sequence[Path], sizes: Sequence[int]) -> Rival:
    """Return AVIF at speed 6, at the quality that comes nearest to a size for each image."""
    peer = PEERS["avif"]
    qualities = {}
    for image, size in zip(images, sizes, strict=True):
        found = nearest([peer], Image.open(image).convert("RGB"), size)
        assert found is not None
        qualities[image] = found[1]

    def encode(image: Path, file: Path) -> None:
        file.write_bytes(peer.encode(Image.open(image).convert("RGB"), qualities[image]))

    def decode(file: Path, image: Path) -> None:
        peer.decode(file.read_bytes()).save(image)

    return Rival("AVIF", encode, decode)


def hyperprior() -> Rival:
    """Return the mean-scale hyperprior; its words stay in memory."""
    codec = Hyperprior()
    coded: dict[Path, Coded] = {}

    def encode(image: Path, file: Path) -> None:
        coded[file] = codec.encode(np.asarray(Image.open(image).convert("RGB")))

    def decode(file: Path, image: Path) -> None:
        Image.fromarray(codec.decode(coded[file])).save(image)

    return Rival("hyperprior", encode, decode)


def comparison(codec: Codec, images: Sequence[Path], repeat: int) -> str:
    """Return the table of the rivals' times, each divided by those of ``codec`` in its round."""
    with tempfile.TemporaryDirectory() as name:
        places = [(Path(name, f"{n}.bin"), Path(name, f"{n}.ppm")) for n in range(len(images))]
        mine = Rival(codec.model, partial(compress, codec), partial(decompress, codec))

        def both(rival: Rival) -> tuple[float, float]:
            spent = [0.0, 0.0]
            for image, (file, decoded) in zip(images, places, strict=True):
                spent[0] += seconds(partial(rival.encode, image, file))
                spent[1] += seconds(partial(rival.decode, file, decoded))
            return spent[0], spent[1]

        both(mine)  # its sizes are AVIF's
        rivals = [mine, avif(images, [file.stat().st_size for file, _ in places]), hyperprior()]
        rounds = []
        for _ in range(repeat):
            both(mine)  # for nothing: after another codec, the first is never the fastest
            rounds.append([both(rival) for rival in rivals])
        rows = []
        for rival, times in zip(rivals, zip(*rounds, strict=True), strict=True):
            ratios = [
                (encode / own[0], encode / own[1], decode / own[1])
                for (encode, decode), (own, *_) in zip(times, rounds, strict=True)
            ]
            best = [f"{min(spent):.3f}" for spent in zip(*times, strict=True)]
            medians = [f"{statistics.median(ratio):.2f}" for ratio in zip(*ratios, strict=True)]
            rows.append((rival.name, *best, *medians))
    ratio_of = ("enc/compress", "enc/decompress", "dec/decompress")
    return aligned(Table(("codec", "encode s", "decode s", *ratio_of), rows))


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
    return aligned(Table(("command", "best s", "median s"), rows))


@click.command()
@click.argument("folder", default=SAMPLES, type=click.Path(exists=True, path_type=Path))
@click.option("-m", "--model", metavar="ID", help="Default: the default model.")
@click.option("--weights", metavar="FILE", help="Use the weights in this .safetensors file.")
@click.option("--device", default="cpu", show_default=True, metavar="DEV")
@click.option("--repeat", default=3, show_default=True, type=click.IntRange(1), metavar="N")
@click.option("--rivals", is_flag=True, help="Compare with AVIF and with a hyperprior codec.")
def bench(
    folder: Path, model: str | None, weights: str | None, device: str, repeat: int, rivals: bool
) -> None:
    """Measure speed on the images in FOLDER; default: the samples of the tests.

    The pipeline goes from image file to .cae file, and back to an image; the network is given the
    same batches from memory. Its speed is that of the best round, the ratio the median over
    the rounds of pipeline to network: 1.00 would be a pipeline that costs nothing. Then the
    whole time of commands that need no network: what it takes to start is in no other figure.

    --rivals runs the whole pipeline in turns with AVIF at speed 6, one thread, files of the same
    size, and with a mean-scale hyperprior (N = 192, M = 320) with random weights. Their times for
    all images are shown as they are, best round, and divided by ours, median: compress and
    decompress are nncodec's, and above 1 it is faster.

    \b
    Example:
      bin/bench photos -m cae_16x16x16_zero_pad_bin
    """
    images = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if not images:
        raise click.UsageError(f"{folder} holds no images")
    keep_memory()  # as the command does
    codec = codec_for(model, device, weights)
    click.echo(
        f"{codec.model}, {len(images)} images, {codec.engine.transform.device}, {repeat} rounds\n"
    )
    click.echo(pipeline(codec, images, repeat) + "\n")
    if rivals:
        click.echo(comparison(codec, images, repeat) + "\n")
    with tempfile.TemporaryDirectory() as name:
        file = Path(name, "sample.cae")
        compress(codec, images[0], file)
        click.echo(start_up(file, max(repeat, 10)))


if __name__ == "__main__":
    bench()
