"""Draw the rate-distortion curve of an image: bits per pixel against PSNR, with JPEG beside it.

python rate_distortion.py PHOTO.png PLOT.png
"""

import io
import sys

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

import nncodec


def jpeg(image: Image.Image, quality: int) -> bytes:
    image.save(file := io.BytesIO(), "jpeg", quality=quality)
    return file.getvalue()


def point(image: Image.Image, data: bytes, copy: Image.Image) -> tuple[float, float]:
    """Bits per pixel and dB of an image that became ``data`` and then ``copy``."""
    error = np.square(np.asarray(image, float) - np.asarray(copy, float)).mean()
    return 8 * len(data) / (image.width * image.height), 10 * np.log10(255**2 / error)


image = Image.open(sys.argv[1]).convert("RGB")
files = [nncodec.compress(image, quality=q, effort=1) for q in (10, 40, 70)]
jpegs = [jpeg(image, q) for q in (10, 50, 80)]
curves = {
    "nncodec": [point(image, data, nncodec.decompress(data)) for data in files],
    "JPEG": [point(image, data, Image.open(io.BytesIO(data))) for data in jpegs],
}
for name, points in curves.items():
    plt.plot(*zip(*points, strict=True), marker="o", label=name)
    print(name, *(f"{bpp:.3f} bpp: {psnr:.2f} dB" for bpp, psnr in points), sep="\n  ")
plt.gca().set(xlabel="bits per pixel", ylabel="PSNR, dB")
plt.legend()
plt.savefig(sys.argv[2])
