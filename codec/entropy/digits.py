"""Integer latents as binary digits: how many there are, and what is known with some of them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nncodec.formats.stages import BIT_PLANES

MAX_TOP = BIT_PLANES  # planes of a channel at most: what is coded is below 2^13
LARGEST = 2 ** (MAX_TOP - 1) - 1  # magnitude of an element: differences may be twice as large

Latent = NDArray[np.int16]


def tops_of(largest: Latent) -> NDArray[np.uint8]:
    """How many planes magnitudes have: their bit lengths, in the same shape."""
    return np.frexp(np.abs(largest).astype(np.float64))[1].astype(np.uint8)


def ranking(tops: NDArray[np.uint8]) -> NDArray[np.intp]:
    """The channels, those with the most planes first, so that the active ones always lead."""
    return np.argsort(-tops.astype(np.int8), kind="stable")


def cut(latent: Latent, plane: int) -> Latent:
    """What is known of a latent, in units of 2^plane, from that plane on."""
    known: Latent = np.sign(latent) * (np.abs(latent) >> plane)
    return known


def refined(latent: Latent) -> Latent:
    """The middles of what is known of a latent of these units, in half units."""
    return 2 * latent + np.sign(latent)


def halves(latent: Latent, plane: int) -> tuple[NDArray[np.float32], Latent]:
    """The middles of what is known of a latent before a plane and after it, in its half units."""
    before, after = (refined(cut(latent, known)) for known in (plane + 1, plane))
    return np.multiply(before, 2, dtype=np.float32), after


@dataclass(frozen=True)
class Partial:
    """What is known of what is coded of a latent.

    ``ranked`` (h, w, C) holds signed magnitudes in units of the last plane known, the channels in
    the order of :func:`ranking`. ``tops`` (C,) is the number of planes of each channel, ``stages``
    how many are known.
    """

    ranked: Latent
    tops: NDArray[np.uint8]
    stages: int = 0

    @classmethod
    def nothing(cls, height: int, width: int, channels: int) -> "Partial":
        return cls(np.zeros((height, width, channels), np.int16), np.zeros(channels, np.uint8))

    @property
    def coded(self) -> Latent:
        """The same, the channels in their own order."""
        coded = np.empty_like(self.ranked)
        coded[..., ranking(self.tops)] = self.ranked
        return coded
