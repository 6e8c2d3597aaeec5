"""The context model of a ±1 latent: what each bit's chance is, given those already known.

A latent is known in a few steps. Each step takes a group of channels at one position of every 2x2
square: a quarter of the positions, of which no two touch. One evaluation of the network predicts
all bits of a step from the bits of the steps before it, at once. (The checkerboard of He et al.
2021, in four phases; groups of channels: Minnen & Singh 2020.)
"""

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nncodec.formats.errors import WeightsError

from .coder import Bits, Chances, Coder, Decoder, Encoder
from .network import IntegerNetwork, layers_of

# The order in which the positions of each 2x2 square are known: first two that touch at a corner,
# so that the others then have all four neighbours.
SQUARE = np.array([[0, 2], [3, 1]])
PHASES = SQUARE.size


def coding_steps(groups: int) -> Iterator[tuple[slice, slice, slice]]:
    """The rows, columns and channels of a latent that each step codes.

    Channel c belongs to group c modulo ``groups``.
    """
    for group in range(groups):
        for phase in range(PHASES):
            row, column = np.argwhere(SQUARE == phase)[0].tolist()
            yield slice(row, None, 2), slice(column, None, 2), slice(group, None, groups)


class ContextModel:
    """Codes the bits of a latent with learned probabilities.

    ``tensors`` are those of a context model's safetensors file: the network's layers, and
    ``table``, the chance out of 2^16 of each output from -L to L. ``channels`` are the latent's.
    Raises WeightsError if the tensors are no such model.
    """

    def __init__(
        self,
        tensors: Mapping[str, Tensor],
        channels: int,
        device: torch.device | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        layers = layers_of(tensors)
        if not layers or layers[0].weight.shape[1] != channels:
            raise WeightsError(f"not the context model of a latent of {channels} channels")
        self.table: NDArray[np.uint16] = tensors["table"].numpy()
        self.offset = len(self.table) // 2
        self.channels = channels
        self.groups = len(layers[0].bias) // PHASES
        self.network = IntegerNetwork(layers, 1, self.offset, device, dtype)

    def chances(
        self, known: NDArray[np.int8], step: int, where: tuple[slice, slice, slice]
    ) -> Chances:
        """The chance of +1 of each bit at ``where``, (h', w', C').

        ``known`` (h, w, C) is ±1, or 0 where the bits are not known.
        """
        inputs = torch.from_numpy(known)[np.newaxis]
        outputs = self.network(inputs, step, where)[0].to(torch.int64).cpu().numpy()
        chances: Chances = self.table[outputs + self.offset]
        return chances

    def encode(self, bits: Bits) -> bytes:
        """The bytes of a latent's bits (h, w, C)."""
        coder = Encoder()
        self._walk(coder, bits)
        return coder.finish()

    def decode(self, data: bytes, height: int, width: int, name: str = "the payload") -> Bits:
        """The bits (height, width, C) in ``data``, called ``name`` in messages.

        DamagedChunk if they cannot have been coded.
        """
        coder = Decoder(data, name)
        bits = self._walk(coder, np.zeros((height, width, self.channels), np.bool_))
        coder.finish()
        return bits

    def _walk(self, coder: Coder, bits: Bits) -> Bits:
        """Code ``bits`` step by step; returns them as the coder knows them."""
        known = np.zeros(bits.shape, np.int8)
        for step, where in enumerate(coding_steps(self.groups)):
            chances = self.chances(known, step, where)
            found = coder.code(chances.ravel(), bits[where].ravel())
            known[where] = np.where(found, 1, -1).reshape(chances.shape)
        return known > 0
