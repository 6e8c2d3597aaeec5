"""Training that neither some crops outweigh nor some inputs.

Crops full of texture cost the most bits and errors, so that smooth ones would teach little beside
them: they count less.

Adam moves all weights equally far. What the blocks of a transform read is anything but even: the
means of squares vary fifty times as much as what is fine, and where such an input is weighed a step
changes fifty times as much: it is what limits how long steps may be. So they are divided by how
large an input usually is, as the diagonal of a Kronecker factor would have it (Martens and Grosse,
"Optimizing neural networks with Kronecker-factored approximate curvature", 2015). That holds for
weights that go on being trained; blocks that begin learn the more from what varies most.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam

USUAL = 0.305, -0.291  # logarithm of what a crop costs at level 0, and how that grows with levels
FAR = 50.0  # times the usual: crops beyond that, or as far below it, weigh no more
MOST = 4.0  # times as long, or as short, as the step of a usual input


def balanced(cost: Tensor, level: Tensor, even: float) -> Tensor:
    """The mean of what crops at levels cost, (n,) each, which slopes are taken of.

    What a crop costs weighs less the larger it is for its level.
    """
    first, growth = USUAL
    relative = cost.detach() / torch.exp(first + growth * level)
    return (cost * relative.clamp(1 / FAR, FAR) ** -even).mean()


class EvenAdam(Adam):
    """Adam, whose steps are multiplied by "factors" of a group, one tensor for each parameter."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        scaled = [
            (parameter, parameter.clone(), factor)
            for group in self.param_groups
            if "factors" in group
            for parameter, factor in zip(group["params"], group["factors"], strict=True)
        ]
        loss = super().step(closure)
        for parameter, before, factor in scaled:
            # those of a checkpoint are not moved to where the parameters are, as its state is
            parameter.copy_(before.lerp(parameter, factor.to(parameter.device)))
        return loss


def input_sizes(
    layers: Iterable[nn.Conv2d], run: Callable[[], object]
) -> Mapping[nn.Conv2d, Tensor]:
    """The root mean square of each input channel (C,) of layers, while ``run`` runs them once."""
    sizes: dict[nn.Conv2d, Tensor] = {}

    def note(layer: nn.Conv2d, inputs: tuple[Tensor, ...]) -> None:
        sizes[layer] = inputs[0].float().square().mean((0, 2, 3)).sqrt()

    hooks = [layer.register_forward_pre_hook(note) for layer in layers]
    with torch.no_grad():
        run()
    for hook in hooks:
        hook.remove()
    return sizes


def even_factors(sizes: Tensor) -> Tensor:
    """What steps of a weight (D, C, 1, 1) are multiplied by for inputs of these sizes (C,)."""
    factors = sizes.median() / sizes.clamp_min(torch.finfo(torch.float32).tiny)
    return factors.clamp(1 / MOST, MOST)[None, :, None, None]
