"""The picture that shows what figures cannot: original, nncodec and a peer of the same size."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from nncodec.api import Codec
from nncodec.formats.images import to_pil
from nncodec.seams import Pixels

from .metrics import psnr
from .peers import Peer, nearest
from .run import Decoding, Original, Setting, compressed, decode, rgb

SIDE = 768  # pixels of an image that are shown at most, in each direction: its centre
MARGIN, LINE = 12, 22  # pixels around the panels, and of a line of text
KNOWN = ("jpeg", "webp")  # the peers that everybody has seen
PAPER, INK, FAINT = "#FFFFFF", "#222222", "#777777"


@dataclass(frozen=True)
class Panel:
    """One version of the image."""

    title: str
    pixels: Pixels
    bytes: int | None = None  # of the file; None for the original

    def figures(self, original: Pixels) -> str:
        """Return size, rate and PSNR for people."""
        height, width = original.shape[:2]
        if self.bytes is None:
            return f"{width}x{height}"
        rate = 8 * self.bytes / (width * height)
        return f"{self.bytes:,} bytes, {rate:.4f} bpp, {psnr(original, self.pixels):.2f} dB"


def by_model(title: str, codec: Codec, data: bytes, decoding: Decoding) -> Panel:
    """Return what becomes of a .cae file."""
    decoded = decode(codec, io.BytesIO(data), decoding)
    return Panel(f"nncodec {title}", rgb(to_pil(decoded)), len(data))


def by_peer(original: Original, peers: Sequence[Peer], size: int) -> list[Panel]:
    """Return what becomes of the peers' file that comes nearest to ``size``; nothing of no peer."""
    found = nearest(peers, original.image, size)
    if not found:
        return []
    peer, setting, data = found
    return [Panel(f"{peer.title} {peer.label(setting)}", rgb(peer.decode(data)), len(data))]


def side_by_side(rows: Sequence[Sequence[Panel]]) -> Image.Image:
    """Return a picture of rows of panels, each with its title, rate and PSNR under it.

    All panels show the same image, the first one the original. Of images with a side of more than
    768 pixels the middle is shown, pixel by pixel; rate and PSNR are those of the whole.
    """
    original = rows[0][0].pixels
    height, width = (min(side, SIDE) for side in original.shape[:2])
    cell = (width + MARGIN, height + 2 * LINE + MARGIN)
    columns = max(map(len, rows))
    sheet = Image.new("RGB", (columns * cell[0] + MARGIN, len(rows) * cell[1] + MARGIN), PAPER)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=15)
    for number, row in enumerate(rows):
        for column, panel in enumerate(row):
            x, y = MARGIN + column * cell[0], MARGIN + number * cell[1]
            sheet.paste(Image.fromarray(_middle(panel.pixels)), (x, y))
            draw.text((x, y + height + 3), panel.title, INK, font)
            draw.text((x, y + height + 3 + LINE - 4), panel.figures(original), FAINT, font)
    return sheet


def versions(
    original: Original,
    models: Mapping[str, tuple[Codec, Sequence[Setting]]],
    peers: Sequence[Peer],
    decoding: Decoding,
) -> list[list[Panel]]:
    """Return a row for each model: the original, the model's version, and a peer's of that size.

    ``models`` are those of :func:`nncodec.evaluate.run.measure`; their first setting is shown.
    The peer is JPEG or WebP, as far as they are among ``peers``: what comes nearest to the size.
    """
    known = [peer for peer in peers if peer.name in KNOWN]
    rows = []
    for name, (codec, (first, *_)) in models.items():
        data = compressed(codec, original.picture, first)
        ours = by_model(name, codec, data, decoding)
        row = [Panel("original", original.pixels), ours, *by_peer(original, known, len(data))]
        rows.append(row)
    return rows


def _middle(pixels: Pixels) -> Pixels:
    top, left = (max(0, (side - SIDE) // 2) for side in pixels.shape[:2])
    return np.ascontiguousarray(pixels[top : top + SIDE, left : left + SIDE])
