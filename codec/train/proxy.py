"""A rate to train a transform on: what a network would spend that knows what the planes know.

The planes' context model, which codes the files, is trained afterwards; decisions have no slopes.
So all elements are coded at once here, with noise for rounding, each by a mean and a scale. As in a
hyperprior (Minnen et al. 2018) those come from a hyper-latent that is paid for. But a transform
that learns from that alone does not learn what the planes are good at. So elements in one colour of
a checkerboard are also told by those around in the other (He et al. 2021), and means of blocks by
a pyramid, as in the files.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nncodec.entropy.plane_network import PHASES, chequer
from nncodec.entropy.pyramid import AROUND, NEAR, SPACINGS, lattices

from .pyramid import MEANS

INNER = 96
HYPER = 48  # channels of the hyper-latent, at half the latent's resolution
ALIKE = 96  # channels, the first ones, in which neighbours tell one another's signs
MANY = 4.0  # quantisation steps: what numbers are multiplied by that may be many
KINDS = len(AROUND)  # of lattices of one spacing
CASES = 1 + KINDS * len(SPACINGS)  # of positions in the pyramid; in the first nothing is predicted
LATTICE = 32  # hidden units of what is known of a mean
SMALLEST, LARGEST = 0.005, math.exp(5)  # scales


def logistic_bits(value: Tensor, scale: Tensor) -> Tensor:
    """Bits of a value known to +-1/2 under a logistic distribution around 0."""
    upper = F.logsigmoid((0.5 - value.abs()) / scale)
    lower = F.logsigmoid((-0.5 - value.abs()) / scale)
    # log of the difference, exact far out too, where both terms vanish
    difference = upper + torch.log(-torch.expm1((lower - upper).clamp_max(-1e-6)))
    return -difference / math.log(2)


def everywhere(level: Tensor, like: Tensor) -> Tensor:
    """Levels (n,) at all positions of (n, C, h, w), as one channel."""
    return level[:, None, None, None].expand(-1, 1, *like.shape[2:]).to(like.dtype)


class Chequered(nn.Module):
    """What elements around a position tell of it. Begins as nothing."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.look = nn.Conv2d(2 * channels, INNER, 3, padding=1)
        self.known = nn.Conv2d(INNER + 1, INNER, 1)
        self.mix = nn.Conv2d(INNER, INNER, 1)
        self.last = nn.Conv2d(INNER, 2 * channels, 1)
        alike = min(ALIKE, channels)
        self.line = nn.Conv2d(alike, alike, 3, padding=1, bias=False)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]
        nn.init.zeros_(self.line.weight)

    def forward(self, seen: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
        """What is to be added to means and logarithms of scales, (n, channels, h, w) each.

        ``seen`` (n, channels, h, w) is 0 where nothing may be known, ``known`` what else is.
        """
        squashed = torch.asinh(seen)
        x = self.known(known) + self.look(torch.cat([squashed, squashed.abs()], 1))
        x = F.leaky_relu(self.mix(F.leaky_relu(x, 0.1)), 0.1)
        mean, log_scale = self.last(x).float().chunk(2, 1)
        alike = self.line.in_channels
        line = self.line(seen[:, :alike]).float()
        return torch.cat([MANY * mean[:, :alike] + line, MANY * mean[:, alike:]], 1), log_scale


class Stepped(nn.Module):
    """What a pyramid tells of means of blocks, as :mod:`nncodec.entropy.pyramid` does."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        # from other channels, in the lattices where they are looked at
        self.tell = nn.Conv2d(channels, len(NEAR) * KINDS * MEANS, 3, padding=1, bias=False)
        self.known = nn.Conv2d(INNER + 1 + CASES + MEANS, LATTICE, 1)
        self.last = nn.Conv2d(LATTICE, 2 * MEANS, 1)
        nn.init.zeros_(self.tell.weight)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]

    def forward(self, fields: Tensor, others: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
        """Means and logarithms of scales, (n, MEANS, h, w) each, of fields (n, MEANS, h, w)."""
        case = cases(*fields.shape[2:]).to(fields.device)
        mean, apart = surroundings(fields, case)
        told = self.tell(others).float().unflatten(1, (-1, MEANS))
        for i, lattice in enumerate(told.unbind(1), CASES - told.shape[1]):
            mean = mean + lattice * (case == i)
        where = F.one_hot(case, CASES).permute(2, 0, 1).to(known.dtype)
        where = where.expand(len(known), -1, -1, -1)
        x = self.known(torch.cat([known, where, torch.log1p(apart).to(known.dtype)], 1))
        more, log_scale = self.last(F.leaky_relu(x, 0.1)).float().chunk(2, 1)
        return mean + more * torch.where(case > 0, 1.0, MANY), log_scale


def cases(height: int, width: int) -> Tensor:
    """The number of the lattice that each position (h, w) is in, from coarse to fine."""
    case = torch.zeros(height, width, dtype=torch.int64)
    for lattice in lattices(height, width):
        number = 1 + KINDS * SPACINGS.index(lattice.spacing) + lattice.kind
        stride = 2 * lattice.spacing
        case[lattice.top :: stride, lattice.left :: stride] = number
    return case


def surroundings(fields: Tensor, case: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of those around in the coarser lattices, each like fields (n, C, h, w)."""
    flat = fields.float().flatten(0, 1)[:, None]
    parts = torch.cat([flat, flat.detach().square(), torch.ones_like(flat[:1])])
    mean, variance = torch.zeros_like(flat), torch.zeros_like(flat)
    for i, spacing in enumerate(SPACINGS):
        for kind, offsets in enumerate(AROUND):
            here = case == 1 + KINDS * i + kind
            if not here.any():
                continue
            four = flat.new_zeros(1, 1, 3, 3)
            for down, across in offsets:
                four[..., 1 + down, 1 + across] = 1
            with torch.autocast(parts.device.type, enabled=False):
                sums = F.conv2d(parts, four, padding=spacing, dilation=spacing)
            average = sums[:-1] / sums[-1:].clamp_min(1)
            average, square = average.chunk(2)
            mean = torch.where(here, average, mean)
            variance = torch.where(here, (square - average.detach().square()).relu(), variance)
    return mean.view_as(fields), variance.view_as(fields)


class Proxy(nn.Module):
    """Bits of a quantised latent, with the hyper-latent's own.

    ``means`` (channels,) are 1 for the channels that are means of blocks, MEANS or none.
    """

    means: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.down = nn.Sequential(
            nn.Conv2d(channels + 1, INNER, 1),
            nn.LeakyReLU(0.1),
            nn.Conv2d(INNER, INNER, 4, stride=2, padding=1),
            nn.LeakyReLU(0.1),
            nn.Conv2d(INNER, HYPER, 1),
        )
        self.up = nn.Sequential(
            nn.Conv2d(HYPER + 1, INNER, 3, padding=1),
            nn.LeakyReLU(0.1),
            nn.Conv2d(INNER, 4 * INNER, 1),
            nn.PixelShuffle(2),
            nn.LeakyReLU(0.1),
            nn.Conv2d(INNER, INNER, 3, padding=1),
            nn.LeakyReLU(0.1),
        )
        self.first = nn.Conv2d(INNER, 2 * channels, 1)
        self.prior = nn.Parameter(torch.zeros(3, HYPER))  # mean, log scale, its slope with level
        self.chequered = Chequered(channels)
        self.stepped = Stepped(channels)
        self.register_buffer("means", torch.zeros(channels))

    def forward(self, noisy: Tensor, level: Tensor) -> Tensor:
        """Bits of each picture, (n,), for its noisy latent (n, channels, h, w), h and w even.

        Which colour of the checkerboard comes first is left to chance.
        """
        plane = everywhere(level, noisy)
        hyper = MANY * self.down(torch.cat([torch.asinh(noisy), plane], 1)).float()
        hyper = hyper + torch.rand_like(hyper) - 0.5
        mean, log_scale, slope = self.prior[:, None, :, None, None]
        spread = torch.exp((log_scale + slope * everywhere(level, hyper)).clamp(-4, 4))
        side = logistic_bits(hyper - mean, spread)
        mean, log_scale = self.foretold(noisy, level, hyper, int(torch.randint(PHASES, ())))
        scale = torch.exp(log_scale.clamp(math.log(SMALLEST), math.log(LARGEST)))
        bits = logistic_bits(noisy - mean, scale)
        return bits.sum((1, 2, 3)) + side.sum((1, 2, 3))

    def foretold(
        self, noisy: Tensor, level: Tensor, hyper: Tensor, phase: int
    ) -> tuple[Tensor, Tensor]:
        """Means and logarithms of scales of all elements, (n, channels, h, w) each.

        Of those in a colour of the checkerboard, ``phase``, by those in the other.
        """
        known = self.up(torch.cat([hyper / MANY, everywhere(level, hyper)], 1))
        mean, log_scale = self.first(known).float().chunk(2, 1)
        known = torch.cat([known, everywhere(level, known)], 1)
        height, width = noisy.shape[2:]
        second = torch.from_numpy(chequer(height, width, phase)).to(noisy.device)
        others = noisy * (1 - self.means)[:, None, None]
        more, wider = self.chequered(others * ~second, known)
        mean, log_scale = MANY * mean + more * second, log_scale + wider * second
        which = self.means.nonzero().flatten()
        if len(which):
            found, spread = self.stepped(noisy[:, which], others, known)
            mean = mean.index_copy(1, which, found)
            log_scale = log_scale.index_copy(1, which, spread)
        return mean, log_scale
