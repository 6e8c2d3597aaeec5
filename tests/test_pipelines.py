"""The command line among other programs: find, xargs, parallel, head, terminals; and its start."""

import json
import os
import pty
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

NNCODEC = [sys.executable, "-m", "nncodec"]


@pytest.fixture
def album(folder: Path, lake: Image.Image, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Images in the folder album, one with an odd name; and the command nncodec."""
    (folder / "album" / "a trip").mkdir(parents=True)
    for name in ("one.png", "two.png", "a trip/new\nline.png"):
        lake.crop((0, 0, 40, 30)).save(folder / "album" / name)
    (folder / "bin").mkdir()
    launcher = folder / "bin" / "nncodec"
    launcher.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m nncodec "$@"\n')
    launcher.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}")
    return folder / "album"


def shell(command: str, weights: Path) -> subprocess.CompletedProcess[str]:
    """Run a command line in which $W stands for options that make compression quick."""
    return subprocess.run(
        ["sh", "-c", command.replace("$W", f"--weights '{weights}' -e 1")],
        capture_output=True,
        text=True,
    )


def found(folder: str) -> list[str]:
    paths = (path for path in Path(folder).rglob("*") if path.is_file())
    return sorted(path.relative_to(folder).as_posix() for path in paths)


def test_find(album: Path, bitplane: Path) -> None:
    result = shell(
        "find album -name '*.png' -print0 | nncodec compress -0 --files-from - -o out $W", bitplane
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert found("out") == ["album/a trip/new\nline.cae", "album/one.cae", "album/two.cae"]


def test_xargs(album: Path, bitplane: Path) -> None:
    command = "find album -name '*.png' -print0 | xargs -0 nncodec compress --json -o out $W"
    result = shell(command, bitplane)
    assert (result.returncode, result.stderr) == (0, "")
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert {record["status"] for record in records} == {"done"} and len(records) == 3
    assert found("out") == ["new\nline.cae", "one.cae", "two.cae"]


@pytest.mark.slow
def test_shards_under_xargs(album: Path, bitplane: Path) -> None:
    command = "seq 2 | xargs -P 2 -I@ nncodec compress -r album -o out --shard @/2 -j 1 $W"
    assert shell(command, bitplane).returncode == 0
    assert found("out") == ["a trip/new\nline.cae", "one.cae", "two.cae"]


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("parallel"), reason="GNU parallel is not installed")
def test_parallel(album: Path, bitplane: Path) -> None:
    command = "ls album/*.png | parallel -j 2 nncodec compress {} {.}.cae -j 1 $W"
    assert shell(command, bitplane).returncode == 0
    assert found("album")[1:] == ["one.cae", "one.png", "two.cae", "two.png"]


@pytest.mark.slow
def test_a_reader_that_leaves(album: Path, bitplane: Path) -> None:
    for command in (
        "nncodec compress -r album -o out --json $W 2>err | head -c 10",
        "nncodec compress album/one.png - $W 2>err | head -c 10",
        "nncodec compress -n -r album -o other 2>err | true",
    ):
        result = shell(f"({command}) | wc -c", bitplane)
        assert int(result.stdout) in (0, 10)
        assert Path("err").read_text() == ""
    assert all(name.endswith(".cae") for name in found("out"))


@pytest.mark.slow
def test_names_that_are_no_text(album: Path, bitplane: Path) -> None:
    odd = os.fsencode(album) + b"/\xff\xfe.png"
    try:
        shutil.copy(os.fsencode(album / "one.png"), odd)
    except OSError:
        pytest.skip("this file system has no such names")
    command = [*NNCODEC, "compress", "-0", "--files-from", "-", "--weights", str(bitplane)]
    for options in (["-n"], ["--json", "-e", "1"], ["-v", "-f", "-e", "1"]):
        result = subprocess.run([*command, *options], input=odd + b"\0", capture_output=True)
        assert result.returncode == 0, result.stderr
        assert result.stderr.count(b"\n") == ("-v" in options)
    assert os.path.exists(odd.replace(b".png", b".cae"))


def test_json_lines_come_one_by_one(album: Path, bitplane: Path) -> None:
    os.mkfifo(album / "zzz.png")
    command = [*NNCODEC, "compress", "-r", "album", "-o", "out", "--json", "-e", "1"]
    process = subprocess.Popen(
        [*command, "--weights", str(bitplane)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    # The third input never comes, and what is done is told nevertheless.
    lines = [json.loads(process.stdout.readline()) for _ in range(2)]
    assert [line["status"] for line in lines] == ["done"] * 2
    process.terminate()
    assert process.wait(30) == 130


def on_terminal(arguments: list[str], **environment: str) -> str:
    """Run a command whose standard error is a terminal; return what that shows."""
    terminal, side = pty.openpty()
    subprocess.run(
        [*NNCODEC, *arguments],
        stdout=subprocess.DEVNULL,
        stderr=side,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100", **environment},
    )
    os.close(side)
    written = b""
    try:
        while block := os.read(terminal, 4096):
            written += block
    except OSError:  # Linux tells the end of a terminal so
        pass
    os.close(terminal)
    return written.decode()


@pytest.mark.slow
def test_a_terminal_shows_rate_and_time_left(album: Path, bitplane: Path) -> None:
    (album / "bad.png").write_text("no image")
    arguments = ["compress", "-r", "album", "-o", "out", "-e", "1", "--weights", str(bitplane)]
    shown = on_terminal(arguments)
    assert " % of 4" in shown and "line.png" in shown and "-:--" in shown
    assert "nncodec: album/bad.png: not an image that can be read" in shown
    last = shown.replace("\r", "\n").strip().splitlines()[-1]
    assert "3 done" in last and "1 failed" in last and last.endswith(" MP/s")
    plain = on_terminal([*arguments, "-f"], NO_COLOR="1")
    assert " % of 4" in plain
    assert "\x1b[3" in shown and "\x1b[3" not in plain  # colours


def cpu(*arguments: str) -> float:
    """The processor time of a command, which others on this machine don't change."""
    before = os.times()
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
    after = os.times()
    user = after.children_user - before.children_user
    return user + after.children_system - before.children_system


@pytest.mark.slow
def test_one_image_costs_little_more_than_importing_torch(album: Path) -> None:
    one = ["-m", "nncodec", "compress", "-f", "album/one.png", "-e", "1"]
    pairs = [(cpu("-c", "import torch"), cpu(*one)) for _ in range(5)]
    torch, whole = (min(times) for times in zip(*pairs, strict=True))
    assert whole < 1.5 * torch


@pytest.mark.slow
def test_24_images_in_one_call_are_quicker_than_in_24(album: Path, bitplane: Path) -> None:
    for number in range(24):
        shutil.copy(album / "one.png", album / f"{number}.png")
    options = ["-e", "1", "--weights", str(bitplane)]
    names = [f"album/{number}.png" for number in range(24)]
    together = cpu("-m", "nncodec", "compress", *names, "-o", "together", *options)
    start = time.perf_counter()
    sample = 4  # calls, which are all alike
    apart = sum(
        cpu("-m", "nncodec", "compress", name, "-o", "apart/", *options) for name in names[:sample]
    )
    assert time.perf_counter() > start
    assert apart / sample * 24 > 5 * together
