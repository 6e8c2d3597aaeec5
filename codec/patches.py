"""Geometry: patches, tiles of patches, and what a network must see around a tile.

The networks are convolutional: run over a tile of many patches and a margin around it, they give
what they would give for the whole picture at once, so that no patch and no tile shows its border.
The margin is the network's reach where the picture goes on, and a *rim* where it ends: there the
picture (or its latent) is continued by its edge, to keep the padding's effect outside.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nncodec.formats.cae import Header, Tile
from nncodec.formats.errors import NncodecError

Pixels = NDArray[np.uint8]

RIM = 16  # pixels beyond the edge of the picture that a network is shown


class Region(NamedTuple):
    """A rectangle of a picture's pixels: its left upper corner, and its size."""

    x: int
    y: int
    width: int
    height: int

    @property
    def rows(self) -> slice:
        return slice(self.y, self.y + self.height)

    @property
    def columns(self) -> slice:
        return slice(self.x, self.x + self.width)


class Span(NamedTuple):
    """Positions along one axis: those to look at, beyond the edges too, and those to keep."""

    begin: int
    end: int
    keep: slice  # of what was looked at

    @property
    def margins(self) -> tuple[int, int]:
        """How many positions are only looked at, before and after those to keep."""
        return self.keep.start, self.end - self.begin - self.keep.stop


def span(begin: int, end: int, length: int, reach: int, rim: int) -> Span:
    """The span of ``begin``...``end`` in an axis of ``length`` positions.

    Nothing is looked at that is more than ``rim`` positions beyond the axis.
    """
    first, last = max(begin - reach, -rim), min(end + reach, length + rim)
    return Span(first, last, slice(begin - first, end - first))


def even_pad(length: int, patch: int) -> int:
    """Pixels to add before ``length`` so that the padding to whole patches is split evenly."""
    return -length % patch // 2


def split(tile: Tile, side: int) -> Iterator[Tile]:
    """Cut a tile into tiles of at most ``side`` x ``side`` patches, in raster order."""
    for row in range(tile.row, tile.row + tile.rows, side):
        for column in range(tile.column, tile.column + tile.columns, side):
            rows = min(side, tile.row + tile.rows - row)
            columns = min(side, tile.column + tile.columns - column)
            yield Tile(row, column, rows, columns)


def covering(header: Header, region: Region) -> Tile:
    """The patches that hold a region. NncodecError unless all of it lies inside of the picture."""
    x, y, width, height = region
    if not (0 <= x < x + width <= header.width and 0 <= y < y + height <= header.height):
        raise NncodecError(
            f"the region {x},{y},{width},{height} is not inside of the picture,"
            f" which has {header.width} x {header.height} pixels"
        )
    size = header.patch
    row, column = (header.pad_top + y) // size, (header.pad_left + x) // size
    last_row = (header.pad_top + y + height - 1) // size
    last_column = (header.pad_left + x + width - 1) // size
    return Tile(row, column, last_row - row + 1, last_column - column + 1)


def grown(header: Header, tile: Tile, patches: int) -> Tile:
    """A tile and so many patches around it, as far as there are."""
    rows, columns = header.grid
    row, column = max(tile.row - patches, 0), max(tile.column - patches, 0)
    below = min(tile.row + tile.rows + patches, rows)
    right = min(tile.column + tile.columns + patches, columns)
    return Tile(row, column, below - row, right - column)


