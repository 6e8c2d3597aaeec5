"""The scripts in examples/ run, and do what they say."""

import re
import runpy
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import nncodec

EXAMPLES = Path(__file__).parents[1] / "examples"
SCRIPTS = sorted(EXAMPLES.glob("*.py"))

RunExample = Callable[..., str]


@pytest.fixture
def example(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> RunExample:
    """Run a script with arguments, in an empty folder; returns what it prints."""
    monkeypatch.setenv("MPLBACKEND", "agg")

    def run(name: str, *arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out

    return run


@pytest.fixture
def square(folder: Path, lake: Image.Image) -> Path:
    """square.png: 96x96 pixels of a photograph."""
    lake.crop((100, 100, 292, 292)).resize((96, 96)).save(folder / "square.png")
    return folder / "square.png"


@pytest.fixture
def pillow() -> Iterator[None]:
    """Pillow, which forgets the plugin afterwards."""
    yield
    for table in (Image.OPEN, Image.SAVE, Image.MIME):
        table.pop("CAE")
    del Image.EXTENSION[".cae"]
    Image.ID.remove("CAE")


def psnr(one: Path, other: Path) -> float:
    with Image.open(one) as a, Image.open(other) as b:
        error = np.square(np.subtract(a.convert("RGB"), b.convert("RGB"), dtype=float)).mean()
    return float(10 * np.log10(255**2 / error))


def decibels(text: str) -> list[float]:
    return [float(number) for number in re.findall(r"([\d.]+) dB", text)]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_an_example_is_short_and_says_how_to_run_it(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) < 40
    assert f"\npython {path.name} " in text.split('"""')[1]
    assert f'example("{path.name}"' in Path(__file__).read_text(encoding="utf-8")


def test_a_folder_is_compressed(example: RunExample, square: Path) -> None:
    photos = square.parent / "photos"
    photos.mkdir()
    shutil.copy(square, photos)
    (photos / "notes.txt").write_text("no image")
    text = example("compress_folder.py", photos, "cae")
    size = Path("cae/square.cae").stat().st_size
    assert text == (
        f"square.png: {size:,} bytes\n{square.stat().st_size:,} bytes became {size:,}\n"
    )
    assert nncodec.decompress("cae/square.cae").size == (96, 96)


def test_a_curve_is_drawn(example: RunExample, square: Path) -> None:
    text = example("rate_distortion.py", square, "plot.png")
    ours, jpeg = (decibels(part) for part in text.split("JPEG"))
    assert len(ours) == len(jpeg) == 3
    assert ours == sorted(ours) and jpeg == sorted(jpeg)
    with Image.open("plot.png") as plot:
        assert min(plot.size) > 300 and len(plot.convert("RGB").getcolors(1 << 20)) > 50


def test_a_dataset_reads_cae_files(example: RunExample, square: Path, pillow: None) -> None:
    for name in "ab":
        Path(f"{name}.cae").write_bytes(nncodec.compress(square, effort=1))
    shape, mean = example("dataset.py", ".").strip().split(" mean ")
    assert shape == "(2, 3, 64, 64)" and 0.1 < float(mean) < 0.9


def test_latents_are_looked_into(example: RunExample, square: Path) -> None:
    text = example("latents.py", square, "noisy.png")
    assert text.startswith("256 channels, ")
    whole, *without, noisy = decibels(text)
    assert len(without) == 3 and max(*without, noisy) < whole - 0.1
    assert abs(psnr(square, Path("noisy.png")) - noisy) < 0.1


def test_a_picture_grows_finer_with_its_file(example: RunExample, square: Path) -> None:
    Path("square.cae").write_bytes(nncodec.compress(square, effort=1))
    lines = example("progressive.py", "square.cae", ".").splitlines()
    quality = [psnr(square, Path(f"{percent}.png")) for percent in (25, 50, 75, 100)]
    assert quality == sorted(quality) and quality[0] < quality[3] - 3
    assert "truncated: " in lines[0] and lines[3].endswith("bytes: complete")


def test_a_budget_is_kept(example: RunExample, square: Path) -> None:
    text = example("size_budget.py", square, 1500, "square.cae")
    size = Path("square.cae").stat().st_size
    assert 1300 < size <= 1500 and text.startswith(f"{size:,} of 1,500 bytes: quality ")
    with pytest.raises(SystemExit, match="no file of 5 bytes; the smallest has"):
        example("size_budget.py", square, 5, "none.cae")
    assert not Path("none.cae").exists()
