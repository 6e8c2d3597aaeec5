"""A filter of decoded pixels that tells weak differences from strong ones.

The blocks of the synthesis see a position of 8 x 8 pixels as one, and its last layer is linear:
what tells an edge from grain among neighbouring pixels is beyond them. Video codecs add multiples
of clipped differences between neighbours (Taquet et al., "Non-linear adaptive loop filter", 2019).
Here which differences, where they are clipped and where they go are learned, as in Chen and Pock,
"Trainable nonlinear reaction diffusion", 2017. Where they go may vary from picture to picture, as
such filters do there: a file tells how much, in each of some ways that are learned, too.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .product import product

RESPONSES = 16  # differences of each pixel
INPUTS = 9 * RESPONSES  # of the second layer
WAYS = 64  # in which the filter may vary
MARGIN = 2  # pixels around that are looked at: one for the differences, one for where they go
STRIP = 64  # rows at once: the responses are many times as large as the pixels
RUN = 1 << 13  # pixels whose products are summed at once: more would be shared among threads
SMALL, LARGE = 0.4, 3.0  # logarithms of the 8-bit levels where responses are clipped, at first

Margins = tuple[int, int, int, int]


class Moments(NamedTuple):
    """What decides how good a filter with other weights would be on some pixels.

    The products of what its weights (3, INPUTS) multiply, summed over all pixels, (INPUTS,
    INPUTS); of that and the errors that the filter leaves, (INPUTS, 3); of those, ().
    """

    seen: Tensor
    pull: Tensor
    error: Tensor


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
        self.ways = nn.Parameter(torch.zeros(WAYS, 3, RESPONSES, 3, 3))  # in which back may vary

    def forward(
        self, pixels: Tensor, level: Tensor, around: Margins, factors: Tensor | None = None
    ) -> Tensor:
        """Filter pixels (n, 3, H, W), in 8-bit levels, at levels (n,), varied by (n, WAYS).

        ``around`` are those above, below, left and right that are only looked at: MARGIN, or none
        where the picture ends, which goes on as it ends there.
        """
        varied = [None] * len(level) if factors is None else factors
        with torch.autocast(pixels.device.type, enabled=False):
            seen = torch.split(padded(pixels, around), 1)
            found = [self._one(*one) for one in zip(seen, level, varied, strict=True)]
        return torch.cat(found)

    def _one(self, seen: Tensor, level: Tensor, factors: Tensor | None) -> Tensor:
        """Filter one picture (1, 3, H + 2 MARGIN, W + 2 MARGIN) at its level."""
        back = self._back(level, factors)
        strips = [inside + F.conv2d(found, back) for inside, found in self._strips(seen, level)]
        return torch.cat(strips, 2)

    def moments(self, seen: Tensor, due: Tensor, level: Tensor, stride: int = 1) -> Moments:
        """Of a picture that is due, (1, 3, H, W), where (1, 3, H + 2 MARGIN, W + 2 MARGIN) is seen.

        Of a strip, every so many pixels along both axes stand for all.
        """
        back, scale = self._back(level), self._bounds(level).expand(-1, 3, 3).reshape(-1, 1)
        total = Moments(*(due.new_zeros(size) for size in ((INPUTS, INPUTS), (INPUTS, 3), ())))
        strips = zip(self._strips(seen, level), torch.split(due, STRIP, 2), strict=True)
        with torch.autocast(due.device.type, enabled=False):
            for (inside, responses), wanted in strips:
                missed = (wanted - inside)[:, :, ::stride, ::stride]
                rest = (missed - F.conv2d(responses, back, stride=stride)).reshape(3, -1)
                columns = F.unfold(responses, 3, stride=stride)[0] * scale
                weight = wanted[0, 0].numel() / rest.shape[1]
                runs = (torch.split(part, RUN, 1) for part in (columns, rest))
                for both in map(torch.cat, zip(*runs, strict=True)):
                    found = product(both[None, None, :INPUTS], both, None)[0, 0]
                    total.seen.add_(found[:, :INPUTS], alpha=weight)
                    total.pull.add_(found[:, INPUTS:], alpha=weight)
                total.error.add_(rest.square().sum(), alpha=weight)
        return total

    def _back(self, level: Tensor, factors: Tensor | None = None) -> Tensor:
        """The weights of the second layer, for responses between -1 and 1."""
        back = self.back * (1 + self.slopes * level)[:, None, None]
        if factors is not None:
            back = back + torch.tensordot(factors, self.ways, 1)
        return (back * self._bounds(level)).contiguous(memory_format=torch.channels_last)

    def _strips(self, seen: Tensor, level: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Some rows of a picture after others, and what they respond, between -1 and 1."""
        # Differences: what is even has none. Bounds are 1 where both are multiplied into weights.
        look = (self.look - self.look.mean((2, 3), keepdim=True)) / self._bounds(level)[..., None]
        look = look.contiguous(memory_format=torch.channels_last)
        for top in range(0, seen.shape[2] - 2 * MARGIN, STRIP):
            strip = seen[:, :, top : top + STRIP + 2 * MARGIN]
            inside = strip[:, :, MARGIN:-MARGIN, MARGIN:-MARGIN]
            yield inside, F.hardtanh(F.conv2d(strip, look))

    def _bounds(self, level: Tensor) -> Tensor:
        """Where responses are clipped, in 8-bit levels, (RESPONSES, 1, 1)."""
        return torch.exp(self.bounds[0] + self.bounds[1] * level)[:, None, None]


def padded(pixels: Tensor, around: Margins) -> Tensor:
    """Pixels (n, 3, h, w) with MARGIN on all sides, of which there are some around already."""
    above, below, before, after = (MARGIN - known for known in around)
    return F.pad(pixels.float(), (before, after, above, below), mode="replicate")


def along(ways: Tensor, moments: Moments) -> tuple[Tensor, Tensor]:
    """What factors (k,) of ways (k, 3, ...) do to errors: (..., k, k) and (..., k).

    With H and v these, the error becomes less by 2 v @ factors - factors @ H @ factors.
    """
    flat = ways.flatten(2)  # (k, 3, INPUTS)
    turned = flat @ moments.seen[..., None, :, :]
    return (
        torch.einsum("...jcn,kcn->...jk", turned, flat),
        torch.einsum("jcn,...nc->...j", flat, moments.pull),
    )
