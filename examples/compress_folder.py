"""Compress every image in a folder with one loaded model, and say what it came to.

python compress_folder.py PHOTOS OUT
"""

import sys
from pathlib import Path

import nncodec


def compress_folder(source: Path, target: Path, quality: float = 60) -> None:
    codec = nncodec.Codec()  # the network is loaded once
    target.mkdir(parents=True, exist_ok=True)
    before = after = 0
    for path in sorted(source.iterdir()):
        try:
            data = codec.compress(path, quality=quality, effort=1)
        except (nncodec.ImageError, OSError) as error:
            print(f"{path.name}: {error}", file=sys.stderr)
            continue
        (target / f"{path.stem}.cae").write_bytes(data)
        before, after = before + path.stat().st_size, after + len(data)
        print(f"{path.name}: {len(data):,} bytes")
    print(f"{before:,} bytes became {after:,}")


if __name__ == "__main__":
    compress_folder(Path(sys.argv[1]), Path(sys.argv[2]))
