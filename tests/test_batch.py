"""Batches: lists of names, shards, workers, verified removal, what a killed run leaves behind."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
import torch
from click.testing import Result
from errands import NOTHING, Errand, jobs_of, settings_of
from meter import watched
from PIL import Image

from nncodec.cli import apart
from nncodec.cli.apart import Apart
from nncodec.cli.engine_local import LocalEngine
from nncodec.cli.network import Network
from nncodec.cli.operands import Job
from nncodec.cli.progress import Bar
from nncodec.cli.reports import Outcome
from nncodec.cli.rooms import Rooms
from nncodec.formats.errors import OutputError
from nncodec.formats.files import atomic_output

Run = Callable[..., Result]
NNCODEC = [sys.executable, "-m", "nncodec"]
FAST = ("-e", "1")


@pytest.fixture
def weights(bitplane: Path) -> tuple[str, ...]:
    """The options for a small model that is quick."""
    return ("--weights", str(bitplane), *FAST)


def files(folder: str | Path) -> dict[str, bytes]:
    """The content of all files in a folder, hidden ones too."""
    paths = [path for path in Path(folder).rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def planned(result: Result) -> dict[str, str]:
    return dict(line.split(" -> ") for line in result.stdout.splitlines())


def test_listed_names_are_mirrored(nncodec: Run, album: Path) -> None:
    names = ["album/0.png", "album/sub/../sub/7.png", str(album / "1.png")]
    Path("list").write_text("\n".join(names) + "\n\n")
    found = planned(nncodec("compress", "-n", "--files-from", "list", "-o", "out"))
    assert [Path(p).as_posix() for p in found.values()] == [
        "out/album/0.cae",
        "out/album/sub/7.cae",
        f"out/{album.relative_to(album.anchor).as_posix()}/1.cae",
    ]
    beside = planned(nncodec("compress", "-n", "--files-from", "list"))
    assert beside["album/0.png"] == str(Path("album/0.cae"))
    os.chdir("album/sub")
    escaping = nncodec("compress", "-n", "-o", "o", "--files-from", "-", input=b"../2.png\n")
    assert planned(escaping) == {"../2.png": str(Path("o/2.cae"))}


def test_lists_end_their_names_in_newlines_or_nul(nncodec: Run, album: Path) -> None:
    odd = album / "a\nb.png"
    shutil.copy(album / "0.png", odd)
    names = [str(odd), "album/0.png"]
    result = nncodec(
        *("compress", "-n", "--json", "-0", "--files-from", "-", "-o", "out"),
        input="\0".join([*names, ""]).encode(),
    )
    records = [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]
    assert [record["input"] for record in records] == names
    options = ["--files-from", "-", "-o", "out"]
    both = nncodec("compress", "-n", "album/1.png", *options, status=1, input=b"-\n")
    assert planned(both) == {"album/1.png": str(Path("out/1.cae"))}
    assert "nncodec: -: no such file" in both.stderr  # in a list it is a name like any other


def test_lists_with_folders_and_missing_names(nncodec: Run, album: Path) -> None:
    listed = b"album\ngone.png\n"
    flat = nncodec("compress", "-n", "--files-from", "-", "-o", "out", status=1, input=listed)
    assert flat.stderr.splitlines()[:2] == [
        "nncodec: album: is a folder; use -r to take the files in it",
        "nncodec: gone.png: no such file",
    ]
    deep = nncodec("compress", "-nr", "--files-from", "-", "-o", "out", status=1, input=listed)
    assert planned(deep)["album/sub/7.png"] == str(Path("out/album/sub/7.cae"))
    assert len(planned(deep)) == 8
    assert nncodec("compress", "--files-from", "-", "-o", "out", input=b"").output == ""


def test_several_folders_without_r_are_told_of(nncodec: Run, album: Path) -> None:
    result = nncodec("compress", "album", ".", "-o", "out", status=1)
    assert result.stderr.count("use -r") == 2


def test_shards_cover_everything_once(nncodec: Run, album: Path) -> None:
    whole = list(planned(nncodec("compress", "-nr", "album", "-o", "out")))
    parts = [
        list(planned(nncodec("compress", "-nr", "album", "-o", "out", "--shard", f"{i}/3")))
        for i in (1, 2, 3)
    ]
    assert sorted(parts[0] + parts[1] + parts[2]) == sorted(whole)
    assert sorted(map(len, parts)) == [2, 3, 3]
    # The order in which the inputs are named makes no difference.
    backwards = nncodec(
        *("compress", "-n", "--files-from", "-", "-o", "out", "--shard", "2/3"),
        input="\n".join(reversed(whole)).encode(),
    )
    assert sorted(planned(backwards)) == sorted(parts[1])
    assert nncodec("compress", "-n", "-r", "album", "--shard", "9/9").output == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-r", "album", "--shard", "0/2"], "'0/2' is not I/N"),
        (["-r", "album", "--shard", "3/2"], "'3/2' is not I/N"),
        (["-r", "album", "-0"], "-0 is for the names of --files-from"),
        (["-r", "album", "--rm", "--shard", "1/2"], "--rm changes what other shards find"),
        (["album/0.png", "-o", "-", "--rm"], "--rm is for files"),
        (["-", "-o", "x.cae", "--rm"], "--rm is for files"),
        (["-", "--files-from", "list"], "can't be mixed"),
        (["--files-from", "list", "-o", "-"], "several inputs can't go to standard output"),
        (["--files-from", "gone", "-o", "x"], "does not exist"),
        (["album/0.png", "-j", "0"], "-j"),
    ],
)
def test_usage(nncodec: Run, album: Path, arguments: list[str], message: str) -> None:
    Path("list").write_text("album/0.png\n")
    result = nncodec("compress", *arguments, status=2)
    assert message in result.stderr and result.stderr.count("\n") == 1


def test_rm_is_for_whole_pictures(nncodec: Run, photo_cae: Path) -> None:
    for options in (["--stages", "1"], ["--partial"], ["--region", "0,0,1,1"]):
        nncodec("decompress", "photo.cae", "--rm", *options, status=2)
    assert photo_cae.exists()


def test_rm_removes_inputs_whose_outputs_are_sound(
    nncodec: Run, album: Path, weights: tuple[str, ...], lake: Image.Image
) -> None:
    alpha = Image.linear_gradient("L").resize((50, 40))
    with_alpha = lake.crop((0, 0, 50, 40))
    with_alpha.putalpha(alpha)
    with_alpha.save(album / "alpha.png")
    lake.crop((0, 0, 9, 7)).convert("L").save(album / "grey.png")
    (album / "bad.png").write_text("no image")
    nncodec("compress", "-r", "album", "-o", "cae", "--rm", "-j", "2", *weights, status=1)
    assert list(files("album")) == ["bad.png"]
    assert len(files("cae")) == 10
    nncodec("compress", "-k", "album/bad.png", *weights, status=1)

    loose = weights[:2]
    for format in ("png", "webp", "tiff", "npy", "jpeg"):
        shutil.copytree("cae", format)
        status = int(format == "jpeg")  # which has no alpha
        nncodec("decompress", "-r", format, "-o", "x", "-t", format, "--rm", *loose, status=status)
        assert list(files(format)) == (["alpha.cae"] if format == "jpeg" else [])
    assert len(files("x")) == 49
    nncodec("decompress", "cae/0.cae", "--keep", *loose)
    assert Path("cae/0.cae").exists()


def test_rm_keeps_the_input_of_an_output_that_is_not_sound(
    nncodec: Run, album: Path, weights: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    sync = os.fsync

    def spoil(number: int) -> None:
        os.pwrite(number, b"\xff", 40)
        sync(number)

    monkeypatch.setattr(os, "fsync", spoil)
    result = nncodec("compress", "album/0.png", "0.cae", "--rm", *weights, status=1)
    assert result.stderr == (
        "nncodec: album/0.png: not verified, so the input stays: it was not written as it should"
        " be\n"
    )
    assert Path("album/0.png").exists() and not Path("0.cae").exists()
    nncodec("compress", "album/0.png", "0.cae", *weights)
    result = nncodec("decompress", "0.cae", "0.ppm", "--rm", *weights[:2], status=1)
    assert "not verified" in result.stderr
    assert Path("0.cae").exists() and not Path("0.ppm").exists()
    device = nncodec("compress", "album/0.png", "-o", os.devnull, "--rm", *weights, status=1)
    assert "--rm needs an output that can be read back" in device.stderr


@pytest.mark.skipif(os.name != "posix", reason="modes of POSIX")
def test_preserve(nncodec: Run, album: Path, weights: tuple[str, ...]) -> None:
    os.chmod("album/0.png", 0o640)
    os.utime("album/0.png", ns=(1_500_000_000_000_000_123, 1_400_000_000_000_000_456))
    nncodec("compress", "-p", "album/0.png", "0.cae", *weights)
    nncodec("decompress", "--preserve", "0.cae", "0.png", *weights[:2])
    for name in ("0.cae", "0.png"):
        status = os.stat(name)
        assert status.st_mode & 0o7777 == 0o640
        assert status.st_mtime_ns == 1_400_000_000_000_000_456
    nncodec("compress", "album/0.png", "plain.cae", *weights)
    assert os.stat("plain.cae").st_mtime_ns != os.stat("0.cae").st_mtime_ns


def test_workers_change_nothing_but_the_time(
    nncodec: Run, album: Path, weights: tuple[str, ...]
) -> None:
    threads, lines = torch.get_num_threads(), []
    for jobs in ("1", "3", "8"):
        result = nncodec("compress", "-r", "album", "-o", jobs, "-j", jobs, "--json", *weights)
        lines.append([json.loads(line)["input"] for line in result.stdout.splitlines()])
    assert files("1") == files("3") == files("8")
    assert len(files("1")) == 8
    assert lines[0] == lines[1] == lines[2]
    for jobs in ("1", "4"):
        nncodec("decompress", "-r", "1", "-o", f"png{jobs}", *weights[:2], NNCODEC_JOBS=jobs)
    assert files("png1") == files("png4")
    assert torch.get_num_threads() == threads


def test_failures_of_workers_are_told_in_order(
    nncodec: Run, album: Path, weights: tuple[str, ...]
) -> None:
    for number in (1, 4):
        (album / f"{number}.png").write_text("no image")
    result = nncodec("compress", "-r", "album", "-o", "out", "-j", "4", *weights, status=1)
    one, four, summary = result.stderr.splitlines()
    assert one.startswith("nncodec: album/1.png: not an image")
    assert four.startswith("nncodec: album/4.png: not an image")
    assert summary.startswith("nncodec: 6 done, 2 failed: ") and summary.endswith(" MP/s")


def test_a_slow_input_holds_nobody_up(folder: Path) -> None:
    """The other worker does all the rest, and yet the slow one is told of first."""
    jobs = [Job(None, folder / f"{number}.cae") for number in range(30)]
    last = threading.Event()

    def work(job: Job, file: BinaryIO, advance: Callable[[float], None]) -> Outcome:
        if job is jobs[0]:
            assert last.wait(60)
        elif job is jobs[-1]:
            last.set()
        return NOTHING

    attempts = LocalEngine(jobs, work, settings_of(2), Bar(30, shown=False)).attempts()
    assert [(job, result.status) for job, result, _ in attempts] == [(job, "done") for job in jobs]


def tried(*tasks: str, **options: Any) -> list[tuple[str, str]]:
    """What becomes of tasks, two at once: their states, and what is said of them."""
    work = Errand(Network("cpu", None, None))
    engine = LocalEngine(jobs_of(*tasks), work, settings_of(2, **options), Bar(1, shown=False))
    return [
        (result.status, failure.message if failure else "")
        for _, result, failure in engine.attempts()
    ]


def test_work_in_other_processes(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Whatever ends one of them befalls the one input, and leaves nothing."""
    found = tried("good", "die", "fail", "remark", "stumble", "good")
    assert [status for status, _ in found] == ["done", "failed", "failed", "done", "failed", "done"]
    assert capfd.readouterr() == ("", "")
    died, failed, stumbled = (message for status, message in found if status == "failed")
    assert died == "its process ended before its work (status -9); if memory is short, use -j 1"
    assert failed == "as it should"
    assert stumbled.startswith("unexpected ZeroDivisionError: an odd one; please report it")
    out = {name: content for name, content in files(folder).items() if not name.endswith("task")}
    assert out == {"0.out": b"good", "3.out": b"remark", "5.out": b"good"}


