"""The decoder of the closed-form start: bits to pixels by a chain of least-squares fits."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nncodec.models.cae import PATCH, Cae

from .fitting import blocks, least_squares, principal_components, sample, sample_windows, weights_of
from .quantizer import Quantizer

CONSTANT = 63  # a channel of d_up_conv_1 that is 1 inside the padding and 0 in it, ...
FLAG = 31  # ... and the one that carries it on
COMPONENTS = 24  # of a block of pixels that are passed on, at most
HINGES = 5  # channels of d_up_conv_2 that bend the brightness for the last tanh
STEADY = 31  # a channel of d_up_conv_2 that is 1 inside the padding
LIFT = 3.0  # standard deviations that keep a value on the straight side of the leaky ReLU
DULL = 15  # a channel of d_up_conv_3 that is 1 inside the padding
BRIGHTEST = 0.96  # no tanh reaches 1


def fit_decoder(model: Cae, patches: Tensor, quantizers: list[Quantizer]) -> None:
    """Fit the decoder stage by stage to the bits that the encoder gives for ``patches``."""
    spec = model.spec
    bits = model.encode(patches)
    read_bits(model, quantizers)
    fine = PATCH // spec.side // 2  # pixels along a block at twice the latent's resolution
    target, _ = components(patches, fine)
    x = spread(model, bits, target)

    # What the padding took away at the border, and what the neighbours know, the blocks add.
    x = fit_block(model.d_block_1, x, target, 0)
    coarse = 2 if spec.side == 32 else 4
    target, std = components(patches, coarse)
    first = 0
    if spec.side == 8:
        x = F.interpolate(x, scale_factor=2)
        first = FLAG + 1
    x = fit_block(model.d_block_2, x, target, first)
    x = fit_block(model.d_block_3, x, target, first)
    narrow(model, x, target / std)
    to_pixels(model, x, patches, coarse)


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
    """Let d_up_conv_1 pass the bits, and find the cells of each Gray code.

    A channel that adds b bits with the signs of a cell, less b - 1, is positive for that cell alone.
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
        places = range(first, first + quantizer.bits)
        first += quantizer.bits
        for cell in range(2**quantizer.bits) if quantizer.bits > 1 else ():
            if unit == CONSTANT:
                return
            code = cell ^ (cell >> 1)
            signs = [1.0 if code >> p & 1 else -1.0 for p in reversed(range(quantizer.bits))]
            weight[unit] *= 0.1
            weight[unit, places, 1, 1] = torch.tensor(signs)
            bias[unit] = 1.0 - quantizer.bits
            unit += 1


def spread(model: Cae, bits: Tensor, target: Tensor) -> Tensor:
    """Fit the transposed convolution of d_up_conv_1; returns its output (n, 128, h, w).

    Each of its four positions is a fit of its own. What their offsets differ by goes through the
    channel that is constant.
    """
    n, count, inner = len(bits), target.shape[-1], model.spec.side - 2
    x = model.d_up_conv_1[0:2](bits).permute(0, 2, 3, 1)  # (n, inner, inner, 64)
    place = target[:, 2:-2, 2:-2].reshape(n, inner, 2, inner, 2, count)
    weight, bias = weights_of(model.d_up_conv_1, "3")
    for i in range(2):
        for j in range(2):
            w, offset = least_squares(*sample(x, place[:, :, i, :, j]))
            weight[:, :count, i, j] = w.T
            weight[CONSTANT, :count, i, j] += offset
    weight[:, FLAG] = 0
    weight[CONSTANT, FLAG] = 1
    bias[: FLAG + 1] = 0
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
    w, offset = least_squares(*sample_windows(hidden, missing))
    weight, bias = weights_of(block, "4")
    weight[first : first + count] = w.reshape(count, 128, 3, 3)
    bias[first : first + count] = offset
    return torch.as_tensor(block(x) + x)


def narrow(model: Cae, x: Tensor, target: Tensor) -> None:
    """Fit the convolution of d_up_conv_2: 128 channels to components of unit variance, lifted."""
    count = target.shape[-1]
    w, offset = least_squares(*sample_windows(x, target[:, 1:-1, 1:-1], padding=0))
    weight, bias = weights_of(model.d_up_conv_2, "0")
    weight[:count] = w.reshape(count, 128, 3, 3)
    bias[:count] = offset + LIFT
    # The last layer is a tanh, and pixels reach up to 1: hinges on the brightness bend for it.
    brightness = target[..., 0].flatten()[:100_000]
    hinges = range(STEADY - HINGES, STEADY)
    knots = torch.quantile(brightness, torch.linspace(0.5, 0.97, HINGES))
    weight[hinges] = weight[0]
    bias[hinges] = offset[0] - knots
    weight[STEADY] = 0
    bias[STEADY] = 1


def to_pixels(model: Cae, x: Tensor, patches: Tensor, side: int) -> None:
    """Fit the rest: components of blocks of ``side`` pixels to the pixels, before the tanh."""
    value = torch.atanh(patches.clamp(max=BRIGHTEST))
    mean = value.mean()
    x = model.d_up_conv_2[0:2](x).permute(0, 2, 3, 1)
    target = blocks(value, side)[:, 1:-1, 1:-1]
    slope = 1 - target.tanh().square().mean(-1, keepdim=True)  # of the tanh, at this brightness
    w, offset = least_squares(*sample(x, target, slope.square()))

    # Behind the transposed convolution a position holds ``part`` x ``part`` pixels, as channels.
    part = side // 2
    count = 3 * part * part
    weight, bias = weights_of(model.d_up_conv_2, "3")
    order = (0, 2, 4, 1, 3)
    w = w.T.reshape(32, 3, 2, part, 2, part).permute(0, *(1 + i for i in order))
    weight[:, :count] = w.reshape(32, count, 2, 2)
    offset = offset.reshape(3, 2, part, 2, part).permute(order).reshape(count, 2, 2)
    weight[STEADY, :count] += offset - mean
    bias[:count] = mean

    # They pass the last leaky ReLU lifted, and reach their places.
    lift = 0.3
    weight, bias = weights_of(model.d_up_conv_3, "0")
    weight *= 0.1
    weight[:count] = 0
    weight[range(count), range(count), 1, 1] = 1
    bias[:count] = lift
    weight[DULL] = 0
    bias[DULL] = 1
    weight, bias = weights_of(model.d_up_conv_3, "3")
    weight *= 0.1
    bias[:] = mean
    if part == 1:
        weight[:, :count] = torch.zeros(3, count, 3, 3)
        weight[range(3), range(3), 1, 1] = 1
        weight[:, DULL] = 0
        weight[:, DULL, 1, 1] = -lift - mean
    else:
        # channel (c, i, j) of the twelve is colour c at place (i, j)
        places = torch.eye(12).reshape(12, 3, 2, 2)
        weight[:count] = places
        weight[DULL] = -lift - mean
