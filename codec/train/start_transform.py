"""A closed-form start for the variable-rate transform: principal components of 16x16 patches.

The linear path is a good transform codec at once, and the blocks start at zero, so that training
begins there and not from noise.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from nncodec.models.bitplane import FOLD, UNIT, Bitplane


def components(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Principal components of (n, d) around 0, in columns (d, d), and variances, largest first."""
    variance, basis = torch.linalg.eigh(vectors.T @ vectors / len(vectors))
    return basis.flip(1), variance.flip(0).clamp_min(1e-4)


def rows(x: Tensor) -> Tensor:
    """The positions of (n, c, h, w) as vectors (n * h * w, c)."""
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])


@torch.no_grad()
def principal_start(model: Bitplane, crops: Tensor) -> None:
    """Give the linear path the principal components of 16x16 patches.

    ``crops`` is (n, 3, h, w) in levels less 127.5, h and w multiples of 16.
    """
    folded = F.pixel_unshuffle(crops.double(), FOLD)  # (n, 192, h/8, w/8)
    basis, variance = components(rows(folded))
    compress = (32 * variance.sqrt()) ** -0.5  # channels of like size
    quads = F.pixel_unshuffle((basis.T @ folded.flatten(2)).reshape(folded.shape), 2)
    wide, variance = components(rows(quads))  # of channels c * 4 + i * 2 + j
    analysis, synthesis = model.analysis, model.synthesis
    count = analysis.down.out_channels
    wide, pack = wide[:, :count], (32 * variance[:count].sqrt()) ** -0.5
    each = compress.repeat_interleave(4)[:, None]
    analysis.head.weight.copy_((UNIT * compress * basis).T[:, :, None, None])
    analysis.down.weight.copy_((wide / each * pack).T.reshape(count, -1, 2, 2))
    synthesis.up.weight.copy_((each * wide / pack)[:, :, None, None])
    synthesis.tail.weight.copy_((basis / compress)[:, :, None, None])
    for layer in (analysis.head, analysis.down, synthesis.up, synthesis.tail):
        layer.bias.zero_()  # type: ignore[union-attr]
    model.gains.before[0] = -pack.log()
    model.gains.after[0] = pack.log()