def test_other_processes_check_what_they_made(folder: Path) -> None:
    found = tried("good", "not this", remove=True)
    assert found == [("done", ""), ("failed", "not verified, so the input stays: it is another")]
    assert files(folder) == {"0.out": b"good", "1.task": b"not this"}


def test_other_processes_tell_how_far_they_are(folder: Path) -> None:
    Path("0.task").write_text("good")
    parts: list[float] = []
    with closing(Apart(Errand(Network("cpu", None, None)), 1)) as work:
        work(Job(Path("0.task")), BytesIO(), parts.append)
        assert not work.rooms.inside
    assert parts == [0.25, 1]


ALONE = """
from errands import Errand, jobs_of, settings_of
from nncodec.cli.engine_local import LocalEngine
from nncodec.cli.network import Network
from nncodec.cli.progress import Bar

if __name__ == "__main__":
    jobs, work = jobs_of("sleep", "good"), Errand(Network("cpu", None, None))
    engine = LocalEngine(jobs, work, settings_of(2), Bar(1, shown=False))
    list(engine.attempts())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="of Linux")
def test_other_processes_end_with_the_one_that_started_them(folder: Path) -> None:
    """One that waits for work at once, one that is at work when it comes to tell of it."""
    Path("alone.py").write_text(ALONE)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen([sys.executable, "alone.py"], env=environment)
    soon(lambda: Path("1.out").exists() and Path("asleep").exists())
    helpers = started(process.pid)
    sleeper = int(Path("asleep").read_text())
    assert sleeper in helpers and len(helpers) == 3  # and what tracks resources
    process.kill()
    process.wait()
    Path("awake").touch()
    soon(lambda: not any(map(alive, helpers)))


def soon(true: Callable[[], bool]) -> None:
    """Wait until something is true."""
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def started(pid: int) -> set[int]:
    """The processes that one has started."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return {int(child) for task in tasks for child in task.read_text().split()}


