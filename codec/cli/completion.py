"""``nncodec completion``: what a shell needs to complete commands, options, models and files."""

import os
import re
from collections.abc import Sequence
from contextlib import suppress

import click
from click.shell_completion import CompletionItem, get_completion_class

from . import COMPLETE

SHELLS = ("bash", "zsh", "fish", "powershell")
FILES = ("FILE", "PATH")  # what options that take files show in --help
PLAIN = re.compile(r"[\w./+@%-]+", re.ASCII)  # names that no shell wants quoted


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script for a shell.

    It completes commands, options, their values, model ids and files. `nncodec desktop install`
    puts it where bash, zsh and fish look for it.

    \b
    Example:
      nncodec completion bash > ~/.local/share/bash-completion/completions/nncodec
      nncodec completion zsh > ~/.zfunc/_nncodec
      nncodec completion fish > ~/.config/fish/completions/nncodec.fish
    """
    click.echo(script(ctx.find_root().command, shell), nl=False)


def script(main: click.Command, shell: str) -> str:
    """Return the completion script for a shell. UsageError if click knows no such shell."""
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"this version of click can't complete for {shell}; upgrade click")
    return kind(main, {}, "nncodec", COMPLETE).source()


def complete_files(command: click.Command) -> None:
    """Let a command's operands and options complete files where they are files.

    They are plain text to click, since what they name may be a folder, or - for a pipe.
    """
    for parameter in command.params:
        operand = isinstance(parameter, click.Argument)
        if parameter.type is click.STRING and (operand or parameter.metavar in FILES):
            suffix = ".cae" if ".cae" in (parameter.metavar or "") else ""
            parameter.type = File(suffix)


class File(click.Path):
    """A file. Those with a suffix are offered alone, if there are such and no folders.

    Anything else is left to the shell, which knows about folders, quotes and ~.
    """

    def __init__(self, suffix: str) -> None:
        super().__init__()
        self.suffix = suffix

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        names = matches(incomplete, self.suffix) if self.suffix else ()
        if names:
            return [CompletionItem(name) for name in names]
        return super().shell_complete(ctx, param, incomplete)


def matches(incomplete: str, suffix: str) -> Sequence[str]:
    """The files with a suffix that a path may become; none if it may become a folder, too."""
    folder, begin = os.path.split(incomplete)
    entries: list[os.DirEntry[str]] = []
    with suppress(OSError):
        entries = [entry for entry in os.scandir(folder or ".") if entry.name.startswith(begin)]
    shown = [entry for entry in entries if begin or not entry.name.startswith(".")]
    names = [os.path.join(folder, entry.name) for entry in shown if entry.name.endswith(suffix)]
    plain = all(PLAIN.fullmatch(name) for name in names)
    return sorted(names) if plain and not any(entry.is_dir() for entry in shown) else ()
