"""``nncodec eval`` and what is behind it: real files, tables, JSON, CSV, the plot, the picture."""

import csv
import io
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from PIL import Image

from nncodec.api import Codec, codec_for
from nncodec.evaluate import compare, picture, plot, run, table
from nncodec.evaluate.measurement import Mean, Measurement
from nncodec.evaluate.metrics import psnr
from nncodec.evaluate.peers import PEERS, select
from nncodec.evaluate.run import Decoding
from nncodec.formats.errors import NncodecError

Run = Callable[..., Result]

SMALL = "cae_16x8x8_refl_pad_bin"


@pytest.fixture(scope="module")
def codec(random_weights: Path) -> Codec:
    return codec_for(SMALL, "cpu", str(random_weights))


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> run.Original:
    """Two patches of a photograph, with alpha and a profile that no codec is to get."""
    data = Path(__file__).parent / "data"
    path = tmp_path_factory.mktemp("image") / "lake.png"
    image = Image.open(data / "lake.png").convert("RGB").crop((0, 0, 240, 100))
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    image.save(path, icc_profile=b"profile" * 5000)
    return run.load(path)


def measurement(codec: str, setting: str, bpp: float, psnr: float, image: str = "a") -> Measurement:
    size = round(bpp * 8000 / 8)
    similarity = 1 - 0.02 / bpp
    return Measurement(image, codec, setting, 8000, size, psnr, similarity, 1.5, 0.5, 0.25)


@pytest.fixture
def report() -> table.Report:
    """Two models and a peer, in figures that can be checked by hand."""
    points = [("small", "off", 0.2, 26), ("large", "off", 0.8, 32)]
    for rate, quality in ((0.1, 22), (0.2, 25), (0.4, 28), (0.8, 31), (1.6, 34)):
        points.append(("Peer", f"r{rate}", rate, quality))
    measured = [measurement(*point, image) for point in points for image in ("a", "b")]
    return table.Report(measured, frozenset(["small", "large"]))


def test_rates_are_those_of_real_files(codec: Codec, original: run.Original) -> None:
    decodings = [Decoding("alone", 0), Decoding("alone", 8, "linear"), Decoding()]
    results = list(
        run.measure(original, {"model": (codec, run.settings(codec, decodings))}, [PEERS["webp"]])
    )
    ours, theirs = results[:3], results[3:]
    assert [one.setting for one in ours] == ["alone", "alone, linear 8", "joint"]
    data = codec.compress(original.pixels)
    assert {one.bytes for one in ours} == {len(data)}
    assert ours[0].bpp == len(data) * 8 / (240 * 100)
    decoded = np.asarray(codec.decompress(data))
    assert ours[2].psnr == pytest.approx(psnr(original.pixels, decoded))
    assert len({one.blockiness for one in ours}) == 3
    assert math.isnan(ours[0].ms_ssim)  # less than 176 pixels
    assert [one.setting for one in theirs] == [f"q{q}" for q in PEERS["webp"].settings]
    assert theirs[0].bytes == len(PEERS["webp"].encode(original.image, PEERS["webp"].settings[0]))
    assert all(one.encode_seconds > 0 and one.decode_seconds > 0 for one in results)


def test_an_effort_is_measured(original: run.Original, bitplane: Path) -> None:
    codec = Codec(weights=bitplane, device="cpu")
    for effort in (1, 5):
        settings = run.settings(codec, qualities=[60], effort=effort)
        (found,) = run.measure(original, {"model": (codec, settings)}, [])
        assert found.setting == f"q 60, e {effort}"
        assert found.bytes == len(codec.compress(original.pixels, quality=60, effort=effort))


def test_alpha_and_metadata_are_left_out(original: run.Original) -> None:
    assert original.image.mode == "RGB"
    assert len(PEERS["jpeg"].encode(original.image, 1)) < 5000


def test_grey_stays_grey(tmp_path: Path, codec: Codec) -> None:
    Image.linear_gradient("L").save(tmp_path / "grey.png")
    original = run.load(tmp_path / "grey.png")
    assert (original.image.mode, original.pixels.shape) == ("L", (256, 256, 3))
    results = list(run.measure(original, {"model": (codec, run.settings(codec))}, select("jpeg")))
    assert len(results) == 1 + len(PEERS["jpeg"].settings)


