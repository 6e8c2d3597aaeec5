"""README.md tells the truth: its commands run, and its reference is what --help says."""

import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")

# Shell commands, unless a comment before them says that they take long.
BLOCKS = re.findall(r"(<!-- not run.*?-->\n\n?)?```sh\n(.*?)```", README, re.DOTALL)
COMMANDS = [block for skipped, block in BLOCKS if not skipped]
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_the_reference_is_what_help_says() -> None:
    tool = runpy.run_path(str(ROOT / "bin" / "readme.py"))
    assert tool["with_reference"](README) == README, "run bin/readme"


@pytest.mark.parametrize("link", re.findall(r"\]\((?!http|#)([^)#]+)", README))
def test_links_lead_somewhere(link: str) -> None:
    assert (ROOT / link).exists()


@pytest.fixture
def playground(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder like a checkout, with photo.png, photos/ and the command nncodec."""
    samples = ROOT / "tests" / "data"
    (folder / "photos" / "trip").mkdir(parents=True)
    shutil.copy(samples / "lake.png", folder / "photo.png")
    shutil.copy(samples / "spices.png", folder / "photos")
    shutil.copy(samples / "skyline.png", folder / "photos" / "trip")
    (folder / "bin").mkdir()
    launcher = folder / "bin" / "nncodec"
    launcher.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m nncodec "$@"\n')
    launcher.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}")
    return folder


@pytest.mark.slow
def test_the_commands_run(playground: Path) -> None:
    assert COMMANDS
    for block in COMMANDS:
        result = subprocess.run(["sh", "-e", "-c", block], capture_output=True, text=True)
        assert result.returncode == 0, f"{block}\n{result.stderr}"


@pytest.mark.slow
def test_the_python_examples_run(playground: Path) -> None:
    assert PYTHON
    for block in PYTHON:
        exec(compile(block, "README.md", "exec"), {})
