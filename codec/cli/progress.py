"""A progress bar for a batch: on a terminal's standard error, or nowhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from threading import Lock, get_ident
from types import TracebackType
from typing import TYPE_CHECKING, final

if TYPE_CHECKING:
    from rich.progress import Progress

NAME_LENGTH = 30  # of an input's name beside the bar: its end tells most


@final
class Bar:
    """One bar for all inputs, with their rate in megapixels a second and the time left.

    The threads that work on inputs move it, each by fractions of its own. What is written to
    standard error meanwhile stands above it.
    """

    def __init__(self, inputs: int, *, shown: bool) -> None:
        self.lock = Lock()
        self.parts: dict[int, float] = {}  # by thread: what is done of its input
        self.finished = 0
        self.pixels = 0
        self.begin = time.perf_counter()
        self.progress: Progress | None = None
        if shown and sys.stderr.isatty():
            self.progress = drawn(inputs)

    def __enter__(self) -> Bar:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.clear()

    def start(self, name: str) -> None:
        """Begin with an input, in this thread."""
        if self.progress is not None:
            with self.lock:
                self.progress.start()
            self.move(0, description=name[-NAME_LENGTH:])

    def advance(self, fraction: float) -> None:
        """Show that ``fraction``, 0 to 1, of this thread's input is done."""
        if self.progress is not None:
            self.move(fraction)

    def finish(self, pixels: int = 0) -> None:
        """Count this thread's input of so many pixels as done, however it ended."""
        if self.progress is not None:
            with self.lock:
                self.finished += 1
                self.pixels += pixels
                self.parts.pop(get_ident(), None)
            rate = self.pixels / 1e6 / (time.perf_counter() - self.begin)
            self.move(0, rate=f"{rate:.2f} MP/s" if self.pixels else "")

    def move(self, fraction: float, **shown: str) -> None:
        assert self.progress is not None
        with self.lock:
            self.parts[get_ident()] = fraction
            done = self.finished + sum(self.parts.values())
            self.progress.update(self.progress.task_ids[0], completed=done, **shown)  # type: ignore[arg-type]  # rich's fields

    def clear(self) -> None:
        """Take the bar off its line until the next input begins."""
        if self.progress is not None:
            self.progress.stop()


def drawn(inputs: int) -> Progress:
    """A bar of so many steps that rich draws; it honours NO_COLOR and the size of the terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    progress = Progress(
        BarColumn(bar_width=20),
        TextColumn("{task.percentage:3.0f} % of {task.total}", markup=False),
        TextColumn("{task.fields[rate]}", markup=False),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.description}", markup=False),
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=False,
    )
    progress.add_task("", total=inputs, rate="")
    return progress


def counting(advance: Callable[[float], None], total: int) -> Callable[[float], None]:
    """Return a function that is told how many of ``total`` things have just been done."""
    done = 0.0

    def count(number: float) -> None:
        nonlocal done
        done += number
        advance(min(done / total, 1))

    return count
