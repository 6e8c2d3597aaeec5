"""The networks that a command works with, each loaded once, and how many pictures are in them."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from threading import Condition, Lock
from typing import TYPE_CHECKING, Any, final

if TYPE_CHECKING:
    from types import TracebackType

    from nncodec import Codec

# Pixels that are in the networks at once; a larger picture is there alone. One of 13
# megapixels takes 1.0 GiB there, one of 36 takes 1.4; two at once less than 1.3.
ROOM = 8_000_000
MMAP_THRESHOLD, TRIM_THRESHOLD = -3, -1  # parameters of the GNU C library's mallopt


def keep_memory() -> None:
    """Let the GNU C library keep up to a gigabyte that was freed, for what comes next.

    Else it gives every large block back, and the system clears each one that a network's layers ask
    for again: 5 to 10 % of their time. Other libraries are left alone.
    """
    for parameter in (MMAP_THRESHOLD, TRIM_THRESHOLD):
        in_c("mallopt", parameter, 1 << 30)


def return_memory() -> None:
    """Let it give all of that back: each thread keeps some of its own, which no other can use."""
    in_c("malloc_trim", 0)


def in_c(name: str, *given: int) -> None:
    """Call a function of the GNU C library, if this is it."""
    function = getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
    if function is not None:
        function(*given)


@final
class Network:
    """Codecs by model id, with the options that ``compress``, ``decompress`` and ``verify`` share.

    Nothing is loaded, torch included, before the first codec is asked for. If several ``workers``
    (threads) use it, each does so in its :meth:`room`, and the network is closed at the end.
    """

    def __init__(
        self, device: str, batch_size: int | None, weights: str | None, workers: int = 1
    ) -> None:
        self.device = device
        self.batch_size = batch_size
        self.weights = weights
        self.workers = workers
        self.codecs: dict[str | None, Codec] = {}
        self.loading = Lock()
        self.left = Condition()  # told when a picture has left its room
        self.inside: list[int] = []  # the pixels of each picture in a room
        self.processors = 1
        self.stack = ExitStack()

    def __reduce__(self) -> tuple[Any, ...]:
        """Be sent to another process as one that has loaded nothing yet."""
        return Network, (self.device, self.batch_size, self.weights, self.workers)

    def __enter__(self) -> Network:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stack.close()

    def codec(self, model: str | None = None) -> Codec:
        """Return the codec of a model; None: that of --weights, or the default."""
        with self.loading:
            if not self.codecs:
                keep_memory()
                if self.workers > 1:
                    self.share()
            if model not in self.codecs:
                from nncodec import Codec

                self.codecs[model] = Codec(
                    model, self.device, weights=self.weights, batch_size=self.batch_size
                )
            return self.codecs[model]

    def share(self) -> None:
        """Prepare torch for several threads."""
        import torch

        from nncodec.transform import exact_pixels

        self.processors = torch.get_num_threads()
        self.stack.callback(torch.set_num_threads, self.processors)
        # These are switches of the whole process. Set from the first picture to the last, none
        # switches them back while another is computed.
        self.stack.enter_context(exact_pixels())
        torch.set_float32_matmul_precision("highest")  # as it is by default

    @contextmanager
    def room(self, pixels: int) -> Iterator[None]:
        """Wait until a picture of so many pixels may be worked on, and count it while it is.

        The processors are shared among as many workers as have room for such a picture.
        """
        if self.workers == 1:
            yield
            return
        import torch

        with self.left:
            self.left.wait_for(lambda: not self.inside or sum(self.inside) + pixels <= ROOM)
            self.inside.append(pixels)
        share = max(1, min(self.workers, ROOM // pixels))
        try:
            torch.set_num_threads(max(1, self.processors // share))  # those of this thread
            if share == 1:  # the others have had memory for this one, or will need it next
                return_memory()
            yield
        finally:
            if share == 1:
                return_memory()
            with self.left:
                self.inside.remove(pixels)
                self.left.notify_all()
