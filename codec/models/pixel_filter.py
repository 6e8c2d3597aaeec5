"""A filter of decoded pixels that tells weak differences from strong ones.

The blocks of the synthesis see a position of 8 x 8 pixels as one, and its last layer is linear:
what tells an edge from grain among neighbouring pixels is beyond them. Video codecs add multiples
of clipped differences between neighbours (Taquet et al., "Non-linear adaptive loop filter", 2019).
Here which differences, where they are clipped and where they go are learned, as in Chen and Pock,
"Trainable nonlinear reaction diffusion", 2017.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

RESPONSES = 16  # differences of each pixel
MARGIN = 2  # pixels around that are looked at: one for the differences, one for where they go
STRIP = 64  # rows at once: the responses are many times as large as the pixels
SMALL, LARGE = 0.4, 3.0  # logarithms of the 8-bit levels where responses are clipped, at first

Margins = tuple[int, int, int, int]


class PixelFilter(nn.Module):
    """Adds clipped responses to 3x3 pixels around to the pixels around. Begins as nothing."""

    def __init__(self) -> None:
        super().__init__()
        # the same in every run: what begins as nothing should not change what else is drawn
        drawn = torch.randn(RESPONSES, 3, 3, 3, generator=torch.Generator().manual_seed(0))
        self.look = nn.Parameter(drawn / 10)
        self.back = nn.Parameter(torch.zeros(3, RESPONSES, 3, 3))
        first, slope = torch.linspace(SMALL, LARGE, RESPONSES), torch.full((RESPONSES,), 0.5)
        self.bounds = nn.Parameter(torch.stack([first, slope]))  # logarithm, its slope with level
        self.slopes = nn.Parameter(torch.zeros(RESPONSES))  # of what is added, with level

    def forward(self, pixels: Tensor, level: Tensor, around: Margins) -> Tensor:
        """Filter pixels (n, 3, H, W), in 8-bit levels, at levels (n,).

        ``around`` are those above, below, left and right that are only looked at: MARGIN, or none
        where the picture ends, which goes on as it ends there.
        """
        above, below, before, after = (MARGIN - known for known in around)
        with torch.autocast(pixels.device.type, enabled=False):
            seen = F.pad(pixels.float(), (before, after, above, below), mode="replicate")
            found = [self._one(*one) for one in zip(torch.split(seen, 1), level, strict=True)]
        return torch.cat(found)

    def _one(self, seen: Tensor, level: Tensor) -> Tensor:
        """Filter one picture (1, 3, H + 2 MARGIN, W + 2 MARGIN) at its level."""
        # Differences: what is even has none. Bounds are 1 where both are multiplied into weights.
        bounds = torch.exp(self.bounds[0] + self.bounds[1] * level)[:, None, None, None]
        look = (self.look - self.look.mean((2, 3), keepdim=True)) / bounds
        back = self.back * (bounds[:, 0] * (1 + self.slopes * level)[:, None, None])
        look, back = (x.contiguous(memory_format=torch.channels_last) for x in (look, back))
        strips = []
        for top in range(0, seen.shape[2] - 2 * MARGIN, STRIP):
            strip = seen[:, :, top : top + STRIP + 2 * MARGIN]
            inside = strip[:, :, MARGIN:-MARGIN, MARGIN:-MARGIN]
            strips.append(inside + F.conv2d(F.hardtanh(F.conv2d(strip, look)), back))
        return torch.cat(strips, 2)
