"""Measure codecs on images: real files, what decoding them gives, and the time that both take.

Every codec gets the same pixels, 8 bits a sample, grey or RGB, without alpha and metadata, so that
rates compare. Reading the image and measuring it are not timed.
"""

import math
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, ParamSpec, TypeVar

import numpy as np
from PIL import Image

from nncodec.api import Codec, Seams, codec_for
from nncodec.formats.cae import Header, Reader
from nncodec.formats.images import Picture, from_array, read_image, to_pil
from nncodec.seams import DEFAULT_METHOD, DEFAULT_WINDOW, Borders, Method, Pixels, borders
from nncodec.weights import manifest

from . import metrics
from .peers import Peer

P = ParamSpec("P")
T = TypeVar("T")

PATCH = 128  # of the grid at which seams are looked for where no model says where its are


@dataclass(frozen=True)
class Measurement:
    """One image through one codec at one setting."""

    image: str
    codec: str
    setting: str
    pixels: int
    bytes: int  # of the file
    psnr: float  # dB; inf without any error
    ms_ssim: float  # nan for images that are too small for it
    blockiness: float  # nan for images without borders
    encode_seconds: float
    decode_seconds: float

    @property
    def bpp(self) -> float:
        """Bits per pixel of the original image."""
        return 8 * self.bytes / self.pixels

    def record(self) -> dict[str, Any]:
        """Return the fields and the rate; None for what is not finite: JSON has no word for it."""
        return finite({**asdict(self), "bpp": self.bpp})


@dataclass(frozen=True)
class Mean:
    """The means over the images that one codec coded at one setting."""

    codec: str
    setting: str
    images: int
    bpp: float
    psnr: float
    ms_ssim: float
    blockiness: float
    encode_mps: float  # megapixels per second, over all images
    decode_mps: float

    def record(self) -> dict[str, Any]:
        """Return the fields; None for what is not finite."""
        return finite(asdict(self))


def means(measurements: Sequence[Measurement]) -> list[Mean]:
    """Return the mean over the images for each codec and setting, in order of appearance.

    Images for which a measure is not defined (MS-SSIM of small ones) are left out of its mean.
    """
    groups: dict[tuple[str, str], list[Measurement]] = {}
    for one in measurements:
        groups.setdefault((one.codec, one.setting), []).append(one)
    return [_mean(codec, setting, group) for (codec, setting), group in groups.items()]


def _mean(codec: str, setting: str, group: Sequence[Measurement]) -> Mean:
    megapixels = sum(one.pixels for one in group) / 1e6
    return Mean(
        codec,
        setting,
        len(group),
        statistics.fmean(one.bpp for one in group),
        statistics.fmean(one.psnr for one in group),
        _defined_mean([one.ms_ssim for one in group]),
        _defined_mean([one.blockiness for one in group]),
        megapixels / sum(one.encode_seconds for one in group),
        megapixels / sum(one.decode_seconds for one in group),
    )


def _defined_mean(values: Sequence[float]) -> float:
    defined = [value for value in values if not math.isnan(value)]
    return statistics.fmean(defined) if defined else math.nan


def finite(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields with None in the place of every inf and nan."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in fields.items()
    }


class Decoding(NamedTuple):
    """What is done about the seams between a model's patches when they are decoded."""

    seams: Seams = "joint"
    window: int | None = None  # pixels to smooth; None: the default
    method: Method = DEFAULT_METHOD

    @property
    def label(self) -> str:
        """What a table says of it."""
        window = DEFAULT_WINDOW[self.seams] if self.window is None else self.window
        return f"{self.seams}, {self.method} {window}" if window else self.seams


@dataclass(frozen=True)
class Original:
    """An image as every codec gets it."""

    name: str
    picture: Picture

    @cached_property
    def image(self) -> Image.Image:
        """The image for Pillow, mode L or RGB."""
        return to_pil(self.picture)

    @cached_property
    def pixels(self) -> Pixels:
        """The image for the metrics, (H, W, 3)."""
        return rgb(self.image)


def load(path: Path) -> Original:
    """Read an image; its alpha and metadata are left out. Raises NncodecError."""
    image = to_pil(read_image(path))
    mode = "L" if image.mode.startswith("L") else "RGB"
    return Original(str(path), from_array(np.asarray(image.convert(mode))))


