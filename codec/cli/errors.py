"""The one place where failures end: each becomes one line on standard error and an exit status."""

from __future__ import annotations

import errno
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import click

from nncodec.formats.errors import NncodecError

SUCCESS, FAILURE, USAGE, INTERRUPTED = 0, 1, 2, 130

VERBOSE = "nncodec.verbose"  # key in click's ``Context.meta``, set by the option -v

# What helps against the errors of an operating system that users meet most.
REMEDIES = {
    errno.ENOSPC: "free some space, or write elsewhere with -o",
    errno.EDQUOT: "free some space, or write elsewhere with -o",
    errno.EROFS: "write elsewhere with -o",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
}


def ignore_remarks() -> None:
    """Leave out libraries' remarks about odd files, two lines each; what matters is in notes."""
    warnings.filterwarnings("ignore", module=r"PIL\.|torch\._weights")


def complain(message: str) -> None:
    """Write one line to standard error."""
    click.echo(f"nncodec: {message}", err=True)


def is_verbose() -> bool:
    context = click.get_current_context(silent=True)
    return bool(context and context.meta.get(VERBOSE))


def describe(error: Exception) -> str:
    """Say in one line what is wrong and, where there is one, what the remedy is."""
    if isinstance(error, NncodecError):
        return one_line(error)
    if isinstance(error, OSError):
        what = (error.strerror or one_line(error)).lower()
        place = f"{error.filename}: " if error.filename else ""
        remedy = REMEDIES.get(error.errno or 0)
        return f"{place}{what}; {remedy}" if remedy else f"{place}{what}"
    # torch.OutOfMemoryError, told by its name: this module never imports torch.
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return "out of memory; use a smaller --batch-size, or --device cpu"
    kind = type(error).__name__
    return (
        f"unexpected {kind}: {one_line(error)}; please report it, with the traceback that -v gives"
    )


def one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


@dataclass(frozen=True)
class Failure:
    """What is to be told of an error, for a process that not every exception can be sent to."""

    message: str
    trace: str = ""  # of an error that was not foreseen

    @classmethod
    def of(cls, error: Exception) -> Failure:
        if isinstance(error, Told):
            return error.failure
        foreseen = isinstance(error, NncodecError)
        return cls(describe(error), "" if foreseen else "".join(traceback.format_exception(error)))


class Told(Exception):
    """A failure of another process."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


def complain_about(error: Exception | Failure, subject: str | None = None) -> str:
    """Report ``error``, with its traceback if -v was given; return the message.

    ``subject`` is the file that it befell; it is not named twice.
    """
    failure = error if isinstance(error, Failure) else Failure.of(error)
    if is_verbose():
        click.echo(failure.trace, err=True, nl=False)
    message = failure.message
    if subject is not None:
        message = message.removeprefix(f"{subject}: ")
        complain(f"{subject}: {message}")
    else:
        complain(message)
    return message


@contextmanager
def note_traceback() -> Iterator[None]:
    """Report what no command has caught, while -v can still be asked for; then leave with 1."""
    try:
        yield
    except (click.ClickException, click.exceptions.Exit, click.Abort):
        raise
    except BrokenPipeError:
        raise click.exceptions.Exit(close_pipe()) from None
    except Exception as error:
        complain_about(error)
        raise click.exceptions.Exit(FAILURE) from None


def exit_status(run: Callable[[], Any]) -> int:
    """Run the command line; return the exit status, having reported what went wrong."""
    try:
        result = run()
        sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return USAGE
    except click.ClickException as error:
        return complain_usage(error)
    except (click.Abort, KeyboardInterrupt):
        complain("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        return close_pipe()
    except Exception as error:
        complain_about(error)
        return FAILURE
    return result if isinstance(result, int) else SUCCESS


def complain_usage(error: click.ClickException) -> int:
    message = " ".join(error.format_message().split()).rstrip(".")
    context = error.ctx if isinstance(error, click.UsageError) else None
    path = context.command_path if context else "nncodec"
    command = path.removeprefix("nncodec").strip()
    place = f"{command}: " if command else ""
    complain(f"{place}{message[:1].lower()}{message[1:]}; see {path} --help")
    return error.exit_code


def close_pipe() -> int:
    """End quietly when the reader of our output has gone.

    What is still in the buffers goes nowhere, instead of failing again when Python exits.
    """
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    return FAILURE
