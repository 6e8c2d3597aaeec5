"""The encoder of the closed-form start: principal components, folded into Gray codes."""

import torch
from torch import Tensor
from torch.nn import functional as F

from nncodec.models.cae import PATCH, Cae

from .fitting import blocks, least_squares, principal_components, sample, weights_of, windows
from .quantizer import Quantizer, allocate

SLOPE = 0.01  # of the LeakyReLU


def carry_components(model: Cae, patches: Tensor) -> None:
    """Let e_conv_1 and e_conv_2 carry principal components as pairs of opposite signs."""
    mean = patches.mean((0, 2, 3))
    basis, std = principal_components(*sample(blocks(patches - mean[:, None, None], 2)))
    scale = (std * std[0]).rsqrt()  # between equal gains and equal variances
    weight, bias = weights_of(model.e_conv_1, "1")
    kernel = (basis * scale[:, None]).reshape(12, 3, 2, 2)
    offset = -(kernel.sum((2, 3)) * mean).sum(1)
    weight[:24] = 0
    for sign, first in ((1, 0), (-1, 1)):
        weight[first:24:2, :, 1:3, 1:3] = sign * kernel
        bias[first:24:2] = sign * offset

    # A component of a block is a sum over its 2x2 parts, each seen through the basis above.
    side = 4 if model.spec.side == 32 else 8
    count = carried(model)
    wide, wide_std = principal_components(
        *sample(blocks(patches - mean[:, None, None], side), count=200_000)
    )
    parts = wide[:count].reshape(count, 3, side // 2, 2, side // 2, 2)
    seen = torch.einsum("kcyixj,bcij->kbyx", parts, basis.reshape(12, 3, 2, 2))
    seen /= scale[:, None, None] * wide_std[:count, None, None, None] * (1 + SLOPE)
    weight, bias = weights_of(model.e_conv_2, "1")
    weight[: 2 * count] = 0
    taps = slice(1, 1 + side // 2)
    # The pooling of 16x8x8 takes maxima; lifted above zero, a pair's half difference is the
    # middle between the extremes of the pooled four, which serves as their mean.
    bias[: 2 * count] = 2.0 if model.spec.side == 8 else 0.0
    for sign, first in ((1, 0), (-1, 1)):
        weight[first : 2 * count : 2, 0:24:2, taps, taps] = sign * seen
        weight[first : 2 * count : 2, 1:24:2, taps, taps] = -sign * seen
    for block in (model.e_block_1, model.e_block_2, model.e_block_3):
        out, out_bias = weights_of(block, "4")
        out[: 2 * count] = 0  # the components pass untouched
        out_bias[: 2 * count] = 0


def carried(model: Cae) -> int:
    """How many components the encoder carries, as pairs of channels."""
    return 40 if model.spec.side == 32 else 32


def trunk(model: Cae, patches: Tensor) -> Tensor:
    """The encoder's activations before its last block."""
    x = model.e_conv_2(model.e_conv_1(patches))
    x = model.e_block_1(x) + x
    if model.spec.side == 8:
        x = F.max_pool2d(x, 2)
    return torch.as_tensor(model.e_block_2(x) + x)


def fold_into_bits(model: Cae, patches: Tensor, sharpness: float = 1.5) -> list[Quantizer]:
    """Make e_block_3 and e_conv_3 write the Gray code of the block's components."""
    spec = model.spec
    side = PATCH // spec.side
    target = blocks(patches - patches.mean((0, 2, 3))[:, None, None], side)
    basis, std = principal_components(*sample(target, count=200_000))
    most = 16
    target = target @ basis[:most].T / std[:most]

    stride = 1 if spec.side == 32 else 2
    seen = windows(trunk(model, patches), 3, stride, 1)
    reader, offset = least_squares(*sample(seen, target))
    read = (sample(seen)[0] @ reader.T + offset).double().numpy()
    quantizers = allocate(read, (std[:most] ** 2).double().numpy(), spec.channels)
    kernel = reader.reshape(most, 128, 3, 3)

    hidden, hidden_bias = weights_of(model.e_block_3, "1")
    out, out_bias = weights_of(model.e_block_3, "4")
    last, last_bias = weights_of(model.e_conv_3, "0" if spec.side == 32 else "1")
    last *= 0.02
    last_bias.zero_()
    inner = slice(1, 4) if spec.side == 32 else slice(0, 3)
    centre = inner.start + 1
    unit, bit = 0, 0
    slots = 2 * carried(model)  # the channels that hold the folded values
    out[slots : slots + spec.channels] = 0
    out_bias[slots : slots + spec.channels] = 0
    for block in (model.e_block_1, model.e_block_2):
        for tensor in weights_of(block, "4"):
            tensor[slots : slots + spec.channels] = 0
    for tensor in weights_of(model.e_conv_2, "1"):
        tensor[slots : slots + spec.channels] = 0
    for k, quantizer in enumerate(quantizers):
        gain = sharpness / quantizer.half_cell
        for plane in range(quantizer.bits):
            zeros = quantizer.gray(plane)
            knots = (zeros[1:] + zeros[:-1]) / 2
            # f(y) = (y - zero) - 2 relu(y - knot) + 2 relu(y - next knot) - ...
            slope, start = 1.0, -zeros[0]
            for j, knot in enumerate(knots):
                hidden[unit] = kernel[k]
                hidden_bias[unit] = offset[k] - knot
                turn = -2.0 if j % 2 == 0 else 2.0
                out[slots + bit, unit, 1, 1] = turn / (1 - SLOPE)
                slope -= turn * SLOPE / (1 - SLOPE)
                start += turn * SLOPE / (1 - SLOPE) * knot
                unit += 1
            last[bit, :, inner, inner] += gain * slope * kernel[k]
            last[bit, slots + bit, centre, centre] += gain
            last_bias[bit] = gain * (slope * float(offset[k]) + start)
            bit += 1
    # e_conv_3 reads the pairs after e_block_3, which leaves them untouched.
    return quantizers
