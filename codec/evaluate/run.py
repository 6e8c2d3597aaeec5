"""Measure codecs on images: real files, what decoding them gives, and the time that both take.

Every codec gets the same pixels, 8 bits a sample, grey or RGB, without alpha and metadata, so that
rates compare. Reading the image and measuring it are not timed.
"""

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, NamedTuple, ParamSpec, TypeVar

import numpy as np
from PIL import Image

from nncodec.api import Codec, codec_for
from nncodec.fixed import Seams
from nncodec.formats.bits import Entropy
from nncodec.formats.cae import Header, Reader
from nncodec.formats.images import Picture, from_array, read_image, to_pil
from nncodec.rate import Target
from nncodec.seams import DEFAULT_METHOD, DEFAULT_WINDOW, Borders, Method, Pixels, borders
from nncodec.weights import manifest

from . import metrics
from .measurement import Measurement
from .peers import Peer

P = ParamSpec("P")
T = TypeVar("T")

QUALITIES = (0, 10, 20, 30, 40, 50, 60, 70, 80, 90)  # of variable-rate models
PATCH = 128  # of the grid at which seams are looked for where no model says where its are


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


class Setting(NamedTuple):
    """What a model is told to do: the quality (of a variable-rate one), coding and decodings."""

    target: Target
    coding: Entropy
    decodings: Sequence[Decoding]
    effort: int | None = None  # None: the default, and all that a model of fixed rate has

    def label(self, decoding: Decoding) -> str:
        """What a table says of it."""
        words = [f"q {self.target.quality:g}"] if self.target.quality is not None else []
        words += [f"e {self.effort}"] if self.effort is not None else []
        words += [decoding.label] if self.target.quality is None else []
        return ", ".join(words + ([self.coding] if self.coding != "auto" else []))


def settings(
    codec: Codec,
    decodings: Sequence[Decoding] = (Decoding(),),
    codings: Sequence[Entropy] = ("auto",),
    qualities: Sequence[float] = QUALITIES,
    effort: int | None = None,
) -> list[Setting]:
    """Return the settings at which a model is measured.

    One of fixed rate is measured with every coding of its bits and every decoding, one of variable
    rate at every quality.
    """
    if codec.variable:
        return [Setting(Target(quality=q), "auto", [Decoding()], effort) for q in qualities]
    return [Setting(Target(), coding, decodings) for coding in codings]


def measure(
    original: Original, models: Mapping[str, tuple[Codec, Sequence[Setting]]], peers: Sequence[Peer]
) -> Iterator[Measurement]:
    """Yield the measurements of one image through each codec at each of its settings.

    ``models`` are nncodec's, by the name that the measurements get. Raises NncodecError where a
    codec fails.
    """
    seams = _even_grid(original.pixels)
    with tempfile.TemporaryDirectory(prefix="nncodec-eval-") as folder:
        file = Path(folder, "image.cae")
        work = ((name, codec, one) for name, (codec, many) in models.items() for one in many)
        for name, codec, setting in work:
            encode_seconds = _timed(_compress, codec, original.picture, file, setting)[0]
            with file.open("rb") as stream:
                seams = _grid(Reader(stream).header)
            for decoding in setting.decodings:
                decode_seconds, picture = _timed(_decompress, codec, file, decoding)
                yield _measurement(
                    original,
                    (name, setting.label(decoding)),
                    file.stat().st_size,
                    to_pil(picture),
                    seams,
                    (encode_seconds, decode_seconds),
                )
    for peer in peers:
        for level in peer.settings:
            encode_seconds, data = _timed(peer.encode, original.image, level)
            decode_seconds, decoded = _timed(peer.decode, data)
            yield _measurement(
                original,
                (peer.title, peer.label(level)),
                len(data),
                decoded,
                seams,
                (encode_seconds, decode_seconds),
            )


def load_models(
    ids: Sequence[str], weights: str | None, device: str, codings: Sequence[Entropy] = ("auto",)
) -> dict[str, Codec]:
    """Return the codecs of the models called ``ids``, or of all that are shipped, by their names.

    ``weights`` is a file for the one model that is named, or that the file itself names. Each
    codec has been used once with each of ``codings``, so that what only the first call costs is
    not timed. Raises NncodecError if a model or coding is not there.
    """
    names: Sequence[str | None] = ids or ([None] if weights else list(manifest()))
    codecs = [codec_for(name, device, weights) for name in dict.fromkeys(names)]
    blank = np.zeros((PATCH, PATCH, 3), np.uint8)
    for codec in codecs:
        for coding in ("auto",) if codec.variable else codings:
            codec.decompress(codec.compress(blank, entropy=coding))
    return {codec.model: codec for codec in codecs}


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


def compressed(codec: Codec, picture: Picture, setting: Setting) -> bytes:
    """Compress a picture in the given way."""
    return codec.compress_picture(
        picture, setting.target, effort=setting.effort, entropy=setting.coding
    )


def _compress(codec: Codec, picture: Picture, path: Path, setting: Setting) -> None:
    path.write_bytes(compressed(codec, picture, setting))


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
