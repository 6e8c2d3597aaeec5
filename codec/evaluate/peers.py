"""The codecs that nncodec is compared with, each over its own range of quality, through Pillow.

Every one is set to do its best at the PSNR that it can reach in reasonable time, not to a default
that happens to suit us: JPEG with optimised Huffman tables and progressive scans, JPEG 2000 with
its colour transform on (``mct=1``; without it, it loses 2 to 5 dB), AVIF tuned for PSNR without
chroma subsampling. One thread for AVIF: its bytes depend on the number.
"""

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from PIL import Image, features

from nncodec.formats.errors import NncodecError


@dataclass(frozen=True)
class Peer:
    """A codec of Pillow's, and the settings that span its range from coarse to fine."""

    name: str
    title: str
    format: str  # as Pillow calls it
    feature: str | None  # what Pillow must have been built with; None if a plugin brings the codec
    unit: str  # of the settings: "q{}" or "{} bpp"
    settings: tuple[float, ...]
    options: Callable[[float, bool], dict[str, Any]]  # of a setting, and whether there is colour

    def label(self, setting: float) -> str:
        """Return the setting as a table shows it."""
        return self.unit.format(f"{setting:.3g}")

    def encode(self, image: Image.Image, setting: float) -> bytes:
        """Return the file of an image of mode L or RGB; raises NncodecError if that fails."""
        file = io.BytesIO()
        try:
            image.save(file, self.format, **self.options(setting, image.mode == "RGB"))
        except (OSError, ValueError, RuntimeError) as error:
            width, height = image.size
            reason = " ".join(str(error).split())
            raise NncodecError(f"{self.title} cannot code {width}x{height}: {reason}") from error
        return file.getvalue()

    def decode(self, data: bytes) -> Image.Image:
        """Return the image in a file that :meth:`encode` made, in mode RGB."""
        with Image.open(io.BytesIO(data), formats=[self.format]) as image:
            return image.convert("RGB")

    def near(self, image: Image.Image, size: int) -> Iterator[tuple[float, bytes]]:
        """Yield settings and files, among them the one that comes nearest to ``size`` bytes.

        Of qualities, whole numbers up to 100 are tried, by bisection; a rate hits the size at once.
        """
        if "bpp" in self.unit:
            rate = 8 * size / (image.width * image.height)
            yield rate, self.encode(image, rate)
            return
        low, high = int(min(self.settings)), 100
        while low <= high:
            quality = (low + high) // 2
            data = self.encode(image, quality)
            yield quality, data
            low, high = (quality + 1, high) if len(data) < size else (low, quality - 1)

    @property
    def available(self) -> bool:
        """Whether this Pillow can write the format."""
        Image.init()
        if self.feature is None:
            return self.format in Image.SAVE
        return bool(features.check(self.feature))


def _jpeg(quality: float, colour: bool) -> dict[str, Any]:
    return {"quality": int(quality), "subsampling": "4:2:0", "optimize": True, "progressive": True}


def _webp(quality: float, colour: bool) -> dict[str, Any]:
    return {"quality": quality, "method": 6}


def _jpeg2000(bpp: float, colour: bool) -> dict[str, Any]:
    ratio = (24 if colour else 8) / bpp  # Pillow takes the rate as a compression ratio
    rate = {"quality_mode": "rates", "quality_layers": [ratio]}
    return {**rate, "irreversible": True, "mct": int(colour)}


def _avif(quality: float, colour: bool) -> dict[str, Any]:
    speed = {"speed": 6, "max_threads": 1}
    return {"quality": int(quality), "subsampling": "4:4:4", "advanced": {"tune": "psnr"}, **speed}


def _jpegxl(quality: float, colour: bool) -> dict[str, Any]:
    return {"quality": int(quality), "effort": 7}


PEERS: dict[str, Peer] = {
    peer.name: peer
    for peer in (
        Peer("jpeg", "JPEG", "JPEG", "jpg", "q{}",
             (1, 3, 5, 7, 10, 14, 20, 28, 38, 50, 62, 72, 80, 86, 91, 94, 96), _jpeg),
        Peer("webp", "WebP", "WEBP", "webp", "q{}",
             (0, 1, 3, 6, 10, 16, 24, 34, 46, 60, 75, 84, 90, 94, 97), _webp),
        Peer("jpeg2000", "JPEG 2000", "JPEG2000", "jpg_2000", "{} bpp",
             (0.05, 0.0625, 0.09, 0.125, 0.18, 0.25, 0.35, 0.5, 0.7, 1, 1.4, 2, 2.5), _jpeg2000),
        Peer("avif", "AVIF", "AVIF", "avif", "q{}",
             (0, 2, 10, 22, 38, 54, 70, 85, 92), _avif),
        Peer("jpegxl", "JPEG XL", "JXL", None, "q{}",
             (0, 4, 11, 22, 40, 64, 75, 83, 89, 93, 95), _jpegxl),
    )
}  # fmt: skip


def available() -> list[Peer]:
    """Return the peers that this Pillow can write; JPEG XL where its plugin is installed."""
    with suppress(ImportError):
        import pillow_jxl  # type: ignore[import-not-found]  # registers itself with Pillow

        del pillow_jxl
    return [peer for peer in PEERS.values() if peer.available]


def select(names: str) -> list[Peer]:
    """Return the peers of a comma-separated list of names, or of ``all`` or ``none``.

    Raises NncodecError for a name that is not known or that this Pillow cannot write; ``all`` are
    those that it can.
    """
    usable = available()
    if names in ("all", "none"):
        return usable if names == "all" else []
    chosen = []
    for name in dict.fromkeys(part.strip() for part in names.split(",")):
        if name not in PEERS:
            raise NncodecError(
                f"no peer is called {name!r}; there are all, none, {', '.join(PEERS)}"
            )
        if PEERS[name] not in usable:
            raise NncodecError(f"this Pillow cannot write {PEERS[name].title}; leave {name} out")
        chosen.append(PEERS[name])
    return chosen


def nearest(
    peers: Sequence[Peer], image: Image.Image, size: int
) -> tuple[Peer, float, bytes] | None:
    """Return the peer, its setting and its file that come nearest to ``size`` bytes.

    None without any.
    """
    files = [(peer, *file) for peer in peers for file in peer.near(image, size)]
    return min(files, key=lambda file: abs(len(file[2]) - size), default=None)
