"""Products of vectors with a layer's matrix: quick, and the same for any number of threads.

What oneDNN's convolutions do is divide long sums among threads, so that their rounding depends on
how many there are. Its products of matrices do not, and neither do MKL's, which are torch's, unless
there are but a few rows for each thread. On AMD's processors MKL's are half as quick.
"""

import platform
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

FEW = 128  # rows, which are filled up with zeros
CLOSE = 1e-4  # what sums of a hundred products, in another order, may differ by


def product(vectors: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Vectors (n, h, w, C) by a matrix (D, C), (n, h, w, D)."""
    rows = vectors.flatten(0, 2)
    count = len(rows)
    if count < FEW:
        rows = F.pad(rows, (0, 0, 0, FEW - count))
    if is_for_onednn(rows):
        found: Tensor = Direct.apply(rows, weight, bias)  # type: ignore[no-untyped-call]
    else:
        found = F.linear(rows, weight, bias)
    return found[:count].reshape(*vectors.shape[:3], -1)


class Direct(torch.autograd.Function):
    """F.linear of float32 by oneDNN, which torch itself asks for bfloat16 alone."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(rows, weight)
        return onednn(rows, weight, bias)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        rows, weight = ctx.saved_tensors
        (slope,) = slopes
        wanted: tuple[bool, bool, bool] = ctx.needs_input_grad
        return (
            onednn(slope, weight.T) if wanted[0] else None,
            onednn(slope.T, rows.T) if wanted[1] else None,
            slope.sum(0) if wanted[2] else None,
        )


def onednn(rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Rows (n, C) by a matrix (D, C), (n, D), in float32 on a CPU."""
    given = plain(rows), plain(weight), bias
    found: Tensor = torch.ops.mkldnn._linear_pointwise(*given, "none", [], "")
    return found


def plain(x: Tensor) -> Tensor:
    """A matrix without gaps: with any, oneDNN takes a thousand times as long."""
    return x if x.is_contiguous() or x.T.is_contiguous() else x.contiguous()


def is_for_onednn(rows: Tensor) -> bool:
    """Whether such products are oneDNN's here, which the program around may have switched off."""
    library: Any = torch.backends.mkldnn
    single = rows.device.type == "cpu" and rows.dtype == torch.float32
    plainly = single and not torch.is_autocast_enabled("cpu")
    return plainly and bool(library.enabled) and onednn_is_right()


@cache
def onednn_is_right() -> bool:
    """Whether torch has these products here, and they are what they should be."""
    library: Any = torch.backends.mkldnn
    if platform.machine() not in ("x86_64", "AMD64") or not library.is_available():
        return False
    x = torch.linspace(-1, 1, FEW * FEW).reshape(FEW, FEW)
    try:
        found = onednn(x, x)
    except (AttributeError, NotImplementedError, RuntimeError):  # it is torch's own affair
        return False
    return torch.allclose(found.double(), x.double() @ x.T.double(), atol=CLOSE)
