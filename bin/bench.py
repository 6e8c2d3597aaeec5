"""Speed of the pipeline, against its networks and other codecs, in one run; see --help."""

import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click
import numpy as np
import torch
from hyperprior import Coded, Hyperprior
from PIL import Image
from replay import Tape, play

from nncodec.api import METADATA, Codec
from nncodec.cli.apart import Apart
from nncodec.cli.compress import Encoder
from nncodec.cli.decompress import Decoder
from nncodec.cli.network import Network, keep_memory
from nncodec.cli.operands import Job
from nncodec.cli.rooms import Rooms
from nncodec.cli.worker import Work
from nncodec.evaluate.peers import PEERS, nearest
from nncodec.evaluate.table import Table, aligned
from nncodec.formats.cae import Reader
from nncodec.formats.images import format_of, read_image, write_image
from nncodec.rate import EFFORTS

SAMPLES = Path(__file__).parents[1] / "tests" / "data"
WORKERS = min(2, os.cpu_count() or 1)  # the command's, by default
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".ppm")


def compress(codec: Codec, effort: int | None, image: Path, file: Path) -> None:
    """Do what ``nncodec compress -e EFFORT`` does with one image, from file to file."""
    with file.open("wb") as stream:
        stream.write(codec.compress_picture(read_image(image), effort=effort))


def decompress(codec: Codec, file: Path, image: Path) -> None:
    """Do what ``nncodec decompress`` does with one file, from file to file.

    The image is best one of plain samples: what another format costs is not the codec's.
    """
    with file.open("rb") as stream:
        picture = codec.decompress_from(Reader(stream))
    with image.open("wb") as stream:
        write_image(picture, stream, format_of(image))


def seconds(action: Callable[[], object]) -> float:
    """Return how long an action takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def pipeline(
    codec: Codec,
    network: Network,
    model: str | None,
    images: Sequence[Path],
    effort: int | None,
    repeat: int,
) -> str:
    """Return the table of both directions: the networks alone, the whole, and the ratios."""
    sizes = [math.prod(Image.open(image).size) for image in images]
    encoder = Encoder(network, model, {}, effort, "auto", METADATA, None)
    decoder = Decoder(network, "npy", None, "joint", None, None, False, METADATA, None)
    rows = []
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(WORKERS) as pool:
        files = [Path(name, f"{number}.cae") for number in range(len(images))]
        arrays = [file.with_suffix(".npy") for file in files]
        for direction, work, alone, sources, targets in (
            ("compress", encoder, partial(compress, codec, effort), images, files),
            ("decompress", decoder, partial(decompress, codec), files, arrays),
        ):
            places = [*zip(sources, targets, strict=True)]
            tapes = [recorded(codec, partial(alone, *place)) for place in places]
            transforms = [partial(play, tape.transforms) for tape in tapes]
            networks = [partial(play, tape.transforms + tape.coding) for tape in tapes]
            with closing(Apart(work, WORKERS)) as whole:
                jobs = [partial(do, whole, Job(*place)) for place in places]
                runs = [
                    partial(bare, pool, transforms, sizes),
                    partial(bare, pool, networks, sizes),
                    lambda jobs=jobs: [*pool.map(lambda job: job(), jobs)],
                ]
                runs[-1]()  # for nothing: it starts the processes
                # In turns, so that whatever else the machine does meets all alike.
                rounds = [[*map(seconds, runs)] for _ in range(repeat)]
            speeds = [f"{sum(sizes) / 1e6 / min(times):.3f}" for times in zip(*rounds, strict=True)]
            ratios = [
                statistics.median(spent[number] / spent[2] for spent in rounds) for number in (0, 1)
            ]
            rows.append((direction, *speeds, *(f"{ratio:.2f}" for ratio in ratios)))
    names = "transform MP/s", "networks MP/s", "pipeline MP/s", "of transform", "of networks"
    return aligned(Table(("direction", *names), rows))


def do(work: Work, job: Job) -> None:
    """Do a job as the command does."""
    assert job.target is not None
    with job.target.open("wb") as file:
        work(job, file, lambda part: None)


def bare(pool: Executor, calls: Sequence[Callable[[], None]], sizes: Sequence[int]) -> None:
    """Call what takes pictures of these sizes, as many at once as the command works on."""
    rooms, processors = Rooms(WORKERS), torch.get_num_threads()

    def run(call: Callable[[], None], pixels: int) -> None:
        with rooms.room(pixels) as share:
            torch.set_num_threads(max(1, processors // share))
            call()

    try:
        for _ in pool.map(run, calls, sizes):
            pass
    finally:
        torch.set_num_threads(processors)


def recorded(codec: Codec, task: Callable[[], object]) -> Tape:
    """Return what a task asks of a codec's networks."""
    tape = Tape()
    with tape.recording(codec):
        task()
    return tape


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
        effort = 1 if codec.variable else None
        mine = Rival(codec.model, partial(compress, codec, effort), partial(decompress, codec))

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
@click.option(
    *("-e", "--effort"),
    type=click.IntRange(1, len(EFFORTS)),
    metavar="N",
    help="Of the pipeline's encoder; default: the default effort.",
)
@click.option("--repeat", default=3, show_default=True, type=click.IntRange(1), metavar="N")
@click.option("--rivals", is_flag=True, help="Compare with AVIF and with a hyperprior codec.")
def bench(
    folder: Path,
    model: str | None,
    weights: str | None,
    device: str,
    effort: int | None,
    repeat: int,
    rivals: bool,
) -> None:
    """Measure speed on the images in FOLDER; default: the samples of the tests.

    The pipeline goes from image file to .cae file, and back to an array in a file, as many at once
    as the command works on, in processes of their own. The networks are given the same from memory,
    as many at once, in threads: the transform alone, or also the network that the chances of its
    bits come from. Speeds are those of the best round, ratios the medians over the rounds: 1.00
    would be a pipeline that costs nothing. Then the whole time of commands that need no network:
    what it takes to start is in no other figure.

    --rivals compares the whole, one picture at a time and at effort 1, in turns with AVIF at speed
    6, one thread, files of the same size, and with a mean-scale hyperprior (N = 192, M = 320) with
    random weights. Their times for all images are shown as they are, best round, and divided by
    ours, median: compress and decompress are nncodec's, and above 1 it is faster.

    \b
    Example:
      bin/bench photos -m cae_16x16x16_zero_pad_bin
    """
    images = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if not images:
        raise click.UsageError(f"{folder} holds no images")
    codec = Codec(model, device, weights=weights)
    if effort and not codec.variable:
        raise click.UsageError(f"{codec.model} has one effort; leave out --effort")
    keep_memory()  # as the command does
    device = str(codec.engine.transform.device)
    click.echo(f"{codec.model}, {len(images)} images, {device}, {repeat} rounds\n")
    click.echo(
        pipeline(codec, Network(device, None, weights), model, images, effort, repeat) + "\n"
    )
    if rivals:
        click.echo(comparison(codec, images, repeat) + "\n")
    with tempfile.TemporaryDirectory() as name:
        file = Path(name, "sample.cae")
        compress(codec, None, images[0], file)
        click.echo(start_up(file, max(repeat, 10)))


if __name__ == "__main__":
    bench()
