"""The context model of an integer latent that is sent as planes of bits, coarse to fine.

An element is a sequence of decisions, each halving what is left of it (the residual code of
Toderici et al. 2015, with the decisions of an embedded wavelet coder, Shapiro 1993): from the most
significant plane down, whether it becomes other than zero, its sign when it does, and one more
binary digit of its magnitude in every plane after that. A plane is coded on one colour of a
checkerboard and then on the other. A network gives the chances of the decisions of such a half
from what is known of all elements: earlier planes everywhere, and this plane on the other colour.
In the last planes, which hold nearly all bits, channels take turns: at each position, the later
ones are told what has become of the earlier.

Channels differ in their largest value: their top planes are sent first, and a channel takes part
in coding and in the network's arithmetic from its top plane on only. Those with the most planes
come first in all planes.

Of channels that are means of blocks, not the elements are coded, but how far they are from what
others predict (:mod:`.pyramid`).
"""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .board import COLOURS, Board
from .coder import Bits, Chances, Coder, Decoder, Encoder
from .digits import MAX_TOP, Latent, Partial, halves, ranking, refined, tops_of
from .groups import RARE, code_rare
from .network import exact_arithmetic
from .plane_network import (
    DECISIONS,
    REFINE,
    SIGN,
    SIGNIFICANT,
    TENT,
    PlaneNetwork,
    situation,
)
from .plane_view import View, by_turns
from .pyramid import Pyramid

FIRST = 3  # half units: the middle of what an element lies in when it is first known not to be 0


def either(bits: Bits) -> NDArray[np.float32]:
    """1 for each bit that is 1, else -1."""
    return 2 * bits.astype(np.float32) - 1


