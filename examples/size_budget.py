"""Make the best file of an image that a number of bytes allows, and tell how good it is.

python size_budget.py PHOTO.png BYTES PHOTO.cae
"""

import sys
from pathlib import Path

import nncodec

path, budget, target = Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
try:
    data = nncodec.compress(path, size=budget, metadata=())  # metadata would count, too
except nncodec.NncodecError as error:
    sys.exit(f"{path}: {error}")
target.write_bytes(data)
with nncodec.open(target) as file:
    info = file.info
    print(
        f"{info['bytes']:,} of {budget:,} bytes: quality {info['quality']}, {info['bpp']:.3f} bpp"
    )
