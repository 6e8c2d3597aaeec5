"""A network at work: tiles of a picture to bits and back, on a CPU or a GPU."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nncodec.formats.cae import Header, Tile
from nncodec.formats.errors import NncodecError

from .entropy.network import full_precision
from .entropy.products import processor_has
from .models.cae import Cae
from .models.place import place
from .patches import RIM, cut, fill_border, look_at_latent, look_at_picture, split, stitch

Pixels = NDArray[np.uint8]
Progress = Callable[[float], None]  # called with the number of patches just done


def pick_device(name: str) -> torch.device:
    """The device called ``name``; "auto" is the first GPU, or the CPU where there is none."""
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):
        raise NncodecError(f"no device {name!r} here; use --device auto or cpu") from None
    return device


@cache
def quick_in_bf16(device: torch.device) -> bool:
    """Whether products of bfloat16 are quicker there than those of float32.

    A processor without instructions for them takes ten times as long.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and any(map(processor_has, ("avx512_bf16", "amx_bf16")))


@contextmanager
def exact_pixels() -> Iterator[None]:
    """Plain float32, the same from run to run, whatever the program around asks of its networks."""
    flags = torch.backends.cudnn.flags(deterministic=True, allow_tf32=False)
    cpu, cuda = (torch.autocast(kind, enabled=False) for kind in ("cpu", "cuda"))
    with full_precision(), flags, cpu, cuda:
        yield


class Transform:
    """The analysis and synthesis transforms of a CAE on a device.

    At most ``batch_size`` patches go through the network at once.
    """

    def __init__(self, network: Cae, device: torch.device, batch_size: int | None) -> None:
        self.spec = network.spec
        self.device = device
        place(network, device)
        self.network = network
        # by default as many as take some 500 MB of memory
        self.tile_side = math.isqrt(batch_size or (16 if self.spec.side == 32 else 64))

    def analyse(
        self,
        pixels: NDArray[np.uint8],
        header: Header,
        tile: Tile,
        progress: Progress | None = None,
    ) -> NDArray[np.bool_]:
        """The bits (h, w, C) of a tile of the picture (H, W, 3)."""
        side, stride = header.side, self.spec.stride
        latent = np.empty((tile.rows * side, tile.columns * side, header.channels), np.bool_)
        for part in split(tile, self.tile_side):
            seen, rows, columns = look_at_picture(pixels, header, part, self.spec.encoder_reach)
            found = self._run_whole(lambda x: self.network.encode(x / 255) > 0, seen)
            kept = found[to_blocks(rows.keep, stride), to_blocks(columns.keep, stride)]
            y, x = (part.row - tile.row) * side, (part.column - tile.column) * side
            latent[y : y + len(kept), x : x + kept.shape[1]] = kept
            if progress:
                progress(part.rows * part.columns)
        return latent

    def synthesise(
        self, latent: NDArray[np.uint8], header: Header, tile: Tile
    ) -> NDArray[np.uint8]:
        """The pixels (h, w, 3) of a tile from the packed latent of the picture."""
        spec = self.network.spec
        reach, rim = spec.decoder_reach, RIM // spec.stride
        seen, rows, columns = look_at_latent(latent, header, tile, reach, rim)
        pixels = self._run_whole(self._pixels, unpack(seen, spec.channels))
        return pixels[to_pixels(rows.keep, spec.stride), to_pixels(columns.keep, spec.stride)]

    def synthesise_alone(
        self, latent: NDArray[np.uint8], header: Header, tile: Tile
    ) -> NDArray[np.uint8]:
        """The pixels (h, w, 3) of a tile, each of its patches decoded for itself."""
        spec = self.network.spec
        seen, _, _ = look_at_latent(latent, header, tile, 0, 0)
        patches = cut(unpack(seen, spec.channels), spec.side)
        decoded = self._run(self._pixels, patches)
        fill_border(decoded, spec.blind_border)
        return stitch(decoded, tile.rows, tile.columns)

    def _pixels(self, values: torch.Tensor) -> torch.Tensor:
        return (self.network.decode(values) * 255).round().to(torch.uint8)

    def _run_whole(
        self, network: Callable[[torch.Tensor], torch.Tensor], values: NDArray[Any]
    ) -> NDArray[Any]:
        """Send one array (h, w, c) through ``network``; returns (h', w', c')."""
        # Memory order (h, w, c) is what torch calls channels last.
        (result,) = self._run(network, values.transpose(2, 0, 1)[np.newaxis])
        whole: NDArray[Any] = result.transpose(1, 2, 0)
        return whole

    @torch.inference_mode()
    def _run(
        self, network: Callable[[torch.Tensor], torch.Tensor], values: NDArray[Any]
    ) -> NDArray[Any]:
        """Send a batch (n, c, h, w) through ``network``, in plain float32."""
        batch = torch.from_numpy(values).to(self.device).float()
        with exact_pixels():
            result: NDArray[Any] = network(batch).cpu().numpy()
        return result


def to_blocks(pixels: slice, stride: int) -> slice:
    """A slice of pixels as one of latent positions."""
    return slice(pixels.start // stride, pixels.stop // stride)


def to_pixels(blocks: slice, stride: int) -> slice:
    """A slice of latent positions as one of pixels."""
    return slice(blocks.start * stride, blocks.stop * stride)


def unpack(packed: NDArray[np.uint8], channels: int) -> NDArray[np.int8]:
    """The ±1 values (h, w, channels) of a packed latent (h, w, channels / 8)."""
    return np.unpackbits(packed, axis=2, count=channels).view(np.int8) * 2 - 1
