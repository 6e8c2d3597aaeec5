"""The tensors of context models, checked before anything is computed with them."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from nncodec.formats.errors import WeightsError

from .board import SQUARE
from .context import PHASES, ContextModel
from .digits import MAX_TOP
from .network import exact_device, layers_of
from .plane_network import DECISIONS, FORECAST, SITUATIONS, TOLD
from .planes import PlaneModel
from .products import quickest
from .pyramid import AROUND, FOUR, NEAR

TABLE = "table"
MAX_SHIFT = 24
DTYPES = {
    "weight": torch.int8,
    "bias": torch.int32,
    "shift": torch.int8,
    "skip": torch.bool,
    TABLE: torch.uint16,
}
PARTS = [part for part in DTYPES if part != TABLE]  # of a layer
CHANNELS, MEANS, OTHERS, SLOPES = "channels", "means", "others", "slopes"
# What a plane model has besides a network: types and shapes, some being counted.
OWN: dict[str, tuple[torch.dtype, tuple[int | str, ...]]] = {
    "own.weight": (torch.int8, (DECISIONS, 3, 3, CHANNELS)),
    "own.lead": (torch.int8, (DECISIONS, CHANNELS)),
    "tops": (torch.uint16, (SITUATIONS, CHANNELS, MAX_TOP)),
    "means": (torch.bool, (CHANNELS,)),
    "others": (torch.int16, (OTHERS,)),
    "slopes": (torch.int16, (len(NEAR), len(AROUND), MEANS, SLOPES)),
}


def build_context(
    tensors: Mapping[str, Tensor],
    channels: int,
    name: str,
    device: torch.device | None = None,
) -> ContextModel:
    """The context model of a latent of ``channels`` with the tensors of the file ``name``.

    WeightsError names what is missing or does not fit.
    """
    try:
        check(tensors, channels)
        return ContextModel(tensors, channels, device, quickest(exact_device(device)))
    except WeightsError as error:
        raise WeightsError(f"{name}: {error}; this is no context model of these bits") from None


def build_planes(
    tensors: Mapping[str, Tensor], channels: int, name: str, device: torch.device | None = None
) -> PlaneModel:
    """The plane model of a latent of ``channels``, its tensors being those of the file ``name``.

    WeightsError names what is missing or does not fit.
    """
    own = {key: tensor for key, tensor in tensors.items() if key in OWN}
    try:
        rest = {key: tensor for key, tensor in tensors.items() if key not in OWN}
        forecast, told = (
            {key: rest.pop(key) for key in [*rest] if key.startswith(prefix)}
            for prefix in (FORECAST, TOLD)
        )
        foretold = check_single(forecast, FORECAST, None, 3)
        require(foretold <= channels, f"the forecast is of {foretold} channels")
        check_network(rest, SITUATIONS, 2 * channels, DECISIONS * channels + foretold)
        width = check_single(told, TOLD, 2 * channels, 1)
        last = layers_of(rest)[-1].weight.shape[1]
        require(width == last, f"{TOLD}weight has {width} outputs, the last layer {last} inputs")
        require(not rest["0.skip"], "0.skip is true, but nothing skips the first layer")
        for key in OWN:
            require(key in own, f"{key} is missing")
        others = own["others"]
        counts = {CHANNELS: channels, MEANS: int(own["means"].sum()), OTHERS: others.numel()}
        counts[SLOPES] = FOUR + len(SQUARE) * others.numel()
        for key, (due, shape) in OWN.items():
            size = [side if isinstance(side, int) else counts[side] for side in shape]
            fits = own[key].dtype == due and list(own[key].shape) == size
            require(fits, f"{key} is {own[key].dtype} {list(own[key].shape)}, not {due} {size}")
        require(int(own["tops"].numpy().min()) > 0, "tops holds a chance of 0")
        known = set(range(channels)) - set(own["means"].nonzero().flatten().tolist())
        require(
            set(others.tolist()) <= known, "others are not among the channels that are no means"
        )
        return PlaneModel(tensors, channels, device, quickest(exact_device(device)))
    except WeightsError as error:
        raise WeightsError(f"{name}: {error}; these are no weights of a plane model") from None


def check_single(
    tensors: Mapping[str, Tensor], prefix: str, inputs: int | None, largest: int
) -> int:
    """Check a plane model's layer beside the network; returns how many outputs it has.

    It has as many inputs, if nobody says how many, and looks at squares of ``largest`` at most.
    """
    check_types(tensors, [prefix + part for part in PARTS])
    require(not tensors[prefix + "skip"], f"{prefix}skip is true, but nothing skips this layer")
    shape = tensors[prefix + "weight"].shape
    if inputs is None:
        inputs = shape[0] if shape else 0
    layer = prefix.rstrip(".")
    outputs = check_layer(tensors, layer, SITUATIONS, inputs)
    require(shape[-1] <= largest, f"the {layer}'s weight is {list(shape)}")
    return outputs


def check(tensors: Mapping[str, Tensor], channels: int) -> None:
    """Raise WeightsError if these are not the tensors of a context model."""
    bias = tensors.get("0.bias")
    steps = len(bias) if bias is not None and bias.ndim else 0
    most = PHASES * channels
    known = bias is None or steps in range(PHASES, most + 1, PHASES)
    require(known, f"{steps} steps, no multiple of {PHASES} up to {most}")
    check_network(tensors, steps, channels, channels)


def check_network(tensors: Mapping[str, Tensor], steps: int, inputs: int, outputs: int) -> None:
    """Raise WeightsError if these are not the tensors of one network and its table."""
    count = sum(key.endswith(".weight") for key in tensors)
    keys = [f"{number}.{part}" for number in range(max(count, 1)) for part in PARTS]
    check_types(tensors, [*keys, TABLE])
    for number in range(count):
        inputs = check_layer(tensors, number, steps, inputs)
    require(inputs == outputs, f"the network has {inputs} outputs, not {outputs}")
    last = f"{count - 1}.skip"
    require(not count or not tensors[last], f"{last} is true, but nothing skips the last layer")
    table = tensors[TABLE]
    require(table.ndim == 1 and len(table) % 2 == 1, f"{TABLE} is {list(table.shape)}, not odd")
    require(int(table.numpy().min()) > 0, f"{TABLE} holds a chance of 0")


def check_types(tensors: Mapping[str, Tensor], keys: Sequence[str]) -> None:
    """Raise WeightsError if there are others than these, or one is of another type than its due."""
    for key in [*keys, *tensors]:
        require(key in tensors, f"{key} is missing")
        require(key in keys, f"{key} has no place")
        due = DTYPES[key.split(".")[-1]]
        require(tensors[key].dtype == due, f"{key} is {tensors[key].dtype}, not {due}")


def check_layer(tensors: Mapping[str, Tensor], number: int | str, steps: int, inputs: int) -> int:
    """Check the layer ``number``, which gets ``inputs``; returns how many outputs it has."""
    weight, bias, shift, skip = (tensors[f"{number}.{part}"] for part in PARTS)
    outputs, size = (weight.shape[0], weight.shape[-1]) if weight.ndim == 4 else (0, 0)
    layer = f"layer {number}"
    require(
        outputs > 0 and size % 2 == 1 and weight.shape[1:] == (inputs, size, size),
        f"{layer}'s weight is {list(weight.shape)}, not outputs x {inputs} x an odd size, twice",
    )
    for part, tensor, due in (
        ("bias", bias, (steps, outputs)),
        ("shift", shift, (outputs,)),
        ("skip", skip, ()),
    ):
        require(tensor.shape == due, f"{layer}'s {part} is {list(tensor.shape)}, not {list(due)}")
    require(
        0 <= int(shift.min()) and int(shift.max()) <= MAX_SHIFT,
        f"{layer} shifts by other than 0 to {MAX_SHIFT}",
    )
    require(not skip or inputs == outputs, f"{layer} skips from {inputs} to {outputs} channels")
    return outputs


def require(condition: bool, problem: str) -> None:
    if not condition:
        raise WeightsError(problem)
