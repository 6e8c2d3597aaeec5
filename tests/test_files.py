"""Output appears whole or not at all, and nothing is overwritten unasked."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from nncodec.formats.errors import OutputError
from nncodec.formats.files import atomic_output, check_output


def test_the_file_appears_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "out.cae"
    with atomic_output(target) as file:
        file.write(b"half")
        assert not target.exists()
        file.write(b"whole")
    assert target.read_bytes() == b"halfwhole"
    assert os.listdir(tmp_path) == ["out.cae"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_nothing_is_left_behind(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "out.cae"
    target.write_bytes(b"old")
    with pytest.raises(error), atomic_output(target, force=True) as file:
        file.write(b"new")
        raise error
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["out.cae"]


def test_existing_files_are_kept_unless_forced(tmp_path: Path) -> None:
    target = tmp_path / "out.cae"
    target.write_bytes(b"old")
    with pytest.raises(OutputError, match=r"out\.cae: exists; use -f"), atomic_output(target):
        raise AssertionError
    assert target.read_bytes() == b"old"
    with atomic_output(target, True) as file:
        file.write(b"new")
    assert target.read_bytes() == b"new"


def test_a_file_that_comes_into_being_meanwhile_is_kept(tmp_path: Path) -> None:
    target = tmp_path / "out.cae"
    with pytest.raises(OutputError, match="exists"), atomic_output(target) as file:
        file.write(b"ours")
        target.write_bytes(b"theirs")
    assert target.read_bytes() == b"theirs"
    assert os.listdir(tmp_path) == ["out.cae"]


def test_the_input_is_never_the_output(tmp_path: Path) -> None:
    source = tmp_path / "in.png"
    source.write_bytes(b"input")
    other_name = tmp_path / "link.png"
    other_name.symlink_to(source)
    for path in (source, other_name, tmp_path / "." / "in.png"):
        with pytest.raises(OutputError, match="is the input"):
            check_output(path, force=True, source=source)
        with pytest.raises(OutputError), atomic_output(path, force=True, source=source):
            raise AssertionError
    check_output(tmp_path / "out.png", source=source)
    assert source.read_bytes() == b"input"


def test_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="is a folder"), atomic_output(tmp_path, force=True):
        raise AssertionError
    missing = tmp_path / "no" / "out.cae"
    with pytest.raises(OutputError, match="No such file"), atomic_output(missing):
        raise AssertionError


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    real = tmp_path / "real" / "file.cae"
    link = tmp_path / "link.cae"
    link.symlink_to(real)
    with atomic_output(link) as file:
        file.write(b"data")
    assert link.is_symlink()
    assert real.read_bytes() == b"data"
    assert os.listdir(tmp_path / "real") == ["file.cae"]


@pytest.mark.skipif(os.name != "posix", reason="devices and modes of POSIX")
def test_devices_are_written_and_not_replaced() -> None:
    with atomic_output("/dev/null") as file:
        file.write(b"data")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


@pytest.mark.skipif(os.name != "posix", reason="devices and modes of POSIX")
def test_modes_follow_the_umask(tmp_path: Path) -> None:
    previous = os.umask(0o027)
    try:
        with atomic_output(tmp_path / "out.cae") as file:
            file.write(b"data")
    finally:
        os.umask(previous)
    assert stat.S_IMODE((tmp_path / "out.cae").stat().st_mode) == 0o640
