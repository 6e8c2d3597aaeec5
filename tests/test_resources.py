"""What a command may take, and what it says when that is not there: memory, time, disk, files.

`python tests/test_resources.py 1 20x1 9 100` prints what images of so many megapixels take; 20x1 is
twenty of one megapixel in one command.
"""

import ctypes
import errno
import os
import platform
import resource
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from threading import Thread

import numpy as np
import pytest
from click.testing import Result
from meter import measured
from PIL import Image

Run = Callable[..., Result]

NNCODEC = [sys.executable, "-m", "nncodec"]
QUICK = ("-m", "cae_16x8x8_refl_pad_bin", "--device", "cpu")
DROP, OVERRIDE, SEARCH = 24, 1, 2  # prctl(PR_CAPBSET_DROP), CAP_DAC_OVERRIDE, _READ_SEARCH
linux = pytest.mark.skipif(sys.platform != "linux", reason="of Linux")


def run(*args: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
    command = [*NNCODEC, *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, **options)  # type: ignore[call-overload,no-any-return]


def complaint(result: subprocess.CompletedProcess[str] | Result) -> str:
    """The one line that a failure is told in."""
    status = result.exit_code if isinstance(result, Result) else result.returncode
    assert (status, result.stdout) == (1, "")
    assert result.stderr.count("\n") == 1 and result.stderr.startswith("nncodec: ")
    return result.stderr


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# Memory and time.


def mosaic(lake: Image.Image, width: int, height: int, path: Path) -> None:
    """A picture of any size, made of one photograph."""
    tile = np.asarray(lake)
    across, down = -(-width // tile.shape[1]), -(-height // tile.shape[0])
    whole = np.tile(tile, (down, across, 1))[:height, :width]
    Image.fromarray(whole).save(path, compress_level=1)


def both_ways(
    lake: Image.Image, width: int, height: int, copies: int = 1
) -> list[tuple[float, float]]:
    """What compressing and decompressing such pictures takes, at the lowest effort."""
    names = [f"{number}.png" for number in range(copies)]
    for folder in ("in", "there", "back"):
        Path(folder).mkdir(exist_ok=True)
    for name in names:
        mosaic(lake, width, height, Path("in", name))
    options = ("--device", "cpu", "-f", "-o")
    inputs = [Path("in", name) for name in names]
    there = measured("compress", "-e", "1", *inputs, *options, "there")
    files = [Path("there", name).with_suffix(".cae") for name in names]
    back = measured("decompress", *files, *options, "back")
    for name in names:
        with Image.open(Path("back", name)) as image:
            assert image.size == (width, height)
    return [there, back]


@linux
@pytest.mark.slow
def test_memory_and_time_of_large_and_of_long_pictures(folder: Path, lake: Image.Image) -> None:
    """Of 100 megapixels the figures are in SECURITY.md; here are fewer, to be done soon."""
    long = both_ways(lake, 30_000, 20)
    large = both_ways(lake, 4000, 4000)
    assert all(memory < 700 for _, memory in long)
    assert all(memory < 1200 for _, memory in large)
    # 27 times the pixels take less than 27 times the time, in which the start counts once.
    assert all(t < 27 * t0 for (t, _), (t0, _) in zip(large, long, strict=True))


@linux
@pytest.mark.slow
def test_one_large_picture_after_another(folder: Path, lake: Image.Image) -> None:
    names = [Path(f"{number}.png") for number in range(3)]
    for name in names:
        mosaic(lake, 3200, 2800, name)
    _, memory = measured("compress", "-e", "2", "--device", "cpu", *names, "-o", "out")
    assert 500 < memory < 1536


KEPT = """
import numpy as np
from meter import memory
from nncodec.cli.network import Network, keep_memory
from nncodec.cli.rooms import Rooms

network = Network("cpu", None, None)
network.enter = Rooms(2).room
keep_memory()
for pixels in (100, 10_000_000):
    with network.room(pixels):
        blocks = [np.ones(3_000_000) for _ in range(10)]  # 229 MiB
        within = memory("self")
        blocks.clear()
    print((within - memory("self")) // 1024)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of the GNU C library")
def test_only_large_pictures_return_their_memory(folder: Path) -> None:
    """What small ones took is kept for the next; what large ones took, others would miss."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    found = subprocess.check_output([sys.executable, "-c", KEPT], env=environment, text=True)
    small, large = map(int, found.split())
    assert small < 20 and large > 200


@linux
def test_threads_that_wait_for_others_soon_sleep(photo: Path, photo_cae: Path) -> None:
    """Where another program takes a processor, they would keep each other from the one left."""
    environment = {**os.environ, "OMP_DISPLAY_ENV": "verbose"}
    environment.pop("GOMP_SPINCOUNT", None)
    for command in (("compress", photo, "-o", "a.cae"), ("decompress", photo_cae, "-o", "a.png")):
        for chosen, due in ((None, "10000"), ("777", "777")):
            own = environment | ({"GOMP_SPINCOUNT": chosen} if chosen else {})
            told = run(*command, "-f", "--device", "cpu", env=own).stderr
            if "GOMP" not in told:
                pytest.skip("torch here has another OpenMP than GNU's")
            assert f"GOMP_SPINCOUNT = '{due}'" in told


COMMANDS = {
    "compress": ["compress", "photo.png", *QUICK, "-o"],
    "decompress": ["decompress", "photo.cae", "-t", "png", "-o"],
    "truncate": ["truncate", "photo.cae", "--stages", "1", "-o"],
}


@pytest.mark.parametrize("command", ["compress", "decompress"])
def test_more_pixels_than_allowed(nncodec: Run, photo: Path, photo_cae: Path, command: str) -> None:
    work = COMMANDS[command]
    result = nncodec(*work, "out", "--max-pixels", "1199", status=1)
    assert "40 x 30 pixels are more than 1199; allow it with --max-pixels" in complaint(result)
    assert names(photo.parent) == ["photo.cae", "photo.png"]


def test_a_narrow_picture_takes_more_than_its_pixels(nncodec: Run, folder: Path) -> None:
    Image.new("L", (1, 40_000)).save("narrow.png")
    result = nncodec("compress", "narrow.png", "--max-pixels", "40000", status=1)
    assert "the patches of 1 x 40000 pixels have 5128192, over 4 times 40000" in complaint(result)
    assert names(folder) == ["narrow.png"]


# Full disks.


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("command", COMMANDS)
def test_a_device_that_is_full(nncodec: Run, photo_cae: Path, photo: Path, command: str) -> None:
    result = nncodec(*COMMANDS[command], "/dev/full", status=1)
    assert "no space left on device; free some space, or write elsewhere" in complaint(result)


@contextmanager
def small_files() -> Iterator[None]:
    """Files may have 64 bytes. So may what pytest says: nothing but a command in here."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("suffix", ["cae", "png", "webp", "jpg", "tiff", "ppm", "npy"])
def test_files_that_may_not_grow(nncodec: Run, photo: Path, photo_cae: Path, suffix: str) -> None:
    work = COMMANDS["compress"] if suffix == "cae" else ["decompress", "photo.cae", "-o"]
    with small_files():
        result = nncodec(*work, f"out.{suffix}", status=1)
    assert os.strerror(errno.EFBIG).lower() in complaint(result)
    assert names(photo.parent) == ["photo.cae", "photo.png"]


@pytest.fixture
def small_disk(photo: Path) -> Iterator[Path]:
    """A file system of one page, which holds the file `old`."""
    disk = photo.parent / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4k", "none", str(disk)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("nothing may be mounted here")
    (disk / "old").write_text("precious")
    yield disk
    subprocess.run(["umount", str(disk)])


def test_a_disk_that_is_full(nncodec: Run, small_disk: Path, photo_cae: Path) -> None:
    for command, *options in COMMANDS.values():
        result = nncodec(command, *options, "disk/old", "-f", status=1)
        assert "no space left on device; free some space" in complaint(result)
    assert names(small_disk) == ["old"]
    assert (small_disk / "old").read_text() == "precious"


# Files that are none, or may not be used.


def powerless() -> None:
    """Take from a child process of root's what lets it pass over permissions."""
    if os.geteuid() == 0:
        prctl = ctypes.CDLL(None).prctl
        os._exit(77) if prctl(DROP, OVERRIDE) or prctl(DROP, SEARCH) else None


def forbidden(*args: str) -> str:
    try:
        return complaint(run(*args, preexec_fn=powerless))
    except subprocess.SubprocessError:
        pytest.skip("permissions do not count here")


@linux
def test_permissions(photo: Path) -> None:
    unreadable, locked = Path("secret.png"), Path("locked")
    shutil.copy(photo, unreadable)
    unreadable.chmod(0)
    locked.mkdir()
    (locked / "old.cae").touch()
    locked.chmod(stat.S_IRUSR | stat.S_IXUSR)
    assert "secret.png: permission denied" in forbidden("compress", "secret.png", *QUICK)
    error = forbidden("compress", "photo.png", "locked/new.cae", *QUICK)
    assert "locked/new.cae: cannot be written: Permission denied" in error
    error = forbidden("compress", "photo.png", "locked/old.cae", "-f", *QUICK)
    assert "locked/old.cae: cannot be written: Permission denied" in error
    error = forbidden("compress", "photo.png", "-o", "locked/deeper/", *QUICK)
    assert "locked/deeper: permission denied" in error
    assert names(locked) == ["old.cae"]
    assert names(photo.parent) == ["locked", "photo.png", "secret.png"]


def test_links_folders_and_names(nncodec: Run, photo: Path) -> None:
    Path("self.png").symlink_to("self.png")
    Path("folder.png").mkdir()
    before = names(photo.parent)
    for operands, message in [
        (["self.png"], "self.png: a link that leads nowhere"),
        (["photo.png", "-f", "-o", "self.png"], "self.png: is a link that leads to itself"),
        (["folder.png"], "folder.png: is a folder; use -r"),
        (["photo.png", "-o", "photo.png/x.cae"], "photo.png/x.cae: cannot be written: Not a dir"),
        (["photo.png", "-o", "gone/x.cae"], "gone/x.cae: cannot be written: No such file"),
        (["photo.png", "-o", "x" * 300], "file name too long"),
        (["x" * 300], "file name too long"),
    ]:
        error = complaint(nncodec("compress", *operands, *QUICK, status=1))
        assert message.lower() in error.lower()
        assert ".part" not in error
        assert names(photo.parent) == before
    for command in ("decompress", "info", "verify", "truncate"):
        more = ["--stages", "1"] if command == "truncate" else []
        assert "leads nowhere" in complaint(nncodec(command, "self.png", *more, status=1))


def test_a_pipe_in_a_folder_is_not_waited_for(nncodec: Run, tree: Path) -> None:
    os.mkfifo(tree / "pipe.png")
    result = nncodec("compress", "-r", "photos", "-o", "out", *QUICK, status=1)
    assert "photos/pipe.png: is a pipe or a device\n" in result.stderr
    assert names(Path("out")) == ["a.cae", "sub"]


# What changes while a command is at work. A named pipe holds it until it has changed.


def changed_meanwhile(nncodec: Run, change: Callable[[], object], *operands: str) -> Result:
    """Compress slow.png, then the other ``operands``; ``change`` is made while it is read."""
    os.mkfifo("slow.png")
    content = Path("photo.png").read_bytes()

    def feed() -> None:
        with open("slow.png", "wb") as pipe:
            change()
            pipe.write(content)

    feeder = Thread(target=feed)
    feeder.start()
    result = nncodec("compress", "slow.png", *operands, "-j", "1", *QUICK, status=1)
    feeder.join()
    return result


def test_an_input_that_vanishes(nncodec: Run, photo: Path) -> None:
    shutil.copy(photo, "other.png")
    result = changed_meanwhile(nncodec, Path("other.png").unlink, "other.png", "-o", "out")
    gone, summary = result.stderr.splitlines()
    assert gone == "nncodec: other.png: no such file or directory"
    assert summary.startswith("nncodec: 1 done, 1 failed: ")
    assert names(Path("out")) == ["slow.cae"]


def test_an_output_folder_that_vanishes(nncodec: Run, photo: Path) -> None:
    Path("out").mkdir()
    result = changed_meanwhile(nncodec, lambda: shutil.rmtree("out"), "-o", "out/x.cae")
    assert complaint(result) == (
        "nncodec: slow.png: out/x.cae: cannot be written: No such file or directory\n"
    )
    assert names(photo.parent) == ["photo.png", "slow.png"]


def test_an_output_that_appears(nncodec: Run, photo: Path) -> None:
    def appear() -> None:
        Path("x.cae").write_text("precious")

    result = changed_meanwhile(nncodec, appear, "-o", "x.cae")
    assert "x.cae: exists; use -f to overwrite" in complaint(result)
    assert Path("x.cae").read_text() == "precious"
    assert names(photo.parent) == ["photo.png", "slow.png", "x.cae"]


def typical(lake: Image.Image, side: int, times: int, copies: int = 1) -> list[tuple[float, float]]:
    """The medians of what such squares take, there and back."""
    runs = [both_ways(lake, side, side, copies) for _ in range(times)]
    return [
        (median(t for t, _ in way), median(m for _, m in way)) for way in zip(*runs, strict=True)
    ]


def main(megapixels: list[str]) -> None:
    with Image.open(Path(__file__).parent / "data" / "lake.png") as image:
        lake = image.convert("RGB")
    start = typical(lake, 16, 5)
    for given in megapixels:
        copies, each = (int(part) for part in f"1x{given}".split("x")[-2:])
        count = copies * each
        found = typical(lake, round(each**0.5 * 1000), 5 if count < 5 else 1, copies)
        for name, (seconds, memory), (least, _) in zip(
            ("compress", "decompress"), found, start, strict=True
        ):
            pace = (seconds - least) / count
            print(f"{given:>5} MP  {name:10}  {seconds:7.2f} s of CPU,", end="")
            print(f" {pace:.3f} a megapixel but for the start  {memory:6.0f} MiB", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
