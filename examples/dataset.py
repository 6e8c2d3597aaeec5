"""Load a folder of .cae files as training data: a dataset that knows Pillow, and nothing else.

python dataset.py FOLDER
"""

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

import nncodec

nncodec.register_cae_opener()  # from here on, Image.open reads .cae files


class Crops(Dataset[torch.Tensor]):
    """Random squares of the images in a folder, (3, size, size) in [0, 1]."""

    def __init__(self, folder: Path, size: int) -> None:
        self.paths = sorted(folder.glob("*.cae"))
        self.size = size

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        with Image.open(self.paths[index]) as image:
            x = int(torch.randint(image.width - self.size + 1, ()))
            y = int(torch.randint(image.height - self.size + 1, ()))
            crop = image.convert("RGB").crop((x, y, x + self.size, y + self.size))
        return torch.from_numpy(np.array(crop)).permute(2, 0, 1) / 255


if __name__ == "__main__":
    for batch in DataLoader(Crops(Path(sys.argv[1]), size=64), batch_size=2):
        print(tuple(batch.shape), f"mean {batch.mean():.3f}")
