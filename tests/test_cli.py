"""compress and decompress: operands, overwriting, batches, options."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from PIL import Image

from nncodec.formats.cae import Reader
from nncodec.seams import DEFAULT_WINDOW

Run = Callable[..., Result]


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def test_round_trip(nncodec: Run, photo: Path) -> None:
    assert nncodec("compress", photo.name).output == ""
    assert nncodec("decompress", "photo.cae", "copy.png").output == ""
    assert pixels(Path("copy.png")).shape == (30, 40, 3)


def test_sample_has_the_quality_of_the_default_model(
    nncodec: Run, data: Path, lake: Image.Image
) -> None:
    nncodec("compress", data / "lake.png", "lake.cae")
    nncodec("decompress", "lake.cae")
    error = np.asarray(lake, float) - pixels(Path("lake.png"))
    assert 10 * np.log10(255**2 / np.mean(error**2)) > 22


def test_pipe(nncodec: Run, photo: Path, photo_cae: Path) -> None:
    cae = photo_cae.read_bytes()
    work = ["compress", "--stages", "4"]
    for operands in ([], ["-", "-"], ["-o", "-"]):
        assert nncodec(*work, *operands, input=photo.read_bytes()).stdout_bytes == cae
    assert nncodec(*work, photo, "-").stdout_bytes == cae
    nncodec(*work, "-", "-o", "named.cae", input=photo.read_bytes())
    assert Path("named.cae").read_bytes() == cae
    nncodec("decompress", "photo.cae", "file.png")
    assert nncodec("decompress", input=cae).stdout_bytes == Path("file.png").read_bytes()


def test_nothing_is_overwritten_unasked(nncodec: Run, photo: Path) -> None:
    Path("photo.cae").write_text("precious")
    result = nncodec("compress", "photo.png", status=1)
    assert result.stderr == "nncodec: photo.png: photo.cae: exists; use -f to overwrite\n"
    assert Path("photo.cae").read_text() == "precious"
    assert nncodec("compress", "photo.png", "--skip-existing").output == ""
    assert Path("photo.cae").read_text() == "precious"
    nncodec("compress", "photo.png", "-f")
    assert Path("photo.cae").read_bytes().startswith(b"\x89CAE")


@pytest.mark.parametrize("output", ["photo.png", "./photo.png", "link.png"])
def test_an_output_onto_its_input_is_refused(nncodec: Run, photo: Path, output: str) -> None:
    Path("link.png").symlink_to("photo.png")
    before = photo.read_bytes()
    result = nncodec("compress", "photo.png", "-f", "-o", output, status=1)
    assert "is the input" in result.stderr
    assert photo.read_bytes() == before


def test_dry_run_writes_nothing(nncodec: Run, tree: Path) -> None:
    result = nncodec("compress", "-n", "-r", "photos", "-o", "cae")
    assert result.stdout.splitlines() == [
        "photos/a.png -> cae/a.cae",
        "photos/sub/b.jpg -> cae/sub/b.cae",
    ]
    assert not Path("cae").exists()
    Path("photo.cae").touch()
    nncodec("compress", "-n", "photo.png", status=1)


def test_a_folder_is_mirrored_and_restarted(nncodec: Run, tree: Path) -> None:
    assert "use -r" in nncodec("compress", "photos", "-o", "cae", status=1).stderr
    nncodec("compress", "-r", "photos", "-o", "cae")
    done = Path("cae/a.cae").stat().st_mtime_ns
    Path("cae/sub/b.cae").unlink()
    nncodec("compress", "-r", "photos", "-o", "cae", "--skip-existing")
    assert Path("cae/a.cae").stat().st_mtime_ns == done
    nncodec("decompress", "-r", "cae", "-o", "out", "-t", "webp")
    assert sorted(p.as_posix() for p in Path("out").rglob("*.*")) == [
        "out/a.webp",
        "out/sub/b.webp",
    ]


def test_filters(nncodec: Run, tree: Path) -> None:
    def planned(*options: str) -> list[str]:
        lines = nncodec("compress", "-n", "-r", "photos", *options).stdout.splitlines()
        return [line.split(" -> ")[0] for line in lines]

    assert planned("--exclude", "*.jpg") == ["photos/a.png"]
    assert planned("--exclude", "sub/*") == ["photos/a.png"]
    assert planned("--include", "*.txt") == ["photos/sub/notes.txt"]
    assert "no such file" in nncodec("compress", "-r", "photos", "--include", "x", status=1).stderr


def test_outputs_that_collide_are_refused_before_anything_is_written(
    nncodec: Run, photo: Path
) -> None:
    Path("photo.bmp").touch()
    result = nncodec("compress", "photo.png", "photo.bmp", status=2)
    assert "photo.png and photo.bmp would both be written to photo.cae" in result.stderr
    assert not Path("photo.cae").exists()
    nncodec("compress", "photo.png", "photo.png")  # named twice is compressed once


def test_a_suffix_that_is_no_image_stays(nncodec: Run, photo: Path) -> None:
    photo.rename("photo.v2")
    nncodec("compress", "photo.v2")
    assert Path("photo.v2.cae").exists()


def test_one_bad_input_does_not_end_a_batch(nncodec: Run, photo: Path) -> None:
    Path("bad.png").write_text("no image")
    result = nncodec("compress", "gone.png", "bad.png", "photo.png", "-o", "out", status=1)
    gone, bad, summary = result.stderr.splitlines()
    assert gone.startswith("nncodec: gone.png: no such file")
    assert bad.startswith("nncodec: bad.png: not an image")
    assert summary.startswith("nncodec: 2 failed, 1 done: ")
    assert [p.name for p in Path("out").iterdir()] == ["photo.cae"]


def test_json(nncodec: Run, photo: Path) -> None:
    Path("bad.png").write_text("no image")
    result = nncodec("compress", "--json", "photo.png", "bad.png", "-o", "out", status=1)
    good, bad = map(json.loads, result.stdout.splitlines())
    size = Path("out/photo.cae").stat().st_size
    assert good["input"] == "photo.png" and good["output"] == str(Path("out/photo.cae"))
    assert (good["status"], good["bytes_out"], good["error"]) == ("done", size, None)
    assert good["bytes_in"] == photo.stat().st_size
    assert good["bpp"] == pytest.approx(size * 8 / (40 * 30), abs=1e-5)
    assert bad["status"] == "failed" and bad["error"].startswith("not an image")
    assert "--json" in nncodec("compress", "--json", "photo.png", "-o", "-", status=2).stderr


def test_verbose_and_quiet(nncodec: Run, photo: Path) -> None:
    with Image.open(photo) as image:
        image.convert("I;16").save("deep.png")
    assert "16-bit" in nncodec("compress", "deep.png").stderr
    assert nncodec("compress", "deep.png", "-f", "--quiet").output == ""
    assert "deep.png -> deep.cae: 40x30" in nncodec("compress", "deep.png", "-f", "-v").stderr


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ([], {"icc", "exif", "xmp"}),
        (["--strip"], {"icc"}),
        (["--metadata", "none"], set()),
        (["--metadata", "exif,xmp"], {"exif", "xmp"}),
    ],
)
def test_metadata(nncodec: Run, photo: Path, options: list[str], kept: set[str]) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(photo) as image:
        image.save("full.webp", exif=exif, icc_profile=b"a profile", xmp=b"<x/>")
    nncodec("compress", "full.webp", "some.cae", *options)
    with open("some.cae", "rb") as file:
        assert set(Reader(file).metadata) == kept
    nncodec("compress", "full.webp")
    nncodec("decompress", "full.cae", "copy.webp", *options)
    with Image.open("copy.webp") as copy:
        names = {"icc": "icc_profile", "exif": "exif", "xmp": "xmp"}
        assert {name for name, key in names.items() if copy.info.get(key)} == kept


def test_max_pixels(nncodec: Run, photo: Path) -> None:
    nncodec("compress", photo, "photo.cae", "--max-pixels", "1200")
    for command in (["compress", "photo.png", "-f"], ["decompress", "photo.cae", "out.png"]):
        assert "--max-pixels" in nncodec(*command, "--max-pixels", "1199", status=1).stderr


def test_a_model_of_one_rate_takes_no_other(nncodec: Run, data: Path) -> None:
    arguments = ["-m", "cae_16x8x8_zero_pad_bin", "-b", "0.1"]
    result = nncodec("compress", data / "lake.png", "none.cae", *arguments, status=1)
    assert "cae_16x8x8_zero_pad_bin has one rate" in result.stderr
    assert not Path("none.cae").exists()


@pytest.mark.parametrize("suffix", ["png", "webp", "jpg", "tiff", "ppm", "npy"])
def test_formats(nncodec: Run, photo_cae: Path, suffix: str) -> None:
    nncodec("decompress", "photo.cae", f"out.{suffix}")
    out = Path(f"out.{suffix}")
    decoded = np.load(out) if suffix == "npy" else pixels(out)
    assert decoded.shape == (30, 40, 3)
    format_ = "jpeg" if suffix == "jpg" else suffix
    nncodec("decompress", "photo.cae", "-t", format_, "-o", "same")
    assert Path("same").read_bytes() == out.read_bytes()


def test_an_unknown_suffix_is_refused(nncodec: Run, photo_cae: Path) -> None:
    assert "unknown suffix" in nncodec("decompress", "photo.cae", "-o", "a.xyz", status=1).stderr


def test_smoothing_can_be_chosen(nncodec: Run, data: Path) -> None:
    nncodec("compress", data / "lake.png", "lake.cae", "-m", "cae_16x8x8_zero_pad_bin")
    for window in ("0", "16"):
        nncodec("decompress", "lake.cae", f"{window}.png", "-s", window, "--seams", "alone")
    assert (pixels(Path("0.png")) != pixels(Path("16.png"))).any()
    told = f"default: {DEFAULT_WINDOW['joint']}, alone {DEFAULT_WINDOW['alone']}."
    assert told in " ".join(nncodec("decompress", "--help").stdout.split())
    assert "evenly" in nncodec("decompress", "lake.cae", "x.png", "-s", "3", status=2).stderr


def test_a_damaged_file_is_refused_or_rescued(nncodec: Run, data: Path) -> None:
    nncodec("compress", data / "spices.png", "spices.cae")
    whole = bytearray(Path("spices.cae").read_bytes())
    whole[-300] ^= 1
    Path("bad.cae").write_bytes(whole)
    Path("cut.cae").write_bytes(whole[:-300])
    for name in ("bad.cae", "cut.cae"):
        error = nncodec("decompress", name, "out.png", status=1).stderr
        assert error.count("\n") == 1 and error.startswith(f"nncodec: {name}: ")
        assert "--partial" in error
        assert not Path("out.png").exists()
        rescued = nncodec("decompress", "--partial", name, "out.png", "--json", status=1)
        assert json.loads(rescued.stdout)["status"] == "partial"
        assert pixels(Path("out.png")).shape == (180, 270, 3)
        Path("out.png").unlink()


def test_the_environment_sets_the_model(nncodec: Run, photo: Path) -> None:
    nncodec("compress", photo, NNCODEC_MODEL="cae_16x8x8_refl_pad_bin")
    with open("photo.cae", "rb") as file:
        assert Reader(file).header.model == "cae_16x8x8_refl_pad_bin"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compress", "--speed", "9"], "no such option"),
        (["compres"], "no such command"),
        (["compress", "a.png", "b.png", "-o", "-"], "several inputs"),
        (["compress", "-", "photo.png"], "can't be mixed"),
        (["compress", "photo.png", "small.ace"], "neither an input nor an output"),
        (["compress", "photo.png", "a.png", "-o", "photo.png"], "is a file"),
        (["compress", "photo.png", "-b", "0"], "-b"),
        (["compress", "photo.png", "-b", "1", "-q", "3"], "give one of"),
        (["compress", "photo.png", "--device", "tpu"], "'tpu' is not auto"),
        (["compress", "photo.png", "--metadata", "gps"], "'gps' is not all"),
        (["compress", "photo.png", "--metadata", "icc", "--strip"], "exclude each other"),
        (["decompress", "photo.cae", "-t", "gif"], "'gif' is not one of png"),
        (["compress", "photo.png", "--weights", "gone"], "does not exist"),
        (["completion", "csh"], "'csh' is not one of"),
    ],
)
def test_usage_errors_are_one_line(
    nncodec: Run, photo: Path, arguments: list[str], message: str
) -> None:
    result = nncodec(*arguments, status=2)
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("nncodec: ")
    assert message in result.stderr


def test_an_unknown_model_is_named(nncodec: Run, photo: Path) -> None:
    error = nncodec("compress", photo, "-m", "cae_16x8x8", status=1).stderr
    assert "no model 'cae_16x8x8'; did you mean cae_16x8x8_" in error
