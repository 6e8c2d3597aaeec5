"""Patches: a tile of the padded picture cut into squares, and put together again."""

import numpy as np
from numpy.typing import NDArray

from nncodec.formats.cae import Header, Tile

Pixels = NDArray[np.uint8]


def even_pad(length: int, patch: int) -> int:
    """Pixels to add before ``length`` so that the padding to whole patches is split evenly."""
    return -length % patch // 2


def take(pixels: Pixels, header: Header, tile: Tile) -> Pixels:
    """The pixels of a tile of the picture (H, W, 3), continued beyond its edges by its edges."""
    size = header.patch
    top, left = tile.row * size - header.pad_top, tile.column * size - header.pad_left
    rows = np.arange(top, top + tile.rows * size).clip(0, header.height - 1)
    columns = np.arange(left, left + tile.columns * size).clip(0, header.width - 1)
    taken: Pixels = pixels[rows[:, np.newaxis], columns]
    return taken


def put(pixels: Pixels, header: Header, tile: Tile, content: Pixels) -> None:
    """Write a tile's content into the picture (H, W, 3), less what lies beyond its edges."""
    size = header.patch
    top, left = tile.row * size - header.pad_top, tile.column * size - header.pad_left
    rows = slice(max(top, 0), min(top + len(content), header.height))
    columns = slice(max(left, 0), min(left + content.shape[1], header.width))
    pixels[rows, columns] = content[
        rows.start - top : rows.stop - top, columns.start - left : columns.stop - left
    ]


def cut(content: Pixels, size: int) -> Pixels:
    """Cut (rows * size, columns * size, 3) into patches (rows * columns, 3, size, size)."""
    rows, columns = content.shape[0] // size, content.shape[1] // size
    grid = content.reshape(rows, size, columns, size, 3)
    return grid.transpose(0, 2, 4, 1, 3).reshape(rows * columns, 3, size, size)


def stitch(patches: Pixels, rows: int, columns: int) -> Pixels:
    """Undo :func:`cut`."""
    size = patches.shape[-1]
    grid = patches.reshape(rows, columns, 3, size, size)
    return grid.transpose(0, 3, 1, 4, 2).reshape(rows * size, columns * size, 3)


def fill_border(patches: Pixels, border: int) -> None:
    """Continue the inside of patches (n, 3, size, size) over their outer ``border`` pixels."""
    if border:
        inner = slice(border, patches.shape[-1] - border)
        patches[:] = np.pad(
            patches[:, :, inner, inner],
            [(0, 0), (0, 0), (border, border), (border, border)],
            "edge",
        )
