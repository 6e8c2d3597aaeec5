"""What a report shows of an image: its versions, where they are worst, and where the bits go.

All of it ends up inside of the page: the pictures are lossless data URIs, so that what is looked at
is what was measured. What a version shares with another (a peer's coarsest file, say) is there
once.
"""

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, features

from nncodec.api import Codec
from nncodec.patches import Region
from nncodec.seams import Pixels

from .costs import CostMap, cost_map
from .metrics import psnr
from .peers import Peer
from .picture import Panel, by_model, by_peer
from .run import Original, Setting, compressed

SIDE = 1024  # pixels of an image that are shown at most, in each direction
PATCH = 128  # side of the patch that is looked for where a version is worst
THUMBNAIL = 512  # side of the small picture under the map of the bits
QUALITIES = 3  # of a variable-rate model that are shown at most
COLOURS = "viridis"  # of the map of the bits
PEAK = 0.995  # of its positions are within its colours: a few that cost a lot would hide the others

View = dict[str, Any]


def of_image(
    original: Original,
    models: Mapping[str, tuple[Codec, Sequence[Setting]]],
    peers: Sequence[Peer],
) -> View:
    """Return everything that the page shows of an image, ready for JSON.

    ``models`` are those of :func:`nncodec.evaluate.run.measure`. Every peer is shown at the size
    nearest to the model's. Of larger images than 1024 pixels a part is shown, pixel by pixel: the
    one around the worst patch of the first version. Raises NncodecError where a codec fails.
    """
    pictures = Pictures(original)
    views = []
    for name, (codec, settings) in models.items():
        for setting in chosen(settings):
            data = compressed(codec, original.picture, setting)
            others = [panel for peer in peers for panel in by_peer(original, [peer], len(data))]
            costs = bits_view(cost_map(codec, data))
            for decoding in setting.decodings:
                title = f"{name} {setting.label(decoding)}"
                panels = [by_model(title, codec, data, decoding), *others]
                numbers = [0, *map(pictures.add, panels)]
                views.append({"pictures": numbers, "worst": pictures.worst(panels), "bits": costs})
    height, width = original.pixels.shape[:2]
    return {
        "width": width,
        "height": height,
        "part": pictures.part,
        "small": thumbnail(original),
        "pictures": pictures.listed,
        "views": views,
    }


def chosen(settings: Sequence[Setting]) -> list[Setting]:
    """Return the settings to look at: three of many qualities, from the lower half; one coding."""
    if settings[0].target.quality is None:
        return [settings[0]]
    if len(settings) <= QUALITIES:
        return list(settings)
    # Of 0, 10 ... 90, these are 20, 40 and 60: what is finer looks like the original.
    return [settings[len(settings) * fifth // 5] for fifth in range(1, QUALITIES + 1)]


class Pictures:
    """The versions of an image as data URIs, each once; the first is the original."""

    def __init__(self, original: Original) -> None:
        self.original = original
        self.part = Region(0, 0, *reversed(original.pixels.shape[:2]))  # what is shown
        self.listed: list[View] = []
        self.numbers: dict[tuple[str, int | None], int] = {}

    def add(self, panel: Panel) -> int:
        """Return the number of a version, which is listed if it is new."""
        whole = self.original.pixels
        if not self.listed:  # the first version decides what part is shown
            at, _ = worst_patch(whole, panel.pixels)
            self.part = around(at, *reversed(whole.shape[:2]))
            self._list(Panel("original", whole))
        key = (panel.title, panel.bytes)
        if key not in self.numbers:
            self.numbers[key] = len(self.listed)
            self._list(panel)
        return self.numbers[key]

    def worst(self, panels: Sequence[Panel]) -> View:
        """Return where in the part shown the first panel is worst, and all panels' PSNR there."""
        shown = [cut(panel.pixels, self.part) for panel in panels]
        before = cut(self.original.pixels, self.part)
        at, _ = worst_patch(before, shown[0])
        values = [psnr(cut(before, at), cut(after, at)) for after in shown]
        return {"at": at, "psnr": [f"{value:.2f} dB" for value in values]}

    def _list(self, panel: Panel) -> None:
        pixels = np.ascontiguousarray(cut(panel.pixels, self.part))
        figures = panel.figures(self.original.pixels)
        source = lossless(Image.fromarray(pixels))
        self.listed.append(
            {"title": panel.title, "figures": figures, "bytes": panel.bytes, "source": source}
        )


def worst_patch(original: Pixels, decoded: Pixels) -> tuple[Region, float]:
    """Return the patch of 128 x 128 pixels (or what there is) with the lowest PSNR, and that."""
    patches = list(patches_of(*original.shape[:2]))
    values = [psnr(cut(original, at), cut(decoded, at)) for at in patches]
    lowest = int(np.argmin(values))
    return patches[lowest], values[lowest]


def patches_of(height: int, width: int) -> Iterator[Region]:
    """Yield patches side by side; the last ones end where the picture does."""
    for y in (*range(0, height - PATCH, PATCH), max(height - PATCH, 0)):
        for x in (*range(0, width - PATCH, PATCH), max(width - PATCH, 0)):
            yield Region(x, y, min(PATCH, width), min(PATCH, height))


def around(at: Region, width: int, height: int) -> Region:
    """Return the part of a picture to show, with ``at`` in its middle as far as there is more."""
    side = min(SIDE, width), min(SIDE, height)
    x = min(max(at.x + (at.width - side[0]) // 2, 0), width - side[0])
    y = min(max(at.y + (at.height - side[1]) // 2, 0), height - side[1])
    return Region(x, y, *side)


def cut(pixels: Pixels, at: Region) -> Pixels:
    return pixels[at.rows, at.columns]


def thumbnail(original: Original) -> str:
    """Return a small grey picture, to lie under the map of the bits."""
    small = original.image.convert("L")
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    return uri(small, "JPEG", quality=80)


def bits_view(costs: CostMap) -> View:
    """Return the map of the bits: a picture with a pixel for each position, and the patches."""
    density, cell = costs.density()
    peak = float(np.quantile(density, PEAK)) or 1.0
    picture = Image.fromarray((density / peak * 255).clip(0, 255).astype(np.uint8))
    picture.putpalette(palette().tobytes())
    header = costs.header
    rows, columns = density.shape
    return {
        "source": uri(picture, "PNG", optimize=True),
        "at": Region(-header.pad_left, -header.pad_top, columns * cell, rows * cell),
        "patches": [[*region, round(bits)] for region, bits in costs.patches()],
        "cell": cell,
        "side": header.patch,
        "peak": f"{peak:.3g}",
        "bytes": f"{costs.bits.sum() / 8:,.0f}",
        "spread": f"{costs.spread / 8:,.0f}",
    }


def palette() -> NDArray[np.uint8]:
    """Return the colours of the map of the bits, (256, 3), from few to many."""
    from matplotlib import colormaps

    colours: NDArray[np.uint8] = colormaps[COLOURS](np.arange(256), bytes=True)[:, :3]
    return colours


def lossless(image: Image.Image) -> str:
    """Return an image as a data URI, as WebP if this Pillow can: that is a fourth smaller."""
    if features.check("webp"):
        return uri(image, "WEBP", lossless=True, method=4)
    return uri(image, "PNG", optimize=True)


def uri(image: Image.Image, format: str, **options: Any) -> str:
    file = io.BytesIO()
    image.save(file, format, **options)
    return f"data:image/{format.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"
