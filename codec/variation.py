"""How the filter of decoded pixels is best varied for a picture.

A file says how much it varies in each of some ways, as those of video codecs do (Tsai et al.,
"Adaptive loop filtering for video coding", 2013). What is best follows from the picture by least
squares, but every factor takes bits: it is only as large as it is worth.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nncodec.formats.cae import Header
from nncodec.formats.stages import FACTOR_DIGITS, LARGEST_FACTOR, Settings, factor_bits

from .entropy.digits import Latent
from .models.bitplane import trade_off
from .models.pixel_filter import along
from .transform import Pixels
from .variable_transform import VariableTransform, level_of

SWEEPS = 8  # over all factors at most


class Variation:
    """The filter that suits a picture (H, W, 3), by its segments as they are decoded by now.

    ``settings`` are those of its file. Every ``stride`` pixels, along both axes, one stands for
    all.
    """

    def __init__(
        self,
        transform: VariableTransform,
        latent: Latent,
        pixels: Pixels,
        header: Header,
        step: int,
        stride: int = 1,
    ) -> None:
        self.transform = transform
        self.pixels = pixels
        self.header = header
        self.step = step
        self.stride = stride
        self.found = [self._along(latent, index) for index in range(header.n_segments)]
        self.settings = self._settings()

    def look(self, latent: Latent, *segments: int) -> None:
        """Suit what has become of some segments of a latent (h, w, C)."""
        for index in segments:
            self.found[index] = self._along(latent, index)
        self.settings = self._settings()

    def _along(self, latent: Latent, index: int) -> tuple[Tensor, Tensor]:
        """What factors do to the error of a segment."""
        tile = self.header.segment_patches(index)
        found = self.transform.moments(
            latent, self.header, tile, self.step, self.pixels, self.stride
        )
        return along(self.transform.network.synthesis.filter.ways, found)

    def _settings(self) -> Settings:
        curve, pull = (
            torch.stack(parts).sum(0).cpu().numpy() for parts in zip(*self.found, strict=True)
        )
        return Settings(self.step, factors=worthwhile(curve, pull, worth(self.step)))


def worth(step: int) -> float:
    """The bits that a unit of squared error weighs."""
    return float(trade_off(level_of(step))) / 3


def worthwhile(
    curve: NDArray[np.float32], pull: NDArray[np.float32], trade: float
) -> tuple[int, ...]:
    """The factors that cost the least with the bits that they take, the last one other than 0.

    Factors f make the squared error less by 2 pull @ f - f @ curve @ f, with (n, n) and (n,), and a
    unit of that is worth ``trade`` bits. One after another is chosen beside the others, as long as
    that changes any.
    """
    factors = np.zeros(len(pull))
    for _ in range(SWEEPS):
        before = factors.copy()
        for index, own in enumerate(curve.diagonal()):
            if own <= 0:
                continue
            rest = pull[index] - curve[index] @ factors + own * factors[index]
            best = min(max(math.floor(rest / own), -LARGEST_FACTOR), LARGEST_FACTOR - 1)

            def cost(factor: int, own: float = own, rest: float = rest) -> float:
                return trade * (own * factor - 2 * rest) * factor + factor_bits(factor)

            factors[index] = min((0, best, best + 1), key=cost)
        if (factors == before).all():
            break
    chosen = [int(factor) for factor in factors]
    while chosen and (not chosen[-1] or sum(map(factor_bits, chosen)) > FACTOR_DIGITS):
        chosen.pop()
    return tuple(chosen)
