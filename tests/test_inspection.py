"""info, verify and models: what can be told without the network."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import Result

from nncodec.cli import segment_map
from nncodec.formats.cae import Coding, Colour, Header, PadMode, Writer
from nncodec.weights import default_model, manifest

Run = Callable[..., Result]


def header_of(width: int, height: int, segment: int = 8, pad: tuple[int, int] = (0, 0)) -> Header:
    return Header(
        width=width,
        height=height,
        patch=128,
        pad_top=pad[0],
        pad_left=pad[1],
        pad_mode=PadMode.EDGE,
        colour=Colour.RGB,
        depth=8,
        model="cae_16x8x8_zero_pad_bin",
        fingerprint=bytes(8),
        channels=16,
        side=8,
        segment_rows=segment,
        segment_columns=segment,
    )


@pytest.fixture
def cae(folder: Path) -> Path:
    """made.cae: 300x200 pixels in 3 x 2 patches, each row of patches a segment; bits all zero."""
    whole = header_of(300, 200, pad=(28, 42))
    header = replace(whole, segment_rows=1, segment_columns=3)
    file = io.BytesIO()
    writer = Writer(file, header)
    writer.metadata("icc", b"a profile")
    for _ in range(2):
        writer.segment(Coding.RAW, bytes(header.segment_bytes(0)))
    writer.close()
    path = folder / "made.cae"
    path.write_bytes(file.getvalue())
    return path


def test_info(nncodec: Run, cae: Path) -> None:
    text = nncodec("info", "made.cae").stdout
    for part in (
        "300 x 200",
        "cae_16x8x8_zero_pad_bin",
        "2 rows x 3 columns",
        "768 bytes in 2 segments\n",
        "coding     raw (2 segments)\n",
    ):
        assert part in text
    assert "plane 0, segment 1" in nncodec("info", "-v", "made.cae").stdout


def test_info_json(nncodec: Run, cae: Path) -> None:
    known = json.loads(nncodec("info", "--json", "made.cae").stdout)
    size = cae.stat().st_size
    assert known["bytes"] == size and known["bpp"] == pytest.approx(size * 8 / 60000, abs=1e-5)
    assert (known["width"], known["height"], known["colour"]) == (300, 200, "rgb")
    assert known["grid"] == [2, 3] and known["latent"] == [16, 8, 8]
    assert known["pad"] == {"top": 28, "left": 42, "bottom": 28, "right": 42}
    assert known["codings"] == {"raw": {"segments": 2, "bytes": 768, "bits_saved": 0}}
    assert known["data_bytes"] == 768 and known["context_shipped"] is None
    assert known["metadata_bytes"] == {"icc": 9}
    assert not known["weights_shipped"]
    piped = json.loads(nncodec("info", "--json", input=cae.read_bytes()).stdout)
    assert piped == known | {"input": "-"}
    detailed = json.loads(nncodec("info", "--json", "-v", "made.cae").stdout)
    assert [segment["row"] for segment in detailed["segments"]] == [0, 1]


def test_the_map_shows_where_the_bits_are() -> None:
    header = header_of(128 * 6, 128 * 8, segment=2)
    sizes = [1024 * (4 + number) for number in range(12)]
    listed = [(index, 0, "raw", size) for index, size in enumerate(sizes)]
    legend, *lines = segment_map.draw(header, listed, 80, "utf-8")
    assert legend == "  map        ░ 0.500 to █ 1.875 bits per pixel, by segment"
    # A character is one patch wide and two high, which makes every row of segments a line.
    assert lines == ["    ░░░░░░", "    ▒▒▒▒▒▒", "    ▓▓▓▓▓▓", "    ██████"]
    # What comes in stages adds up; what is lost is said.
    staged = [(index, plane, "context", size) for index, plane, _, size in listed[:11] * 2]
    assert segment_map.draw(header, staged, 80, "utf-8")[-1] == "    ████??"


def test_the_map_fits() -> None:
    for width, height in ((20000, 1000), (1000, 20000), (1, 2**24), (2**24, 1)):
        header = header_of(width, height)
        listed = [(index, 0, "raw", 1) for index in range(header.n_segments)]
        _, *lines = segment_map.draw(header, listed, 40, "utf-8")
        assert 1 <= len(lines) <= 24 and max(map(len, lines)) <= 40


def test_the_map_without_unicode() -> None:
    header = header_of(256 * 2, 256, segment=2)
    listed = [(0, 0, "raw", 100), (1, 0, "raw", 900)]
    assert segment_map.draw(header, listed, 80, "ascii")[1:] == ["    ..##"]
    assert segment_map.draw(header, listed, 80, "no such encoding")[1:] == ["    ..##"]


def test_the_map_leaves_out_the_padding() -> None:
    header = header_of(300, 200, pad=(28, 42))
    legend, line = segment_map.draw(header, [(0, 0, "raw", 7500)], 80, "utf-8")
    assert legend == "  map        1.000 bits per pixel, by segment"
    assert line == "    ███"


def test_info_draws_the_map(nncodec: Run, cae: Path) -> None:
    text = nncodec("info", "-v", "made.cae").stdout
    # Two segments, one above the other; a line shows the upper of two rows of patches.
    assert "\n  map        0.102 bits per pixel, by segment\n    ███\n    plane 0" in text
    assert "map" not in nncodec("info", "made.cae").stdout
    assert "map" not in nncodec("info", "--json", "-v", "made.cae").stdout
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "COLUMNS": "6"}
    command = [sys.executable, "-m", "nncodec", "info", "-v", "made.cae"]
    result = subprocess.run(command, capture_output=True, env=environment, check=True)
    assert b"\n    ##\n" in result.stdout and not result.stderr


def test_info_of_a_damaged_file_tells_what_it_can(nncodec: Run, cae: Path) -> None:
    Path("cut.cae").write_bytes(cae.read_bytes()[:-200])
    result = nncodec("info", "cut.cae", "made.cae", status=1)
    assert result.stdout.count("300 x 200") == 2
    assert result.stderr.startswith("nncodec: cut.cae: truncated: ")
    Path("text.cae").write_text("some text, not an image at all")
    assert "not a .cae file" in nncodec("info", "text.cae", status=1).stderr


def test_verify(nncodec: Run, cae: Path) -> None:
    assert nncodec("verify", "made.cae").stdout == "made.cae: ok, 2 segments\n"
    assert nncodec("verify", "--quiet", "made.cae").output == ""
    assert nncodec("verify", input=cae.read_bytes()).stdout == "stdin: ok, 2 segments\n"
    assert nncodec("verify", ".").stdout == "made.cae: ok, 2 segments\n"


def test_verify_notices_every_flipped_bit_and_every_cut(nncodec: Run, cae: Path) -> None:
    whole = cae.read_bytes()
    folder = Path("bad")
    folder.mkdir()
    for place in range(0, len(whole), 7):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        (folder / f"flip{place}.cae").write_bytes(damaged)
        (folder / f"cut{place}.cae").write_bytes(whole[:place])
    result = nncodec("verify", "--json", "bad", status=1)
    records = list(map(json.loads, result.stdout.splitlines()))
    assert len(records) == len(list(folder.iterdir()))
    assert {record["status"] for record in records} == {"failed"}
    assert len(result.stderr.splitlines()) == len(records)


def test_verify_takes_no_more_pixels_than_it_is_told(nncodec: Run, cae: Path) -> None:
    assert nncodec("verify", "made.cae", "--max-pixels", "60000").exit_code == 0
    error = nncodec("verify", "made.cae", "--max-pixels", "59999", status=1).stderr
    assert error.startswith("nncodec: made.cae: ") and error.count("\n") == 1
    assert "300 x 200 pixels are more than 59999; allow it with --max-pixels" in error


def test_verify_deep_needs_the_weights(nncodec: Run, cae: Path, photo_cae: Path) -> None:
    assert "weights" in nncodec("verify", "--deep", "made.cae", status=1).stderr
    assert nncodec("verify", "--deep", "photo.cae").stdout.startswith("photo.cae: ok, 1 segment")


def test_models(nncodec: Run) -> None:
    listed = nncodec("models").stdout
    assert listed == nncodec("models", "list").stdout
    assert all(model in listed for model in manifest())
    assert f"*  {default_model()}" in listed
    records = map(json.loads, nncodec("models", "list", "--json").stdout.splitlines())
    assert {record["id"]: record["default"] for record in records}[default_model()]
    shown = nncodec("models", "show", default_model()).stdout
    assert manifest()[default_model()].sha256 in shown
    path = Path(nncodec("models", "path", default_model()).stdout.strip())
    assert path.suffix == ".safetensors" and path.exists()
    assert "no model" in nncodec("models", "show", "none", status=1).stderr


def test_an_imported_model_decodes_what_it_encoded(nncodec: Run, photo: Path) -> None:
    import torch

    from nncodec.models.cae import SPECS, Cae

    model = "cae_16x8x8_zero_pad_bin"
    torch.save(Cae(SPECS[model]).state_dict(), "model.pth")
    nncodec("models", "import", "model.pth", "--as", model, "-o", "own.safetensors")
    error = nncodec(
        "models", "import", "model.pth", "--as", model, "-o", "own.safetensors", status=1
    )
    assert "exists" in error.stderr
    nncodec("compress", photo, "--weights", "own.safetensors")
    nncodec("decompress", "photo.cae", "a.png", "--weights", "own.safetensors")
    assert Path("a.png").exists()
    assert "wrong model" in nncodec("decompress", "photo.cae", "b.png", status=1).stderr
    wrong = "cae_32x32x32_zero_pad_bin"
    error = nncodec("models", "import", "model.pth", "--as", wrong, "-o", "x.safetensors", status=1)
    assert error.stderr.count("\n") == 1 and not Path("x.safetensors").exists()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(nncodec: Run, shell: str) -> None:
    assert "_NNCODEC_COMPLETE" in nncodec("completion", shell).stdout
