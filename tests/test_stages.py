"""Stages of a variable-rate file: cut off, cut anywhere, and told of."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from PIL import Image

from nncodec import Codec, api
from nncodec.formats.cae import Header, Reader, Writer, read_index
from nncodec.formats.errors import Damaged, NncodecError, Truncated
from nncodec.formats.stages import BIT_PLANES, MAX_STEP, Settings, first_stages
from nncodec.rate import quality_of

Run = Callable[..., Result]


@pytest.fixture(scope="module")
def codec(bitplane: Path) -> Codec:
    return Codec(weights=bitplane, device="cpu")


@pytest.fixture(scope="module")
def data(codec: Codec, lake: Image.Image) -> bytes:
    """A file of 4 stages, of 150x100 pixels with alpha, with a profile and XMP."""
    image = lake.resize((150, 100)).convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize((150, 100)))
    image.info["icc_profile"] = b"a profile"
    image.info["xmp"] = b"<x/>"
    return codec.compress(image, quality=60, stages=4)


@pytest.fixture
def full(folder: Path, data: bytes) -> Path:
    """full.cae in the current folder: ``data``."""
    (folder / "full.cae").write_bytes(data)
    return folder / "full.cae"


def read(data: bytes) -> Reader:
    return Reader(io.BytesIO(data))


def header_of(data: bytes) -> Header:
    return read(data).header


def lengths(data: bytes) -> list[int]:
    """Of the files of the first 1, 2, ... stages."""
    return [len(first_stages(read(data), stages)) for stages in (1, 2, 3, 4)]


@pytest.mark.parametrize("stages", [1, 2, 3])
def test_the_first_stages_are_the_same_picture_coarser(
    codec: Codec, data: bytes, stages: int
) -> None:
    less = first_stages(read(data), stages)
    before, after = header_of(data), header_of(less)
    assert after.planes == stages
    assert after.params == (before.params[0], 4 - stages, *before.params[2:])
    due = codec.decompress_from(read(data), stages=stages)
    found = codec.decompress_from(read(less))
    assert (found.pixels == due.pixels).all()
    assert found.alpha is not None and due.alpha is not None
    assert (found.alpha == due.alpha).all()
    assert found.metadata == due.metadata and found.metadata.icc == b"a profile"
    again = codec.decompress_from(read(less), stages=1).pixels
    assert (again == codec.decompress_from(read(data), stages=1).pixels).all()
    assert first_stages(read(less), 1) == first_stages(read(data), 1)


@pytest.fixture(scope="module")
def fixed(lake: Image.Image) -> bytes:
    """A file of a model that has one rate."""
    return Codec("cae_16x8x8_zero_pad_bin", "cpu").compress(lake)


def test_a_file_that_is_short_enough_stays_as_it_is(data: bytes, fixed: bytes) -> None:
    for stages in (4, 5, 64):
        assert first_stages(read(data), stages) == data
    assert first_stages(read(data), size=len(data)) == data
    assert first_stages(read(fixed), 1) == fixed
    assert first_stages(read(fixed), size=len(fixed)) == fixed


def test_a_size_is_used_as_far_as_whole_stages_go(data: bytes, fixed: bytes) -> None:
    sizes = lengths(data)
    assert sizes == sorted(sizes) and sizes[-1] == len(data)
    for number, size in enumerate(sizes):
        assert len(first_stages(read(data), size=size)) == size
        if number:
            assert len(first_stages(read(data), size=size - 1)) == sizes[number - 1]
    with pytest.raises(NncodecError, match=f"^the first stage alone takes {sizes[0]} bytes, more"):
        first_stages(read(data), size=sizes[0] - 1)
    with pytest.raises(NncodecError, match="^the first stage alone takes .* bytes, more than 99$"):
        first_stages(read(fixed), size=99)


def test_segments_stay_in_their_order(
    codec: Codec, lake: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "SEGMENT", 1)
    data = codec.compress(lake, quality=20, stages=4)
    less = first_stages(read(data), 2)
    assert [segment.payload for segment in read(less).segments()] == [
        segment.payload for segment in read(data).segments() if segment.plane < 2
    ]
    due = codec.decompress_from(read(data), stages=2).pixels
    assert (codec.decompress_from(read(less)).pixels == due).all()


def test_settings_are_bounded(data: bytes) -> None:
    def settings(*params: int, planes: int = 4) -> Settings:
        header = header_of(data)
        fields = {name: getattr(header, name) for name in Header.__dataclass_fields__}
        return Settings.of(Header(**{**fields, "planes": planes, "params": params}))

    assert settings(MAX_STEP - 1, BIT_PLANES - 4).params == (MAX_STEP - 1, BIT_PLANES - 4)
    assert settings(640, 0).step_size == 32
    wrong = [((), 4), ((1,), 4), ((1, 2, 3), 4), ((MAX_STEP, 0), 4), ((0, 10), 4), ((0, 0), 14)]
    for params, planes in wrong:
        with pytest.raises(Damaged, match="parameters that bitplane_256 does not know"):
            settings(*params, planes=planes)


# A file that was cut.


def test_a_file_cut_anywhere_gives_the_stages_that_arrived(codec: Codec, data: bytes) -> None:
    stages = [codec.decompress_from(read(data), stages=number).pixels for number in (1, 2, 3, 4)]
    opacity = codec.decompress_from(read(data)).alpha
    begins = read_index(io.BytesIO(data))
    cuts = [*range(begins[0], len(data), 97), *begins, *(begin - 1 for begin in begins[1:])]
    for cut in [*cuts, len(data) - 1]:
        with pytest.raises(Truncated, match="; try --partial$"):
            codec.decompress(data[:cut])
        reader = Reader(io.BytesIO(data[:cut]), partial=True)
        found = codec.decompress_from(reader)
        assert len(reader.errors) == 1
        arrived = sum(end <= cut for end in [*begins[1:], len(data) - 25])
        expected = stages[arrived - 1] if arrived else np.full((100, 150, 3), 128)
        assert (found.pixels == expected).all()
        assert found.alpha is not None and (found.alpha == opacity).all()


def test_a_cut_file_of_several_segments(
    codec: Codec, lake: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those whose next stage arrived are finer already."""
    monkeypatch.setattr(api, "SEGMENT", 1)
    data = codec.compress(lake, quality=40, stages=4)
    cut = read_index(io.BytesIO(data))[6 + 3] + 4  # the second stage of segments 0 to 2
    reader = Reader(io.BytesIO(data[:cut]), partial=True)
    found = codec.decompress_from(reader).pixels.astype(int)
    one, two = (codec.decompress_from(read(data), stages=n).pixels.astype(int) for n in (1, 2))
    reach = 16 * codec.engine.transform.network.synthesis.reach
    assert np.abs(found - two)[: 128 - reach].max() <= 1
    assert np.abs(found - one)[128 + reach :].max() <= 1
    assert np.abs(one - two)[: 128 - reach].max() > 10