def rgb(image: Image.Image) -> Pixels:
    """Return the pixels of an image as (H, W, 3)."""
    return np.asarray(image.convert("RGB"))


def measure(
    original: Original,
    models: Mapping[str, Codec],
    peers: Sequence[Peer],
    decodings: Sequence[Decoding] = (Decoding(),),
) -> Iterator[Measurement]:
    """Yield the measurements of one image through each codec at each of its settings.

    ``models`` are nncodec's, by the name that the measurements get; each is measured with every
    decoding. Raises NncodecError where a codec fails.
    """
    seams = _even_grid(original.pixels)
    with tempfile.TemporaryDirectory(prefix="nncodec-eval-") as folder:
        file = Path(folder, "image.cae")
        for name, codec in models.items():
            encode_seconds = _timed(_compress, codec, original.picture, file)[0]
            with file.open("rb") as stream:
                seams = _grid(Reader(stream).header)
            for decoding in decodings:
                decode_seconds, picture = _timed(_decompress, codec, file, decoding)
                yield _measurement(
                    original,
                    (name, decoding.label),
                    file.stat().st_size,
                    to_pil(picture),
                    seams,
                    (encode_seconds, decode_seconds),
                )
    for peer in peers:
        for setting in peer.settings:
            encode_seconds, data = _timed(peer.encode, original.image, setting)
            decode_seconds, decoded = _timed(peer.decode, data)
            yield _measurement(
                original,
                (peer.title, peer.label(setting)),
                len(data),
                decoded,
                seams,
                (encode_seconds, decode_seconds),
            )


def load_models(ids: Sequence[str], weights: str | None, device: str) -> dict[str, Codec]:
    """Return the codecs of the models called ``ids``, or of all that are shipped, by their names.

    ``weights`` is a file for the one model that is named, or that the file itself names. Each
    codec has been used once, so that what only the first call costs is not timed.
    """
    names: Sequence[str | None] = ids or ([None] if weights else list(manifest()))
    codecs = [codec_for(name, device, weights) for name in dict.fromkeys(names)]
    for codec in codecs:
        _warm_up(codec)
    return {codec.model: codec for codec in codecs}


def _warm_up(codec: Codec) -> None:
    codec.decompress(codec.compress(np.zeros((PATCH, PATCH, 3), np.uint8)))


def _measurement(
    original: Original,
    what: tuple[str, str],
    size: int,
    decoded: Image.Image,
    seams: tuple[Borders, Borders],
    seconds: tuple[float, float],
) -> Measurement:
    before, after = original.pixels, rgb(decoded)
    return Measurement(
        original.name,
        *what,
        before.shape[0] * before.shape[1],
        size,
        metrics.psnr(before, after),
        metrics.ms_ssim(before, after),
        metrics.blockiness(before, after, *seams),
        *seconds,
    )


def _compress(codec: Codec, picture: Picture, path: Path) -> None:
    with path.open("wb") as file:
        codec.compress_to(picture, file)


def _decompress(codec: Codec, path: Path, decoding: Decoding) -> Picture:
    with path.open("rb") as file:
        return decode(codec, file, decoding)


def decode(codec: Codec, file: BinaryIO, decoding: Decoding) -> Picture:
    """Decompress an open .cae file in the given way."""
    seams, window, method = decoding
    return codec.decompress_from(Reader(file), smooth=window, method=method, seams=seams)


def _grid(header: Header) -> tuple[Borders, Borders]:
    """Return the borders between the rows, and between the columns, of a file's patches."""
    return (
        borders(header.height, header.pad_top, header.patch),
        borders(header.width, header.pad_left, header.patch),
    )


def _even_grid(pixels: Pixels) -> tuple[Borders, Borders]:
    """Return the borders that an image has if it is padded evenly on both sides."""
    height, width = pixels.shape[:2]
    return borders(height, -height % PATCH // 2), borders(width, -width % PATCH // 2)


def _timed(action: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> tuple[float, T]:
    start = time.perf_counter()
    result = action(*args, **kwargs)
    return time.perf_counter() - start, result
