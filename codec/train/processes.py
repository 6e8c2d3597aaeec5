"""Several processes that share every step, as torchrun starts them; usually there is just one."""

import torch
from torch import distributed, nn


def rank() -> int:
    """The number of this process; process 0 is the one that validates and writes."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def share_weights(network: nn.Module) -> None:
    """Give every process the weights of process 0."""
    if distributed.is_initialized():
        for tensor in network.state_dict().values():
            distributed.broadcast(tensor, 0)


def average_gradients(network: nn.Module) -> None:
    """Over all processes."""
    if distributed.is_initialized():
        for parameter in network.parameters():
            if parameter.grad is not None:
                distributed.all_reduce(parameter.grad)
                parameter.grad /= distributed.get_world_size()


def anywhere(flag: bool) -> bool:
    """Whether ``flag`` is true in any process, so that all of them stop after the same step."""
    if not distributed.is_initialized():
        return flag
    count = torch.tensor(int(flag))
    distributed.all_reduce(count)
    return bool(count)


def meet() -> None:
    """Wait until every process is here."""
    anywhere(False)
