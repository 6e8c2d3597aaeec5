"""The decoder of the closed-form start: bits to pixels by a chain of least-squares fits."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from nncodec.models.cae import PATCH, Cae

from .fitting import blocks, least_squares, principal_components, sample, sample_windows, weights_of
from .quantizer import Quantizer

CONSTANT = 63  # a channel of d_up_conv_1 that is 1 inside the padding
COMPONENTS = 24  # of a block of pixels that are passed on, at most ...
LEADING = 14  # ... and through d_up_conv_2
STEADY = 31  # a channel of d_up_conv_2 that is 1 inside the padding
DULL = 15  # a channel of d_up_conv_3 that is 1 inside the padding
LIFT = 6.0  # standard deviations that keep a value on the straight side of the leaky ReLU
LIFT_VALUE = 0.3  # what keeps a pixel there
KNOTS = (0.4, 0.6, 0.75, 0.86, 0.92)  # where a polygon for the inverse of the tanh has corners
BRIGHTEST = 0.96  # no tanh reaches 1
RIM = 4  # positions along the border that the padding spoils


def fit_decoder(model: Cae, patches: Tensor, quantizers: list[Quantizer]) -> None:
    """Fit the decoder stage by stage to the bits that the encoder gives for ``patches``."""
    spec = model.spec
    bits = model.encode(patches)
    read_bits(model, quantizers)
    fine = PATCH // spec.side // 2  # pixels along a block at twice the latent's resolution
    target, _ = components(patches, fine)
    x = spread(model, bits, target)

    # What the neighbours know, the blocks add.
    x = fit_block(model.d_block_1, x, target, 0)
    coarse = 2 if spec.side == 32 else 4
    target, std = components(patches, coarse)
    first = 0
    if spec.side == 8:
        x = F.interpolate(x, scale_factor=2)
        first = 32
    x = fit_block(model.d_block_2, x, target, first)
    x = fit_block(model.d_block_3, x, target, first)
    if spec.side == 32:
        narrow(model, x, target / std, None)
        to_parts(model, x, patches, coarse)
        bend_pixels(model)
    else:
        n, h, w = target.shape[:3]
        quarters = blocks(patches, coarse).reshape(n, h, w, 3, 2, 2, 2, 2).mean((3, 5, 7))
        narrow(model, x, (target / std)[..., :LEADING], quarters.flatten(3))
        value = torch.atanh(patches.clamp(max=BRIGHTEST))
        to_parts(model, x, value, coarse)
        to_pixels(model, value)


def components(patches: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """The leading principal components of blocks, (n, h, w, k), and their standard deviations.

    They are scaled to something between equal gains and equal variances; the first one grows with
    the brightness.
    """
    cut = blocks(patches - 0.5, side)
    basis, std = principal_components(*sample(cut, count=200_000))
    basis, std = basis[:COMPONENTS], std[:COMPONENTS]
    basis[0] *= basis[0].sum().sign()
    scale = (std * std[0]).rsqrt()
    return cut @ basis.T * scale, std * scale


def read_bits(model: Cae, quantizers: list[Quantizer]) -> None:
    """Let d_up_conv_1 pass the bits, and multiply the magnitude of each component by its sign.

    For s = 1 or -1 and a magnitude 0 <= m <= 2 M,
    s m = relu(m + M s - M) - relu(m - M s - M).
    """
    weight, bias = weights_of(model.d_up_conv_1, "0")
    unit = model.spec.channels
    weight[:unit] = 0
    bias[:unit] = 0
    weight[range(unit), range(unit), 1, 1] = 1
    weight[CONSTANT] = 0
    bias[CONSTANT] = 1
    first = 0
    for quantizer in quantizers:
        if quantizer.bits > 1:
            share, offset = binary_weights(quantizer.levels)
            half = float(quantizer.levels[-1]) / 2
            for sign in (1.0, -1.0):
                weight[unit] = 0
                weight[unit, first, 1, 1] = sign * half
                weight[unit, first + 1 : first + quantizer.bits, 1, 1] = share
                bias[unit] = offset - half
                unit += 1
        first += quantizer.bits


def binary_weights(levels: NDArray[np.float64]) -> tuple[Tensor, float]:
    """The line through ``levels`` as a sum over the bits ±1 of their number, and its offset."""
    bits = int(math.log2(len(levels)))
    numbers = np.arange(len(levels))
    digits = [np.where(numbers >> p & 1, 1.0, -1.0) for p in reversed(range(bits))]
    design = np.stack([*digits, np.ones(len(levels))], 1)
    solution = np.linalg.lstsq(design, levels, rcond=None)[0]
    return torch.from_numpy(solution[:-1]).float(), float(solution[-1])


def spread(model: Cae, bits: Tensor, target: Tensor) -> Tensor:
    """Fit the transposed convolution of d_up_conv_1; returns its output (n, 128, h, w).

    Each of its four positions is a fit of its own. What their offsets differ by goes through the
    channel that is constant.
    """
    n, count, inner = len(bits), target.shape[-1], bits.shape[-1] - 2
    x = model.d_up_conv_1[0:2](bits).permute(0, 2, 3, 1)  # (n, inner, inner, 64)
    place = target[:, 2:-2, 2:-2].reshape(n, inner, 2, inner, 2, count)
    weight, bias = weights_of(model.d_up_conv_1, "3")
    for i in range(2):
        for j in range(2):
            w, offset = least_squares(*sample(x, place[:, :, i, :, j]))
            weight[:, :count, i, j] = w.T
            weight[CONSTANT, :count, i, j] += offset
    bias[:count] = 0
    return torch.as_tensor(model.d_up_conv_1(bits))


def fit_block(block: nn.Sequential, x: Tensor, target: Tensor, first: int) -> Tensor:
    """Fit a residual block so that channels ``first``... of its sum approach ``target``.

    The hidden layer looks in random directions, each input channel scaled to unit variance; the
    second convolution is the least-squares fit of what is missing. ``x`` is (n, 128, h, w),
    ``target`` (n, h, w, k). Returns the block's sum.
    """
    count = target.shape[-1]
    weight, bias = weights_of(block, "1")
    std = x.std((0, 2, 3)).clamp(min=1e-3)
    weight.normal_().div_(std[:, None, None] * math.sqrt(weight[0].numel()))
    bias.normal_(0, 0.5)
    bias -= weight.sum((2, 3)) @ x.mean((0, 2, 3))
    hidden = block[0:2](x)
    missing = target - x[:, first : first + count].permute(0, 2, 3, 1)
    w, offset = least_squares(*sample_windows(hidden, missing, RIM))
    weight, bias = weights_of(block, "4")
    weight[first : first + count] = w.reshape(count, 128, 3, 3)
    bias[first : first + count] = offset
    return torch.as_tensor(block(x) + x)


def narrow(model: Cae, x: Tensor, target: Tensor, brightness: Tensor | None) -> None:
    """Fit the convolution of d_up_conv_2: 128 channels to components of unit variance, lifted.

    The last layer is a tanh, and pixels reach up to 1: with ``brightness`` (n, h, w, 4), that of
    the quarters of a block, hinges on it bend the values for that.
    """
    weight, bias = weights_of(model.d_up_conv_2, "0")
    count = target.shape[-1]
    w, offset = least_squares(*sample_windows(x, target, RIM))
    weight[:count] = w.reshape(count, 128, 3, 3)
    bias[:count] = offset + LIFT
    bias[0] = offset[0] + LIFT / 2  # the brightness has no long tails
    if brightness is not None:
        w, offset = least_squares(*sample_windows(x, brightness, RIM))
        for hinge, knot in enumerate(KNOTS[:-1]):
            units = slice(count + 4 * hinge, count + 4 * hinge + 4)
            weight[units] = w.reshape(4, 128, 3, 3)
            bias[units] = offset - knot
    weight[STEADY] = 0
    bias[STEADY] = 1


def to_parts(model: Cae, x: Tensor, value: Tensor, side: int) -> None:
    """Fit the transposed convolution of d_up_conv_2 to ``value`` (n, 3, h, w) of the pixels.

    Behind it a position holds ``side`` / 2 squared pixels, as channels.
    """
    mean, part = value.mean(), side // 2
    count = 3 * part * part
    inner, wider = slice(RIM, -RIM), slice(RIM - 1, 1 - RIM)
    x = model.d_up_conv_2[0:2](x[:, :, wider, wider]).permute(0, 2, 3, 1)
    target = blocks(value, side)[:, inner, inner]
    slope = 1 - target.tanh().square().mean(-1, keepdim=True)  # of the tanh, at this brightness
    w, offset = least_squares(*sample(x, target, slope.square()))
    weight, bias = weights_of(model.d_up_conv_2, "3")
    order = (0, 2, 4, 1, 3)
    w = w.T.reshape(32, 3, 2, part, 2, part).permute(0, *(1 + i for i in order))
    weight[:, :count] = w.reshape(32, count, 2, 2)
    offset = offset.reshape(3, 2, part, 2, part).permute(order).reshape(count, 2, 2)
    weight[STEADY, :count] += offset - mean
    bias[:count] = mean


def to_pixels(model: Cae, value: Tensor) -> None:
    """Let d_up_conv_3 put the parts' twelve values in their places."""
    weight, bias = weights_of(model.d_up_conv_3, "0")
    weight *= 0.1
    weight[:12] = 0
    weight[range(12), range(12), 1, 1] = 1
    bias[:12] = LIFT_VALUE
    weight[DULL] = 0
    bias[DULL] = 1
    weight, bias = weights_of(model.d_up_conv_3, "3")
    weight *= 0.1
    # channel (c, i, j) of the twelve is colour c at place (i, j)
    weight[:12] = torch.eye(12).reshape(12, 3, 2, 2)
    weight[DULL] = -LIFT_VALUE - value.mean()
    bias[:] = value.mean()


def bend_pixels(model: Cae) -> None:
    """Let d_up_conv_3 take a pixel's colours to what the tanh takes back: straight pieces."""
    weight, bias = weights_of(model.d_up_conv_3, "0")
    weight[:] = 0
    knots = torch.tensor([-LIFT_VALUE, *KNOTS[:-1]])
    ends = torch.tensor([*KNOTS, BRIGHTEST])
    rise = torch.diff(torch.atanh(ends), prepend=torch.zeros(1))
    slopes = rise / torch.diff(ends, prepend=torch.zeros(1))
    turns = torch.diff(slopes, prepend=torch.zeros(1))
    last, last_bias = weights_of(model.d_up_conv_3, "3")
    last[:] = 0
    last_bias[:] = -slopes[0] * LIFT_VALUE
    for piece, (knot, turn) in enumerate(zip(knots, turns[: len(knots)], strict=True)):
        for colour in range(3):
            weight[3 * piece + colour, colour, 1, 1] = 1
            bias[3 * piece + colour] = -knot
            last[colour, 3 * piece + colour, 1, 1] = turn
