"""A codec of the usual kind to measure speed against: a mean-scale hyperprior, weights random.

The network of Minnen, Ballé and Toderici, "Joint autoregressive and hierarchical priors for learned
image compression" (2018), without the autoregressive part: four convolutions of 5x5, each halving
the picture, with generalised divisive normalisation between them (Ballé et al. 2016), and a second,
smaller code that tells the mean and scale of each element of the first. N = 192, M = 320. What it
codes looks like nothing, but takes as long as a picture: its symbols are made to spread as those of
trained networks do.
"""

from dataclasses import dataclass

import numpy as np
import torch
from constriction import stream  # type: ignore[import-untyped]
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

N, M = 192, 320  # channels between the layers, and of the latent
STRIDE = 64  # pixels to an element of the smaller code
LARGEST = 255  # symbol, in magnitude
SPREAD = 0.3  # standard deviation of the symbols: most are 0, at about 0.8 bits per pixel
SCALES = 0.11, 64.0  # the smallest and the largest


class Normalisation(nn.Module):
    """Each channel divided by (GDN), or multiplied with, a norm over all of them."""

    def __init__(self, inverse: bool = False) -> None:
        super().__init__()
        self.inverse = inverse
        self.beta = nn.Parameter(torch.ones(N))
        self.gamma = nn.Parameter(0.1 * torch.eye(N)[:, :, None, None])

    def forward(self, x: Tensor) -> Tensor:
        norm = F.conv2d(x.square(), self.gamma, self.beta).sqrt()
        return x * norm if self.inverse else x / norm


def down(inputs: int, outputs: int) -> nn.Module:
    return nn.Conv2d(inputs, outputs, 5, 2, 2)


def up(inputs: int, outputs: int) -> nn.Module:
    return nn.ConvTranspose2d(inputs, outputs, 5, 2, 2, output_padding=1)


class Network(nn.Module):
    """The four transforms."""

    def __init__(self) -> None:
        super().__init__()
        self.analysis = nn.Sequential(
            down(3, N), Normalisation(), down(N, N), Normalisation(),
            down(N, N), Normalisation(), down(N, M),
        )  # fmt: skip
        self.synthesis = nn.Sequential(
            up(M, N), Normalisation(True), up(N, N), Normalisation(True),
            up(N, N), Normalisation(True), up(N, 3),
        )  # fmt: skip
        self.hyper_analysis = nn.Sequential(
            nn.Conv2d(M, N, 3, 1, 1), nn.LeakyReLU(), down(N, N), nn.LeakyReLU(), down(N, N)
        )
        self.hyper_synthesis = nn.Sequential(
            up(N, M), nn.LeakyReLU(), up(M, M * 3 // 2), nn.LeakyReLU(),
            nn.Conv2d(M * 3 // 2, 2 * M, 3, 1, 1),
        )  # fmt: skip


@dataclass(frozen=True)
class Coded:
    """A picture's words, and its size."""

    latent: NDArray[np.uint32]
    hyper: NDArray[np.uint32]
    height: int
    width: int


class Hyperprior:
    """Pictures (H, W, 3) of uint8 to words and back, on the CPU."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.network = Network().eval()
        self._family = stream.model.QuantizedGaussian(-LARGEST, LARGEST)

    @torch.inference_mode()
    def encode(self, pixels: NDArray[np.uint8]) -> Coded:
        """Transform, quantise and code a picture."""
        height, width, _ = pixels.shape
        x = torch.tensor(pixels).permute(2, 0, 1)[None] / 255
        x = F.pad(x, (0, -width % STRIDE, 0, -height % STRIDE), "replicate")
        latent = spread(self.network.analysis(x))
        hyper = spread(self.network.hyper_analysis(latent)).round()
        means, scales = self._told(hyper)
        return Coded(
            self._code((latent - means).round(), scales),
            self._code(hyper, torch.full_like(hyper, SPREAD)),
            height,
            width,
        )

    @torch.inference_mode()
    def decode(self, coded: Coded) -> NDArray[np.uint8]:
        """The picture, as far as random weights make one."""
        rows, columns = -(-coded.height // STRIDE), -(-coded.width // STRIDE)
        hyper = self._decode(coded.hyper, torch.full((1, N, rows, columns), SPREAD))
        means, scales = self._told(hyper)
        x = self.network.synthesis(self._decode(coded.latent, scales) + means)
        x = x[0, :, : coded.height, : coded.width]
        pixels: NDArray[np.uint8] = (
            (x * 255).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()
        )
        return pixels

    def _told(self, hyper: Tensor) -> tuple[Tensor, Tensor]:
        """The means and scales of the latent."""
        means, scales = self.network.hyper_synthesis(hyper).chunk(2, 1)
        return means, (scales + SPREAD).clamp(*SCALES)

    def _code(self, symbols: Tensor, scales: Tensor) -> NDArray[np.uint32]:
        coder = stream.queue.RangeEncoder()
        integers = symbols.clamp(-LARGEST, LARGEST).to(torch.int32).numpy().ravel()
        coder.encode(integers, self._family, *parameters(scales))
        words: NDArray[np.uint32] = coder.get_compressed()
        return words

    def _decode(self, words: NDArray[np.uint32], scales: Tensor) -> Tensor:
        coder = stream.queue.RangeDecoder(words)
        symbols = coder.decode(self._family, *parameters(scales))
        return torch.from_numpy(symbols).reshape(scales.shape).float()


def spread(x: Tensor) -> Tensor:
    """As wide as what trained networks make of a picture at a medium rate."""
    return x * (SPREAD / x.std())


def parameters(scales: Tensor) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Means and scales of the coder's Gaussians."""
    deviations = scales.numpy().ravel()
    return np.zeros_like(deviations), deviations
