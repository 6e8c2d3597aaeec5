"""What the plane model's network sees of a latent on a board, and says of it turn by turn."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .board import COLOURS, NEIGHBOURS, SQUARE, Board
from .network import TOP, Prepared
from .plane_network import (
    DECISIONS,
    LARGEST,
    LARGEST_FORECAST,
    LOGARITHM,
    REFINE,
    SIGN,
    SIGNIFICANT,
    TRUST_SHIFT,
    PlaneNetwork,
    turn_of,
)
from .products import product, summed, wide


class Turn(NamedTuple):
    """What one turn takes of a network."""

    columns: slice  # of the active channels
    last: Prepared  # what the last layer says of them
    told: Prepared  # what later turns are told of them
    forecast: slice  # of what is forecast
    signs: Tensor  # whose signs that are, among the columns


def by_turns(channels: NDArray[np.intp], plane: int) -> NDArray[np.intp]:
    """How to order channels by their turns in a plane, those of one as they come."""
    return np.argsort(turn_of(channels, plane), kind="stable")


class View:
    """What a network sees of the active channels of a latent, and what it says of them.

    ``middles`` (2 * length, active) are on a board, ``active`` being the channels' indices, ordered
    :func:`by_turns`. In half units of the ``plane`` that is being coded, they hold the middle of
    the interval that an element is known to lie in, 0 if it may be 0. What follows from one colour
    alone is computed once, by :meth:`see`, which is to be called where they have changed; nothing
    is computed where nobody asks. All this within :func:`exact_arithmetic`.
    """

    def __init__(
        self,
        network: PlaneNetwork,
        board: Board,
        active: NDArray[np.intp],
        middles: NDArray[np.float32],
        plane: int,
    ) -> None:
        self._network, self._board = network, board
        self._told = torch.from_numpy(middles)
        picked = torch.from_numpy(active).to(network.device)
        self._foretold = (picked < network.foretold).nonzero().flatten()
        self._turns = [*self._taken(picked, np.bincount(turn_of(active, plane)))]
        told = picked[self._foretold]
        self._first = network.first.part(inputs=self._features_of(picked))
        self._forecast = network.forecast.part(inputs=told, outputs=told)
        self._own = network.own[..., picked].unsqueeze(2).unbind()
        self._ahead = network.ahead[:, np.newaxis, picked]
        self._beyond = torch.from_numpy(board.beyond).to(network.device)
        self._neighbours = self._tensor(torch.from_numpy(board.neighbours))
        self._middle = self._tensor(self._told)
        # what each decision sees of a channel's own surroundings
        self._seen = self._middle.new_empty(DECISIONS, *middles.shape)
        self._known = self._middle.new_empty(len(middles), len(told), dtype=network.dtype)
        self._products = self._middle.new_empty(len(middles), self._first.taps.shape[-1])
        self._outputs = self._middle.new_empty(DECISIONS, board.count, len(active))
        self._see(slice(None))

    def _taken(self, picked: Tensor, counts: NDArray[np.intp]) -> Iterator[Turn]:
        """What turns take of the network, of which each has so many of the channels."""
        network, channels = self._network, self._network.channels
        end = known = 0
        for count in filter(None, counts.tolist()):
            columns = slice(end, end := end + count)
            mine = picked[columns]
            signs = (mine < network.foretold).nonzero().flatten()
            outputs = [mine + decision * channels for decision in range(DECISIONS)]
            outputs.append(mine[signs] + DECISIONS * channels)
            last = network.last.part(outputs=torch.cat(outputs))
            told = network.told.part(inputs=self._features_of(mine))
            yield Turn(columns, last, told, slice(known, known := known + len(signs)), signs)

    def _features_of(self, channels: Tensor) -> Tensor:
        """Where the features of channels are among the inputs of a layer that sees all."""
        return torch.cat([channels, channels + self._network.channels])

    def see(self, colour: int) -> None:
        """Take in the middles of a colour: the trunk's features, and its products with them."""
        self._see(self._board.row(colour))

    def _see(self, rows: slice) -> None:
        middle = self._middle[rows].copy_(self._told[rows])
        features = self._features(middle)
        value, size = features.chunk(2, 1)
        self._seen[SIGN, rows] = value
        self._seen[SIGNIFICANT, rows] = self._seen[REFINE, rows] = size
        self._known[rows] = value.index_select(1, self._foretold)
        self._products[rows] = self._product(features, self._first)

    def _features(self, middle: Tensor) -> Tensor:
        """The values and sizes (n, 2 * channels) of middles (n, channels)."""
        features = self._network.logarithm.new_empty(len(middle), 2 * middle.shape[1])
        value, size = features.chunk(2, 1)
        value.copy_(middle.clamp(-LARGEST["value"], LARGEST["value"]))
        entries = middle.abs().clamp_(max=len(LOGARITHM) - 1).int().view(-1)
        size.copy_(self._network.logarithm.index_select(0, entries).view(middle.shape))
        return features

    def __call__(self, colour: int, at: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """What is said of a colour's run in the situation ``at``, turn by turn.

        Of each, which columns are coded, and their outputs (3 decisions, count, columns). Before
        the next is asked for, their middles there are to be what they are with this plane.
        """
        at = self._tensor(at)
        around, forecast = self._surroundings(colour), self._foreseen(colour, at)
        hidden = self._trunk(colour, at)
        heard = torch.zeros_like(hidden)
        for columns, last, told, mine, signs in self._turns:
            x = told.shifted(heard, at).add_(hidden).clamp_(0, TOP)
            found = last.shifted(self._product(x, last), at)
            own = around[..., columns]
            found, trust = found.tensor_split([DECISIONS * own.shape[2]], 1)
            found = found.reshape(len(found), DECISIONS, -1).transpose(0, 1)
            outputs = own.new_empty(own.shape)  # else a decision's would lie in pieces
            torch.add(own, found, out=outputs)
            trusted = forecast[:, mine] * trust.clamp_(0, TOP)
            outputs[SIGN].index_add_(1, signs, trusted.mul_(2.0**-TRUST_SHIFT).floor_())
            yield columns, outputs
            if columns.stop < self._told.shape[1]:
                known = self._tensor(self._told[self._board.run(colour), columns])
                heard += self._product(self._features(known), told)

    def _foreseen(self, colour: int, at: Tensor) -> Tensor:
        """The forecast of signs at a colour's run, (count, foretold)."""
        sums = self._sums(self._known, self._forecast, colour)
        return self._forecast.shifted(sums, at).clamp_(-LARGEST_FORECAST, LARGEST_FORECAST)

    def _trunk(self, colour: int, at: Tensor) -> Tensor:
        """The trunk's activations before its last layer at a colour's run, (count, width)."""
        network, run = self._network, self._board.run
        x = self._activations(self._first.shifted(self._products, at))
        for layer in network.hidden[: network.last_look]:
            found = self._products.new_zeros(len(x), layer.taps.shape[-1])
            for here in range(COLOURS):
                found[run(here)] = layer.shifted(self._sums(x, layer, here), at)
            x = self._activations(found.add_(x) if layer.skip else found)
        # From the last layer on that looks around, all that counts is at this colour.
        looking, *others = network.hidden[network.last_look :]
        found = looking.shifted(self._sums(x, looking, colour), at)
        x = (found.add_(x[run(colour)]) if looking.skip else found).clamp_(0, TOP)
        for layer in others:
            found = layer.shifted(self._product(x, layer), at)
            x = (found.add_(x) if layer.skip else found).clamp_(0, TOP)
        return x

    def _activations(self, sums: Tensor) -> Tensor:
        """What becomes of the sums (2 * length, width) of all places; nothing beyond the edges."""
        return sums.clamp_(0, TOP).index_fill_(0, self._beyond, 0).to(self._network.dtype)

    def _product(self, x: Tensor, layer: Prepared) -> Tensor:
        """A layer's sums of products with what it sees of single positions."""
        return product(x.to(self._network.dtype), layer.taps[0, 0])

    def _sums(self, x: Tensor, layer: Prepared, colour: int) -> Tensor:
        """A layer's sums of products at a colour's run, (count, outputs)."""
        taps = layer.taps.flatten(0, 1)
        places = SQUARE if len(taps) > 1 else ((0, 0),)
        return summed([x[self._board.run(colour, *at)] for at in places], taps)

    def _surroundings(self, colour: int) -> Tensor:
        """What each channel's own 3x3 neighbourhood adds to the decisions, (3, count, active)."""
        run = self._board.run
        lead = -self._neighbours[colour] * self._middle[run(colour)]
        for place in NEIGHBOURS:
            lead += self._middle[run(colour, *place)]
        lead.clamp_(-LARGEST["lead"], LARGEST["lead"])
        totals = torch.mul(lead, self._ahead, out=self._outputs)
        totals[REFINE] *= self._seen[SIGN, run(colour)].sign()
        for place, weights in zip(SQUARE, self._own, strict=True):
            totals.addcmul_(self._seen[:, run(colour, *place)], weights)
        return totals.floor_()

    def _tensor(self, x: Tensor) -> Tensor:
        return x.to(self._network.device, wide(self._network.dtype))
