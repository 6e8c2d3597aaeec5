"""The rules of the house: layers, a light start, help for every command, short modules."""

import ast
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import resources
from inspect import cleandoc
from pathlib import Path

import click
import pytest
from click.testing import Result

from nncodec.cli import main
from nncodec.weights import manifest

ROOT = Path(__file__).parents[1]
FOLDERS = {"codec": "nncodec", "formats": "nncodec.formats", "weights": "nncodec.weights"}
Run = Callable[..., Result]
HEAVY = {"torch", "numpy", "PIL", "matplotlib", "zstandard", "constriction", "rich"}


def modules(folder: str) -> list[Path]:
    found = sorted((ROOT / folder).rglob("*.py"))
    assert found
    return found


SHIPPED = [path for folder in FOLDERS for path in modules(folder)]


def imports(path: Path) -> Iterator[str]:
    """Yield the full name of everything that a module imports, anywhere in it."""
    inside = path.relative_to(ROOT)
    package = [FOLDERS[inside.parts[0]], *inside.parts[1:-1]]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = ".".join(package).split(".")
            base = parents[: len(parents) - node.level + 1] if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{stem}.{name.name}" for name in node.names)


def within(name: str, *packages: str) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


@pytest.mark.parametrize("folder", ["formats", "weights"])
def test_formats_and_weights_know_nothing_of_the_codec(folder: str) -> None:
    for path in modules(folder):
        for name in imports(path):
            assert not within(name, "torch"), f"{path} imports {name}"
            if within(name, "nncodec"):
                assert within(name, FOLDERS[folder], "nncodec.formats"), f"{path} imports {name}"


def test_models_know_nothing_of_containers_and_commands() -> None:
    for path in modules("codec/models"):
        for name in imports(path):
            if within(name, "nncodec"):
                allowed = ("nncodec.models", "nncodec.formats.errors")
                assert within(name, *allowed), f"{path} imports {name}"


def test_entropy_coding_knows_nothing_of_pixels_and_models() -> None:
    for path in modules("codec/entropy"):
        for name in imports(path):
            if within(name, "nncodec"):
                allowed = ("nncodec.entropy", "nncodec.formats")
                assert within(name, *allowed), f"{path} imports {name}"


def test_only_the_command_line_knows_the_command_line() -> None:
    for path in SHIPPED:
        if "cli" not in path.parts and path.name != "__main__.py":
            for name in imports(path):
                assert not within(name, "nncodec.cli", "click"), f"{path} imports {name}"


def test_the_command_line_uses_public_names() -> None:
    for path in modules("codec/cli"):
        for name in imports(path):
            if within(name, "nncodec"):
                public = name == "nncodec.__version__" or "._" not in name
                assert public, f"{path} imports {name}"


def test_modules_are_imported_by_their_one_name() -> None:
    for path in SHIPPED:
        for name in imports(path):
            assert not within(name, *FOLDERS), f"{path} imports {name}, a second copy"


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_can_be_read_in_one_sitting(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300


def loaded_by(*arguments: str) -> set[str]:
    """Run a command in a process of its own; return the modules that it loaded."""
    code = (
        "import sys, json, nncodec.cli\n"
        "try: nncodec.cli.main(sys.argv[1:])\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "print(json.dumps(sorted(sys.modules)), file=sys.stderr)"
    )
    command = [sys.executable, "-c", code, *arguments]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return set(json.loads(result.stderr.splitlines()[-1]))


def test_what_needs_no_network_loads_no_torch(photo_cae: Path) -> None:
    assert not loaded_by("--help") & HEAVY
    assert not loaded_by("--version") & HEAVY
    assert not loaded_by("info", "photo.cae") & HEAVY
    assert not loaded_by("truncate", "photo.cae", "first.cae", "--stages", "1") & HEAVY
    assert not loaded_by("models", "list") & HEAVY
    assert not loaded_by("completion", "bash") & HEAVY
    assert "torch" not in loaded_by("verify", "photo.cae")


def test_help_and_info_are_quick(photo_cae: Path) -> None:
    for arguments in (["--help"], ["info", "photo.cae"]):
        times = []
        for _ in range(5):
            before = os.times()
            subprocess.run([sys.executable, "-m", "nncodec", *arguments], stdout=-3, check=True)
            after = os.times()
            # Processor time, not that of the clock: the machine may be busy with something else.
            user = after.children_user - before.children_user
            times.append(user + after.children_system - before.children_system)
        assert min(times) < 0.25, f"{arguments} took {min(times):.3f} s"


def test_importing_the_package_is_cheap() -> None:
    code = "import nncodec, sys; print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout == "False\n"


def commands(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from commands(below, f"{path} {name}")


@pytest.mark.parametrize(("path", "command"), list(commands(main, "nncodec")))
def test_every_command_has_help_and_an_example(path: str, command: click.Command) -> None:
    assert command.help, path
    _, _, example = cleandoc(command.help).partition("\n\b\nExample:\n  ")
    assert "nncodec" in example, path
    for option in command.params:
        assert not isinstance(option, click.Option) or option.help, f"{path} {option.name}"


def test_types_and_weights_ship() -> None:
    assert resources.files("nncodec").joinpath("py.typed").is_file()
    for entry in manifest().values():
        for file in (entry.file, *([entry.context["file"]] if entry.context else [])):
            assert resources.files("nncodec.weights").joinpath(file).is_file()
