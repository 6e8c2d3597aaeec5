"""What a codec does its work with: the engine of a model, fixed or variable in its rate."""

import torch

from nncodec import weights as shipped
from nncodec.formats.cae import Header
from nncodec.formats.errors import ModelMismatch
from nncodec.formats.files import StrPath

from .checkpoint import build, build_bitplane, find_weights, load_context, parse_tensors
from .fixed import FixedRate
from .models.bitplane import BITPLANE
from .segments import SegmentCoder
from .variable import VariableRate

Engine = FixedRate | VariableRate


def load_engine(
    model: str | None, weights: StrPath | None, device: torch.device, batch_size: int | None
) -> tuple[str, bytes, Engine]:
    """The id of a model, the fingerprint of its weights, and its engine on a device.

    ``model`` and ``weights`` are those of :func:`nncodec.checkpoint.find_weights`. Raises
    WeightsError or UnknownModel.
    """
    model, data, name = find_weights(model, weights)
    fingerprint = shipped.fingerprint(data)
    tensors = parse_tensors(data, name)
    if model == BITPLANE:
        return model, fingerprint, VariableRate(*build_bitplane(tensors, name, device), device)
    coder = SegmentCoder(model, *load_context(model, fingerprint, device))
    network = build(model, tensors, name)
    return model, fingerprint, FixedRate(network, coder, device, batch_size)


def model_of(header: Header, weights: StrPath | None = None) -> str:
    """The id of the model to decode with. Raises ModelMismatch if it is not at hand."""
    if weights is None and header.model not in shipped.manifest():
        raise ModelMismatch(f"made with {header.model}, which is not shipped; use --weights FILE")
    return header.model
