"""What is built for others: the source archive, the wheel, and where the tests find the package."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_bytes
from pathlib import Path, PurePosixPath

import pytest

import nncodec

ROOT = Path(__file__).parents[1]
SOURCES = {"codec": "nncodec", "formats": "nncodec/formats", "weights": "nncodec/weights"}
FILES = ("LICENSE", "MANIFEST.in", "README.md", "constraints.txt", "pyproject.toml")
LEFTOVERS = (
    "runs/kodak/checkpoint.pt",
    "build/lib/nncodec/deleted.py",
    "codec/__pycache__/api.cpython-311.pyc",
    "codec/.cache/large.npz",
    "weights/drawing.png",
    "weights/unfinished.pt",
    "tests/data/photo.png",
    "tests/test_more.py",
    ".venv/bin/python",
)


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a source archive, and of the wheel made from it.

    They are built from a copy of the checkout, in which much lies about.
    """
    root = tmp_path_factory.mktemp("checkout")
    hidden = shutil.ignore_patterns("__pycache__", ".*")
    for name in (*SOURCES, "examples"):
        shutil.copytree(ROOT / name, root / name, ignore=hidden)
    for name in FILES:
        shutil.copy(ROOT / name, root)
    for name in LEFTOVERS:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"left over")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", root / "dist", root]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return root / "dist"


def inside(folder: str) -> set[PurePosixPath]:
    """What the package takes from a folder of the checkout, named from there."""
    paths = [path.relative_to(ROOT / folder) for path in (ROOT / folder).rglob("*")]
    left_out = {"", ".pyc", ".png", ".webp"}  # "": folders
    return {
        PurePosixPath(path)
        for path in paths
        if path.suffix not in left_out and not any(part.startswith(".") for part in path.parts)
    }


@pytest.mark.slow
def test_the_wheel_has_the_package_and_nothing_else(dist: Path) -> None:
    (path,) = dist.glob("*.whl")
    assert path.name == f"nncodec-{nncodec.__version__}-py3-none-any.whl"
    with zipfile.ZipFile(path) as wheel:
        names = {PurePosixPath(name) for name in wheel.namelist()}
        data = message_from_bytes(wheel.read(f"nncodec-{nncodec.__version__}.dist-info/METADATA"))
        entry = wheel.read(f"nncodec-{nncodec.__version__}.dist-info/entry_points.txt")
    due = {PurePosixPath(to) / name for folder, to in SOURCES.items() for name in inside(folder)}
    assert {name for name in names if name.parts[0] == "nncodec"} == due
    assert {name.parts[0] for name in names} == {"nncodec", f"nncodec-{data['Version']}.dist-info"}
    assert b"nncodec = nncodec.cli:main" in entry
    assert {"dev", "docs", "report"} <= set(data.get_all("Provides-Extra", []))
    assert 18e6 < path.stat().st_size < 40e6  # the weights are inside


@pytest.mark.slow
def test_the_source_archive_has_what_the_wheel_takes(dist: Path) -> None:
    (path,) = dist.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {PurePosixPath(*PurePosixPath(name).parts[1:]) for name in archive.getnames()}
    for folder in SOURCES:
        assert {PurePosixPath(folder) / name for name in inside(folder)} <= names
    assert {PurePosixPath(name) for name in ("LICENSE", "README.md", "pyproject.toml")} <= names
    assert {PurePosixPath("examples", other.name) for other in (ROOT / "examples").iterdir()} <= (
        names
    )
    assert not {PurePosixPath(name) for name in LEFTOVERS} & names
    known = {"codec", "examples", "formats", "weights", "nncodec.egg-info"}
    assert {name.parts[0] for name in names if len(name.parts) > 1} == known
    assert not [name for name in names if name.suffix in {".png", ".webp", ".pt", ".pyc", ".npz"}]


def test_the_package_comes_from_one_place() -> None:
    """What is installed is tested, or the checkout, and not now this and now that."""
    files = {
        name: Path(os.path.realpath(module.__file__))
        for name, module in sys.modules.items()
        if getattr(module, "__file__", None)
    }
    in_checkout = {
        name
        for name, file in files.items()
        if any(file.is_relative_to(ROOT / folder) for folder in SOURCES)
    }
    package = {name for name in files if name.partition(".")[0] == "nncodec"}
    assert package and in_checkout in (set(), package)
