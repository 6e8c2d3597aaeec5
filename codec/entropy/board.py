"""A latent laid out by the colours of a checkerboard, for arithmetic on half of it at a time."""

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

COLOURS = 2
NEIGHBOURS = (-1, 0), (1, 0), (0, -1), (0, 1)
SQUARE = tuple((i, j) for i in (-1, 0, 1) for j in (-1, 0, 1))


class Board:
    """Where the positions of a latent (h, w) lie in two long rows, one of either colour.

    The latent's own rows are put end to end, zeros between them and around them all. One zero or
    two follow each, so that their length ``down`` is odd. Then the parity of a place is its colour,
    and a position's neighbours are 1 and ``down`` places away, whatever its row and column. So
    what all positions of a colour see in some direction is a run of one of the two long rows,
    (2, length, ...), and nothing is ever gathered.

    ``inside`` (2, count, 1) tells which places of a run are positions of the latent, ``beyond`` the
    indices of all other places, ``neighbours`` (2, count, 1) how many of the four neighbours there
    are.
    """

    def __init__(self, height: int, width: int) -> None:
        self.shape = height, width
        self.down = width + 1 + width % 2
        self.margin = self.down + 1  # even, as are colours to parities
        self.count = (height * self.down + 1) // 2
        self.length = self.margin + self.count
        there = self.lay(np.ones((height, width, 1)), np.int8)
        here = range(COLOURS)
        self.inside = np.stack([there[self.run(colour)] for colour in here]) > 0
        self.beyond = np.flatnonzero(there == 0)
        self.neighbours = np.stack(
            [sum(there[self.run(colour, *at)] for at in NEIGHBOURS) for colour in here]
        )

    def row(self, colour: int) -> slice:
        """Where the long row of a colour is."""
        return slice(colour * self.length, (colour + 1) * self.length)

    def run(self, colour: int, down: int = 0, across: int = 0) -> slice:
        """Where that is which the positions of a colour see, 0 or 1 place below and right, or -1.

        ``count`` places; beyond the latent's edges there are zeros.
        """
        place, there = divmod(self.margin + colour + down * self.down + across, COLOURS)
        start = there * self.length + place
        return slice(start, start + self.count)

    def lay(self, latent: NDArray[Any], dtype: DTypeLike) -> NDArray[Any]:
        """A latent (h, w, C) on the board, (2 * length, C)."""
        channels = latent.shape[2]
        places = np.zeros((COLOURS * self.length, channels), dtype)
        self._positions(places)[...] = latent
        return places.reshape(-1, COLOURS, channels).swapaxes(0, 1).reshape(places.shape)

    def gather(self, rows: NDArray[Any]) -> NDArray[Any]:
        """The latent (h, w, C) of what is on the board, (2 * length, C)."""
        channels = rows.shape[1]
        places = rows.reshape(COLOURS, -1, channels).swapaxes(0, 1)
        return self._positions(places.reshape(-1, channels))

    def _positions(self, places: NDArray[Any]) -> NDArray[Any]:
        """The positions (h, w, C) in all places (2 * length, C), one after the other; a view."""
        height, width = self.shape
        end = self.margin + height * self.down
        return places[self.margin : end].reshape(height, self.down, -1)[:, :width]
