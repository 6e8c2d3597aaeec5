"""The variable-rate transform: every rate from one set of weights, no patch grid.

Fully convolutional with stride 16. The heavy arithmetic is done at 1/8 resolution by blocks of 1x1
and depthwise 3x3 convolutions, as in DCVC-RT (Jia et al. 2025) and EVC (Wang et al. 2023). The
latent is quantised with a step that is set by the wanted quality, and sent as planes of bits.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .pixel_filter import MARGIN, PixelFilter
from .product import product

BITPLANE = "bitplane_256"  # the id of the model
PATCH = 128  # pixels along a side of the unit that pictures are padded to
STRIDE = 16  # pixels along a side of a latent position
FOLD = 8  # pixels along a side of a position of the blocks' resolution
WIDTH = 3 * FOLD**2  # channels of the blocks: as many as there are values
CHANNELS = 256  # of the latent
STEP = 29.0  # quantisation step, in 8-bit levels of an orthonormal transform, at level 0
UNIT = 32.0  # 8-bit levels that are 1 to the first layer
BOUND = 32.0  # of what gates let through, in magnitude; in photographs it stays below 20
BLOCKS = 6  # of the analysis
SYNTHESIS_BLOCKS = 4  # of the synthesis: two more gain 0.02 dB at most
QUICK = 3  # blocks of the analysis at most, for encoders in a hurry
LEVELS = (-0.7, 2.0)  # that the weights are trained for; beyond, only the step goes on
TRADE = 0.03  # bits per pixel that one 8-bit level squared of error weighs, at level 0

# Positions above, below, left and right of what is wanted, which are only looked at.
Halo = tuple[int, int, int, int]
ALONE: Halo = (0, 0, 0, 0)


def step_size(level: Tensor) -> Tensor:
    """The quantisation step at a level: STEP * e^level."""
    return STEP * torch.exp(level)


def trade_off(level: Tensor) -> Tensor:
    """Bits per pixel that a squared error of one 8-bit level weighs: TRADE * e^(-2 level)."""
    return TRADE * torch.exp(-2 * level)


def squares(x: Tensor, side: int) -> Tensor:
    """The squares of positions of (n, C, H, W) as vectors, (n, H/side, W/side, side * side * C).

    Their channels lie innermost, so that of channels last whole runs are copied, if anything is.
    """
    n, channels, height, width = x.shape
    runs = x.permute(0, 2, 3, 1).reshape(n, height // side, side, width // side, side * channels)
    return runs.transpose(2, 3).flatten(3)


def placed(vectors: Tensor, side: int) -> Tensor:
    """The way back: vectors (n, h, w, side * side * C) to (n, C, h * side, w * side)."""
    n, height, width, _ = vectors.shape
    runs = vectors.reshape(n, height, width, side, -1).transpose(2, 3)
    return runs.reshape(n, height * side, width * side, -1).permute(0, 3, 1, 2)


class Pointwise(nn.Conv2d):
    """A convolution of single positions, or of squares that do not overlap, as a matrix product."""

    def forward(self, x: Tensor, side: int = 1) -> Tensor:
        """Map (n, c, H, W) to (n, D, H/side, W/side): the inputs are a square's c * side * side."""
        weight = self.weight.reshape(len(self.weight), -1, side, side)
        found = product(squares(x, side), weight.permute(0, 2, 3, 1).flatten(1), self.bias)
        return found.permute(0, 3, 1, 2)


