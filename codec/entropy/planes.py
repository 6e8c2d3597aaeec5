"""The context model of an integer latent that is sent as planes of bits, coarse to fine.

An element is a sequence of decisions, each halving what is left of it (the residual code of
Toderici et al. 2015, with the decisions of an embedded wavelet coder, Shapiro 1993): from the most
significant plane down, whether it becomes other than zero, its sign when it does, and one more
binary digit of its magnitude in every plane after that. A plane is coded on one colour of a
checkerboard and then on the other. One evaluation of a network gives the chances of all decisions
of such a half from what is known of all elements: earlier planes everywhere, and this plane on the
other colour.

Channels differ in their largest value: their top planes are sent first, and a channel takes part
in coding and in the network's arithmetic from its top plane on only.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nncodec.formats.stages import BIT_PLANES

from .coder import Chances, Coder, Decoder, Encoder
from .plane_network import (
    PHASES,
    REFINE,
    SIGN,
    SIGNIFICANT,
    TENT,
    PlaneNetwork,
    chequer,
    situation,
)

MAX_TOP = BIT_PLANES  # planes of a channel at most: |q| < 2^13

Latent = NDArray[np.int16]


def tops_of(largest: Latent) -> NDArray[np.uint8]:
    """How many planes magnitudes have: their bit lengths, in the same shape."""
    return np.frexp(np.abs(largest).astype(np.float64))[1].astype(np.uint8)


class PlaneModel:
    """Codes integer latents plane by plane, with learned chances.

    ``tensors`` are those of a plane model's safetensors file: the network's layers, ``own.weight``
    and ``own.lead``, ``table`` (the chance out of 2^16 of each output from -L to L) and
    ``tops`` (the chance that a channel's top plane is above 0, 1, ... given that it is not
    below, for each supporting point of the step). Raises WeightsError if they are no such model.
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

    def encode(self, latent: Latent, step: int, stages: int) -> list[bytes]:
        """The bytes of each stage of a latent (h, w, C), quantised with a step code."""
        known = Partial(np.zeros_like(latent), tops_of(np.abs(latent).max((0, 1))))
        payloads = []
        for last in range(stages - 1, -1, -1):
            coder = Encoder()
            self._code_stage(coder, known, latent, step, last)
            payloads.append(coder.finish())
        return payloads

    def decode(self, data: bytes, known: "Partial", step: int, last: int, name: str) -> None:
        """Bring ``known`` on by a stage whose last plane is ``last``.

        DamagedChunk, calling the data ``name``, if these bytes cannot have been coded.
        """
        coder = Decoder(data, name)
        self._code_stage(coder, known, known.latent, step, last)
        coder.finish()

    def _code_stage(
        self, coder: Coder, known: "Partial", truth: Latent, step: int, last: int
    ) -> None:
        """Code the planes of a stage: all down to ``last`` in the first, one in each other."""
        first = last
        if known.stages == 0:
            known.tops = self._code_tops(coder, known.tops, step)
            first = int(known.tops.max()) - 1
        for plane in range(first, last - 1, -1):
            self._code_plane(coder, known, truth, plane, step)
        known.stages += 1

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
        self, coder: Coder, known: "Partial", truth: Latent, plane: int, step: int
    ) -> None:
        """Code one plane of the channels that have it.

        ``known.latent`` is in units of 2^(plane + 1) before, of 2^plane afterwards.
        """
        latent = known.latent
        active = np.flatnonzero(known.tops > plane)
        if not len(active):
            return
        target = np.abs(truth[..., active]) >> plane
        positive = truth[..., active] > 0
        size, sign = np.abs(latent[..., active]).astype(np.int32), np.sign(latent[..., active])
        done = np.zeros(latent.shape[:2], np.bool_)
        for phase in range(PHASES):
            where = chequer(len(latent), latent.shape[1], phase)
            if not where.any():  # one position has one colour
                continue
            chances = self._chances(size, sign, done, where, active, situation(step, plane, phase))
            small, signs = size[where], sign[where]
            wanted, upward = target[where], positive[where]
            zero = small == 0
            digit = np.empty(small.shape, np.bool_)
            digit[zero] = coder.code(chances[:, SIGNIFICANT][zero], wanted[zero] > 0)
            digit[~zero] = coder.code(chances[:, REFINE][~zero], wanted[~zero] % 2 > 0)
            new = zero & digit
            signs[new] = np.where(coder.code(chances[:, SIGN][new], upward[new]), 1, -1)
            size[where], sign[where] = 2 * small + digit, signs
            done |= where
        latent[..., active] = size * sign

    def _chances(
        self,
        size: NDArray[np.int32],
        sign: Latent,
        done: NDArray[np.bool_],
        where: NDArray[np.bool_],
        active: NDArray[np.intp],
        at: Tensor,
    ) -> Chances:
        """Chances out of 2^16, (positions, 3 decisions, active channels)."""
        outputs = self.network(
            torch.from_numpy(size),
            torch.from_numpy(sign),
            done,
            where,
            torch.from_numpy(active),
            at,
        )
        clipped = outputs.clamp(-self.offset, self.offset).to(torch.int32).cpu().numpy()
        chances: Chances = self.table[clipped + self.offset]
        return chances


@dataclass
class Partial:
    """What is known of a latent (h, w, C): signed magnitudes, in units of the last plane known.

    ``tops`` (C,) is the number of planes of each channel, ``stages`` how many are known.
    """

    latent: Latent
    tops: NDArray[np.uint8]
    stages: int = 0

    @classmethod
    def nothing(cls, height: int, width: int, channels: int) -> "Partial":
        return cls(np.zeros((height, width, channels), np.int16), np.zeros(channels, np.uint8))
