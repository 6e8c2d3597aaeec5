"""Files that must decode for good: the same bits everywhere, the same pixels to one level.

`python tests/test_golden.py` writes tests/data/golden anew, for when the format or the weights
change before a release; afterwards, never again.
"""

import json
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nncodec import Codec
from nncodec.formats.bits import Entropy, unpack_segment
from nncodec.formats.cae import Reader
from nncodec.weights import manifest

GOLDEN = Path(__file__).parent / "data" / "golden"
CODINGS: tuple[Entropy, ...] = ("raw", "zstd")
FILES = [f"v1-{model}-{coding}" for model in manifest() for coding in CODINGS]


def bits_hash(path: Path) -> str:
    """SHA-256 of all ±1 values, in the order of the file."""
    digest = sha256()
    with path.open("rb") as file:
        reader = Reader(file)
        for segment in reader.segments():
            digest.update(unpack_segment(segment, reader.header).tobytes())
    return digest.hexdigest()


@pytest.mark.parametrize("name", FILES)
def test_golden_bits(name: str) -> None:
    known = json.loads((GOLDEN / "bits.json").read_text())
    assert bits_hash(GOLDEN / f"{name}.cae") == known[name]


@pytest.mark.parametrize("model", manifest())
def test_golden_pixels(model: str) -> None:
    codec = Codec(model, "cpu")
    with Image.open(GOLDEN / f"v1-{model}.png") as image:
        expected = np.asarray(image).astype(np.int16)
    for coding in CODINGS:
        decoded = codec.decompress(GOLDEN / f"v1-{model}-{coding}.cae")
        assert np.abs(np.asarray(decoded).astype(np.int16) - expected).max() <= 1


def write() -> None:
    GOLDEN.mkdir(exist_ok=True)
    for path in GOLDEN.iterdir():
        path.unlink()
    with Image.open(GOLDEN.parent / "lake.png") as image:
        sample = image.convert("RGB").crop((100, 40, 260, 130))  # two patches side by side
    known = {}
    for model in manifest():
        codec = Codec(model, "cpu")
        for coding in CODINGS:
            path = GOLDEN / f"v1-{model}-{coding}.cae"
            path.write_bytes(codec.compress(sample, entropy=coding))
            known[path.stem] = bits_hash(path)
        codec.decompress(path).save(GOLDEN / f"v1-{model}.png")
    (GOLDEN / "bits.json").write_text(json.dumps(known, indent=2) + "\n")


if __name__ == "__main__":
    write()