class PlaneModel:
    """Codes integer latents plane by plane, with learned chances.

    ``tensors`` are those of a plane model's safetensors file: the network's layers, ``own.weight``
    and ``own.lead``, ``table`` (the chance out of 2^16 of each output from -L to L), ``tops`` (the
    chance that a channel's top plane is above 0, 1, ... given that it is not below, for each
    supporting point of the step) and those of a :class:`Pyramid`. Raises WeightsError if they are
    no such model.
    """

    def __init__(
        self,
        tensors: Mapping[str, Tensor],
        channels: int,
        device: torch.device | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.network = PlaneNetwork(tensors, channels, device, dtype)
        self.table: NDArray[np.uint16] = tensors["table"].numpy()
        self.offset = len(self.table) // 2
        self.top_chances: NDArray[np.uint16] = tensors["tops"].numpy()  # (points, C, MAX_TOP)
        self.pyramid = Pyramid.of(tensors)

    def predicted(self, latent: Latent) -> Latent:
        """What is coded of a latent (..., h, w, C) of elements up to LARGEST."""
        return self.pyramid.predicted(latent)

    def restored(self, coded: Latent, unit: int) -> Latent:
        """The latent of which that is coded, both in units of 1 / ``unit``."""
        return self.pyramid.unpredicted(coded, unit)

    def encode(self, latent: Latent, step: int, stages: int, least: int = 0) -> list[bytes]:
        """The bytes of each stage of a latent (h, w, C), quantised with a step code.

        There are as many as ``stages``, or only so many that the first has ``least`` bytes.
        """
        coded = self.predicted(latent)
        tops = tops_of(np.abs(coded).max((0, 1)))
        order = ranking(tops)
        board = Board(*latent.shape[:2])
        ranked = board.lay(coded[..., order], np.int16)
        payloads: list[bytes] = []
        coder = Encoder()
        self._code_tops(coder, tops, step)
        with exact_arithmetic(self.network.device):
            for plane in range(max(int(tops.max()), stages))[::-1]:
                active = order[: np.count_nonzero(tops > plane)]
                if len(active):
                    columns = by_turns(active, plane)
                    middles, due = halves(ranked.take(columns, 1), plane)
                    self._code_plane(coder, board, active[columns], middles, due, plane, step)
                if plane < stages and (payloads or coder.size >= least or plane == 0):
                    payloads.append(coder.finish())
                    coder = Encoder()
        return payloads

    def decode(self, data: bytes, known: "Partial", step: int, last: int, name: str) -> "Partial":
        """What is known with a stage more, whose last plane is ``last``.

        DamagedChunk, calling the data ``name``, if these bytes cannot have been coded.
        """
        coder = Decoder(data, name)
        tops = known.tops if known.stages else self._code_tops(coder, known.tops, step)
        first = int(tops.max()) - 1
        if known.stages:  # else it holds all planes from the highest down
            first = min(first, last)
        order = ranking(tops)
        board = Board(*known.ranked.shape[:2])
        found = board.lay(refined(known.ranked), np.float32)
        with exact_arithmetic(self.network.device):
            for plane in range(first, last - 1, -1):
                active = order[: np.count_nonzero(tops > plane)]
                columns = by_turns(active, plane)
                middles = 2 * found.take(columns, 1)  # the same in half units of this plane
                self._code_plane(coder, board, active[columns], middles, None, plane, step)
                found[:, : len(active)] = middles.take(columns.argsort(), 1)
        coder.finish()
        ranked = board.gather(found) / 2  # less the half that is not known
        return Partial(ranked.astype(np.int16), tops, known.stages + 1)

    def chances(self, latent: Latent, plane: int, step: int) -> NDArray[np.uint16]:
        """The chances out of 2^16 of all decisions of a plane, (3 decisions, h, w, C).

        What is coded of a latent (h, w, C) is so with these, and would be were every channel to
        take part, whatever its top plane. The planes above are known, and each turn sees those
        before as they are.
        """
        board = Board(*latent.shape[:2])
        channels = by_turns(np.arange(latent.shape[2]), plane)
        coded = self.predicted(latent)[..., channels]
        middles, due = halves(board.lay(coded, np.int16), plane)
        found = [np.zeros(middles.shape, np.uint16) for _ in range(DECISIONS)]
        with exact_arithmetic(self.network.device):
            view = View(self.network, board, channels, middles, plane)
            for colour in range(COLOURS):
                if colour > 0:
                    view.see(0)
                here = board.run(colour)
                for columns, outputs in view(colour, situation(step, plane, colour)):
                    middles[here, columns] = due[here, columns]
                    for rows, decision in zip(found, outputs.cpu().numpy(), strict=True):
                        rows[here, columns] = self._chances(decision)
        chances = np.empty((DECISIONS, *latent.shape), np.uint16)
        chances[..., channels] = [board.gather(rows) for rows in found]
        return chances

    def _code_tops(self, coder: Coder, tops: NDArray[np.uint8], step: int) -> NDArray[np.uint8]:
        """Code how many planes each channel has, (C,): one more or not, as long as there are."""
        chances = self.top_chances[min(max(step // TENT, 0), len(self.top_chances) - 1)]
        found = np.zeros_like(tops)
        above = np.arange(len(tops))
        for plane in range(MAX_TOP):
            above = above[coder.code(chances[above, plane], tops[above] > plane)]
            found[above] = plane + 1
        return found

    def _code_plane(
        self,
        coder: Coder,
        board: Board,
        active: NDArray[np.intp],
        middles: NDArray[np.float32],
        due: Latent | None,
        plane: int,
        step: int,
    ) -> None:
        """Code a plane of the ``active`` channels.

        The ``middles`` (2 * length, active), on the board and in half units of this plane, become
        those of :func:`refined`: what they are ``due`` to become, if that is known.
        """
        view = View(self.network, board, active, middles, plane)
        for colour in range(COLOURS):
            if not board.inside[colour].any():  # one position has one colour
                continue
            if colour > 0:
                view.see(0)
            here = board.run(colour)
            for columns, outputs in view(colour, situation(step, plane, colour)):
                part = here, columns
                known = np.ascontiguousarray(middles[part])
                wanted = None if due is None else due[part]
                self._code_turn(coder, outputs.cpu().numpy(), board.inside[colour], known, wanted)
                middles[part] = known

    def _code_turn(
        self,
        coder: Coder,
        outputs: NDArray[np.float32],
        inside: NDArray[np.bool_],
        middles: NDArray[np.float32],
        due: Latent | None,
    ) -> None:
        """Code what ``middles`` (n, active) are ``due`` to become in this plane.

        Position by position: whether what may be zero is not, the rare ones last; the next digit of
        all else; the signs of what is new.
        """
        known = middles.reshape(-1)

        def wanted(places: NDArray[np.intp]) -> Latent:
            if due is None:  # what a decoder is given is of no account
                return np.zeros(places.shape, np.int16)
            return due.reshape(-1).take(places)

        zero = middles == 0
        chances = self._chances(outputs[SIGNIFICANT])
        maybe, rare = zero & inside, chances < RARE
        likely, unlikely = np.flatnonzero(maybe & ~rare), np.flatnonzero(maybe & rare)
        old = np.flatnonzero(~zero)
        appears = coder.code(chances.take(likely), wanted(likely) != 0)
        rest = code_rare(coder, chances.take(unlikely), wanted(unlikely) != 0)
        new = np.concatenate([likely.compress(appears), unlikely[rest]])
        digits, signs = (
            self._chances(outputs[decision].reshape(-1).take(where))
            for decision, where in ((REFINE, old), (SIGN, new))
        )
        before = known.take(old)
        above = coder.code(digits, np.abs(wanted(old)) > np.abs(before))
        upward = coder.code(signs, wanted(new) > 0)
        known[old] = before + either(above) * np.sign(before)
        known[new] = FIRST * either(upward)

    def _chances(self, outputs: NDArray[np.float32]) -> Chances:
        """Chances out of 2^16 for outputs of the network."""
        return self.table.take(outputs.astype(np.intp) + self.offset, mode="clip")
