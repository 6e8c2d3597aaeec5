"""The variable-rate network at work: tiles of a picture to its latent and back.

The latent has a position for every 16 x 16 pixels that hold any of the picture, from its left upper
corner on; the last ones are filled up with its edges. Tiles are shown their neighbours as far as
the network looks, and nothing beyond the latent's edges, where its own zeros are: what comes
out is what the whole picture at once would give.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray

from nncodec.formats.cae import Header, Tile
from nncodec.formats.stages import PER_OCTAVE

from .entropy.planes import MAX_TOP, Latent
from .models.bitplane import STEP, STRIDE, Bitplane
from .models.place import place
from .patches import Span, span, split
from .transform import Pixels, Progress, exact_pixels, to_pixels

TILE = 8  # patches along a side of what goes through the network at once
ROWS = 64  # of the latent that are quantised at once


class VariableTransform:
    """The analysis and synthesis of a :class:`Bitplane` network on a device."""

    def __init__(self, network: Bitplane, device: torch.device) -> None:
        place(network, device)
        self.network = network
        self.device = device

    @torch.inference_mode()
    def analyse(
        self, pixels: Pixels, header: Header, progress: Progress | None = None
    ) -> NDArray[np.float32]:
        """The latent (h, w, C) of a picture (H, W, 3), before any quantisation."""
        latent = np.empty((*latent_size(header), header.channels), np.float32)
        for tile in split(Tile(0, 0, *header.grid), TILE):
            down, across = self._spans(header, tile)
            y = np.arange(down.begin * STRIDE, down.end * STRIDE).clip(0, header.height - 1)
            x = np.arange(across.begin * STRIDE, across.end * STRIDE).clip(0, header.width - 1)
            seen = pixels[y[:, np.newaxis], x].transpose(2, 0, 1)[np.newaxis]
            with exact_pixels():
                found = self.network.analysis(torch.from_numpy(seen).to(self.device) - 127.5)
            rows, columns = area(header, tile)
            kept = found[0].permute(1, 2, 0)[down.keep, across.keep]
            latent[rows, columns] = kept.cpu().numpy()
            if progress:
                progress(tile.rows * tile.columns)
        return latent

    @torch.inference_mode()
    def quantise(self, latent: NDArray[np.float32], step: int) -> Latent:
        """The nearest multiples of a step, int16, for a latent (h, w, C)."""
        gains = self.network.gains.scale(level_of(step).to(self.device))
        scale = gains[0, :, 0, 0].cpu().numpy()
        bound = 2**MAX_TOP - 1
        rounded = np.empty(latent.shape, np.int16)
        for row in range(0, len(latent), ROWS):
            part = slice(row, row + ROWS)
            rounded[part] = np.rint(latent[part] * scale).clip(-bound, bound)
        return rounded

    @torch.inference_mode()
    def synthesise(self, middles: Latent, header: Header, tile: Tile, step: int) -> Pixels:
        """The pixels (h, w, 3) of a tile, from the :func:`middles` (h, w, C) of the picture."""
        level = level_of(step).to(self.device)
        down, across = self._spans(header, tile)
        seen = middles[down.begin : down.end, across.begin : across.end]
        values = torch.from_numpy(seen.transpose(2, 0, 1)[np.newaxis]).to(self.device) / 2
        with exact_pixels():
            found = self.network.synthesis(values * self.network.gains.unscale(level), level)
        levels = (found[0] + 127.5).round().clamp(0, 255).to(torch.uint8)
        whole: Pixels = levels.permute(1, 2, 0).cpu().numpy()
        return whole[to_pixels(down.keep, STRIDE), to_pixels(across.keep, STRIDE)]

    def _spans(self, header: Header, tile: Tile) -> tuple[Span, Span]:
        """The positions of a tile, and what the network must see around them."""
        height, width = latent_size(header)
        rows, columns = area(header, tile)
        reach = self.network.reach
        return (
            span(rows.start, rows.stop, height, reach, 0),
            span(columns.start, columns.stop, width, reach, 0),
        )


def latent_size(header: Header) -> tuple[int, int]:
    """Rows and columns of the latent of a picture."""
    return -(-header.height // STRIDE), -(-header.width // STRIDE)


def area(header: Header, tile: Tile) -> tuple[slice, slice]:
    """Where a tile of patches lies in the latent: rows and columns."""
    height, width = latent_size(header)
    side = header.side
    rows = slice(tile.row * side, min((tile.row + tile.rows) * side, height))
    return rows, slice(tile.column * side, min((tile.column + tile.columns) * side, width))


def level_of(step: int) -> torch.Tensor:
    """The level of a step code, (1,): STEP * e^level = 2^(code / PER_OCTAVE)."""
    return torch.tensor([step / PER_OCTAVE * math.log(2) - math.log(STEP)])


def middles(latent: Latent, last: int) -> Latent:
    """Twice the middle of the interval that each element is known to lie in.

    ``latent`` holds signed magnitudes in units of 2^last.
    """
    unit = 1 << last
    middle: Latent = (2 * unit * latent + np.sign(latent) * (unit - 1)).astype(np.int16)
    return middle