class Block(nn.Module):
    """Two residual branches, spatial and gated; each starts at zero.

    What a gate lets through is of second order, so that a row of blocks could send noise, which
    they were not trained for, beyond all numbers: it is clamped, and blocks grow in a line only.

    Where a ``level`` is given, learned factors 1 + s * level scale the branches' hidden units.
    """

    def __init__(self, width: int, levelled: bool) -> None:
        super().__init__()
        self.expand = Pointwise(width, width, 1)
        self.spread = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.project = Pointwise(width, width, 1)
        self.gate = Pointwise(width, 2 * width, 1)
        self.merge = Pointwise(width, width, 1)
        for last in (self.project, self.merge):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)  # type: ignore[arg-type]
        self.slopes = nn.Parameter(torch.zeros(2, width)) if levelled else None

    def forward(self, x: Tensor, level: Tensor | None = None) -> Tensor:
        """Map (n, width, h, w) to the same shape; ``level`` is (n,)."""
        spatial = self.spread(F.leaky_relu(self.expand(x), 0.1))
        x = x + self.project(self._scaled(spatial, 0, level))
        opened, value = self.gate(x).chunk(2, 1)
        passed = self._scaled(F.relu(opened) * value, 1, level)
        passed = F.hardtanh(passed, -BOUND, BOUND)  # clamped, with a derivative in one pass
        result: Tensor = x + self.merge(passed)
        return result

    def _scaled(self, hidden: Tensor, branch: int, level: Tensor | None) -> Tensor:
        if self.slopes is None or level is None:
            return hidden
        factor = 1 + level.clamp(*LEVELS)[:, None] * self.slopes[branch]
        return hidden * factor[:, :, None, None].to(hidden.dtype)


def least(halo: Halo, reach: int) -> Halo:
    """A halo of at most ``reach`` positions a side."""
    above, below, before, after = (min(side, reach) for side in halo)
    return above, below, before, after


def within(x: Tensor, halo: Halo, reach: int) -> Tensor:
    """Cut (n, C, H, W) with a halo down to one of at most ``reach`` positions a side."""
    kept = least(halo, reach)
    above, below, before, after = (side - left for side, left in zip(halo, kept, strict=True))
    if above or below or before or after:
        return x[..., above : x.shape[2] - below, before : x.shape[3] - after]
    return x


def through(
    blocks: nn.ModuleList, x: Tensor, halo: Halo, beyond: int, level: Tensor | None = None
) -> Tensor:
    """A row of blocks; what comes out has a halo of at most ``beyond`` positions a side.

    A block looks one position around. What is no longer looked at is cut off at every second.
    """
    for i, block in enumerate(blocks):
        if i % 2 == 0:
            reach = len(blocks) - i + beyond
            x, halo = within(x, halo, reach), least(halo, reach)
        x = block(x, level)
    return within(x, halo, beyond)


def reach_of(blocks: nn.ModuleList, beyond: int = 0) -> int:
    """Latent positions around a block that a transform of these blocks looks at, at most.

    One in its block at the latent's resolution, and half of one in each at twice that, and in so
    many ``beyond`` them.
    """
    return 1 + -(-(len(blocks) + beyond) // 2)


def times(factor: int, halo: Halo) -> Halo:
    """A halo at so many times the resolution."""
    above, below, before, after = halo
    return factor * above, factor * below, factor * before, factor * after


class Linear(Pointwise):
    """One without an activation, kept in float32: it carries the picture itself."""

    def forward(self, x: Tensor, side: int = 1) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.float(), side)

    def spread(self, x: Tensor, side: int) -> Tensor:
        """Map (n, c, h, w) to (n, D, h * side, w * side): the outputs are a square's."""
        assert self.bias is not None
        weight = self.weight.reshape(-1, side, side, x.shape[1]).permute(1, 2, 0, 3).flatten(0, 2)
        bias = self.bias.reshape(-1, side, side).permute(1, 2, 0).flatten()
        with torch.autocast(x.device.type, enabled=False):
            found = product(squares(x.float(), 1), weight, bias)
        return placed(found, side)


