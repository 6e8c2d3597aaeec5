"""How much is worked on at once: what bounds the memory of a batch, whatever is in it."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition

# Pixels that are in the networks at once; a larger picture is there alone.
ROOM = 8_000_000


class Rooms:
    """How many pixels are in the networks of so many ``workers`` at once."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.left = Condition()  # told when a picture has left
        self.inside: list[int] = []  # the pixels of each picture that is in

    @contextmanager
    def room(self, pixels: int) -> Iterator[int]:
        """Wait until a picture of so many pixels may be worked on, and count it while it is.

        Yields among how many workers the processors are shared: those that have room for such a
        picture.
        """
        with self.left:
            self.left.wait_for(lambda: not self.inside or sum(self.inside) + pixels <= ROOM)
            self.inside.append(pixels)
        try:
            yield max(1, min(self.workers, ROOM // pixels))
        finally:
            with self.left:
                self.inside.remove(pixels)
                self.left.notify_all()