def test_means(report: table.Report) -> None:
    assert [(mean.codec, mean.setting, mean.images) for mean in report.means[:2]] == [
        ("small", "off", 2),
        ("large", "off", 2),
    ]
    mean = report.means[0]
    assert [mean.bpp, mean.psnr, mean.ms_ssim] == pytest.approx([0.2, 26, 0.9])
    assert mean.encode_mps == pytest.approx(0.016)
    assert mean.decode_mps == pytest.approx(0.032)


def test_comparisons(report: table.Report) -> None:
    ours, theirs = report.split()
    small, large = compare.at_points(ours, theirs)
    assert [small.psnr, large.psnr] == pytest.approx([25, 31])
    assert small.ms_ssim == pytest.approx(0.9)
    assert large.bpp == pytest.approx(0.8 * 2 ** (1 / 3))
    (curve,) = compare.over_curves(ours, theirs)
    # Three dB for each doubling, and our line lies one dB above.
    assert curve.bd_rate == pytest.approx(100 * (2 ** (-1 / 3) - 1))
    assert (curve.psnr_low, curve.psnr_high) == (26, 32)
    assert compare.over_curves(ours[:1], theirs) == []


def test_a_variable_rate_model_is_one_curve(report: table.Report) -> None:
    ours, theirs = report.split()
    qualities = [
        Mean("any", f"q {q}", 1, 0.05 * 2**q, 20 + 3 * q, math.nan, math.nan, 1, 1)
        for q in range(6)
    ]
    families = compare.families([*ours, *qualities])
    assert families == {"off": ours, "any": qualities}
    *_, curve = compare.over_curves([*ours, *qualities], theirs)
    assert curve.curve == "any"
    # The peer's from 0.1 to 1 bit per pixel only: its last point, at 1.6, is beyond.
    assert (curve.psnr_low, curve.psnr_high) == pytest.approx(
        (22, 31 + 3 * math.log2(1.25)), abs=0.02
    )
    assert curve.bd_rate == pytest.approx(100 * (2 ** (-1 / 3) - 1), abs=0.1)


def test_what_a_peer_does_not_reach_is_not_made_up(report: table.Report) -> None:
    ours = [Mean("tiny", "off", 1, 0.05, 20, math.nan, math.nan, 1, 1)]
    (point,) = compare.at_points(ours, report.split()[1])
    assert math.isnan(point.psnr) and math.isnan(point.bpp)
    assert point.record()["psnr"] is None


def test_text(report: table.Report) -> None:
    lines = table.text(report).splitlines()
    assert lines[0] == "2 images, means per image, 0.02 megapixels"
    assert " ".join(lines[2].split()) == (
        "codec setting bpp PSNR dB MS-SSIM seams enc MP/s dec MP/s"
    )
    assert " ".join(lines[3].split()) == "small off 0.2000 26.00 0.9000 1.50 0.0160 0.0320"
    text = "\n".join(lines)
    assert "25.00 / 0.9000" in text
    assert "-20.6 %  26.00 .. 32.00 dB" in text
    assert "r0.1 .. r1.6" in text
    assert all(line == line.rstrip() for line in lines)


def test_json_and_csv(report: table.Report) -> None:
    objects = [json.loads(line) for line in table.json_lines(report)]
    kinds = [entry["kind"] for entry in objects]
    assert [kinds.count(k) for k in ("image", "mean", "at_point", "bd_rate")] == [14, 7, 2, 1]
    rows = list(csv.DictReader(io.StringIO(table.csv_text(report))))
    assert len(rows) == 14
    assert (rows[0]["codec"], float(rows[0]["bpp"])) == ("small", 0.2)
    lossless = Measurement("a", "x", "", 10, 10, math.inf, math.nan, math.nan, 1, 1)
    assert lossless.record()["psnr"] is None


@pytest.mark.parametrize("form", ["png", "svg", "pdf"])
def test_plot(report: table.Report, form: str) -> None:
    pytest.importorskip("matplotlib")
    file = io.BytesIO()
    plot.plot(report, file, form)
    start = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[form]
    assert file.getvalue().startswith(start)
    if form == "svg":
        again = io.BytesIO()
        plot.plot(report, again, form)
        assert again.getvalue() == file.getvalue()
    if form == "png":
        image = np.asarray(Image.open(file).convert("RGB")).reshape(-1, 3)
        assert (image == [0xD5, 0x5E, 0x00]).all(axis=1).any()  # our own curve


def test_a_name_is_no_formula(report: table.Report) -> None:
    pytest.importorskip("matplotlib")
    named = [replace(one, image=r"$\\no$.png") for one in report.measurements]
    file = io.BytesIO()
    plot.plot(table.Report(named, report.models), file)
    assert file.getvalue().startswith(b"\x89PNG")


