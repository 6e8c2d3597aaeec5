"""The command line as a process: pipes, signals, terminals, full disks, start-up."""

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

NNCODEC = [sys.executable, "-m", "nncodec"]


def run(*args: str | Path, **options: object) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*NNCODEC, *map(str, args)], capture_output=True, **options)  # type: ignore[call-overload,no-any-return]


def test_a_pipe_of_both(photo: Path) -> None:
    command = (
        'cat photo.png | "$0" -m nncodec compress - - | "$0" -m nncodec decompress - - > out.png'
    )
    subprocess.run(["sh", "-c", command, sys.executable], check=True)
    assert Path("out.png").read_bytes().startswith(b"\x89PNG")


def test_a_closed_pipe_ends_quietly(folder: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    result = subprocess.run([*NNCODEC, "completion", "bash"], stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    assert (result.returncode, result.stderr) == (1, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_is_one_line(folder: Path) -> None:
    with open("/dev/full", "wb") as full:
        result = subprocess.run([*NNCODEC, "completion", "bash"], stdout=full, stderr=-1)
    assert result.returncode == 1
    assert result.stderr.startswith(b"nncodec: no space left on device")
    assert result.stderr.count(b"\n") == 1


def test_unexpected_exceptions_are_one_line(folder: Path) -> None:
    break_it = (
        "import nncodec.cli.inspection as i, nncodec.cli as c\n"
        "def boom(*a, **k): raise ZeroDivisionError('an\\n odd one')\n"
        "i.open_input = boom\n"
        "c.main()"
    )
    Path("x.cae").touch()
    for options in ([], ["-v"]):
        command = [sys.executable, "-c", break_it, "info", "x.cae", *options]
        result = subprocess.run(command, capture_output=True, text=True)
        assert result.returncode == 1
        last = result.stderr.splitlines()[-1]
        assert last.startswith("nncodec: x.cae: unexpected ZeroDivisionError: an odd one; ")
        assert ("Traceback" in result.stderr) == bool(options)
        assert bool(options) or result.stderr.count("\n") == 1


def open_when_read(fifo: str) -> int:
    """Open a named pipe for writing as soon as another process has opened it for reading."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            return os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            time.sleep(0.05)
    raise TimeoutError(fifo)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupting_leaves_nothing_behind(photo: Path, number: signal.Signals) -> None:
    os.mkfifo("slow.png")
    command = [*NNCODEC, "compress", "slow.png", "-o", "out.cae"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    slow = open_when_read("slow.png")
    os.write(slow, photo.read_bytes()[:100])
    time.sleep(0.2)
    process.send_signal(number)
    _, error = process.communicate(timeout=60)
    os.close(slow)
    assert process.returncode == 130
    assert error.split() == [b"nncodec:", b"interrupted"]
    assert sorted(path.name for path in Path().iterdir()) == ["photo.png", "slow.png"]


def test_progress_is_shown_on_a_terminal_only(photo: Path) -> None:
    assert run("compress", photo).stderr == b""
    for options, shown in ([], True), (["--no-progress"], False), (["--quiet"], False):
        terminal, side = pty.openpty()
        subprocess.run([*NNCODEC, "compress", "-f", str(photo), *options], stderr=side, check=True)
        os.close(side)
        written = b""
        try:
            while block := os.read(terminal, 4096):
                written += block
        except OSError:  # Linux tells the end of a terminal so
            pass
        os.close(terminal)
        assert (b"%" in written) == shown
        assert (b"bpp" in written) == ("--quiet" not in options)


def test_a_terminal_gets_no_binary_data(photo: Path) -> None:
    terminal, side = pty.openpty()
    result = subprocess.run([*NNCODEC, "compress", str(photo), "-"], stdout=side, stderr=-1)
    assert result.returncode == 2 and b"is a terminal" in result.stderr
    result = subprocess.run([*NNCODEC, "compress"], stdin=side, stdout=-1, stderr=-1)
    assert result.returncode == 2 and b"no input" in result.stderr
    os.close(side)
    os.close(terminal)


def test_devices_are_written_to_not_replaced(photo: Path) -> None:
    assert run("compress", photo, "-o", os.devnull).returncode == 0
    assert Path(os.devnull).is_char_device()
