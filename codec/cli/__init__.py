"""The command line: files, pipes and terminals around the functions that a library user calls.

A command's module is imported when the command is, and what is heavy (torch, NumPy, Pillow) only
inside its function, so that ``--help``, ``info`` and ``verify`` answer at once.
"""

import os
import signal
import threading
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click

from .errors import exit_status, ignore_remarks, note_traceback

COMPLETE = "_NNCODEC_COMPLETE"  # set by the completion scripts: what may come next?

# The order of `nncodec --help`. Command: module of this package, function in it.
COMMANDS = {
    "compress": ("compress", "compress"),
    "decompress": ("decompress", "decompress"),
    "truncate": ("truncate", "truncate"),
    "info": ("inspection", "info"),
    "verify": ("inspection", "verify"),
    "models": ("models", "models"),
    "eval": ("evaluate", "evaluate"),
    "train": ("train", "train"),
    "thumbnail": ("thumbnail", "thumbnail"),
    "desktop": ("desktop", "desktop"),
    "completion": ("completion", "completion"),
}


class Main(click.Group):
    """The main command: finds its subcommands by name, and turns every failure into one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, function = COMMANDS[cmd_name]
        command = getattr(import_module(f".{module}", __name__), function)
        assert isinstance(command, click.Command)
        if COMPLETE in os.environ:
            from .completion import complete_files

            complete_files(command)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        with note_traceback():
            return super().invoke(ctx)

    def main(  # type: ignore[override]  # one way of ending instead of click's two
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any
    ) -> None:
        """Run the command line and leave the process with its exit status."""
        extra["standalone_mode"] = False
        # Being told to end is as being interrupted: nothing half-written stays behind.
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.default_int_handler)
        run = super().main
        with warnings.catch_warnings():
            ignore_remarks()
            # The name is fixed, so that `python -m nncodec` and completion agree with the script.
            raise SystemExit(exit_status(lambda: run(args, prog_name or "nncodec", **extra)))


def print_version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from nncodec import __version__

        click.echo(f"nncodec {__version__}")
        ctx.exit()


@click.group(cls=Main, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "-V",
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=print_version,
    help="Show the version and exit.",
)
def main() -> None:
    """Compress images with a small neural network.

    An image becomes a .cae file and comes back as an image. The networks ship with the program;
    it runs on a CPU or a GPU and never needs the internet.

    Exit status: 0 all done, 1 one or more inputs failed, 2 wrong usage, 130 interrupted.

    \b
    Example:
      nncodec compress photo.png                      # writes photo.cae
      nncodec decompress photo.cae copy.png
      nncodec compress -r photos -o cae --skip-existing
    """
