"""What goes through a codec's networks, kept to be sent through them again, and nothing else."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nncodec.api import Codec
from nncodec.entropy import planes
from nncodec.entropy.board import Board
from nncodec.entropy.network import IntegerNetwork, exact_arithmetic
from nncodec.entropy.plane_network import PlaneNetwork
from nncodec.entropy.plane_view import View

Call = Callable[[], Tensor]


class Tape:
    """What a codec asked of its networks, as calls that ask for the same again.

    ``transforms`` are those of the picture's networks, ``coding`` those of the networks that the
    chances of bits come from.
    """

    def __init__(self) -> None:
        self.transforms: list[Call] = []
        self.coding: list[Call] = []

    @contextmanager
    def recording(self, codec: Codec) -> Iterator[None]:
        """Keep what ``codec`` asks."""
        network = codec.engine.transform.network
        halves = [(network, "encode"), (network, "decode")]
        if codec.variable:
            halves = [(network.analysis, "forward"), (network.synthesis, "forward")]
        with ExitStack() as stack:
            for owner, name in halves:
                function = getattr(owner, name)
                kept = partial(self._ask, self.transforms, function)
                stack.enter_context(patch.object(owner, name, kept))
            context = IntegerNetwork.__call__

            def outputs(network: IntegerNetwork, *given: Any) -> Tensor:
                return self._ask(self.coding, partial(context, network), *given)

            stack.enter_context(patch.object(IntegerNetwork, "__call__", outputs))
            stack.enter_context(patch.object(planes, "View", partial(Watched, self.coding)))
            yield

    @staticmethod
    def _ask(calls: list[Call], function: Callable[..., Tensor], *given: Any) -> Tensor:
        """Ask a network, and keep the call."""
        calls.append(again(function, *given))
        return function(*given)


def play(calls: Iterable[Call]) -> None:
    """Ask again, and wait for the last result."""
    result = torch.empty(0)
    for call in calls:
        result = call()
    result.cpu()


def again(function: Callable[..., Tensor], *given: Any) -> Call:
    """A call of a network with the same arithmetic, and slopes if there were any."""
    first, *others = (x.detach().clone() if isinstance(x, Tensor) else x for x in given)
    device = first.device.type
    rough, sloping = torch.is_autocast_enabled(device), given[0].requires_grad

    def call() -> Tensor:
        with torch.autocast(device, torch.bfloat16, enabled=rough):
            if not sloping:
                with torch.inference_mode():
                    return function(first, *others)
            begin = first.clone().requires_grad_()
            found = function(begin, *others)
            return torch.autograd.grad(found, begin, found.detach())[0]

    return call


class Watched(View):
    """A view of a plane that notes what it is asked."""

    def __init__(
        self,
        calls: list[Call],
        network: PlaneNetwork,
        board: Board,
        active: NDArray[np.intp],
        middles: NDArray[np.float32],
        plane: int,
    ) -> None:
        given = middles.copy()
        self._asked: list[Callable[[View], Tensor | None]] = []

        def call() -> Tensor:
            with exact_arithmetic(network.device):
                view = View(network, board, active, given.copy(), plane)
                *_, last = [ask(view) for ask in self._asked]
            assert last is not None
            return last

        calls.append(call)
        super().__init__(network, board, active, middles, plane)

    def see(self, colour: int) -> None:
        self._asked.append(lambda view: view.see(colour))
        super().see(colour)

    def __call__(self, colour: int, at: Tensor) -> Iterator[tuple[slice, Tensor]]:
        here, after = self._board.run(colour), list[Tensor]()

        def ask(view: View) -> Tensor:
            said = []
            for (columns, outputs), known in zip(view(colour, at), after, strict=True):
                said.append(outputs)
                view._told[here, columns] = known
            return said[-1]

        self._asked.append(ask)
        for columns, outputs in super().__call__(colour, at):
            yield columns, outputs
            after.append(self._told[here, columns].clone())
