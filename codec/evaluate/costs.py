"""Where the bits of a file go: what each position of its latent costs.

A range coder spends -log2 p bits on a decision that had the chance p. So the decisions in a file
are gone through once more, with the chances that they were coded with; what is the same for a whole
segment (which planes a channel has, or any bits that are raw or zstd's) is spread evenly over it.
What comes out adds up to the payloads, but for the few bytes with which a coder ends.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nncodec.api import Codec
from nncodec.entropy.coder import ONE, Bits, Chances
from nncodec.entropy.context import ContextModel, coding_steps
from nncodec.entropy.digits import MAX_TOP, Latent, tops_of
from nncodec.entropy.plane_network import REFINE, SIGN, SIGNIFICANT, TENT
from nncodec.entropy.planes import PlaneModel
from nncodec.fixed import FixedRate
from nncodec.formats.cae import Coding, Header, Reader, Segment, Tile
from nncodec.formats.stages import VARIABLE_RATE, Settings
from nncodec.patches import Region, shown
from nncodec.variable import VariableRate

Costs = NDArray[np.float64]  # bits


@dataclass(frozen=True)
class CostMap:
    """What the positions (h, w) of a latent cost, in bits; the file's header tells where they are.

    ``spread`` is how many of the bits have no position of their own.
    """

    header: Header
    bits: Costs
    spread: float

    def density(self) -> tuple[Costs, int]:
        """Return bits per pixel in cells, and the pixels along a side of a cell.

        A cell is a position, or those of a square of which a fixed-rate model codes one after the
        other: the first cost far more, wherever they lie.
        """
        side = 1 if self.header.model in VARIABLE_RATE else 2
        stride = self.header.patch // self.header.side
        rows, columns = (length // side for length in self.bits.shape)
        squares = self.bits.reshape(rows, side, columns, side).sum((1, 3))
        return squares / (side * stride) ** 2, side * stride

    def patches(self) -> Iterator[tuple[Region, float]]:
        """Yield what each patch shows of the picture, and what it costs, in raster order."""
        rows, columns = self.header.grid
        for row in range(rows):
            for column in range(columns):
                tile = Tile(row, column, 1, 1)
                yield shown(self.header, tile), float(self.bits[place(self.header, tile)].sum())


def cost_map(codec: Codec, data: bytes) -> CostMap:
    """Return what the positions of a whole file of ``codec``'s cost. Raises CaeError."""
    reader = Reader(io.BytesIO(data))
    header, engine = reader.header, codec.engine
    segments = list(Reader(io.BytesIO(data)).segments())
    if isinstance(engine, VariableRate):
        middles, _ = engine.read(reader, None, list(range(header.n_segments)), header.planes)
        return _of_planes(engine, header, middles // 2)
    return _of_bits(engine, header, segments, engine.coder.read(reader, None)[0])


def place(header: Header, tile: Tile) -> tuple[slice, slice]:
    """Where a tile of patches lies in the latent; a slice may end beyond it."""
    side = header.side
    return (
        slice(tile.row * side, (tile.row + tile.rows) * side),
        slice(tile.column * side, (tile.column + tile.columns) * side),
    )


def surprise(chances: Chances, bits: Bits) -> Costs:
    """Return what coding ``bits`` costs, each being 1 with its chance out of 2^16."""
    ones = chances.astype(np.float64)
    return -np.log2(np.where(bits, ones, ONE - ones) / ONE)


def context_costs(model: ContextModel, bits: Bits) -> Costs:
    """Return what the positions of a segment's bits (h, w, C) cost, (h, w)."""
    known = np.zeros(bits.shape, np.int8)
    costs = np.zeros(bits.shape[:2])
    for step, where in enumerate(coding_steps(model.groups)):
        chances = model.chances(known, step, where)
        costs[where[:2]] += surprise(chances, bits[where]).sum(-1)
        known[where] = np.where(bits[where], 1, -1)
    return costs


def plane_costs(model: PlaneModel, latent: Latent, step: int) -> tuple[Costs, float]:
    """Return what the positions of a segment's latent (h, w, C) cost, (h, w), and the tops."""
    coded = model.predicted(latent)
    tops = tops_of(np.abs(coded).max((0, 1)))
    costs = np.zeros(latent.shape[:2])
    for plane in range(int(tops.max(initial=0))):
        chances = model.chances(latent, plane, step)
        size = np.abs(coded) >> plane
        new = size == 1
        spent = np.where(
            size > 1,
            surprise(chances[REFINE], size % 2 > 0),
            surprise(chances[SIGNIFICANT], new),
        )
        spent += np.where(new, surprise(chances[SIGN], coded > 0), 0)
        costs += spent[..., tops > plane].sum(-1)
    return costs, _top_costs(model, tops, step)


def _top_costs(model: PlaneModel, tops: NDArray[np.uint8], step: int) -> float:
    """Return what it costs to say how many planes each channel has."""
    chances = model.top_chances[min(max(step // TENT, 0), len(model.top_chances) - 1)]
    planes = np.arange(MAX_TOP)
    asked = planes <= tops[:, np.newaxis]
    return float(surprise(chances, planes < tops[:, np.newaxis])[asked].sum())


def _of_planes(engine: VariableRate, header: Header, latent: Latent) -> CostMap:
    bits, spread = np.zeros(latent.shape[:2]), 0.0
    for index in range(header.n_segments):
        where = place(header, header.segment_patches(index))
        costs, tops = plane_costs(engine.planes, latent[where], Settings.of(header).step)
        bits[where] = costs + tops / costs.size
        spread += tops
    return CostMap(header, bits, spread)


def _of_bits(
    engine: FixedRate, header: Header, segments: list[Segment], packed: NDArray[np.uint8]
) -> CostMap:
    latent = np.unpackbits(packed, axis=2, count=header.channels).astype(np.bool_)
    bits, spread = np.zeros(latent.shape[:2]), 0.0
    for segment in segments:
        where = place(header, header.segment_patches(segment.index))
        if segment.coding is Coding.CONTEXT and engine.coder.context is not None:
            bits[where] = context_costs(engine.coder.context, latent[where])
        else:
            bits[where] = 8 * len(segment.payload) / bits[where].size
            spread += 8 * len(segment.payload)
    return CostMap(header, bits, spread)
