"""Geometry: patches, tiles of patches, and what a network must see around a tile.

The networks are convolutional: run over a tile of many patches and a margin around it, they give what
they would give for the whole picture at once, so that no patch and no tile shows its border. The
margin is the network's reach where the picture goes on, and a *rim* where it ends: there the
picture (or its latent) is continued by its edge, to keep the padding's effect outside.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nncodec.formats.cae import Header, Tile

Pixels = NDArray[np.uint8]

RIM = 16  # pixels beyond the edge of the picture that a network is shown


class Span(NamedTuple):
    """Positions along one axis: those to look at, beyond the edges too, and those to keep."""

    begin: int
    end: int
    keep: slice  # of what was looked at


def span(begin: int, end: int, length: int, reach: int, rim: int) -> Span:
    """The span of ``begin``...``end`` in an axis of ``length`` positions."""
    first = begin - (reach if begin > 0 else rim)
    last = end + (reach if end < length else rim)
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


def spans(tile: Tile, header: Header, unit: int, reach: int, rim: int) -> tuple[Span, Span]:
    """Vertical and horizontal span of a tile, a patch being ``unit`` positions long."""
    rows, columns = header.grid
    return (
        span(tile.row * unit, (tile.row + tile.rows) * unit, rows * unit, reach, rim),
        span(tile.column * unit, (tile.column + tile.columns) * unit, columns * unit, reach, rim),
    )


def look(
    array: NDArray[Any], rows: Span, columns: Span, top: int = 0, left: int = 0
) -> NDArray[Any]:
    """What two spans look at of an array (H, W, ...), which its edges continue.

    ``top`` and ``left`` are the positions of its first row and column.
    """
    y = np.arange(rows.begin - top, rows.end - top).clip(0, array.shape[0] - 1)
    x = np.arange(columns.begin - left, columns.end - left).clip(0, array.shape[1] - 1)
    seen: NDArray[Any] = array[y[:, np.newaxis], x]
    return seen


def put(pixels: Pixels, header: Header, tile: Tile, content: Pixels) -> None:
    """Write a tile's content into the picture (H, W, 3), less what lies beyond its edges."""
    size = header.patch
    top, left = tile.row * size - header.pad_top, tile.column * size - header.pad_left
    rows = slice(max(top, 0), min(top + len(content), header.height))
    columns = slice(max(left, 0), min(left + content.shape[1], header.width))
    pixels[rows, columns] = content[
        rows.start - top : rows.stop - top, columns.start - left : columns.stop - left
    ]


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