def alive(pid: int) -> bool:
    """Whether a process is there, and not only waits to be told of."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_what_is_there_already_needs_no_other_process(
    nncodec: Run, album: Path, weights: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    nncodec("compress", "-r", "album", "-o", "out", *weights)
    monkeypatch.setattr(apart, "Helper", None)
    again = ("compress", "-r", "album", "-o", "out", "--skip-existing", "-j", "2", *weights)
    assert nncodec(*again).output == ""
    shutil.rmtree("out")
    assert nncodec(*again, status=1).stderr.count("unexpected TypeError") == 8


def test_pictures_in_work_at_once_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nncodec.cli.rooms.ROOM", 100)
    rooms = Rooms(4)
    most: list[tuple[int, int]] = []

    def work(pixels: int) -> None:
        with rooms.room(pixels):
            time.sleep(0.002)
            inside = list(rooms.inside)
            most.append((sum(inside), len(inside)))

    sizes = [40, 60, 300, 10, 20, 30, 150, 40, 50, 60] * 3
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, sizes))
    assert len(most) == len(sizes) and not rooms.inside
    assert all(total <= 100 or number == 1 for total, number in most)
    assert max(number for _, number in most) > 1


@pytest.mark.parametrize(("pixels", "threads"), [(1, 2), (25, 2), (50, 4), (51, 8), (300, 8)])
def test_pictures_that_are_there_alone_have_all_processors(
    monkeypatch: pytest.MonkeyPatch, pixels: int, threads: int
) -> None:
    monkeypatch.setattr("nncodec.cli.rooms.ROOM", 100)
    network = Network("cpu", None, None)
    network.enter = Rooms(4).room
    network.processors = 8
    before = torch.get_num_threads()
    try:
        with network.room(pixels):
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def test_leftovers_of_killed_runs_are_removed(
    nncodec: Run, album: Path, weights: tuple[str, ...]
) -> None:
    out = Path("out")
    out.mkdir()
    (out / ".nncodec-0123456789abcdef.part").write_bytes(b"half")
    (out / "mine.part").write_bytes(b"kept")
    os.utime(out / ".nncodec-0123456789abcdef.part", (0, 0))
    nncodec("compress", "-r", "album", "-o", "out", *weights)
    assert (out / ".nncodec-0123456789abcdef.part").exists()
    nncodec("compress", "-r", "album", "-o", "out", "--skip-existing", *weights)
    assert not list(out.glob(".nncodec*")) and (out / "mine.part").exists()


@pytest.mark.skipif(os.name != "posix", reason="locks of POSIX")
def test_what_another_run_is_writing_is_not_removed(folder: Path) -> None:
    from nncodec.cli.operands import Job
    from nncodec.cli.outputs import Outputs, remove_leftovers

    with Outputs().open(Job(None, folder / "a.cae"), force=False) as file:
        os.utime(file.name, (0, 0))
        remove_leftovers([folder])
        file.write(b"whole")
    assert files(folder) == {"a.cae": b"whole"}


def test_what_is_taken_back_never_appears(folder: Path) -> None:
    from nncodec.cli.operands import Job
    from nncodec.cli.outputs import Outputs

    outputs = Outputs()
    job = Job(None, folder / "a.cae")
    with pytest.raises(OutputError, match="a.cae"), outputs.open(job, force=False) as file:
        file.write(b"half")
        outputs.take_back()
    assert files(folder) == {}
    with atomic_output(folder / "b.cae") as file:  # what is not the batch's own goes on
        file.write(b"whole")


def test_what_fails_can_be_taken_back_until_it_is_gone(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nncodec.cli.outputs import Outputs

    outputs, remove = Outputs(), os.unlink
    known: list[bool] = []

    def unlink(name: str) -> None:
        known.append(name in outputs.unfinished)
        remove(name)

    monkeypatch.setattr(os, "unlink", unlink)
    with pytest.raises(ZeroDivisionError), outputs.open(Job(None, folder / "a.cae"), force=False):
        raise ZeroDivisionError
    assert known == [True] and not outputs.unfinished
    with outputs.open(Job(None, folder / "a.cae"), force=False) as file:
        file.write(b"whole")
    assert not outputs.unfinished and files(folder) == {"a.cae": b"whole"}


def command(weights: tuple[str, ...], *more: str) -> list[str]:
    return [*NNCODEC, "compress", "-r", "album", "-o", "out", *weights, *more]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupting_busy_workers_leaves_nothing_half_written(
    album: Path, weights: tuple[str, ...], number: signal.Signals
) -> None:
    os.mkfifo("9.png")  # a worker waits for it, whatever it is told
    process = subprocess.Popen(command(weights, "-j", "2", "9.png"), stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while len(list(Path("out").glob("**/*.cae"))) < 8 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(number)
    _, error = process.communicate(timeout=30)
    assert process.returncode == 130
    assert error == b"nncodec: interrupted\n"
    assert len(files("out")) == 8 and all(name.endswith(".cae") for name in files("out"))


@pytest.mark.skipif(sys.platform != "linux", reason="of Linux")
@pytest.mark.parametrize("delay", [0, 0.1, 0.3, 1])
def test_ctrl_c_on_a_terminal_is_told_once(
    album: Path, weights: tuple[str, ...], delay: float
) -> None:
    """There it reaches all processes, those that have only just begun, too."""
    process = subprocess.Popen(
        command(weights, "-j", "2"), stderr=subprocess.PIPE, start_new_session=True
    )
    soon(lambda: len(started(process.pid)) == 3)
    helpers = started(process.pid)
    time.sleep(delay)
    os.killpg(process.pid, signal.SIGINT)
    _, error = process.communicate(timeout=30)
    assert (process.returncode, error) == (130, b"nncodec: interrupted\n")
    soon(lambda: not any(map(alive, helpers)))
    assert all(name.endswith(".cae") for name in files("out"))


@pytest.mark.slow
def test_killed_at_any_moment_and_run_again(album: Path, weights: tuple[str, ...]) -> None:
    for number in range(30):
        shutil.copy(album / f"{number % 6}.png", album / f"more{number}.png")
    start = time.monotonic()
    subprocess.run(command(weights), check=True)
    whole = time.monotonic() - start
    expected = files("out")
    assert len(expected) == 38
    shutil.rmtree("out")
    chance = random.Random(0)
    for _ in range(10):
        process = subprocess.Popen(command(weights, "--skip-existing", "-j", "3"))
        time.sleep(whole * chance.uniform(0.4, 1))
        process.kill()
        process.wait()
        for name, content in files("out").items():
            assert name.endswith(".part") or content == expected[name]
        done = sorted(Path("out").rglob("*.cae"))
        for path in chance.sample(done, len(done) // 2):  # so that the next has work to do
            path.unlink()
    time.sleep(1)
    subprocess.run(command(weights, "--skip-existing"), check=True)
    assert files("out") == expected


def make_mixed(folder: Path, image: Image.Image, number: int) -> None:
    """Images of mixed sizes, formats and modes; every 40th of them is none."""
    chance = random.Random(number)
    folder.mkdir(exist_ok=True)
    width, height = (chance.choice([1, 2, 17, 60, 128, 129, 200]) for _ in range(2))
    x, y = chance.randrange(384 - width), chance.randrange(256 - height)
    part = image.crop((x, y, x + width, y + height))
    forms = [("RGB", "png"), ("L", "png"), ("RGBA", "png"), ("P", "gif"), ("CMYK", "tif")]
    forms += [("RGB", "jpg"), ("L", "jpg"), ("RGBA", "webp"), ("1", "png"), ("LA", "png")]
    forms += [("I;16", "png"), ("RGB", "bmp"), ("RGB", "ppm"), ("L", "pgm")]
    mode, suffix = forms[number % len(forms)]
    path = folder / f"{number:03}.{suffix}"
    if number % 40 == 7:
        bad = [b"", b"no image", b"\x89PNG\r\n\x1a\n" + bytes(50), b"GIF89a", b"P6 10 10 255 x"]
        path.write_bytes(bad[number // 40 % 5])
    elif mode == "I;16":
        deep = np.asarray(part.convert("L")).astype(np.uint16) * 257
        Image.fromarray(deep).save(path)
    else:
        part.convert(mode).save(path)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="of Linux")
def test_a_folder_of_all_sorts(folder: Path, lake: Image.Image, weights: tuple[str, ...]) -> None:
    for number in range(200):
        make_mixed(folder / "mixed", lake, number)
    arguments = ["-r", "mixed", "-o", "out", *weights, "--json"]
    with open("output", "w") as output, open("errors", "w") as errors:
        process = subprocess.Popen([*NNCODEC, "compress", *arguments], stdout=output, stderr=errors)
        peak = watched(process)
    assert process.returncode == 1
    records = [json.loads(line) for line in Path("output").read_text().splitlines()]
    said = Path("errors").read_text().splitlines()
    failed = [record["input"] for record in records if record["status"] == "failed"]
    assert len(records) == 200 and len(failed) == 5
    lines = [line for line in said if line.startswith("nncodec: mixed")]
    for name in failed:
        (line,) = (line for line in lines if line.startswith(f"nncodec: {name}: "))
        assert "image" in line
    assert said[-1].startswith("nncodec: 195 done, 5 failed: ")
    assert len(files("out")) == 195
    assert 100 < peak < 1536
    back = subprocess.run([*NNCODEC, "decompress", "-r", "out", "-o", "back", *weights[:2]])
    assert back.returncode == 0 and len(files("back")) == 195
    for record in records:
        if record["status"] == "done":
            name = Path("back", Path(record["input"]).name).with_suffix(".png")
            with Image.open(name) as image:
                assert image.size == (record["width"], record["height"])
