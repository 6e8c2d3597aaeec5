"""``nncodec desktop``: what file managers, `man` and shells need, put where they look for it."""

import os
import shlex
import shutil
import subprocess
import sys
from importlib import resources
from pathlib import Path

import click

from nncodec.formats.files import atomic_output

from .completion import script
from .errors import complain
from .man import page

MIME = "share/mime"  # below the prefix: the database of types, made of the files in packages/

# Name of a part: where it is installed below the prefix; `file` knows no folder for additions.
PARTS = {
    "mime": f"{MIME}/packages/nncodec.xml",
    "thumbnailer": "share/thumbnailers/nncodec.thumbnailer",
    "man": "share/man/man1/nncodec.1",
    "bash": "share/bash-completion/completions/nncodec",
    "zsh": "share/zsh/site-functions/_nncodec",
    "fish": "share/fish/vendor_completions.d/nncodec.fish",
    "magic": None,
}
DATA = {"mime": "xml", "thumbnailer": "thumbnailer", "magic": "magic"}  # suffixes of the files

prefix_option = click.option(
    "--prefix",
    type=click.Path(file_okay=False, path_type=Path),
    default="~/.local",
    show_default=True,
    metavar="FOLDER",
    help="The folder that share/ is in; /usr/local is that of all users.",
)


@click.group()
def desktop() -> None:
    """Let file managers, `man`, `file` and shells know of nncodec.

    \b
    Example:
      nncodec desktop install
      nncodec desktop show man | man -l -
    """


@desktop.command()
@prefix_option
@click.pass_context
def install(ctx: click.Context, prefix: Path) -> None:
    """Install the type image/x-cae, thumbnails, the manual page and shell completion.

    What is there already is brought up to date. zsh looks into share/zsh/site-functions only if
    it is in fpath before compinit runs. The thumbnails are made by the nncodec that runs this
    command. GNOME's file manager lets it see /usr only: there, install nncodec itself and this
    below /usr/local.

    \b
    Example:
      nncodec desktop install
      nncodec desktop show magic >> ~/.magic            # for `file`
    """
    for part, place in PARTS.items():
        if place:
            path = prefix.expanduser() / place
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_output(path, force=True) as file:
                file.write(content(ctx, part).encode())
            click.echo(str(path))
    update(prefix.expanduser() / MIME)


@desktop.command()
@prefix_option
def uninstall(prefix: Path) -> None:
    """Remove what `nncodec desktop install` has installed.

    \b
    Example:
      nncodec desktop uninstall
    """
    paths = [prefix.expanduser() / place for place in PARTS.values() if place]
    for path in filter(Path.exists, paths):
        path.unlink()
        click.echo(str(path))
    update(prefix.expanduser() / MIME)


@desktop.command()
@click.argument("part", type=click.Choice(tuple(PARTS)))
@click.pass_context
def show(ctx: click.Context, part: str) -> None:
    """Print one of the files: for a package, or for a place of your own.

    \b
    Example:
      nncodec desktop show man | man -l -
      nncodec desktop show magic >> ~/.magic            # for `file`
    """
    click.echo(content(ctx, part), nl=False)


def content(ctx: click.Context, part: str) -> str:
    """Return the text of a part."""
    main = ctx.find_root().command
    assert isinstance(main, click.Group)
    if part == "man":
        return page(main)
    if part not in DATA:
        return script(main, part)
    text = resources.files("nncodec.desktop").joinpath(f"nncodec.{DATA[part]}").read_text()
    return with_program(text, program()) if part == "thumbnailer" else text


def program() -> str:
    """Return the path of the nncodec that runs: a file manager's PATH may be another."""
    here = Path(sys.argv[0]).absolute()
    return str(here) if here.name == "nncodec" else shutil.which("nncodec") or "nncodec"


def with_program(entry: str, path: str) -> str:
    """Return a thumbnailer's entry that runs the program at ``path``."""
    quoted = shlex.quote(path).replace("%", "%%")
    return entry.replace("TryExec=nncodec", f"TryExec={path}").replace(
        "\nExec=nncodec", f"\nExec={quoted}"
    )


def update(database: Path) -> None:
    """Have the database of types made anew, on systems that have one."""
    tool = shutil.which("update-mime-database")
    if tool is None or not (database / "packages").is_dir():
        return
    environment = os.environ | {"PKGSYSTEM_ENABLE_FSYNC": "0"}
    result = subprocess.run(
        [tool, str(database)], env=environment, capture_output=True, text=True, check=False
    )
    if result.returncode:
        complain(f"{database}: update-mime-database failed: {' '.join(result.stderr.split())}")