class Analysis(nn.Module):
    """Pixels (n, 3, H, W), in 8-bit levels less 127.5, to the latent (n, channels, H/16, W/16).

    For encoders in a hurry there is a second, shorter row of blocks.
    """

    def __init__(self, blocks: int = BLOCKS, channels: int = CHANNELS) -> None:
        super().__init__()
        self.head = Linear(WIDTH, WIDTH, 1)
        self.blocks = nn.ModuleList(Block(WIDTH, False) for _ in range(blocks))
        self.quick = nn.ModuleList(Block(WIDTH, False) for _ in range(min(QUICK, blocks)))
        self.down = Linear(WIDTH, channels, 2, stride=2)
        self.last = Block(channels, False)

    @property
    def reach(self) -> int:
        return reach_of(self.blocks)

    def forward(self, pixels: Tensor, quick: bool = False, halo: Halo = ALONE) -> Tensor:
        """The latent without the positions of the halo, whose pixels are shown."""
        x = self.head(pixels / UNIT, FOLD)
        x = through(self.quick if quick else self.blocks, x, times(2, halo), 2)
        return within(self.last(self.down(x, 2)), least(halo, 1), 0)


class Synthesis(nn.Module):
    """The latent (n, CHANNELS, h, w) and the level (n,) to pixels, as Analysis took them."""

    def __init__(self, blocks: int = SYNTHESIS_BLOCKS, channels: int = CHANNELS) -> None:
        super().__init__()
        self.first = Block(channels, True)
        self.up = Linear(channels, 4 * WIDTH, 1)
        self.blocks = nn.ModuleList(Block(WIDTH, True) for _ in range(blocks))
        self.tail = Linear(WIDTH, WIDTH, 1)
        self.filter = PixelFilter()

    @property
    def reach(self) -> int:
        return reach_of(self.blocks, 1)  # the filter looks at pixels of one more

    def forward(
        self, latent: Tensor, level: Tensor, halo: Halo = ALONE, factors: Tensor | None = None
    ) -> Tensor:
        """The pixels of the positions inside of the halo, the filter varied by (n, WAYS)."""
        drawn = self.drawn(latent, level, halo)
        found: Tensor = self.filter(drawn, level.clamp(*LEVELS), drawn_around(halo), factors)
        return found

    def drawn(self, latent: Tensor, level: Tensor, halo: Halo = ALONE) -> Tensor:
        """The pixels before they are filtered, and MARGIN around where there is a halo."""
        reach = reach_of(self.blocks, 1) - 1  # less that of the first
        x = self.up.spread(within(self.first(latent, level), halo, reach), 2)
        x = through(self.blocks, x, times(2, least(halo, reach)), 1, level)
        return within(self.tail.spread(x, FOLD), times(FOLD, least(halo, 1)), MARGIN)


def drawn_around(halo: Halo) -> Halo:
    """The pixels that are drawn around those of the positions inside of a halo."""
    return least(times(FOLD, least(halo, 1)), MARGIN)


class Gains(nn.Module):
    """Factors exp(a + b * level) of every channel, before quantisation and after it."""

    def __init__(self, channels: int = CHANNELS) -> None:
        super().__init__()
        self.before = nn.Parameter(torch.zeros(2, channels))
        self.after = nn.Parameter(torch.zeros(2, channels))

    def scale(self, level: Tensor) -> Tensor:
        """What a latent is multiplied by to be rounded, (n, channels, 1, 1)."""
        return self._exp(self.before, level) / step_size(level)[:, None, None, None]

    def unscale(self, level: Tensor) -> Tensor:
        """What rounded values are multiplied by to be synthesised, (n, channels, 1, 1)."""
        return self._exp(self.after, level) * step_size(level)[:, None, None, None]

    @staticmethod
    def _exp(gain: Tensor, level: Tensor) -> Tensor:
        inside = level.clamp(*LEVELS)[:, None]
        return torch.exp(gain[0] + inside * gain[1])[:, :, None, None]


class Bitplane(nn.Module):
    """Both transforms and the gains between them."""

    def __init__(
        self,
        blocks: int = BLOCKS,
        channels: int = CHANNELS,
        synthesis_blocks: int = SYNTHESIS_BLOCKS,
    ) -> None:
        super().__init__()
        self.analysis = Analysis(blocks, channels)
        self.synthesis = Synthesis(synthesis_blocks, channels)
        self.gains = Gains(channels)