def test_a_plot_without_matplotlib(report: table.Report, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plot, "find_spec", lambda name: None)
    with pytest.raises(NncodecError, match=r"pip install 'nncodec\[report\]'"):
        plot.plot(report, io.BytesIO())


def test_side_by_side(codec: Codec, original: run.Original) -> None:
    rows = picture.versions(
        original, {"model": (codec, run.settings(codec))}, select("jpeg,avif"), Decoding()
    )
    ((first, ours, peer),) = rows
    assert (first.title, ours.title, peer.title) == ("original", "nncodec model", "JPEG q1")
    assert ours.bytes == len(codec.compress(original.pixels))
    sheet = picture.side_by_side(rows)
    assert sheet.width == 3 * (240 + picture.MARGIN) + picture.MARGIN
    shown = np.asarray(sheet)[picture.MARGIN :, picture.MARGIN :]
    assert np.array_equal(shown[:100, :240], original.pixels)
    assert np.array_equal(shown[:100, 252 : 252 + 240], ours.pixels)


def test_side_by_side_shows_the_middle_of_large_images() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (900, 1000, 3), dtype=np.uint8)
    sheet = picture.side_by_side([[picture.Panel("original", pixels)]])
    shown = np.asarray(sheet)[picture.MARGIN :, picture.MARGIN :]
    assert np.array_equal(shown[:768, :768], pixels[66 : 66 + 768, 116 : 116 + 768])


def test_eval_prints_a_table(nncodec: Run, photo: Path, eval_options: list[str]) -> None:
    out = nncodec(
        "eval", photo, *eval_options, "--seams", "alone", "-s", "0", "-s", "linear:4"
    ).stdout
    assert out.startswith("1 image, 0.00 megapixels\n")
    assert f"{SMALL}  alone " in out
    assert f"{SMALL}  alone, linear 4" in out
    assert "JPEG  q1 .. q96" in out


def test_eval_writes_all_its_files(nncodec: Run, tree: Path, eval_options: list[str]) -> None:
    files = ["--csv", "out.csv", "--plot", "rd.svg", "--side-by-side", "side.png"]
    out = nncodec("eval", tree, *eval_options, *files, "--json").stdout
    means = [entry for entry in map(json.loads, out.splitlines()) if entry["kind"] == "mean"]
    assert means[0]["codec"] == SMALL
    assert {entry["images"] for entry in means} == {2}  # a.png and sub/b.jpg
    rows = list(csv.DictReader(Path("out.csv").read_text().splitlines()))
    assert len(rows) == 2 * len(means)
    assert "<svg" in Path("rd.svg").read_text()
    assert Image.open("side.png").width == 3 * (40 + picture.MARGIN) + picture.MARGIN
    before = Path("out.csv").read_bytes()
    refused = nncodec("eval", tree, *eval_options, *files, status=1)
    assert "out.csv" in refused.stderr and "-f" in refused.stderr
    assert Path("out.csv").read_bytes() == before


def test_eval_writes_a_plot_alone(nncodec: Run, photo: Path, eval_options: list[str]) -> None:
    nncodec("eval", photo, *eval_options, "--plot", "rd.png")
    assert Image.open("rd.png").format == "PNG"
    assert {path.name for path in Path().iterdir()} == {"photo.png", "rd.png"}


def test_eval_goes_on_after_a_bad_image(nncodec: Run, photo: Path, eval_options: list[str]) -> None:
    Path("bad.png").write_bytes(b"no image")
    result = nncodec("eval", "bad.png", "missing.png", photo, *eval_options, status=1)
    assert "1 image" in result.stdout
    assert [line.split(":")[1].strip() for line in result.stderr.splitlines()] == [
        "bad.png",
        "missing.png",
    ]
    assert nncodec("eval", "bad.png", *eval_options, status=1).stdout == ""


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        (["-s", "3"], 2, "odd"),
        (["-s", "cubic:4"], 2, "linear:N"),
        (["--plot", "rd.gif"], 2, ".svg"),
        (["--peers", "gif"], 1, "no peer is called 'gif'"),
        (["-m", "no_such_model"], 1, "no_such_model"),
    ],
)
def test_eval_refuses(
    nncodec: Run, photo: Path, options: list[str], status: int, message: str
) -> None:
    assert message in nncodec("eval", photo, *options, status=status).stderr
