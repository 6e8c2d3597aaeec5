"""The variable-rate network at work: tiles of a picture to its latent and back.

The latent has a position for every 16 x 16 pixels that hold any of the picture, from its left upper
corner on; the last ones are filled up with its edges. Tiles are shown their neighbours as far as
the network looks, and nothing beyond the latent's edges, where its own zeros are: what comes
out is what the whole picture at once would give.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nncodec.formats.cae import Header, Tile
from nncodec.formats.stages import PER_OCTAVE, Settings

from .entropy.digits import LARGEST, Latent
from .models.bitplane import ALONE, LEVELS, STEP, STRIDE, Bitplane, Halo, drawn_around
from .models.pixel_filter import MARGIN, WAYS, Moments, padded
from .models.place import place
from .patches import Span, shown, span, split
from .transform import Pixels, Progress, exact_pixels, quick_in_bf16

TILE = 10  # patches along a side of what goes through the network at once
ROWS = 64  # of the latent that are quantised at once


class VariableTransform:
    """The analysis and synthesis of a :class:`Bitplane` network on a device."""

    def __init__(self, network: Bitplane, device: torch.device) -> None:
        place(network, device)
        self.network = network
        self.device = device
        self.bf16 = quick_in_bf16(device)

    @torch.inference_mode()
    def analyse(
        self,
        pixels: Pixels,
        header: Header,
        progress: Progress | None = None,
        *,
        quick: bool = False,
    ) -> NDArray[np.float32]:
        """The latent (h, w, C) of a picture (H, W, 3), before any quantisation."""
        latent = np.empty((*latent_size(header), header.channels), np.float32)
        for tile in split(Tile(0, 0, *header.grid), TILE):
            down, across = spans(header, tile, self.network.analysis.reach)
            seen = torch.from_numpy(window(pixels, down, across)).to(self.device) - 127.5
            with exact_pixels(), self._rough():
                halo = (*down.margins, *across.margins)
                found = self.network.analysis(seen.permute(2, 0, 1)[None], quick, halo)
            rows, columns = area(header, tile)
            latent[rows, columns] = found[0].float().permute(1, 2, 0).cpu().numpy()
            if progress:
                progress(tile.rows * tile.columns)
        return latent

    @torch.inference_mode()
    def scaled(self, latent: NDArray[np.float32], step: int) -> NDArray[np.float32]:
        """A latent (h, w, C) in units of a step."""
        gains = self.network.gains.scale(level_of(step).to(self.device))
        scale: NDArray[np.float32] = gains[0, :, 0, 0].cpu().numpy()
        return latent * scale

    def quantise(self, latent: NDArray[np.float32], step: int) -> Latent:
        """The nearest multiples of a step, int16, for a latent (h, w, C)."""
        rounded = np.empty(latent.shape, np.int16)
        for row in range(0, len(latent), ROWS):
            part = slice(row, row + ROWS)
            rounded[part] = to_integers(self.scaled(latent[part], step))
        return rounded

    @torch.inference_mode()
    def synthesise(self, middles: Latent, header: Header, tile: Tile, settings: Settings) -> Pixels:
        """The pixels (h, w, 3) of a tile, from the :func:`middles` (h, w, C) of the picture."""
        return self._decoded(middles, 2, header, tile, settings)

    @torch.inference_mode()
    def squared_error(
        self, latent: Latent, header: Header, settings: Settings, pixels: Pixels
    ) -> int:
        """The squared errors of the picture of a latent (h, w, C), against ``pixels``."""
        tiles = split(Tile(0, 0, *header.grid), TILE)
        decoded = ((self._decoded(latent, 1, header, tile, settings), tile) for tile in tiles)
        return sum(int(missed_by(found, header, tile, pixels).sum()) for found, tile in decoded)

    @torch.inference_mode()
    def rough_errors(
        self, latent: Latent, header: Header, tile: Tile, settings: Settings, pixels: Pixels
    ) -> NDArray[np.float64]:
        """Those of a tile, synthesised at once and in quick arithmetic, by its positions (h, w)."""
        found = self._decoded(latent, 1, header, tile, settings, rough=True)
        return missed_by(found, header, tile, pixels)

    @torch.inference_mode()
    def moments(
        self,
        latent: Latent,
        header: Header,
        tile: Tile,
        step: int,
        pixels: Pixels,
        stride: int = 1,
    ) -> Moments:
        """What decides how well varied filters would do on a tile of a latent (h, w, C).

        Of pixels, every so many along both axes stand for all.
        """
        down, across = spans(header, tile, self.network.synthesis.reach)
        seen = latent[down.begin : down.end, across.begin : across.end]
        part = shown(header, tile)
        due = torch.from_numpy(pixels[part.rows, part.columns] - np.float32(127.5))
        synthesis, halo = self.network.synthesis, (*down.margins, *across.margins)
        with exact_pixels(), self._rough():
            given, level = self._given(torch.from_numpy(seen).to(self.device), step)
            wide = padded(synthesis.drawn(given, level, halo), drawn_around(halo))
            inside = wide[:, :, : part.height + 2 * MARGIN, : part.width + 2 * MARGIN]
            due, at = due.to(self.device).permute(2, 0, 1)[None], level.clamp(*LEVELS)[0]
            found: Moments = synthesis.filter.moments(inside, due, at, stride)
        return found

    def _decoded(
        self,
        latent: Latent,
        unit: int,
        header: Header,
        tile: Tile,
        settings: Settings,
        rough: bool = False,
    ) -> Pixels:
        """The pixels (h, w, 3) of a tile of a latent (h, w, C) in units of 1 / ``unit``."""
        down, across = spans(header, tile, self.network.synthesis.reach)
        seen = latent[down.begin : down.end, across.begin : across.end]
        with exact_pixels(), self._rough(rough):
            values = torch.from_numpy(seen).to(self.device) / unit
            found = self._output(values, settings, (*down.margins, *across.margins))
        pixels: Pixels = found.round().clamp(0, 255).to(torch.uint8).cpu().numpy()
        return pixels

    def pull(
        self,
        latent: Latent,
        header: Header,
        tile: Tile,
        settings: Settings,
        force: Callable[[Tensor], Tensor],
    ) -> tuple[tuple[slice, slice], NDArray[np.float32], NDArray[np.float32]]:
        """What a force on the pixels of a tile comes to on the latent (h, w, C) around it.

        ``force`` maps the pixels (h', w', 3), unrounded and with those beyond the picture's edges,
        to a force on every value: to the derivatives of an error by them, say, and the result are
        those by the latent. Returns the rows and columns of the latent that the tile depends on,
        the forces there, and the pixels.
        """
        down, across = spans(header, tile, self.network.synthesis.reach)
        around = slice(down.begin, down.end), slice(across.begin, across.end)
        with exact_pixels(), self._rough(), torch.enable_grad():
            seen = torch.from_numpy(latent[around]).to(self.device, torch.float32).requires_grad_()
            found = self._output(seen, settings, (*down.margins, *across.margins))
            work = (found * force(found.detach())).sum()  # its derivatives are the forces there
            (pulled,) = torch.autograd.grad(work, seen)
        return around, pulled.cpu().numpy(), found.detach().cpu().numpy()

    def _rough(self, wanted: bool = True) -> torch.autocast:
        """Quick arithmetic, for what only an encoder decides by."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16 and wanted)

    def _output(self, values: Tensor, settings: Settings, halo: Halo = ALONE) -> Tensor:
        """The pixels, from 0 to 255 but for errors, of a latent (h, w, C) inside of its halo."""
        given, level = self._given(values, settings.step)
        factors = None
        if settings.factors:
            factors = torch.zeros(1, WAYS)
            factors[0, : len(settings.factors)] = torch.tensor(settings.factors)
            factors = factors.to(self.device)
        found: Tensor = self.network.synthesis(given, level, halo, factors)
        return found[0].permute(1, 2, 0) + 127.5

    def _given(self, values: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """Values (h, w, C) as the synthesis is given them, (1, C, h, w), and the level (1,)."""
        level = level_of(step).to(self.device)
        return values.permute(2, 0, 1)[None] * self.network.gains.unscale(level), level


def spans(header: Header, tile: Tile, reach: int) -> tuple[Span, Span]:
    """The rows and columns of a tile's positions, and of what is seen that far around them."""
    height, width = latent_size(header)
    rows, columns = area(header, tile)
    return (
        span(rows.start, rows.stop, height, reach, 0),
        span(columns.start, columns.stop, width, reach, 0),
    )


def window(pixels: Pixels, down: Span, across: Span) -> Pixels:
    """The pixels at these latent positions, a copy; beyond the lower and right edge, the edge."""
    top, left = down.begin * STRIDE, across.begin * STRIDE
    height, width = down.end * STRIDE - top, across.end * STRIDE - left
    inside = pixels[top : top + height, left : left + width]
    missing = (0, height - inside.shape[0]), (0, width - inside.shape[1]), (0, 0)
    return np.pad(inside, missing, "edge")


def latent_size(header: Header) -> tuple[int, int]:
    """Rows and columns of the latent of a picture."""
    return -(-header.height // STRIDE), -(-header.width // STRIDE)


def area(header: Header, tile: Tile) -> tuple[slice, slice]:
    """Where a tile of patches lies in the latent: rows and columns."""
    height, width = latent_size(header)
    side = header.side
    rows = slice(tile.row * side, min((tile.row + tile.rows) * side, height))
    return rows, slice(tile.column * side, min((tile.column + tile.columns) * side, width))


def missed_by(
    found: NDArray[Any], header: Header, tile: Tile, pixels: Pixels
) -> NDArray[np.float64]:
    """The squared errors of a tile's pixels, found (16 h, 16 w, 3), by positions (h, w).

    Against those of the whole picture (H, W, 3): beyond its edges, none are due.
    """
    part = shown(header, tile)
    misses = np.zeros(found.shape, np.float32)
    inside, due = misses[: part.height, : part.width], pixels[part.rows, part.columns]
    np.subtract(found[: part.height, : part.width], due, out=inside, dtype=np.float32)
    rows, columns = (length // STRIDE for length in found.shape[:2])
    blocks = np.square(misses).reshape(rows, STRIDE, columns, -1)
    sums: NDArray[np.float64] = blocks.sum((1, 3), dtype=np.float64)
    return sums


def to_integers(values: NDArray[np.float32]) -> Latent:
    """The nearest integers, int16, that can be coded."""
    return np.rint(values).clip(-LARGEST, LARGEST).astype(np.int16)


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