# The command line.


def test_truncate(nncodec: Run, full: Path, data: bytes, bitplane: Path) -> None:
    sizes = lengths(data)
    for stages in (1, 3):
        nncodec("truncate", "full.cae", "less.cae", "--stages", stages, "-f")
        assert Path("less.cae").stat().st_size == sizes[stages - 1]
        assert nncodec("verify", "less.cae").stdout.startswith("less.cae: ok, 1 segment")
        own = ("--weights", bitplane, "-f")
        nncodec("decompress", "less.cae", "less.png", *own)
        nncodec("decompress", "full.cae", "full.png", "--stages", stages, *own)
        assert Path("less.png").read_bytes() == Path("full.png").read_bytes()
    nncodec("truncate", "full.cae", "-o", "small.cae", "--size", f"{(sizes[2] + 1) / 1000}K")
    assert Path("small.cae").stat().st_size == sizes[2]
    told = json.loads(nncodec("truncate", full, "x.cae", "--stages", 2, "--json").stdout)
    assert (told["status"], told["bytes_in"], told["bytes_out"]) == ("done", sizes[3], sizes[1])
    assert told["bpp"] == round(8 * sizes[1] / 15000, 5) and told["model"] == "bitplane_256"


def test_truncate_has_the_manners_of_the_other_commands(
    nncodec: Run, full: Path, data: bytes
) -> None:
    expected = first_stages(read(data), 2)
    for operands in ([], ["-"], ["-", "-"], ["-o", "-"]):
        found = nncodec("truncate", *operands, "--stages", 2, input=data).stdout_bytes
        assert found == expected
    assert nncodec("truncate", full, "-", "--stages", 2).stdout_bytes == expected
    nncodec("truncate", "full.cae", "full.cae", "--stages", 2, "-f", status=1)
    nncodec("truncate", "full.cae", "--stages", 2, "-f", status=1)
    assert full.read_bytes() == data
    Path("there.cae").write_text("precious")
    error = nncodec("truncate", full, "there.cae", "--stages", 2, status=1).stderr
    assert "exists; use -f" in error and Path("there.cae").read_text() == "precious"
    Path("in/sub").mkdir(parents=True)
    for name in ("a.cae", "sub/b.cae"):
        Path("in", name).write_bytes(data)
    nncodec("truncate", "-r", "in", "-o", "out", "--stages", 2)
    assert Path("out/a.cae").read_bytes() == Path("out/sub/b.cae").read_bytes() == expected


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        ([], 2, "give one of --size and --stages"),
        (["--stages", "1", "--size", "9"], 2, "give one of --size and --stages"),
        (["--stages", "0"], 2, "--stages"),
        (["--size", "many"], 2, "'many' is no number of bytes"),
        (["--size", "99"], 1, "full.cae: the first stage alone takes"),
    ],
)
def test_what_cannot_be_truncated_is_one_line(
    nncodec: Run, full: Path, options: list[str], status: int, message: str
) -> None:
    result = nncodec("truncate", "full.cae", "x.cae", *options, status=status)
    assert result.stderr.count("\n") == 1 and message in result.stderr
    assert not Path("x.cae").exists()


