"""Training images: decoded once, kept in the device's memory, cropped there."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from nncodec.formats.errors import ImageError

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".ppm", ".bmp"}


def list_images(folder: Path) -> list[Path]:
    """All images below ``folder``, sorted. Raises ImageError if there is none."""
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES)
    if not found:
        raise ImageError(f"{folder}: no image in this folder; name one that holds photographs")
    return found


def load_rgb(path: Path) -> Tensor:
    """Decode an image to uint8 (3, H, W)."""
    with Image.open(path) as im:
        return torch.from_numpy(np.asarray(im.convert("RGB")).copy()).permute(2, 0, 1)


class Crops:
    """Random crops of a folder's images, every pixel equally likely, flipped and transposed."""

    def __init__(self, images: Sequence[Tensor], size: int, device: torch.device) -> None:
        usable = [im for im in images if min(im.shape[1:]) >= size]
        if not usable:
            raise ImageError(f"no training image has {size} pixels on its shorter side")
        self.size = size
        self.device = device
        self.heights = torch.tensor([im.shape[1] for im in usable])
        self.widths = torch.tensor([im.shape[2] for im in usable])
        sizes = self.heights * self.widths
        self.chances = sizes.double() / sizes.sum()
        self.starts = torch.cumsum(sizes, 0) - sizes
        # (total pixels, 3): one flat tensor, so that a batch of crops is one gather
        flat = [im.permute(1, 2, 0).reshape(-1, 3) for im in usable]
        self.pixels = torch.cat(flat).to(device)
        steps = torch.arange(size)
        self.down, self.right = steps[:, None].to(device), steps[None, :].to(device)

    @classmethod
    def from_folder(cls, folder: Path, size: int, device: torch.device) -> "Crops":
        return cls([load_rgb(p) for p in list_images(folder)], size, device)

    def draw(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """Return ``count`` crops, float32 (count, 3, size, size) in [0, 1].

        ``generator`` of random numbers: None is torch's own.
        """
        which = torch.multinomial(self.chances, count, replacement=True, generator=generator)
        unit = torch.rand(2, count, generator=generator, dtype=torch.float64)
        top = (unit[0] * (self.heights[which] - self.size + 1)).long()
        left = (unit[1] * (self.widths[which] - self.size + 1)).long()
        corner = (self.starts[which] + top * self.widths[which] + left).to(self.device)
        stride = self.widths[which].to(self.device)
        index = corner[:, None, None] + self.down * stride[:, None, None] + self.right
        crops = self.pixels[index]  # (count, size, size, 3)
        turn = torch.randint(0, 8, (3,), generator=generator).tolist()
        if turn[0] % 2:
            crops = crops.flip(1)
        if turn[1] % 2:
            crops = crops.flip(2)
        if turn[2] % 2:
            crops = crops.transpose(1, 2)
        return crops.permute(0, 3, 1, 2).float() / 255


def validation_crops(folder: Path, size: int, per_image: int) -> Tensor:
    """Evenly spread crops of each image, uint8 (images, per_image, 3, size, size).

    Images with a side shorter than ``size`` are left out. Raises ImageError if none is left.
    """
    picked = []
    for path in list_images(folder):
        image = load_rgb(path)
        rows, columns = image.shape[1] // size, image.shape[2] // size
        if rows * columns == 0:
            continue
        grid = image[:, : rows * size, : columns * size]
        grid = grid.reshape(3, rows, size, columns, size)
        crops = grid.permute(1, 3, 0, 2, 4).flatten(0, 1)
        picked.append(crops[torch.linspace(0, len(crops) - 1, per_image).round().long()])
    if not picked:
        raise ImageError(f"{folder}: no image has {size} pixels on its shorter side")
    return torch.stack(picked)
