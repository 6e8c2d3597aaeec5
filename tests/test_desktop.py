"""What desktops and shells are told: the type, thumbnails, the manual page, completion."""

import configparser
import os
import pty
import shlex
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from xml.etree import ElementTree

import click
import numpy as np
import pytest
from click.testing import Result
from PIL import Image

import nncodec as library
from nncodec.cli import COMMANDS, main
from nncodec.cli.desktop import with_program

Run = Callable[..., Result]
GOLDEN = sorted((Path(__file__).parent / "data" / "golden").glob("*.cae"))

# Stands for the installed command: answers a shell's questions, and otherwise only notes what it
# was told to do.
LAUNCHER = """#!/bin/sh
if [ -n "$_NNCODEC_COMPLETE$REALLY" ]; then exec "{python}" -m nncodec "$@"; fi
printf '%s|' "$@" >> ran
echo >> ran
"""


def needs(tool: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(tool) is None, reason=f"{tool} is not installed")


@pytest.fixture
def launcher(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The command nncodec in PATH, in a folder with a space."""
    path = folder / "a bin" / "nncodec"
    path.parent.mkdir()
    path.write_text(LAUNCHER.format(python=sys.executable))
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{path.parent}{os.pathsep}{os.environ['PATH']}")
    return path


def output(*command: str | Path, **environment: str) -> str:
    """What a program prints on both streams; it fails if the program does."""
    result = subprocess.run(
        list(map(str, command)), stdout=-1, stderr=-2, text=True, env=os.environ | environment
    )
    assert result.returncode == 0, result.stdout
    return result.stdout


def test_the_type_is_known_by_its_signature(nncodec: Run) -> None:
    (kind,) = ElementTree.fromstring(nncodec("desktop", "show", "mime").stdout)
    space = "{http://www.freedesktop.org/standards/shared-mime-info}"
    match = kind.find(f"{space}magic/{space}match")
    glob = kind.find(f"{space}glob")
    assert match is not None and glob is not None
    assert (kind.get("type"), glob.get("pattern")) == ("image/x-cae", "*.cae")
    assert (match.get("type"), match.get("offset")) == ("string", "0")
    magic = match.get("value", "").encode().decode("unicode_escape").encode("latin-1")
    assert GOLDEN and all(path.read_bytes().startswith(magic) for path in GOLDEN)


@needs("update-mime-database")
def test_the_database_of_types_takes_it(nncodec: Run, folder: Path) -> None:
    nncodec("desktop", "install", "--prefix", "home")
    database = folder / "home" / "share" / "mime"
    assert ":image/x-cae:*.cae\n" in (database / "globs2").read_text()
    assert b"\x89CAE\r\n\x1a\n" in (database / "magic").read_bytes()
    nncodec("desktop", "uninstall", "--prefix", "home")
    assert "x-cae" not in (database / "globs2").read_text()


@needs("gio")
@needs("update-mime-database")
def test_file_managers_know_it_whatever_it_is_called(nncodec: Run, folder: Path) -> None:
    nncodec("desktop", "install", "--prefix", "home")
    shutil.copy(GOLDEN[0], "nameless")
    told = output(
        "gio", "info", "-a", "standard::content-type", "nameless", XDG_DATA_HOME="home/share"
    )
    assert "standard::content-type: image/x-cae" in told


@needs("file")
def test_file_tells_what_it_is(nncodec: Run, folder: Path) -> None:
    Path(".magic").write_text(nncodec("desktop", "show", "magic").stdout)
    for name in ("one", "two"):
        shutil.copy(GOLDEN[0], name)
    for options in (["-m", ".magic"], []):  # as it is named, or as it is found in one's home
        told = output("file", *options, "one", "two", HOME=str(folder))
        assert told == "one: CAE image data, version 1\ntwo: CAE image data, version 1\n"
    told = output("file", "--brief", "--mime-type", "--extension", "one", HOME=str(folder))
    assert "image/x-cae" in told or told == "cae\n"
    assert output("file", "--brief", "--mime-type", "one", HOME=str(folder)) == "image/x-cae\n"


def test_installing_is_repeatable_and_undone(nncodec: Run, folder: Path) -> None:
    Path("home/share/man/man1").mkdir(parents=True)
    Path("home/share/man/man1/other.1").write_text("of another program")
    Path("home/share/man/man1/nncodec.1").write_text("of an older version")
    names = nncodec("desktop", "install", "--prefix", "home").stdout.splitlines()
    assert len(names) == 6 and all(Path(name).stat().st_size > 100 for name in names)
    before = {name: Path(name).read_bytes() for name in names}
    assert nncodec("desktop", "install", "--prefix", "home").stdout.splitlines() == names
    assert {name: Path(name).read_bytes() for name in names} == before
    assert nncodec("desktop", "uninstall", "--prefix", "home").stdout.splitlines() == names
    assert not any(Path(name).exists() for name in names)
    assert nncodec("desktop", "uninstall", "--prefix", "home").stdout == ""
    assert Path("home/share/man/man1/other.1").exists()
    assert nncodec("desktop", "uninstall", "--prefix", "nowhere").stdout == ""


def test_what_cannot_be_written_is_one_line(nncodec: Run, folder: Path) -> None:
    Path("share").write_text("no folder")
    error = nncodec("desktop", "install", "--prefix", ".", status=1).stderr
    assert error.startswith("nncodec: share") and error.count("\n") == 1


def test_installing_loads_nothing_heavy(folder: Path) -> None:
    code = (
        "import sys; from nncodec.cli import main\n"
        "try: main(['desktop', 'install', '--prefix', 'home'])\n"
        "except SystemExit as end: assert not end.code\n"
        "print({'torch', 'numpy', 'PIL', 'matplotlib'} & set(sys.modules))"
    )
    assert output(sys.executable, "-c", code).endswith("\nset()\n")


def entry_of(text: str) -> configparser.SectionProxy:
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # case matters
    parser.read_string(text)
    return parser["Thumbnailer Entry"]


@pytest.mark.slow
def test_a_file_manager_makes_thumbnails(nncodec: Run, launcher: Path) -> None:
    entry = entry_of(nncodec("desktop", "show", "thumbnailer").stdout)
    assert entry["MimeType"] == "image/x-cae;"
    assert entry["TryExec"] == str(launcher)
    shutil.copy(GOLDEN[0], "a photo.cae")
    Path("made before").touch()  # as file managers do
    values = {"%i": "a photo.cae", "%o": "made before", "%s": "48"}
    command = [values.get(word, word) for word in shlex.split(entry["Exec"])]
    assert output(*command, REALLY="1") == ""
    with Image.open("made before", formats=["PNG"]) as thumbnail:
        assert thumbnail.size == (48, 27)


def test_the_path_of_the_program_is_quoted() -> None:
    entry = entry_of(with_program("[Thumbnailer Entry]\nTryExec=nncodec\nExec=nncodec %i", "/a b%"))
    assert entry["TryExec"] == "/a b%"
    assert shlex.split(entry["Exec"]) == ["/a b%%", "%i"]


def test_thumbnails(nncodec: Run, folder: Path, lake: Image.Image) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = lake.resize((120, 80))
    picture.info |= {"exif": exif.tobytes(), "icc_profile": b"a profile"}
    Path("turned.cae").write_bytes(library.compress(picture))
    nncodec("thumbnail", "turned.cae", "small.png", "-s", "30")
    with Image.open("small.png") as small:
        assert small.size == (20, 30)
        assert small.info["icc_profile"] == b"a profile"
        upright = picture.rotate(-90, expand=True).resize((20, 30), Image.Resampling.BICUBIC)
        assert np.abs(np.asarray(small, float) - np.asarray(upright, float)).mean() < 6
    assert "use -f" in nncodec("thumbnail", "turned.cae", "small.png", status=1).stderr
    nncodec("thumbnail", "turned.cae", "small.png", "-f")  # never larger than the picture
    with Image.open("small.png") as small:
        assert small.size == (80, 120)


@pytest.mark.parametrize(("kind", "value"), [(1, b"0"), (2, b"a")])
def test_made_up_exif_does_not_stop_a_thumbnail(
    nncodec: Run, folder: Path, lake: Image.Image, kind: int, value: bytes
) -> None:
    """An orientation, and a resolution that is a byte or a text: Pillow raises a TypeError."""
    entries = [(0x0112, 3, b"\6\0"), (0x011A, kind, value)]
    tags = b"".join(struct.pack("<HHI4s", tag, kind, 1, value) for tag, kind, value in entries)
    picture = lake.resize((60, 40))
    picture.info["exif"] = b"Exif\0\0II*\0\x08\0\0\0" + b"\2\0" + tags + bytes(4)
    Path("odd.cae").write_bytes(library.compress(picture))
    nncodec("thumbnail", "odd.cae", "small.png", "-s", "30")
    with Image.open("small.png") as small:
        assert small.size == (30, 20)


def test_no_thumbnail_of_a_bad_file(nncodec: Run, folder: Path) -> None:
    Path("cut.cae").write_bytes(GOLDEN[0].read_bytes()[:1000])
    Path("no.cae").write_text("no picture")
    Path("old.png").write_text("precious")
    for name, message in (
        ("cut.cae", "truncated"),
        ("no.cae", "not a .cae"),
        ("gone.cae", "no such"),
    ):
        error = nncodec("thumbnail", "-f", name, "old.png", status=1).stderr
        assert error.startswith(f"nncodec: {name}: ") and message in error
    assert Path("old.png").read_text() == "precious"


def every_option(command: click.Command) -> set[str]:
    names = {name for parameter in command.params for name in parameter.opts}
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            below = command.get_command(click.Context(command), name)
            assert below is not None
            names |= every_option(below)
    return {name for name in names if name.startswith("-")}


def test_the_manual_tells_all(nncodec: Run) -> None:
    page = nncodec("desktop", "show", "man").stdout
    assert page.startswith('.TH NNCODEC 1 "20')
    for command in COMMANDS:
        assert f"\n.SS nncodec {command}\n" in page
    for option in every_option(main):
        assert option.replace("-", "\\-") in page
    assert "NNCODEC_DEVICE" in page and "\b" not in page


def test_the_manual_has_the_date_that_a_package_wants(nncodec: Run) -> None:
    page = nncodec("desktop", "show", "man", SOURCE_DATE_EPOCH="86400").stdout
    assert page.startswith('.TH NNCODEC 1 "1970-01-02" "nncodec ')


@needs("groff")
def test_groff_sets_the_manual_without_a_warning(nncodec: Run) -> None:
    Path("nncodec.1").write_text(nncodec("desktop", "show", "man").stdout)
    command = ["groff", "-ww", "-man", "-Tascii", "-rLL=100n", "nncodec.1"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stderr == ""
    assert "nncodec compress photo.png" in result.stdout


@needs("mandoc")
def test_mandoc_finds_nothing_in_the_manual(nncodec: Run) -> None:
    Path("nncodec.1").write_text(nncodec("desktop", "show", "man").stdout)
    command = ["mandoc", "-T", "lint", "-W", "warning", "nncodec.1"]
    assert subprocess.run(command, capture_output=True, text=True).stdout == ""


# What is typed, and what nncodec is then told to do.
TYPED = {
    "nncodec decom\t": ["decompress"],
    "nncodec compress -m bit\t": ["compress", "-m", "bitplane_256"],
    "nncodec decompress pho\t": ["decompress", "photo.cae"],
    "nncodec compress pho\tp\t": ["compress", "photo.png"],
    "nncodec info alb\tpho\t": ["info", "album/photo.cae"],
    "nncodec info 'two wo\t": ["info", "two words.cae"],
    "nncodec compress -o alb\tno\t": ["compress", "-o", "album/notes"],
}
SHELLS = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], ". ./script"),
    "zsh": (["zsh", "-f", "-i"], "autoload -Uz compinit; compinit -u -D; . ./script"),
}


def type_at(shell: list[str], set_up: str, lines: list[str]) -> list[list[str]]:
    """Type at a shell on a terminal; what nncodec was told to do, line by line."""
    child, terminal = pty.fork()
    if child == 0:
        os.environ["TERM"] = "dumb"
        os.execvp(shell[0], shell)
    os.set_blocking(terminal, False)
    ran = Path("ran")

    def wait_for(count: int) -> None:
        deadline = time.monotonic() + 30
        while not ran.exists() or len(ran.read_text().splitlines()) < count:
            with suppress(OSError):
                seen.append(os.read(terminal, 65536))
            assert time.monotonic() < deadline, b"".join(seen).decode()
            time.sleep(0.02)

    seen: list[bytes] = []
    for count, line in enumerate([f"{set_up}; nncodec ready", *lines]):
        os.write(terminal, f"{line}\n".encode())
        wait_for(count + 1)
        time.sleep(0.1)
    os.close(terminal)
    os.waitpid(child, 0)
    return [line.split("|")[:-1] for line in ran.read_text().splitlines()[1:]]


@pytest.fixture
def album(launcher: Path, nncodec: Run) -> None:
    """Files to be completed in the current folder."""
    Path("album").mkdir()
    for name in ("photo.cae", "photo.png", "album/photo.cae", "album/notes", "two words.cae"):
        Path(name).touch()


@pytest.mark.slow
@pytest.mark.parametrize("shell", [pytest.param(name, marks=needs(name)) for name in SHELLS])
def test_a_shell_completes(album: None, nncodec: Run, shell: str) -> None:
    Path("script").write_text(nncodec("completion", shell).stdout)
    command, set_up = SHELLS[shell]
    assert type_at(command, set_up, list(TYPED)) == list(TYPED.values())


@needs("fish")
def test_fish_completes(album: None, nncodec: Run) -> None:
    Path("script").write_text(nncodec("completion", "fish").stdout)

    def offered(typed: str) -> list[str]:
        code = f"source script; complete -C {shlex.quote(typed)}"
        told = output("fish", "--no-config", "-c", code, HOME=os.getcwd())
        return [line.split("\t")[0] for line in told.splitlines()]

    assert offered("nncodec decom") == ["decompress"]
    assert offered("nncodec compress -m bit") == ["bitplane_256"]
    assert offered("nncodec decompress pho") == ["photo.cae"]
    assert offered("nncodec compress pho") == ["photo.cae", "photo.png"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell"])
def test_all_scripts_are_printed(nncodec: Run, shell: str) -> None:
    script = nncodec("completion", shell).stdout
    assert "_NNCODEC_COMPLETE" in script
    if shell != "powershell":
        assert nncodec("desktop", "show", shell).stdout == script
