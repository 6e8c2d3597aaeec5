"""Least-squares fits of a network's layers, from the activations that it really has."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def blocks(patches: Tensor, side: int) -> Tensor:
    """Cut (n, 3, size, size) into blocks: (n, size/side, size/side, 3*side*side)."""
    n, g = len(patches), patches.shape[-1] // side
    x = patches.reshape(n, 3, g, side, g, side).permute(0, 2, 4, 1, 3, 5)
    return x.reshape(n, g, g, 3 * side * side)


def principal_components(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Basis (d, d), a component a row, strongest first, and standard deviations (d,)."""
    values, basis = torch.linalg.eigh(torch.cov(vectors.T.double()))
    return basis.T.flip(0).float(), values.flip(0).clamp(min=1e-12).sqrt().float()


def least_squares(
    x: Tensor, y: Tensor, trust: Tensor | None = None, *, ridge: float = 1e-3
) -> tuple[Tensor, Tensor]:
    """Weights (k, d) and offsets (k,) that map rows of x (n, d) to rows of y (n, k).

    ``trust`` (n, 1) weighs the rows' squared errors; the ridge is relative to each column's
    variance.
    """
    trust = torch.ones(len(x), 1) if trust is None else trust
    share = trust / trust.sum()
    mx, my = (share * x).sum(0), (share * y).sum(0)
    xc, yc = x - mx, y - my
    gram = (xc.T @ (share * xc)).double()
    gram += torch.diag(ridge * gram.diagonal() + 1e-9 + 1e-5 * gram.diagonal().mean())
    weight = torch.linalg.solve(gram, (xc.T @ (share * yc)).double()).float().T
    return weight, my - weight @ mx


def windows(x: Tensor, size: int, stride: int, padding: int) -> Tensor:
    """Neighbourhoods of (n, c, h, w) as rows (n, h', w', c*size*size), in a kernel's order."""
    n, _, h, _ = x.shape
    rows = F.unfold(x, size, padding=padding, stride=stride)
    side = (h + 2 * padding - size) // stride + 1
    return rows.transpose(1, 2).reshape(n, side, -1, rows.shape[1])


def sample(*tensors: Tensor, count: int = 40_000) -> list[Tensor]:
    """The same random rows of tensors (..., d), flattened to (count, d)."""
    flat = [t.reshape(-1, t.shape[-1]) for t in tensors]
    pick = torch.randperm(len(flat[0]))[:count]
    return [t[pick] for t in flat]


def sample_windows(x: Tensor, target: Tensor, rim: int) -> list[Tensor]:
    """Random 3x3 neighbourhoods of ``x`` (n, c, h, w) with their targets (n, h, w, k).

    None are taken from the ``rim`` positions along the border, which the padding spoils.
    """
    inner, wider = slice(rim, -rim), slice(rim - 1, 1 - rim)
    parts = [
        sample(
            windows(x[i : i + 16, :, wider, wider], 3, 1, 0),
            target[i : i + 16, inner, inner],
            count=4000,
        )
        for i in range(0, len(x), 16)
    ]
    return [torch.cat(column) for column in zip(*parts, strict=True)]


def conv(stage: nn.Sequential, key: str) -> nn.Conv2d | nn.ConvTranspose2d:
    layer = dict(stage.named_children())[key]
    assert isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)
    return layer


def weights_of(stage: nn.Sequential, key: str) -> tuple[Tensor, Tensor]:
    layer = conv(stage, key)
    assert layer.bias is not None
    return layer.weight.data, layer.bias.data
