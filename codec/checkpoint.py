"""Weights: from safetensors files to networks, and from published checkpoints to safetensors."""

import json
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load as parse
from safetensors.torch import save as serialise
from torch import Tensor, nn

from nncodec import weights as shipped
from nncodec.formats.errors import WeightsError
from nncodec.formats.files import StrPath, atomic_output

from .entropy.context import ContextModel
from .entropy.planes import PlaneModel
from .entropy.weights import build_context, build_planes
from .models.bitplane import BITPLANE, Bitplane
from .models.cae import SPECS, Cae

Network = TypeVar("Network", bound=nn.Module)


def find_weights(model: str | None, weights: StrPath | None) -> tuple[str, bytes, str]:
    """The id, the safetensors file and its name, for shipped weights or the file ``weights``.

    ``model`` may be None: the default, or the one that the file names. Raises WeightsError or
    UnknownModel.
    """
    if weights is None:
        model = model or shipped.default_model()
        return model, shipped.load_bytes(model), shipped.entry(model).file
    data, name = read(weights), str(weights)
    named = _metadata(data).get("model")
    if model is not None and named not in (None, model):
        raise WeightsError(f"{name}: weights of {named}, not of {model}")
    model = model or named
    if model is None:
        raise WeightsError(f"{name}: the file does not say whose weights these are; use -m ID")
    return model, data, name


def load_model(model: str | None, weights: StrPath | None = None) -> tuple[str, Cae, bytes]:
    """A CAE with shipped weights, or with those of the safetensors file ``weights``.

    Returns the model's id, the network in float32 on the CPU, and the fingerprint of its weights.
    See :func:`find_weights`.
    """
    model, data, name = find_weights(model, weights)
    return model, build(model, parse_tensors(data, name), name), shipped.fingerprint(data)


def load_context(
    model: str, fingerprint: bytes, device: torch.device | None = None
) -> tuple[ContextModel | None, int | None]:
    """The context model of the bits of ``model``, and its id in .cae files.

    None of either if none ships for the weights with this fingerprint. Raises WeightsError.
    """
    entry = shipped.manifest().get(model)
    data = shipped.load_context_bytes(model) if entry else None
    if entry is None or data is None or entry.fingerprint != fingerprint:
        return None, None
    name = entry.context["file"]
    named = _metadata(data).get("context")
    if named != model:
        raise WeightsError(f"{name}: the context model of {named}, not of {model}")
    tensors = parse_tensors(data, name)
    return build_context(tensors, entry.channels, name, device), entry.context_id


def read(path: StrPath) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise WeightsError(f"{path}: {error.strerror}") from None


def parse_tensors(data: bytes, name: str) -> dict[str, Tensor]:
    """The tensors of a safetensors file called ``name`` in messages."""
    try:
        return parse(data)
    except (SafetensorError, ValueError, KeyError):
        raise WeightsError(f"{name}: not a safetensors file") from None


def build(model: str, tensors: Mapping[str, Tensor], name: str) -> Cae:
    """The network ``model`` with these tensors; WeightsError names what does not fit."""
    if model not in SPECS:
        raise WeightsError(f"no network {model!r}; known are {', '.join([*SPECS, BITPLANE])}")
    return fill(Cae(SPECS[model]), tensors, model, name)


def build_bitplane(
    tensors: Mapping[str, Tensor], name: str, device: torch.device
) -> tuple[Bitplane, PlaneModel]:
    """The transforms and the plane model in tensors "transform.*" and "planes.*".

    WeightsError names what does not fit.
    """
    parts: dict[str, dict[str, Tensor]] = {"transform": {}, "planes": {}}
    for key, tensor in tensors.items():
        part, _, inner = key.partition(".")
        if part not in parts:
            raise WeightsError(f"{name}: {key} has no place in {BITPLANE}")
        parts[part][inner] = tensor
    network = build_transform(parts["transform"], name)
    channels = network.analysis.down.out_channels
    return network, build_planes(parts["planes"], channels, name, device)


def build_transform(tensors: Mapping[str, Tensor], name: str) -> Bitplane:
    """The transforms with these tensors, of any size; WeightsError names what does not fit."""
    blocks = Counter(
        found[1]
        for key in tensors
        if (found := re.fullmatch(r"(\w+)\.blocks\.\d+\.merge\.bias", key))
    )
    channels = len(tensors.get("analysis.down.bias", ()))
    network = Bitplane(blocks["analysis"], channels, blocks["synthesis"])
    return fill(network, tensors, BITPLANE, name)


def fill(network: Network, tensors: Mapping[str, Tensor], model: str, name: str) -> Network:
    """Give ``network`` its tensors, in float32; WeightsError names one that is not ``model``'s."""
    tensors = {key: tensor.float() for key, tensor in tensors.items()}
    expected = network.state_dict()
    for key in [*expected, *tensors]:
        if key not in tensors:
            raise WeightsError(f"{name}: {key} is missing; these are not weights of {model}")
        if key not in expected:
            raise WeightsError(f"{name}: {key} has no place in {model}")
        if tensors[key].shape != expected[key].shape:
            have, due = list(tensors[key].shape), list(expected[key].shape)
            raise WeightsError(f"{name}: {key} is {have}, in {model} it is {due}")
        if not tensors[key].isfinite().all():
            raise WeightsError(f"{name}: {key} holds values that are not finite")
    network.load_state_dict(tensors)
    return network.eval().requires_grad_(False)


def save_weights(
    tensors: Mapping[str, Tensor],
    model: str,
    path: StrPath,
    *,
    half: bool = False,
    force: bool = False,
) -> None:
    """Write tensors as a safetensors file that names its model; ``half`` rounds to float16."""
    dtype = torch.float16 if half else torch.float32
    ready = {key: tensor.detach().cpu().to(dtype).contiguous() for key, tensor in tensors.items()}
    with atomic_output(path, force=force) as file:
        file.write(serialise(ready, metadata={"model": model}))


def import_checkpoint(
    checkpoint: StrPath, model: str, output: StrPath, *, force: bool = False
) -> None:
    """Convert a published PyTorch state dict of ``model`` to a safetensors file.

    Raises WeightsError, naming the tensor, if a key or shape is not the model's.
    """
    try:
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    except OSError as error:
        raise WeightsError(f"{checkpoint}: {error.strerror}") from None
    except Exception:  # torch raises nearly anything on what is not a checkpoint
        raise WeightsError(
            f"{checkpoint}: not a PyTorch state dict that can be read without running code"
        ) from None
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise WeightsError(f"{checkpoint}: not a state dict; save model.state_dict() alone")
    tensors = {key: tensor.float() for key, tensor in state.items()}
    build(model, tensors, str(checkpoint))
    save_weights(tensors, model, output, force=force)


def _metadata(data: bytes) -> dict[str, str]:
    """The free-form metadata of a safetensors file: JSON behind an 8-byte length."""
    try:
        size = int.from_bytes(data[:8], "little")
        found = json.loads(data[8 : 8 + size]).get("__metadata__", {})
        return found if isinstance(found, dict) else {}
    except (ValueError, AttributeError):
        return {}
