"""The board: runs of its rows are what the positions of a colour see around them."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from nncodec.entropy.board import COLOURS, NEIGHBOURS, SQUARE, Board
from nncodec.entropy.plane_network import chequer

sides = st.integers(1, 7)


@settings(deadline=None, max_examples=60)
@given(sides, sides)
def test_runs_are_what_a_colour_sees(height: int, width: int) -> None:
    board = Board(height, width)
    latent = np.arange(1, 2 * height * width + 1).reshape(height, width, 2)
    rows = board.lay(latent, np.float32)
    assert rows.shape == (COLOURS * board.length, 2) and rows.dtype == np.float32
    assert (board.gather(rows) == latent).all()
    assert (np.flatnonzero(rows.max(1) == 0) == board.beyond).all()
    padded = np.pad(latent, ((1, 1), (1, 1), (0, 0)))
    for colour in range(COLOURS):
        inside = board.inside[colour][:, 0]
        where = chequer(height, width, colour)
        assert (rows[board.row(colour)] > 0).sum() == 2 * where.sum()
        for down, across in SQUARE:
            due = padded[1 + down :, 1 + across :][:height, :width][where]
            assert (rows[board.run(colour, down, across)][inside] == due).all()
        there = [padded[1 + i :, 1 + j :][:height, :width][where] > 0 for i, j in NEIGHBOURS]
        assert (board.neighbours[colour][inside] == np.sum(there, 0)[:, :1]).all()


def test_runs_are_views_that_may_be_written() -> None:
    board = Board(4, 3)
    rows = board.lay(np.zeros((4, 3, 1)), np.int16)
    for colour in range(COLOURS):
        rows[board.run(colour)] = board.inside[colour] * (colour + 1)
    assert (board.gather(rows)[..., 0] == chequer(4, 3, 1) + 1).all()
    assert (rows > 0).sum() == 12
