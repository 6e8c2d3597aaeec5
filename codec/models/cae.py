"""The fixed-rate binarized convolutional autoencoders (CAE).

A patch of 128x128 RGB pixels becomes ``C x H x W`` bits, and back. The networks, their names and
the keys of their state dicts are those under which they were published: a stage is a
sequence, and a layer's key is its position in it, counting every padding, activation and pool.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from .binarize import binarize, stochastic_binarize

PATCH = 128  # side of a patch, in pixels

PadMode = Literal["zeros", "reflect"]


@dataclass(frozen=True)
class CaeSpec:
    """What tells one CAE from another: the shape of its bits and how its borders are padded."""

    channels: int  # bit planes per latent position
    side: int  # latent positions along a side of the patch
    pad: PadMode

    @property
    def bits_per_patch(self) -> int:
        return self.channels * self.side * self.side

    @property
    def bpp(self) -> float:
        """Bits per pixel of a full patch, before entropy coding and container."""
        return self.bits_per_patch / PATCH**2

    @property
    def stride(self) -> int:
        """Pixels along a side of the block that a latent position stands for."""
        return PATCH // self.side

    @property
    def encoder_reach(self) -> int:
        """Pixels around a latent position's block that its bits depend on, at most.

        The kernels' reach, each times the pixels between its taps, rounded up to whole blocks.
        """
        return 80 if self.side == 8 else 48

    @property
    def decoder_reach(self) -> int:
        """Latent positions around a block that its pixels depend on, at most."""
        return 4 if self.side == 8 else 5

    @property
    def blind_border(self) -> int:
        """Pixels along a patch's border that are constant, whatever the bits.

        The last layer doubles the resolution of a map whose border is padding: with zeros, what
        comes out there is the bias alone. A patch that is decoded alone lacks these pixels.
        """
        return 2 if self.pad == "zeros" and self.side < 32 else 0


SPECS: dict[str, CaeSpec] = {
    "cae_16x8x8_zero_pad_bin": CaeSpec(16, 8, "zeros"),
    "cae_16x8x8_refl_pad_bin": CaeSpec(16, 8, "reflect"),
    "cae_16x16x16_zero_pad_bin": CaeSpec(16, 16, "zeros"),
    "cae_32x32x32_zero_pad_bin": CaeSpec(32, 32, "zeros"),
}


class Pad(nn.Module):
    """Pad the left and top by ``before`` and the right and bottom by ``after`` positions."""

    def __init__(self, before: int, after: int, mode: PadMode) -> None:
        super().__init__()
        self.sides = (before, after, before, after)
        self.mode = "constant" if mode == "zeros" else mode

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x, self.sides, mode=self.mode)


def leaky() -> nn.Module:
    return nn.LeakyReLU(0.01, inplace=True)


def stage(*layers: nn.Module | None) -> nn.Sequential:
    """A sequence whose keys count every layer of the publication.

    ``None`` holds the place of a padding that the convolution after it does by itself, which is
    the same arithmetic without a copy of the tensor.
    """
    named = {str(i): layer for i, layer in enumerate(layers) if layer is not None}
    return nn.Sequential(OrderedDict(named))


def down(inputs: int, outputs: int, pad: PadMode) -> list[nn.Module]:
    """A convolution that halves the resolution (5x5, stride 2)."""
    return [Pad(1, 2, pad), nn.Conv2d(inputs, outputs, 5, stride=2)]


def residual(pad: PadMode) -> nn.Sequential:
    """The residual branch of a block: two 3x3 convolutions that keep 128 channels."""
    conv = [nn.Conv2d(128, 128, 3, padding=1, padding_mode=pad) for _ in range(2)]
    return stage(None, conv[0], leaky(), None, conv[1])


def up(inputs: int, hidden: int, outputs: int, pad: PadMode) -> list[nn.Module]:
    """A 3x3 convolution without padding, then a transposed one that doubles the resolution."""
    return [
        nn.Conv2d(inputs, hidden, 3),
        leaky(),
        Pad(1, 1, pad),
        nn.ConvTranspose2d(hidden, outputs, 2, stride=2),
    ]


class Cae(nn.Module):
    """A binarized convolutional autoencoder: 128x128 patches to bits and back."""

    def __init__(self, spec: CaeSpec) -> None:
        super().__init__()
        self.spec = spec
        c, pad = spec.channels, spec.pad

        self.e_conv_1 = stage(*down(3, 64, pad), leaky())
        self.e_conv_2 = stage(*down(64, 128, pad), leaky())
        self.e_block_1 = residual(pad)
        self.e_block_2 = residual(pad)
        self.e_block_3 = residual(pad)
        if spec.side == 32:
            self.e_conv_3 = stage(nn.Conv2d(128, c, 5, padding=2), nn.Tanh())
        else:
            self.e_conv_3 = stage(*down(128, c, pad), nn.Tanh())

        self.d_up_conv_1 = stage(*up(c, 64, 128, pad))
        self.d_block_1 = residual(pad)
        self.d_block_2 = residual(pad)
        self.d_block_3 = residual(pad)
        self.d_up_conv_2 = stage(*up(128, 32, 256, pad))
        if spec.side == 32:
            last = [nn.Conv2d(256, 16, 3), leaky(), Pad(2, 2, "reflect"), nn.Conv2d(16, 3, 3)]
            self.d_up_conv_3 = stage(*last, nn.Tanh())
        else:
            self.d_up_conv_3 = stage(*up(256, 16, 3, pad), nn.Tanh())

    def analyse(self, patches: Tensor) -> Tensor:
        """Map patches (n, 3, 128, 128) in [0, 1] to latents (n, C, H, W) in [-1, 1]."""
        x = self.e_conv_2(self.e_conv_1(patches))
        x = self.e_block_1(x) + x
        if self.spec.side == 8:
            x = F.max_pool2d(x, 2)
        x = self.e_block_2(x) + x
        x = self.e_block_3(x) + x
        latent: Tensor = self.e_conv_3(x)
        return latent

    def synthesise(self, bits: Tensor) -> Tensor:
        """Map bits (n, C, H, W), -1 or +1, to patches (n, 3, 128, 128) in [-1, 1], not clipped."""
        x = self.d_up_conv_1(bits)
        x = self.d_block_1(x) + x
        if self.spec.side == 8:
            x = F.interpolate(x, scale_factor=2)
        x = self.d_block_2(x) + x
        x = self.d_block_3(x) + x
        patches: Tensor = self.d_up_conv_3(self.d_up_conv_2(x))
        return patches

    def forward(self, patches: Tensor, noise: float = 1.0) -> Tensor:
        """What training differentiates: patches through stochastic bits and back, not clipped."""
        return self.synthesise(stochastic_binarize(self.analyse(patches), noise))

    def encode(self, patches: Tensor) -> Tensor:
        """Map patches (n, 3, 128, 128) in [0, 1] to bits (n, C, H, W), -1.0 or +1.0."""
        return binarize(self.analyse(patches))

    def decode(self, bits: Tensor) -> Tensor:
        """Map bits (n, C, H, W), -1 or +1, to patches (n, 3, 128, 128) in [0, 1]."""
        return self.synthesise(bits).clamp(0, 1)
