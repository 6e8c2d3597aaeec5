"""Products of matrices of small integers: exact, and as quick as the processor can.

A floating-point type carries integers exactly up to a bound. Where the processor multiplies bytes
and adds the products up in 32 bits (AVX-512 VNNI), int8 does too, four times as fast.
"""

import os
from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

# Sums below are exact in what :func:`product` returns them in. int8's are computed in int32.
EXACT = {torch.int8: 1 << 24, torch.float32: 1 << 24, torch.float64: 1 << 53}
BYTE = 127  # largest magnitude that every carrier has


def product(x: Tensor, weights: Tensor) -> Tensor:
    """The product of integers (n, k) and (k, m) of one carrier, in float32 if that is int8."""
    if x.dtype == torch.int8:
        return torch._int_mm(plain(x), plain(weights)).to(torch.float32)
    return x @ weights


def summed(parts: Sequence[Tensor], weights: Tensor) -> Tensor:
    """The sum of the products of integers (n, k), each with its own of (parts, k, m).

    Each is added up where the ones before are. Products of bytes cannot be: there, the parts are
    put side by side.
    """
    first, *others = parts
    if first.dtype == torch.int8 and others:
        return product(torch.cat([first, *others], 1), weights.flatten(0, 1))
    total = product(first, weights[0])
    for part, weight in zip(others, weights[1:], strict=True):
        total.addmm_(part, weight)
    return total


def plain(x: Tensor) -> Tensor:
    """A matrix whose rows lie one after the other, also where there is but one row or column.

    Torch takes any strides of those for contiguous, but with some its product of bytes is wrong.
    """
    if x.stride() == (x.shape[1], 1):
        return x
    return x.clone(memory_format=torch.contiguous_format)


def wide(carrier: torch.dtype) -> torch.dtype:
    """What a carrier's products are returned in."""
    return torch.float32 if carrier == torch.int8 else carrier


def quickest(device: torch.device) -> torch.dtype:
    """The quickest carrier there is on a device."""
    return torch.int8 if device.type == "cpu" and bytes_are_quick() else torch.float32


@cache
def bytes_are_quick() -> bool:
    """Whether this processor has exact and quick products of bytes.

    Older ones add pairs of products up in 16 bits, which saturate, and libraries told to take this
    processor for an older one would do the same.
    """
    told = any(name in os.environ for name in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"))
    library: Any = torch.backends.mkldnn
    if told or not processor_has("avx512_vnni") or not library.is_available():
        return False
    return bytes_are_exact()


def processor_has(name: str) -> bool:
    """Whether torch knows the processor to have such instructions; older versions do not tell."""
    known: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(known.get(name, False))


def bytes_are_exact() -> bool:
    """Whether there are products of bytes, and those of the largest, first to saturate, right."""
    signs = torch.ones(64, 64, dtype=torch.int8).triu() * 2 - 1
    largest = BYTE * signs
    due = (largest.double() @ largest.double()).float()
    try:
        return bool(product(largest, largest).equal(due))
    except (AttributeError, NotImplementedError):  # as in older versions of torch
        return False