def segments_seen(header: Header, region: Region, reach: int) -> list[int]:
    """The segments that hold a region's latent, or any of it within ``reach`` positions around."""
    side = header.side
    stride = header.patch // side

    def along(first: int, pixels: int, patches: int, segments: int) -> range:
        length = patches * side  # of a segment
        begin, last = first // stride - reach, (first + pixels - 1) // stride + reach
        return range(max(begin, 0) // length, min(last // length + 1, segments))

    top, left = header.pad_top + region.y, header.pad_left + region.x
    rows = along(top, region.height, header.segment_rows, header.segments[0])
    columns = along(left, region.width, header.segment_columns, header.segments[1])
    return [row * header.segments[1] + column for row in rows for column in columns]


def spans(tile: Tile, header: Header, unit: int, reach: int, rim: int) -> tuple[Span, Span]:
    """Vertical and horizontal span of a tile, a patch being ``unit`` positions long."""
    rows, columns = header.grid
    return (
        span(tile.row * unit, (tile.row + tile.rows) * unit, rows * unit, reach, rim),
        span(tile.column * unit, (tile.column + tile.columns) * unit, columns * unit, reach, rim),
    )


def mirrored(positions: NDArray[np.intp], length: int) -> NDArray[np.intp]:
    """Positions beyond an axis of ``length``, by less than that, as those they mirror."""
    inside = np.where(positions < 0, -1 - positions, positions)
    folded: NDArray[np.intp] = np.where(inside >= length, 2 * length - 1 - inside, inside)
    return folded


def look_at_picture(
    pixels: Pixels, header: Header, tile: Tile, reach: int
) -> tuple[Pixels, Span, Span]:
    """What an encoder sees of the picture (H, W, 3) for a tile, and the spans that it looked at.

    The picture is continued by its edges to the grid of patches, and mirrored beyond that: edges of
    photographs often hold a line or two of something else, which should not grow.
    """
    rows, columns = spans(tile, header, header.patch, reach, RIM)
    grid = [count * header.patch for count in header.grid]
    y = mirrored(np.arange(rows.begin, rows.end), grid[0]) - header.pad_top
    x = mirrored(np.arange(columns.begin, columns.end), grid[1]) - header.pad_left
    y, x = y.clip(0, header.height - 1), x.clip(0, header.width - 1)
    seen: Pixels = pixels[y[:, np.newaxis], x]
    return seen, rows, columns


def look_at_latent(
    latent: NDArray[Any], header: Header, tile: Tile, reach: int, rim: int
) -> tuple[NDArray[Any], Span, Span]:
    """What a decoder sees of the latent (h, w, ...) for a tile, and the spans that it looked at.

    At its edges the latent is continued by them.
    """
    rows, columns = spans(tile, header, header.side, reach, rim)
    y = np.arange(rows.begin, rows.end).clip(0, latent.shape[0] - 1)
    x = np.arange(columns.begin, columns.end).clip(0, latent.shape[1] - 1)
    return latent[y[:, np.newaxis], x], rows, columns


def shown(header: Header, tile: Tile) -> Region:
    """What a tile shows of the picture, less the padding."""
    size = header.patch
    top, left = tile.row * size - header.pad_top, tile.column * size - header.pad_left
    y, x = max(top, 0), max(left, 0)
    bottom, right = top + tile.rows * size, left + tile.columns * size
    return Region(x, y, min(right, header.width) - x, min(bottom, header.height) - y)


def put(pixels: Pixels, header: Header, tile: Tile, content: Pixels) -> None:
    """Write a tile's content into the picture (H, W, 3), less what lies beyond its edges."""
    size = header.patch
    top, left = tile.row * size - header.pad_top, tile.column * size - header.pad_left
    x, y, width, height = shown(header, tile)
    pixels[y : y + height, x : x + width] = content[
        y - top : y - top + height, x - left : x - left + width
    ]


def assemble(
    header: Header,
    tile: Tile,
    side: int,
    synthesise: Callable[[Tile], Pixels],
    progress: Callable[[float], None] | None = None,
) -> Pixels:
    """The picture (H, W, 3), zero but for a ``tile`` that is synthesised ``side`` by ``side``."""
    pixels = np.zeros((header.height, header.width, 3), np.uint8)
    for part in split(tile, side):
        put(pixels, header, part, synthesise(part))
        if progress:
            progress(part.rows * part.columns)
    return pixels


def cut(content: NDArray[Any], size: int) -> NDArray[Any]:
    """Cut (rows * size, columns * size, c) into patches (rows * columns, c, size, size)."""
    rows, columns, channels = content.shape[0] // size, content.shape[1] // size, content.shape[2]
    grid = content.reshape(rows, size, columns, size, channels)
    return grid.transpose(0, 2, 4, 1, 3).reshape(-1, channels, size, size)


def stitch(patches: NDArray[Any], rows: int, columns: int) -> NDArray[Any]:
    """Undo :func:`cut`."""
    channels, size = patches.shape[1], patches.shape[-1]
    grid = patches.reshape(rows, columns, channels, size, size)
    return grid.transpose(0, 3, 1, 4, 2).reshape(rows * size, columns * size, channels)


def fill_border(patches: Pixels, border: int) -> None:
    """Continue the inside of patches (n, 3, size, size) over their outer ``border`` pixels."""
    if border:
        inner = slice(border, patches.shape[-1] - border)
        around = [(0, 0), (0, 0), (border, border), (border, border)]
        patches[:] = np.pad(patches[:, :, inner, inner], around, "edge")
