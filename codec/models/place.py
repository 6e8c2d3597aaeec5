"""Where networks live, and how their filters are laid out there."""

import torch
from torch import nn


def place(module: nn.Module, device: torch.device) -> None:
    """Move to ``device``, the filters laid out channels last, as convolutions like them."""
    module.to(device)
    for parameter in module.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
