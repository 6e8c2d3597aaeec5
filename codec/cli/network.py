"""The networks that a command works with, each loaded once."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, final

if TYPE_CHECKING:
    from nncodec import Codec

MMAP_THRESHOLD, TRIM_THRESHOLD = -3, -1  # parameters of the GNU C library's mallopt

# Given the pixels of a picture: when there is room for it, among how many workers.
Enter = Callable[[int], AbstractContextManager[int]]


def keep_memory() -> None:
    """Let the GNU C library keep up to a gigabyte that was freed, for what comes next.

    Else it gives every large block back, and the system clears each one that a network's layers ask
    for again: 5 to 15 % of their time. Other libraries are left alone.
    """
    for parameter in (MMAP_THRESHOLD, TRIM_THRESHOLD):
        in_c("mallopt", parameter, 1 << 30)


def return_memory() -> None:
    """Let it give all of that back."""
    in_c("malloc_trim", 0)


def in_c(name: str, *given: int) -> None:
    """Call a function of the GNU C library, if this is it."""
    function = getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
    if function is not None:
        function(*given)


def wait_briefly() -> None:
    """Let the threads of GNU's OpenMP, when torch is imported, soon sleep while they wait.

    Else they keep their processors busy for 30 times as long, which costs most where another
    program wants one: with one of two taken, a picture of 0.4 megapixels was decoded in 5 to 9
    seconds instead of 0.3, like this in 1.3.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")


@final
class Network:
    """Codecs by model id, with the options that ``compress``, ``decompress`` and ``verify`` share.

    Nothing is loaded, torch included, before the first codec is asked for. Where other processes
    work beside this one, ``enter`` is what keeps all of them within the machine's means.
    """

    def __init__(self, device: str, batch_size: int | None, weights: str | None) -> None:
        self.device = device
        self.batch_size = batch_size
        self.weights = weights
        self.codecs: dict[str | None, Codec] = {}
        self.enter: Enter | None = None
        self.processors = 1
        wait_briefly()  # others import torch before a codec is asked for

    def __reduce__(self) -> tuple[Any, ...]:
        """Be sent to another process as one that has loaded nothing yet."""
        return Network, (self.device, self.batch_size, self.weights)

    def codec(self, model: str | None = None) -> Codec:
        """Return the codec of a model; None: that of --weights, or the default."""
        if model not in self.codecs:
            import torch

            from nncodec import Codec

            if not self.codecs:
                keep_memory()
                self.processors = torch.get_num_threads()
            self.codecs[model] = Codec(
                model, self.device, weights=self.weights, batch_size=self.batch_size
            )
        return self.codecs[model]

    @contextmanager
    def room(self, pixels: int) -> Iterator[None]:
        """Wait until a picture of so many pixels may be worked on, with its share of processors."""
        if self.enter is None:
            yield
            return
        import torch

        with self.enter(pixels) as share:
            torch.set_num_threads(max(1, self.processors // share))
            if share == 1:  # what small ones took is of no use to one so large, nor the reverse
                return_memory()
            yield
            if share == 1:
                return_memory()
