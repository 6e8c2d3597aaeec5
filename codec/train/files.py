"""What a run reads and writes: checkpoints, weights and its log."""

import csv
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as serialise
from torch import Tensor, nn

from nncodec.formats.errors import WeightsError
from nncodec.formats.files import atomic_output

State = dict[str, Any]
CHECKPOINT_SUFFIX = ".pt"  # other files with weights are safetensors
SHIPPED = "shipped"  # the start with what ships


def write_state(state: State, path: Path) -> None:
    """Write a checkpoint, whole or not at all."""
    with atomic_output(path, force=True) as file:
        torch.save(state, file)


def read_state(path: Path) -> State:
    """The checkpoint at ``path``, on the CPU. Raises WeightsError."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise WeightsError(f"{path}: {error.strerror}") from None
    except Exception:  # torch raises nearly anything on what is not a checkpoint
        raise WeightsError(f"{path}: not a checkpoint of a training") from None
    if not isinstance(state, dict):
        raise WeightsError(f"{path}: not a checkpoint of a training")
    return state


def kept(path: Path, key: str, make: Callable[[], State]) -> State:
    """What ``make`` gives, with its key: kept at ``path`` for runs that ask with the same key."""
    state = read_state(path) if path.exists() else {}
    if state.get("key") != key:
        state = {"key": key, **make()}
        write_state(state, path)
    return state


def averaged_weights(path: Path) -> dict[str, Tensor]:
    """The averaged weights in the checkpoint at ``path``; a bare state dict is taken as it is."""
    state = read_state(path)
    average: dict[str, Tensor] = state.get("ema", state)
    return average


def weights_file(start: str) -> str | None:
    """The safetensors file to start with; None for the one that ships."""
    return None if start == SHIPPED else start


def fill(network: nn.Module, tensors: Mapping[str, Tensor], name: str) -> None:
    """Give ``network`` the tensors of the file ``name``; WeightsError if they do not fit."""
    try:
        network.load_state_dict(dict(tensors))
    except (RuntimeError, TypeError):
        raise WeightsError(
            f"{name}: these weights do not fit; are they of another model or other settings?"
        ) from None


def write_weights(tensors: Mapping[str, Tensor], path: Path, metadata: dict[str, str]) -> None:
    """Write a safetensors file, whole or not at all."""
    ready = {key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}
    with atomic_output(path, force=True) as file:
        file.write(serialise(ready, metadata=metadata))


def append_row(path: Path, row: Mapping[str, float]) -> None:
    """Add a line to a CSV file, which keeps the columns that it began with."""
    new = not path.exists()
    with path.open("a+", newline="", encoding="utf-8") as file:
        file.seek(0)
        columns = list(row) if new else next(csv.reader(file))
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        if new:
            writer.writeheader()
        writer.writerow({name: f"{value:.7g}" for name, value in row.items()})
