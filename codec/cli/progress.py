"""A progress bar for a batch: on a terminal's standard error, or nowhere."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, final

import click

if TYPE_CHECKING:
    from click._termui_impl import ProgressBar  # what click.progressbar returns

UNITS = 100  # of the bar, for each input
NAME_LENGTH = 30  # of an input's name beside the bar: its end tells most

CLEAR_LINE = "\r\x1b[K"
SHOW_CURSOR = "\x1b[?25h"


@final
class Bar:
    """One bar for all inputs; the patches of an input move it by fractions of one."""

    def __init__(self, inputs: int, *, shown: bool) -> None:
        self.finished = 0
        self.position = 0
        self.bar: ProgressBar[str] | None = None
        if shown and sys.stderr.isatty():
            self.bar = click.progressbar(
                length=inputs * UNITS, file=sys.stderr, item_show_func=lambda name: name
            )

    def __enter__(self) -> Bar:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Instead of click's own end, which would leave a line behind.
        self.clear()
        if self.bar is not None:
            click.echo(SHOW_CURSOR, file=sys.stderr, nl=False)

    def start(self, name: str) -> None:
        """Begin with the next input."""
        if self.bar is not None:
            self.bar.current_item = name[-NAME_LENGTH:]
            self.bar.render_progress()

    def advance(self, fraction: float) -> None:
        """Show that ``fraction``, 0 to 1, of the input is done."""
        self.move(self.finished * UNITS + int(fraction * UNITS))

    def finish(self) -> None:
        """Count the input as done, however it ended."""
        self.finished += 1
        self.move(self.finished * UNITS)

    def move(self, position: int) -> None:
        if self.bar is not None:
            self.bar.update(position - self.position)
            self.position = position

    def clear(self) -> None:
        """Take the bar off its line, so that a message can stand there."""
        if self.bar is not None:
            click.echo(CLEAR_LINE, file=sys.stderr, nl=False)


def counting(advance: Callable[[float], None], total: int) -> Callable[[int], None]:
    """Return a function that is told how many of ``total`` things have just been done."""
    done = 0

    def count(number: int) -> None:
        nonlocal done
        done += number
        advance(min(done / total, 1))

    return count
