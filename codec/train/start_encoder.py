"""The encoder of the closed-form start: principal components, coded as signs and magnitudes."""

import torch
from torch import Tensor
from torch.nn import functional as F

from nncodec.models.cae import Cae

from .fitting import blocks, least_squares, principal_components, sample, weights_of, windows
from .quantizer import Quantizer, allocate

SLOPE = 0.01  # of the LeakyReLU
CODED = 12  # components that may get bits


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
    return 36 if model.spec.side == 32 else 32


def trunk(model: Cae, patches: Tensor) -> Tensor:
    """The encoder's activations before its second block."""
    x = model.e_conv_2(model.e_conv_1(patches))
    x = model.e_block_1(x) + x
    return F.max_pool2d(x, 2) if model.spec.side == 8 else x


def write_bits(model: Cae, patches: Tensor, sharpness: float = 1.5) -> list[Quantizer]:
    """Make the last two blocks and e_conv_3 write the code of the block's components.

    e_block_2 gives the magnitudes, e_block_3 the triangle waves that change their sign where the
    bits of the magnitude flip, and e_conv_3 adds both up.
    """
    spec = model.spec
    target = blocks(patches - patches.mean((0, 2, 3))[:, None, None], spec.stride)
    basis, std = principal_components(*sample(target, count=200_000))
    target = target @ basis[:CODED].T / std[:CODED]
    seen = windows(trunk(model, patches), 3, 1 if spec.side == 32 else 2, 1)
    seen, target = sample(seen[:, 1:-1, 1:-1], target[:, 1:-1, 1:-1])  # away from the padding
    reader, offset = least_squares(seen, target)
    read = (seen @ reader.T + offset).double().numpy()
    quantizers = allocate(read, (std[:CODED] ** 2).double().numpy(), spec.channels)
    kernel = reader.reshape(CODED, 128, 3, 3)

    first = 2 * carried(model)  # of the channels that hold magnitudes, then those of waves
    clear(model, slice(first, first + CODED + spec.channels))
    magnitudes(model, kernel, offset, first)

    hidden, hidden_bias = weights_of(model.e_block_3, "1")
    out, _ = weights_of(model.e_block_3, "4")
    last, last_bias = weights_of(model.e_conv_3, "0" if spec.side == 32 else "1")
    last *= 0.02
    last_bias.zero_()
    inner = slice(1, 4) if spec.side == 32 else slice(0, 3)
    centre = inner.start + 1
    unit, bit = 0, 0
    for k, quantizer in enumerate(quantizers):
        gain = sharpness / quantizer.half_cell if quantizer.bits else 0.0
        for plane in range(quantizer.bits):
            wave = first + CODED + bit
            if plane == 0:
                last[bit, :, inner, inner] += gain * kernel[k]
                last_bias[bit] = gain * offset[k]
                bit += 1
                continue
            zeros = quantizer.flips(plane)
            # f(m) = (m - zero) - 2 relu(m - knot) + 2 relu(m - next knot) - ...
            slope, start = 1.0, -zeros[0]
            for j, knot in enumerate((zeros[1:] + zeros[:-1]) / 2):
                hidden[unit] = 0
                hidden[unit, first + k, 1, 1] = 1
                hidden_bias[unit] = -knot
                turn = -2.0 if j % 2 == 0 else 2.0
                out[wave, unit, 1, 1] = turn / (1 - SLOPE)
                slope -= turn * SLOPE / (1 - SLOPE)
                start += turn * SLOPE / (1 - SLOPE) * knot
                unit += 1
            last[bit, first + k, centre, centre] += gain * slope
            last[bit, wave, centre, centre] += gain
            last_bias[bit] = gain * start
            bit += 1
    return quantizers


def clear(model: Cae, channels: slice) -> None:
    """Keep everything else out of some channels of the trunk."""
    for stage, key in (
        (model.e_conv_2, "1"),
        (model.e_block_1, "4"),
        (model.e_block_2, "4"),
        (model.e_block_3, "4"),
    ):
        for tensor in weights_of(stage, key):
            tensor[channels] = 0


def magnitudes(model: Cae, kernel: Tensor, offset: Tensor, first: int) -> None:
    """Let e_block_2 write the magnitudes of the components that ``kernel`` reads."""
    hidden, hidden_bias = weights_of(model.e_block_2, "1")
    out, _ = weights_of(model.e_block_2, "4")
    for sign, begin in ((1, 0), (-1, CODED)):
        hidden[begin : begin + CODED] = sign * kernel
        hidden_bias[begin : begin + CODED] = sign * offset
        units = range(begin, begin + CODED)
        # leaky(y) + leaky(-y) = (1 - slope) |y|
        out[range(first, first + CODED), units, 1, 1] = 1 / (1 - SLOPE)
