"""Files that must decode for good: the same bits everywhere, the same pixels to one level.

`python tests/test_golden.py` tells what this machine makes of them, as JSON: whether the bits are
the same, and by how many levels pixels differ at most. With `write` it writes tests/data/golden
anew, for when the format or the weights change before a release; afterwards, never again.
"""

import json
import sys
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nncodec import Codec
from nncodec.api import codec_for
from nncodec.formats.bits import Entropy
from nncodec.formats.cae import Coding, Reader
from nncodec.models.bitplane import BITPLANE
from nncodec.patches import cut
from nncodec.variable import VariableRate
from nncodec.weights import Entry, manifest

GOLDEN = Path(__file__).parent / "data" / "golden"


def codings(entry: Entry) -> tuple[Entropy, ...]:
    return ("context",) if entry.id == BITPLANE else ("raw", "zstd", "context")


FILES = [(model, coding) for model, entry in manifest().items() for coding in codings(entry)]


def bits_hash(codec: Codec, path: Path, coding: Entropy) -> str:
    """SHA-256 of all ±1 values, segment by segment and patch by patch; or of all integers."""
    digest = sha256()
    with path.open("rb") as file:
        reader = Reader(file)
        if isinstance(codec.engine, VariableRate):
            latent, _ = codec.engine.read(reader, None, [0], reader.header.planes)
            return sha256(latent.astype("<i2").tobytes()).hexdigest()
        for segment in reader.segments():
            assert segment.coding is Coding[coding.upper()]
            patches = cut(codec.engine.coder.decode(segment, reader.header), reader.header.side)
            digest.update((patches.astype(np.int8) * 2 - 1).tobytes())
    return digest.hexdigest()


def difference(codec: Codec, model: str, coding: Entropy) -> int:
    """The largest difference of a decoded sample to the one that was decoded when it was made."""
    with Image.open(GOLDEN / f"v1-{model}.png") as image:
        expected = np.asarray(image).astype(np.int16)
    decoded = codec.decompress(GOLDEN / f"v1-{model}-{coding}.cae")
    return int(np.abs(np.asarray(decoded).astype(np.int16) - expected).max())


@pytest.mark.parametrize(("model", "coding"), FILES)
def test_golden_bits(model: str, coding: Entropy) -> None:
    known = json.loads((GOLDEN / "bits.json").read_text())
    name = f"v1-{model}-{coding}"
    assert bits_hash(Codec(model, "cpu"), GOLDEN / f"{name}.cae", coding) == known[name]
    # The bits are the same in whatever way they are coded.
    assert known[name] == known.get(f"v1-{model}-raw", known[name])


@pytest.mark.parametrize("model", manifest())
def test_golden_pixels(model: str) -> None:
    codec = Codec(model, "cpu")
    for coding in codings(manifest()[model]):
        assert difference(codec, model, coding) <= 1


def test_every_model_and_coding_has_a_small_file() -> None:
    names = {f"v1-{model}-{coding}.cae" for model, coding in FILES}
    names |= {f"v1-{model}.png" for model in manifest()}
    assert {path.name for path in GOLDEN.iterdir()} == names | {"bits.json"}
    assert max(path.stat().st_size for path in GOLDEN.iterdir()) < 32_000
    assert len(FILES) == 3 * len(manifest()) - 2


def check() -> dict[str, tuple[bool, int]]:
    """For each file, whether its bits are the same, and the largest difference of its pixels."""
    known = json.loads((GOLDEN / "bits.json").read_text())
    found = {}
    for model, coding in FILES:
        codec = codec_for(model, "cpu")
        name = f"v1-{model}-{coding}"
        same = bits_hash(codec, GOLDEN / f"{name}.cae", coding) == known[name]
        found[name] = same, difference(codec, model, coding)
    return found


def write() -> None:
    GOLDEN.mkdir(exist_ok=True)
    for path in GOLDEN.iterdir():
        path.unlink()
    with Image.open(GOLDEN.parent / "lake.png") as image:
        sample = image.convert("RGB").crop((100, 40, 260, 130))  # two patches side by side
    known = {}
    for model, entry in manifest().items():
        codec = Codec(model, "cpu")
        stages = 4 if codec.variable else None
        for coding in codings(entry):
            path = GOLDEN / f"v1-{model}-{coding}.cae"
            path.write_bytes(codec.compress(sample, entropy=coding, stages=stages))
            known[path.stem] = bits_hash(codec, path, coding)
        codec.decompress(path).save(GOLDEN / f"v1-{model}.png")
    (GOLDEN / "bits.json").write_text(json.dumps(known, indent=2) + "\n")


if __name__ == "__main__":
    if sys.argv[1:] == ["write"]:
        write()
    else:
        print(json.dumps(check(), indent=2))
