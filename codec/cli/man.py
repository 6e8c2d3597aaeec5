"""The manual page of nncodec, in the macros of man(7), made of what ``--help`` says."""

import os
import re
import textwrap
import time
from collections.abc import Iterator
from inspect import cleandoc

import click

NAME = "nncodec"
INDENT = 2  # of an example in a help text
WIDTH = 79  # of the page's source


def page(main: click.Group) -> str:
    """Return the page of a command with all that are below it.

    Its date is today's, or that of SOURCE_DATE_EPOCH for those who build packages.
    """
    from nncodec import __version__

    made = time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH", time.time())))
    date = time.strftime("%Y-%m-%d", made)
    with click.Context(main, info_name=NAME, **main.context_settings) as context:
        first, *description = paragraphs(main)
        lines = [
            f'.TH {NAME.upper()} 1 "{date}" "{NAME} {__version__}" "User Commands"',
            ".SH NAME",
            f"{NAME} \\- {roff(first[:1].lower() + first[1:].rstrip('.'))}",
            ".SH SYNOPSIS",
            *usage(context),
            ".SH DESCRIPTION",
            *list(text(description))[1:],  # no paragraph ends before it
            ".SH OPTIONS",
            *options(context),
            ".SH COMMANDS",
            *subcommands(context),
            ".SH ENVIRONMENT",
            *environment(context),
        ]
    return "\n".join(lines) + "\n"


def below(context: click.Context) -> Iterator[click.Context]:
    """Yield the contexts of all commands below one, each before those below it."""
    group = context.command
    if isinstance(group, click.Group):
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            assert command is not None
            with click.Context(command, context, info_name=name) as inner:
                yield inner
                yield from below(inner)


def subcommands(context: click.Context) -> Iterator[str]:
    for inner in below(context):
        yield f".SS {roff(inner.command_path)}"
        yield from usage(inner)
        yield from text(paragraphs(inner.command))
        yield from options(inner)


def usage(context: click.Context) -> Iterator[str]:
    pieces = context.command.collect_usage_pieces(context)
    yield f"\\fB{roff(context.command_path)}\\fR {roff(' '.join(pieces))}"


def options(context: click.Context) -> Iterator[str]:
    """The options of a command; --help is told of once."""
    for parameter in context.command.get_params(context):
        record = parameter.get_help_record(context)
        told = "--help" in parameter.opts and context.parent
        if record and isinstance(parameter, click.Option) and not told:
            yield ".TP"
            yield f"\\fB{roff(record[0])}\\fR"
            yield filled(record[1])


def environment(context: click.Context) -> Iterator[str]:
    """The environment variables that stand for options."""
    found = {
        parameter.envvar: max(parameter.opts, key=len)
        for inner in below(context)
        for parameter in inner.command.params
        if isinstance(parameter.envvar, str)
    }
    for variable, option in sorted(found.items()):
        yield ".TP"
        yield f"\\fB{roff(variable)}\\fR"
        yield filled(f"Used where {option} is not given.")


def paragraphs(command: click.Command) -> list[str]:
    return cleandoc(command.help or "").split("\n\n")


def text(parts: list[str]) -> Iterator[str]:
    """Paragraphs of a help text; one after a line with click's mark keeps its lines."""
    for part in parts:
        lines = part.splitlines()
        yield ".PP"
        if lines[0] != "\b":
            yield filled(" ".join(lines))
            continue
        yield roff(lines[1])
        yield from (".PP", ".RS 4", ".EX")
        yield from (roff(line[INDENT:]) for line in lines[2:])
        yield from (".EE", ".RE")


def filled(words: str) -> str:
    """Plain words for roff, in lines that are not too long."""
    lines = textwrap.wrap(roff(words), WIDTH, break_long_words=False, break_on_hyphens=False)
    return "\n".join(map(protected, lines))


def roff(words: str) -> str:
    """Plain words for roff, those in backquotes bold."""
    escaped = words.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq")
    return protected(re.sub(r"`([^`]+)`", r"\\fB\1\\fR", escaped))


def protected(line: str) -> str:
    """A line that is not taken for a request, whatever it begins with."""
    return f"\\&{line}" if line.startswith(".") else line