def test_damaged_files_are_not_truncated(nncodec: Run, full: Path, data: bytes) -> None:
    Path("cut.cae").write_bytes(data[:-30])
    damaged = bytearray(data)
    damaged[read_index(io.BytesIO(data))[0] + 9] ^= 1
    Path("bad.cae").write_bytes(damaged)
    for name, message in (("cut.cae", "truncated: "), ("bad.cae", "damaged: data chunk 1 of 4")):
        error = nncodec("truncate", name, "x.cae", "--stages", 1, status=1).stderr
        assert error.startswith(f"nncodec: {name}: {message}") and error.count("\n") == 1
        assert not Path("x.cae").exists()


def test_a_cut_file_is_rescued(nncodec: Run, full: Path, data: bytes, bitplane: Path) -> None:
    own = ("--weights", bitplane, "-f")
    Path("cut.cae").write_bytes(data[: read_index(io.BytesIO(data))[2] + 5])
    assert "try --partial" in nncodec("decompress", "cut.cae", *own, status=1).stderr
    nncodec("decompress", "cut.cae", "cut.png", "--partial", *own, status=1)
    piped = nncodec("decompress", "--partial", *own, input=Path("cut.cae").read_bytes(), status=1)
    nncodec("decompress", full, "two.png", "--stages", 2, *own)
    assert Path("cut.png").read_bytes() == Path("two.png").read_bytes() == piped.stdout_bytes


def test_info(nncodec: Run, full: Path, data: bytes) -> None:
    header = header_of(data)
    sizes = [len(segment.payload) for segment in read(data).segments()]
    step = header.params[0]
    levels = 2 ** (step / 128)
    text = nncodec("info", "full.cae").stdout
    stages = " + ".join(f"{size:,}" for size in sizes)
    line = f"  quality    step {levels:.3g} levels (q 60), stages 4: {stages} bytes\n"
    assert line in text
    assert f"{sum(sizes):,} bytes in 1 segment\n" in text and "18 x 8 x 8 values each\n" in text
    assert "raw" not in text and "context" not in text and "  pad " not in text
    known = json.loads(nncodec("info", "--json", "full.cae").stdout)
    assert known["step"] == round(levels, 3) and known["quality"] == 60
    assert known["quality"] == round(quality_of(step), 1)
    assert known["stage_bytes"] == sizes and known["stages_cut"] == 0
    assert known["segments"] == 1 and known["data_chunks"] == 4
    assert not {"codings", "context_shipped"} & set(known)
    nncodec("truncate", "full.cae", "less.cae", "--stages", 2)
    text = nncodec("info", "less.cae").stdout
    assert f"(q 60), stages 2: {sizes[0]:,} + {sizes[1]:,} bytes, 2 cut off\n" in text
    known = json.loads(nncodec("info", "--json", "less.cae").stdout)
    assert known["stage_bytes"] == sizes[:2] and known["stages_cut"] == 2
    assert nncodec("verify", "full.cae").stdout == "full.cae: ok, 1 segment in 4 stages\n"
    assert "plane 3, segment 0" in nncodec("info", "-v", "full.cae").stdout


def test_info_of_a_step_that_no_quality_has_and_of_nonsense(
    nncodec: Run, codec: Codec, folder: Path, data: bytes
) -> None:
    def remade(params: tuple[int, ...]) -> bytes:
        reader = read(data)
        fields = {name: getattr(reader.header, name) for name in Header.__dataclass_fields__}
        file = io.BytesIO()
        writer = Writer(file, Header(**{**fields, "params": params}))
        for strip in reader.alpha:
            writer.alpha(strip.coding, strip.payload)
        for segment in reader.segments():
            writer.segment(segment.coding, segment.payload)
        writer.close()
        return file.getvalue()

    Path("coarse.cae").write_bytes(remade((1280, 0)))
    assert "step 1.02e+03 levels, stages 4: " in nncodec("info", "coarse.cae").stdout
    assert json.loads(nncodec("info", "--json", "coarse.cae").stdout)["quality"] is None
    Path("wrong.cae").write_bytes(remade((1 << 31, 0)))
    error = nncodec("info", "wrong.cae", status=1).stderr
    assert error.count("\n") == 1 and "parameters that bitplane_256 does not know" in error
