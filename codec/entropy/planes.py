"""The context model of an integer latent that is sent as planes of bits, coarse to fine.

An element is a sequence of decisions, each halving what is left of it (the residual code of
Toderici et al. 2015, with the decisions of an embedded wavelet coder, Shapiro 1993): from the most
significant plane down, whether it becomes other than zero, its sign when it does, and one more
binary digit of its magnitude in every plane after that. A plane is coded on one colour of a
checkerboard and then on the other. One evaluation of a network gives the chances of all decisions
of such a half from what is known of all elements: earlier planes everywhere, and this plane on the
other colour.

Channels differ in their largest value: their top planes are sent first, and a channel takes part
in coding and in the network's arithmetic from its top plane on only. Those with the most planes
come first in all planes.

Of channels that are means of blocks, not the elements are coded, but how far they are from what
others predict (:mod:`.pyramid`).
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .board import COLOURS, Board
from .coder import Bits, Chances, Coder, Decoder, Encoder, Recorder
from .digits import MAX_TOP, Latent, Partial, halves, ranking, refined, tops_of
from .groups import RARE, code_rare
from .network import exact_arithmetic, single_threads
from .plane_network import (
    DECISIONS,
    REFINE,
    SIGN,
    SIGNIFICANT,
    TENT,
    PlaneNetwork,
    View,
    situation,
)
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
        planes = range(max(int(tops.max()), stages))[::-1]
        payloads: list[bytes] = []
        coder = Encoder()
        self._code_tops(coder, tops, step)
        for plane, decisions in zip(
            planes, self._decisions(coded, tops, step, planes), strict=True
        ):
            decisions.replay(coder)
            if plane < stages and (payloads or coder.size >= least or plane == 0):
                payloads.append(coder.finish())
                coder = Encoder()
        return payloads

    def _decisions(
        self, latent: Latent, tops: NDArray[np.uint8], step: int, planes: Sequence[int]
    ) -> list[Recorder]:
        """What is to be coded in each plane.

        Who knows all of a latent need not wait for one plane to code the next: torch's threads each
        take one, instead of parts of all products.
        """
        order = ranking(tops)
        board = Board(*latent.shape[:2])
        ranked = board.lay(latent[..., order], np.int16)

        def decisions(plane: int) -> Recorder:
            recorder = Recorder()
            active = order[: np.count_nonzero(tops > plane)]
            if len(active):
                truth = ranked[:, : len(active)]
                middles, due = halves(truth, plane)
                self._code_plane(recorder, board, active, middles, due, plane, step)
            return recorder

        threads = torch.get_num_threads()
        with exact_arithmetic(self.network.device):
            if threads == 1:
                return [*map(decisions, planes)]
            # That switch of the whole process stays as it is until the last thread has ended.
            with single_threads(threads) as pool:  # the last planes, which take longest, first
                return [*pool.map(decisions, planes[::-1])][::-1]

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
                middles = 2 * found[:, : len(active)]  # the same in half units of this plane
                self._code_plane(coder, board, active, middles, None, plane, step)
                found[:, : len(active)] = middles
        coder.finish()
        ranked = board.gather(found) / 2  # less the half that is not known
        return Partial(ranked.astype(np.int16), tops, known.stages + 1)

    def chances(self, latent: Latent, plane: int, step: int) -> NDArray[np.uint16]:
        """The chances out of 2^16 of all decisions of a plane, (3 decisions, h, w, C).

        What is coded of a latent (h, w, C) is so with these, and would be were every channel to
        take part, whatever its top plane. The planes above are known, and each colour sees the one
        before as it is.
        """
        board = Board(*latent.shape[:2])
        middles, due = halves(board.lay(self.predicted(latent), np.int16), plane)
        found = [np.zeros(middles.shape, np.uint16) for _ in range(DECISIONS)]
        with exact_arithmetic(self.network.device):
            view = View(self.network, board, np.arange(latent.shape[2]), middles)
            for colour in range(COLOURS):
                if colour > 0:
                    middles[board.row(0)] = due[board.row(0)]
                    view.see(0)
                outputs = view(colour, situation(step, plane, colour)).cpu().numpy()
                for rows, decision in zip(found, outputs, strict=True):
                    rows[board.run(colour)] = self._chances(decision)
        return np.stack([board.gather(rows) for rows in found])

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
        view = View(self.network, board, active, middles)
        for colour in range(COLOURS):
            if not board.inside[colour].any():  # one position has one colour
                continue
            if colour > 0:
                view.see(0)
            outputs = view(colour, situation(step, plane, colour)).cpu().numpy()
            here = board.run(colour)
            wanted = None if due is None else due[here]
            self._code_colour(coder, outputs, board.inside[colour], middles[here], wanted)

    def _code_colour(
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
                return np.broadcast_to(np.int16(0), places.shape)
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
