"""Look into a latent, and change it: what single channels hold, and what noise does to it.

python latents.py PHOTO.png NOISY.png
"""

import sys
from dataclasses import replace

import numpy as np
import torch
from PIL import Image

import nncodec

image = Image.open(sys.argv[1]).convert("RGB")
images = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None] / 255  # (1, 3, H, W)
latents = nncodec.encode_latents(images, quality=50, effort=1)
values = latents.values  # (1, C, h, w), int16
print(f"{values.shape[1]} channels, {(values == 0).double().mean():.0%} of the values are zero")


def psnr(values: torch.Tensor) -> float:
    """What is left of the picture with other values."""
    copies = nncodec.decode_latents(replace(latents, values=values))
    return float(-10 * (copies - images).square().mean().log10())


print(f"as they are: {psnr(values):.2f} dB")
for channel in values.abs().double().mean((0, 2, 3)).topk(3).indices:
    without = values.clone()
    without[:, channel] = 0
    print(f"without channel {channel}: {psnr(without):.2f} dB")
noisy = values + torch.randint(-1, 2, values.shape, generator=torch.Generator().manual_seed(0))
print(f"with noise: {psnr(noisy):.2f} dB")
copy = nncodec.decode_latents(replace(latents, values=noisy))[0]
Image.fromarray((copy * 255).byte().permute(1, 2, 0).numpy()).save(sys.argv[2])
