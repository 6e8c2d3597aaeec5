"""The manifest of the shipped models."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from nncodec import weights
from nncodec.formats.cae import MODEL_NUMBERS
from nncodec.formats.errors import NncodecError, UnknownModel, WeightsError

CONTENT = b"not really safetensors"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A manifest of two models, read in place of the shipped one."""
    models = [
        {
            "id": name,
            "file": f"{name}.safetensors",
            "sha256": hashlib.sha256(CONTENT).hexdigest(),
            "channels": 16,
            "side": 8,
            "pad": "zeros",
            "training": {"steps": 10},
            "kodak": {"bpp": 0.0637, "psnr": 22.5},
        }
        for name in ("model_one", "model_two")
    ]
    models[1]["context"] = {"file": "bits.safetensors", "sha256": "f" * 16 + "0" * 48}
    models[1]["proxy"] = {"file": "rate.safetensors", "sha256": models[0]["sha256"]}
    content = {"default": "model_two", "models": models}
    (tmp_path / "models.json").write_text(json.dumps(content))
    (tmp_path / "model_one.safetensors").write_bytes(CONTENT)
    monkeypatch.setattr(weights, "_read", lambda name: (tmp_path / name).read_bytes())
    clear()
    yield tmp_path
    clear()


def clear() -> None:
    weights.manifest.cache_clear()
    weights._manifest_file.cache_clear()


@pytest.mark.usefixtures("folder")
def test_entries() -> None:
    assert list(weights.manifest()) == ["model_one", "model_two"]
    assert weights.default_model() == "model_two"
    entry = weights.entry("model_one")
    assert (entry.channels, entry.side, entry.pad) == (16, 8, "zeros")
    assert entry.kodak["psnr"] == 22.5
    assert entry.training == {"steps": 10}
    assert entry.fingerprint == hashlib.sha256(CONTENT).digest()[:8]
    assert entry.fingerprint == weights.fingerprint(CONTENT)
    with pytest.raises(TypeError):
        weights.manifest()["other"] = entry  # type: ignore[index]


@pytest.mark.usefixtures("folder")
def test_unknown_models_are_refused_with_names_that_are_near() -> None:
    with pytest.raises(UnknownModel, match=r"'model_on'; did you mean model_one"):
        weights.entry("model_on")
    with pytest.raises(UnknownModel, match="did you mean model_one or model_two"):
        weights.load_bytes("zzz")
    assert issubclass(UnknownModel, NncodecError)


def test_files_are_checked(folder: Path) -> None:
    assert weights.load_bytes("model_one") == CONTENT
    with pytest.raises(WeightsError, match=r"model_two\.safetensors are missing"):
        weights.load_bytes("model_two")
    (folder / "model_one.safetensors").write_bytes(CONTENT + b"!")
    with pytest.raises(WeightsError, match=r"model_one\.safetensors are not those"):
        weights.load_bytes("model_one")


def test_context_models_are_checked_likewise(folder: Path) -> None:
    assert weights.load_context_bytes("model_one") is None
    assert weights.entry("model_one").context_id is None
    assert weights.entry("model_two").context_id == 0b11_1111_1111_1111
    with pytest.raises(WeightsError, match=r"bits\.safetensors are missing"):
        weights.load_context_bytes("model_two")
    (folder / "bits.safetensors").write_bytes(CONTENT)
    with pytest.raises(WeightsError, match=r"bits\.safetensors are not those"):
        weights.load_context_bytes("model_two")


def test_proxies_are_checked_likewise(folder: Path) -> None:
    assert weights.load_proxy_bytes("model_one") is None
    with pytest.raises(WeightsError, match=r"rate\.safetensors are missing"):
        weights.load_proxy_bytes("model_two")
    (folder / "rate.safetensors").write_bytes(CONTENT)
    assert weights.load_proxy_bytes("model_two") == CONTENT


def test_what_is_shipped_is_sound() -> None:
    clear()
    assert weights.default_model() in MODEL_NUMBERS.values()
    for name, entry in weights.manifest().items():
        assert entry.id == name
        assert hashlib.sha256(weights.load_bytes(name)).hexdigest() == entry.sha256
        if context := weights.load_context_bytes(name):
            assert hashlib.sha256(context).hexdigest() == entry.context["sha256"]
            assert len(context) < 1_000_000
    fingerprints = {entry.fingerprint for entry in weights.manifest().values()}
    assert len(fingerprints) == len(weights.manifest())
