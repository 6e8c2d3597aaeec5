"""The models that ship with nncodec: safetensors files and the manifest that names them."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Any

from nncodec.formats.errors import UnknownModel, WeightsError

FINGERPRINT_BYTES = 8
CONTEXT_ID_BITS = 14  # two bytes of a file; they only tell the context models of one model apart


@dataclass(frozen=True)
class Entry:
    """One model of the manifest.

    `channels` and `side` are the latent's; `pad` is the padding inside the network ("zeros" or
    "reflect"); `training` says how the weights were made; `kodak` what they measure on the 24 Kodak
    images ("bpp" of the real files, "psnr" in dB, "ms_ssim"). There may be two files besides, each
    with a "file" and a "sha256": `context`, the context model of their bits, and `proxy`, the
    network that stands for the rate when they are trained on.
    """

    id: str
    file: str
    sha256: str
    channels: int
    side: int
    pad: str
    training: Mapping[str, Any] = field(default_factory=dict)
    kodak: Mapping[str, float] = field(default_factory=dict)
    context: Mapping[str, str] = field(default_factory=dict)
    proxy: Mapping[str, str] = field(default_factory=dict)

    @property
    def fingerprint(self) -> bytes:
        """What a .cae file says of the weights it was made with."""
        return bytes.fromhex(self.sha256)[:FINGERPRINT_BYTES]

    @property
    def context_id(self) -> int | None:
        """What a .cae file says of the context model it was made with; None if there is none."""
        if not self.context:
            return None
        return int(self.context["sha256"], 16) >> 256 - CONTEXT_ID_BITS


def fingerprint(data: bytes) -> bytes:
    """The fingerprint of a safetensors file's content: 8 bytes of its SHA-256."""
    return hashlib.sha256(data).digest()[:FINGERPRINT_BYTES]


@cache
def _manifest_file() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(_read("models.json"))
    return content


@cache
def manifest() -> Mapping[str, Entry]:
    """Every shipped model by its id, in the manifest's order."""
    entries = [Entry(**item) for item in _manifest_file()["models"]]
    return MappingProxyType({entry.id: entry for entry in entries})


def default_model() -> str:
    """The id of the model that is used when none is named."""
    return str(_manifest_file()["default"])


def entry(model: str) -> Entry:
    """The manifest's entry of `model`; UnknownModel, with names that are near, if there is none."""
    known = manifest()
    if model in known:
        return known[model]
    near = difflib.get_close_matches(model, known) or list(known)
    hint = f"; did you mean {' or '.join(near)}?" if near else "; none is shipped"
    raise UnknownModel(f"no model {model!r}{hint}")


def load_bytes(model: str) -> bytes:
    """The safetensors file of `model`; WeightsError if it is missing or not what was shipped."""
    known = entry(model)
    return _load(known.file, known.sha256)


def load_context_bytes(model: str) -> bytes | None:
    """The safetensors file of the context model of `model`, checked as above; None without one."""
    return _load_beside(entry(model).context)


def load_proxy_bytes(model: str) -> bytes | None:
    """The safetensors file of the proxy of `model`, checked as above; None without one."""
    return _load_beside(entry(model).proxy)


def _load_beside(named: Mapping[str, str]) -> bytes | None:
    return _load(named["file"], named["sha256"]) if named else None


def _load(file: str, sha256: str) -> bytes:
    try:
        data = _read(file)
    except FileNotFoundError:
        raise WeightsError(f"the weights {file} are missing; install nncodec again") from None
    if hashlib.sha256(data).hexdigest() != sha256:
        raise WeightsError(f"the weights {file} are not those that were shipped")
    return data


def _read(name: str) -> bytes:
    return resources.files(__name__).joinpath(name).read_bytes()
