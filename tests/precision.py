"""What precision a program's products are computed in."""

from typing import Any

import torch
from torch.overrides import TorchFunctionMode


class Products(TorchFunctionMode):
    """Notes the precision at every matrix product done under it, but for those of float64."""

    def __init__(self) -> None:
        super().__init__()
        self.precisions: set[str] = set()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        named = any(name in func.__name__ for name in ("mm", "mv", "conv", "matmul", "linear"))
        if named and getattr(args[0], "dtype", None) != torch.float64:
            self.precisions.add(torch.get_float32_matmul_precision())
        return func(*args, **(kwargs or {}))
