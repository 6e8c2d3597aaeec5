"""The command line reference of README.md: run as a script, this puts it there."""

from collections.abc import Iterator
from pathlib import Path

import click

from nncodec.cli import main

README = Path(__file__).parents[1] / "README.md"
BEGIN = "<!-- reference: written by bin/readme -->\n"
END = "<!-- end of reference -->\n"
WIDTH = 100


def commands(
    command: click.Command, path: str, parent: click.Context | None = None
) -> Iterator[tuple[str, str]]:
    """Yield the path of a command and of all below it, each with its help text."""
    name = path.split()[-1]
    settings = {"terminal_width": WIDTH, **command.context_settings}
    with click.Context(command, parent, info_name=name, **settings) as context:
        yield path, command.get_help(context)
        if isinstance(command, click.Group):
            for name in command.list_commands(context):
                below = command.get_command(context, name)
                assert below is not None
                yield from commands(below, f"{path} {name}", context)


def reference() -> str:
    """Return the reference as Markdown: a block for each command."""
    blocks = [
        f"```text\n$ {path} --help\n{text}\n```\n" for path, text in commands(main, "nncodec")
    ]
    return "\n".join(blocks)


def with_reference(readme: str) -> str:
    """Return ``readme`` with the text between its two markers made anew."""
    before, rest = readme.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{reference()}\n{END}{after}"


if __name__ == "__main__":
    README.write_text(with_reference(README.read_text(encoding="utf-8")), encoding="utf-8")
