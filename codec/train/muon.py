"""Muon: momentum whose update is orthogonalized, for the filters of a convolution.

Adam moves every weight by about the learning rate, so a layer with a thousand inputs may turn by
far more in the direction that all of them share. An orthogonalized update turns every direction
alike, and no further than the learning rate (K. Jordan et al., "Muon", 2024; the coefficients of
the Newton-Schulz iteration are from there).
"""

from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from nncodec.transform import quick_in_bf16


def orthogonalize(matrix: Tensor) -> Tensor:
    """Five Newton-Schulz steps that push all singular values of (rows, columns) towards 1.

    bfloat16 is exact enough for them, where it is quicker.
    """
    x: Tensor = matrix.bfloat16() if quick_in_bf16(matrix.device) else matrix.float()
    x = x / (x.norm() + 1e-7)
    wide = x.shape[0] <= x.shape[1]
    x = x if wide else x.T
    for _ in range(5):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    result: Tensor = (x if wide else x.T).float()
    return result


class Muon(Optimizer):
    """Muon for weights of two or more dimensions, seen as (outputs, inputs)."""

    def __init__(self, groups: list[dict[str, Any]], lr: float, momentum: float = 0.95) -> None:
        super().__init__(groups, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["momentum"] = torch.zeros_like(p)
                average: Tensor = state["momentum"]
                average.lerp_(p.grad, 1 - group["momentum"])
                ahead = p.grad.lerp(average, group["momentum"])  # Nesterov
                update = orthogonalize(ahead.flatten(1))
                scale = max(1.0, update.shape[0] / update.shape[1]) ** 0.5
                p.add_(update.reshape(p.shape), alpha=-group["lr"] * scale)
