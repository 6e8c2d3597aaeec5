"""What tests of all areas share: the sample images, and the command line in a folder of its own."""

import json
import shutil
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from nncodec import weights
from nncodec.cli import main

ROOT = Path(__file__).parents[1]
DATA = Path(__file__).parent / "data"

Run = Callable[..., Result]
Ship = Callable[..., bytes]


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of the sample images."""
    return DATA


@pytest.fixture(scope="session")
def lake() -> Image.Image:
    """A photograph of 384x256 pixels."""
    return Image.open(DATA / "lake.png").convert("RGB")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, which is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def photo(folder: Path) -> Path:
    """photo.png in the current folder: 40x30 pixels of a photograph, one patch."""
    with Image.open(DATA / "lake.png") as image:
        image.resize((40, 30)).save(folder / "photo.png")
    return folder / "photo.png"


@pytest.fixture(scope="session")
def compressed_photo() -> bytes:
    """What becomes of photo.png by default."""
    from nncodec import compress

    with Image.open(DATA / "lake.png") as image:
        return compress(image.resize((40, 30)))


@pytest.fixture
def photo_cae(folder: Path, compressed_photo: bytes) -> Path:
    """photo.cae in the current folder: photo.png, compressed by default."""
    (folder / "photo.cae").write_bytes(compressed_photo)
    return folder / "photo.cae"


@pytest.fixture
def tree(photo: Path) -> Path:
    """The folder photos with a.png, sub/b.jpg and sub/notes.txt, beside photo.png."""
    sub = photo.parent / "photos" / "sub"
    sub.mkdir(parents=True)
    shutil.copy(photo, sub.parent / "a.png")
    with Image.open(photo) as image:
        image.convert("RGB").save(sub / "b.jpg")
    (sub / "notes.txt").write_text("no image")
    return sub.parent


@pytest.fixture
def nncodec(folder: Path) -> Run:
    """Run the command line; fail if it ends with another status than the one expected."""

    def run(*args: str | Path, status: int = 0, input: bytes | None = None, **env: Any) -> Result:
        result = CliRunner().invoke(main, [str(arg) for arg in args], input=input, env=env)
        assert result.exit_code == status, result.output
        assert "Traceback" not in result.output or "-v" in args
        return result

    return run


@pytest.fixture
def ship_context(monkeypatch: pytest.MonkeyPatch) -> Iterator[Ship]:
    """Let a model have a made-up context model, as if it shipped, and return that one's file.

    ``ship_context(model, data)`` ships a file of one's own; without ``data`` it is one with random
    weights, which foresees nothing and still has to be undone exactly.
    """
    from nncodec.api import codec_for

    files: dict[str, bytes] = {}
    read = weights._read

    def read_with_contexts(name: str) -> bytes:
        if name in files:
            return files[name]
        content = read(name)
        if name == "models.json":
            known = json.loads(content)
            for entry in known["models"]:
                if data := files.get(f"{entry['id']}-made-up"):
                    digest = sha256(data).hexdigest()
                    entry["context"] = {"file": f"{entry['id']}-made-up", "sha256": digest}
            content = json.dumps(known).encode()
        return content

    def forget() -> None:
        weights.manifest.cache_clear()
        weights._manifest_file.cache_clear()
        codec_for.cache_clear()

    def ship(model: str, data: bytes | None = None, seed: int = 0) -> bytes:
        files[f"{model}-made-up"] = data or made_up_context(model, seed)
        forget()
        return files[f"{model}-made-up"]

    monkeypatch.setattr(weights, "_read", read_with_contexts)
    yield ship
    forget()


def made_up_context(model: str, seed: int) -> bytes:
    """The file of a context model with random weights, whose chances are all near one half."""
    import torch
    from safetensors.torch import save

    from nncodec.train.context import build
    from nncodec.train.quantized import probability_table

    torch.manual_seed(seed)
    network = build(weights.entry(model).channels, groups=2, width=8)
    for layer in network.layers:
        for parameter in layer.parameters():
            torch.nn.init.normal_(parameter, std=0.02 if layer.last else 0.2)
    tensors = {**network.export(), "table": probability_table()}
    return save(tensors, metadata={"context": model})
