"""A rate to train a transform on: what a mean-scale hyperprior would spend (Minnen et al. 2018).

It is a proxy. The files are coded with the planes' context model, which is trained afterwards.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

INNER = 96
HYPER = 48  # channels of the hyper-latent, at half the latent's resolution


def logistic_bits(value: Tensor, scale: Tensor) -> Tensor:
    """Bits of a value known to +-1/2 under a logistic distribution around 0."""
    upper = F.logsigmoid((0.5 - value.abs()) / scale)
    lower = F.logsigmoid((-0.5 - value.abs()) / scale)
    # log of the difference, exact far out too, where both terms vanish
    difference = upper + torch.log(-torch.expm1((lower - upper).clamp_max(-1e-6)))
    return -difference / math.log(2)


class Hyperprior(nn.Module):
    """Bits of a quantised latent, with the hyper-latent's own."""

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
            nn.Conv2d(INNER, 2 * channels, 1),
        )
        self.prior = nn.Parameter(torch.zeros(3, HYPER))  # mean, log scale, its slope with level

    def forward(self, noisy: Tensor, level: Tensor) -> Tensor:
        """Bits of each picture, (n,), for its noisy latent (n, channels, h, w), h and w even."""
        plane = level[:, None, None, None].expand(-1, 1, *noisy.shape[2:])
        hyper = 4 * self.down(torch.cat([torch.asinh(noisy), plane], 1)).float()
        hyper = hyper + torch.rand_like(hyper) - 0.5
        mean, log_scale, slope = self.prior[:, None, :, None, None]
        spread = torch.exp((log_scale + slope * level[:, None, None, None]).clamp(-4, 4))
        side = logistic_bits(hyper - mean, spread)
        small = level[:, None, None, None].expand(-1, 1, *hyper.shape[2:])
        mean, log_scale = self.up(torch.cat([hyper / 4, small], 1)).float().chunk(2, 1)
        bits = logistic_bits(noisy - 4 * mean, torch.exp(log_scale.clamp(math.log(0.005), 5.0)))
        return bits.sum((1, 2, 3)) + side.sum((1, 2, 3))
