"""Show a picture while its file is still on its way: decode what the first part of it holds.

python progressive.py PHOTO.cae FOLDER
"""

import sys
from pathlib import Path

import nncodec

data = Path(sys.argv[1]).read_bytes()
for percent in (25, 50, 75, 100):
    so_far = data[: len(data) * percent // 100]
    with nncodec.open(so_far, partial=True) as file:  # what is missing raises nothing ...
        image = file.decode()
        news = "; ".join(map(str, file.errors)) or "complete"  # ... and is told here
    image.save(Path(sys.argv[2]) / f"{percent}.png")
    print(f"{percent} %, {len(so_far):,} bytes: {news}")
