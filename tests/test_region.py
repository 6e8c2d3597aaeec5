"""A region: what would be cut out of the whole picture, without the work for the rest."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from PIL import Image

import nncodec as library
from nncodec import Codec, api
from nncodec.formats import alpha
from nncodec.formats.cae import Header, PadMode, Reader, Tile, read_index
from nncodec.formats.errors import DamagedChunk, NncodecError, Truncated
from nncodec.formats.layout import Colour
from nncodec.patches import Region, covering, grown, segments_seen, shown

Run = Callable[..., Result]
Area = tuple[int, int, int, int]

SMALL = "cae_16x8x8_zero_pad_bin"
MODELS = ["bitplane", SMALL, "cae_16x8x8_refl_pad_bin"]
# of 384 x 256 pixels; the patches begin there, or in the padding before
REGIONS: list[Area] = [
    (0, 0, 1, 1),
    (383, 255, 1, 1),
    (300, 200, 64, 48),
    (120, 0, 20, 256),
    (0, 127, 384, 3),
]


@pytest.fixture(params=MODELS)
def codec(request: pytest.FixtureRequest, bitplane: Path) -> Codec:
    if request.param == "bitplane":
        return Codec(weights=bitplane, device="cpu")
    return Codec(request.param, "cpu")


@pytest.fixture
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments of one patch, of 2 x 2 for what goes through a network at once."""
    monkeypatch.setattr(api, "SEGMENT", 1)
    monkeypatch.setattr("nncodec.variable.TILE", 2)


@pytest.fixture(scope="session")
def wide(lake: Image.Image) -> Image.Image:
    return lake.resize((700, 400))


def read(data: bytes) -> Reader:
    return Reader(io.BytesIO(data))


def check(codec: Codec, data: bytes, *regions: Area, **options: Any) -> None:
    whole = codec.decompress_from(read(data), **options)
    for x, y, width, height in regions:
        found = codec.decompress_from(read(data), region=(x, y, width, height), **options)
        assert found.pixels.shape == (height, width, 3)
        due = whole.pixels[y : y + height, x : x + width].astype(int)
        assert np.abs(found.pixels - due).max() <= 1
        assert found.pixels.base is None  # the rest can be forgotten
        assert found.colour == whole.colour and found.metadata == whole.metadata
        if whole.alpha is not None:
            assert found.alpha is not None
            assert (found.alpha == whole.alpha[y : y + height, x : x + width]).all()


@pytest.mark.usefixtures("small_segments")
def test_a_region_is_cut_out_of_the_picture(codec: Codec, lake: Image.Image) -> None:
    image = lake.crop((0, 0, 370, 250))  # with padding
    data = codec.compress(image)
    check(codec, data, (0, 0, 370, 250), (290, 190, 80, 60), (37, 41, 222, 133))
    if codec.variable:
        check(codec, codec.compress(lake), *REGIONS)


@pytest.mark.usefixtures("small_segments")
def test_smoothed_seams_are_cut_out_too(lake: Image.Image) -> None:
    codec = Codec(SMALL, "cpu")
    data = codec.compress(lake.crop((0, 0, 370, 200)))
    regions: list[Area] = [(125, 60, 40, 30), (9, 80, 361, 10)]
    check(codec, data, *regions, seams="alone")
    check(codec, data, *regions, seams="alone", smooth=128, method="linear")


@pytest.mark.usefixtures("small_segments")
@pytest.mark.parametrize("mode", ["L", "LA", "RGBA"])
def test_grey_and_alpha(codec: Codec, lake: Image.Image, mode: str) -> None:
    image = lake.resize((200, 100)).convert(mode)
    if mode != "L":
        image.putalpha(Image.radial_gradient("L").resize(image.size))
    data = codec.compress(image)
    check(codec, data, (100, 20, 64, 48))
    part = codec.decompress(data, region=(100, 20, 64, 48))
    assert part.mode == mode and part.size == (64, 48)


@pytest.mark.usefixtures("small_segments")
def test_stages_of_a_region(bitplane: Path, wide: Image.Image) -> None:
    codec = Codec(weights=bitplane, device="cpu")
    check(codec, codec.compress(wide), (300, 200, 64, 48), stages=2)


def test_the_library_cuts_regions(lake: Image.Image) -> None:
    data = library.compress(lake.resize((50, 40)), model=SMALL, device="cpu")
    part = library.decompress(data, region=(3, 5, 10, 20), device="cpu")
    assert part.size == (10, 20)


# What is spared.


class Counted(io.BytesIO):
    """A file that counts the bytes that are read from it."""

    count = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.count += len(data)
        return data


class Pipe(io.BytesIO):
    """A file that cannot seek."""

    def seekable(self) -> bool:
        return False

    def seek(self, *_: Any) -> int:
        raise io.UnsupportedOperation("seek")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any, str], list[tuple[Any, ...]]]:
    """Let a method note the arguments of its calls."""

    def noting(owner: Any, name: str) -> list[tuple[Any, ...]]:
        noted: list[tuple[Any, ...]] = []
        method = getattr(owner, name)

        def call(*arguments: Any) -> Any:
            noted.append(arguments)
            return method(*arguments)

        monkeypatch.setattr(owner, name, call)
        return noted

    return noting


Calls = Callable[[Any, str], list[tuple[Any, ...]]]


@pytest.mark.usefixtures("small_segments")
def test_only_what_it_takes_is_read_and_decoded(
    bitplane: Path, wide: Image.Image, calls: Calls
) -> None:
    codec = Codec(weights=bitplane, device="cpu")
    data = codec.compress(wide, quality=90)  # 4 x 6 segments of 128 x 128 pixels
    decoded = calls(codec.engine.planes, "decode")
    shown_tiles = calls(codec.engine.transform, "synthesise")
    for region, segments, tiles in (
        ((170, 170, 20, 20), 1, [Tile(1, 1, 1, 1)]),  # further than the reach from any other
        ((144, 170, 16, 16), 2, [Tile(1, 1, 1, 1)]),  # two positions from the one on the left
        ((130, 130, 20, 20), 4, [Tile(1, 1, 1, 1)]),
        ((250, 170, 20, 20), 2, [Tile(1, 1, 1, 2)]),  # on two
        ((0, 0, 20, 20), 1, [Tile(0, 0, 1, 1)]),
    ):
        decoded.clear()
        shown_tiles.clear()
        file = Counted(data)
        codec.decompress_from(Reader(file), region=region)
        assert len(decoded) == 4 * segments
        assert [tile for _, _, tile, _ in shown_tiles] == tiles
        assert file.count < len(data) * (segments / 24 + 0.25)
    codec.decompress_from(Reader(Counted(data)), region=(170, 170, 20, 20), stages=1)
    assert len(decoded) == 4 * segments + 1


@pytest.mark.usefixtures("small_segments")
def test_stages_that_are_not_wanted_are_not_read(bitplane: Path, wide: Image.Image) -> None:
    codec = Codec(weights=bitplane, device="cpu")
    data = codec.compress(wide, quality=50)
    file = Counted(data)
    codec.decompress_from(Reader(file), stages=1)
    assert file.count < 0.5 * len(data)


@pytest.mark.usefixtures("small_segments")
def test_fixed_rate_models_spare_it_too(wide: Image.Image, calls: Calls) -> None:
    codec = Codec(SMALL, "cpu")
    data = codec.compress(wide, entropy="raw")
    decoded = calls(codec.engine.coder, "decode")
    synthesised = calls(codec.engine.transform, "synthesise")
    header = read(data).header
    left, top = 3 * 128 - header.pad_left, 128 - header.pad_top  # of patch 9
    reach = codec.engine.transform.spec.decoder_reach
    assert reach == 4  # of eight positions of a patch
    for x, y, segments in ((64, 64, [9, 10, 15, 16]), (48, 48, [2, 3, 8, 9])):
        decoded.clear()
        synthesised.clear()
        codec.decompress_from(read(data), region=(left + x, top + y, 8, 8))
        assert [segment.index for segment, _ in decoded] == segments
        assert [tile for _, _, tile in synthesised] == [Tile(1, 3, 1, 1)]
    decoded.clear()
    region = (left + 20, top + 110, 8, 8)
    codec.decompress_from(read(data), region=region, seams="alone", smooth=0)
    assert [segment.index for segment, _ in decoded] == [9]


def test_only_the_strips_of_alpha_that_it_takes(calls: Calls, monkeypatch: Any) -> None:
    monkeypatch.setattr("nncodec.formats.header.ALPHA_STRIP_BYTES", 1000)  # ten rows
    codec = Codec(SMALL, "cpu")
    image = Image.radial_gradient("L").resize((100, 95)).convert("LA")
    image.putalpha(Image.linear_gradient("L").resize((100, 95)))
    data = codec.compress(image)
    assert read(data).header.n_alpha_strips == 10
    decoded = calls(alpha, "decode_strip")
    for region, count in (((0, 0, 9, 10), 1), ((9, 9, 9, 2), 2), ((0, 0, 100, 95), 10)):
        decoded.clear()
        check(codec, data, region)
        assert len(decoded) == 10 + count


@pytest.mark.usefixtures("small_segments")
def test_pipes_are_read_to_the_end(codec: Codec, lake: Image.Image) -> None:
    data = codec.compress(lake)
    region = (300, 200, 64, 48)
    expected = codec.decompress_from(read(data), region=region).pixels
    assert (codec.decompress_from(Reader(Pipe(data)), region=region).pixels == expected).all()
    with pytest.raises(Truncated, match="try --partial"):
        codec.decompress_from(Reader(Pipe(data[:-9])), region=region)


# Damage.


@pytest.mark.usefixtures("small_segments")
def test_damage_elsewhere_does_not_matter(codec: Codec, lake: Image.Image) -> None:
    data = codec.compress(lake)
    regions: list[Area] = [(20, 20, 30, 30), (350, 220, 30, 30)]
    expected = [codec.decompress_from(read(data), region=region).pixels for region in regions]
    damaged = bytearray(data)
    damaged[read_index(io.BytesIO(data))[0] + 4] ^= 1
    for kind in (io.BytesIO, Pipe):
        for partial in (False, True):
            reader = Reader(kind(bytes(damaged)), partial=partial)
            found = codec.decompress_from(reader, region=regions[1]).pixels
            assert (found == expected[1]).all() and reader.errors == []
        with pytest.raises(DamagedChunk, match=r"data chunk 1 of \d+ .* its checksum; try"):
            codec.decompress_from(Reader(kind(bytes(damaged))), region=regions[0])
        reader = Reader(kind(bytes(damaged)), partial=True)
        assert (codec.decompress_from(reader, region=regions[0]).pixels == 128).all()
        assert len(reader.errors) == 1


@pytest.mark.usefixtures("small_segments")
def test_a_file_without_its_end_is_refused_or_rescued(codec: Codec, lake: Image.Image) -> None:
    data = codec.compress(lake)
    region = (20, 20, 30, 30)
    expected = codec.decompress_from(read(data), region=region).pixels
    with pytest.raises(Truncated, match="does not end in an end chunk; try --partial"):
        codec.decompress_from(read(data[:-9]), region=region)
    reader = Reader(io.BytesIO(data[:-9]), partial=True)
    assert (codec.decompress_from(reader, region=region).pixels == expected).all()
    assert len(reader.errors) == 1


# What is no region.


@pytest.mark.parametrize(
    "region", [(0, 0, 385, 1), (0, 0, 1, 257), (384, 0, 1, 1), (-1, 0, 5, 5), (0, 0, 0, 5)]
)
def test_regions_that_are_not_inside_are_refused(lake: Image.Image, region: Area) -> None:
    codec = Codec(SMALL, "cpu")
    shown_as = ",".join(map(str, region))
    message = f"^the region {shown_as} is not inside of the picture, which has 384 x 256 pixels$"
    with pytest.raises(NncodecError, match=message):
        codec.decompress(codec.compress(lake), region=region)


def test_the_command_line(nncodec: Run, photo_cae: Path) -> None:
    nncodec("decompress", "photo.cae", "whole.png")
    told = nncodec("decompress", "photo.cae", "part.png", "--region", "3,4,20,10", "--json")
    assert json.loads(told.stdout)["width"] == 20 and json.loads(told.stdout)["height"] == 10
    with Image.open("whole.png") as whole, Image.open("part.png") as part:
        due = np.asarray(whole.crop((3, 4, 23, 14))).astype(int)
        assert np.abs(np.asarray(part) - due).max() <= 1
    for region in ("30,0,11,1", "40,0,1,1", "0,0,0,1"):
        result = nncodec("decompress", "photo.cae", "x.png", "--region", region, status=1)
        assert result.stderr.startswith(f"nncodec: photo.cae: the region {region} is not inside")
        assert result.stderr.count("\n") == 1 and not Path("x.png").exists()
    for region in ("1,2,3", "a,b,c,d", "-1,0,5,5", "1,2,3,4,5", "9999999999,0,1,1"):
        result = nncodec("decompress", "photo.cae", "x.png", f"--region={region}", status=2)
        assert "is not four numbers of pixels" in result.stderr


# Geometry.


def header(width: int, height: int, pad: int = 0, segment: int = 1) -> Header:
    return Header(
        width=width,
        height=height,
        patch=128,
        pad_top=pad,
        pad_left=pad,
        pad_mode=PadMode.EDGE,
        colour=Colour.RGB,
        depth=8,
        model=SMALL,
        fingerprint=bytes(8),
        channels=16,
        side=8,
        segment_rows=segment,
        segment_columns=segment,
    )


def test_tiles_around_regions() -> None:
    large = header(700, 400, pad=30)
    assert large.grid == (4, 6)
    assert covering(large, Region(0, 0, 700, 400)) == Tile(0, 0, 4, 6)
    assert covering(large, Region(97, 0, 1, 98)) == Tile(0, 0, 1, 1)
    assert covering(large, Region(97, 97, 2, 2)) == Tile(0, 0, 2, 2)
    assert grown(large, Tile(0, 0, 1, 1), 1) == Tile(0, 0, 2, 2)
    assert grown(large, Tile(2, 4, 2, 2), 1) == Tile(1, 3, 3, 3)
    assert shown(large, Tile(0, 0, 1, 1)) == Region(0, 0, 98, 98)
    assert shown(large, Tile(3, 5, 1, 1)) == Region(610, 354, 90, 46)


@pytest.mark.parametrize("segment", [1, 2, 3, 8])
@pytest.mark.parametrize("reach", [0, 1, 8, 9, 40])
def test_segments_seen_are_those_that_a_slow_search_finds(segment: int, reach: int) -> None:
    large = header(700, 400, pad=30, segment=segment)
    regions = [(0, 0, 1, 1), (97, 98, 1, 1), (300, 200, 99, 1), (699, 399, 1, 1), (0, 0, 700, 400)]
    for region in (Region(*region) for region in regions):
        seen = np.zeros((4 * 8, 6 * 8), bool)
        for y in range(30 + region.y, 30 + region.y + region.height, 4):
            for x in range(30 + region.x, 30 + region.x + region.width, 4):
                top, left = max(y // 16 - reach, 0), max(x // 16 - reach, 0)
                seen[top : y // 16 + reach + 1, left : x // 16 + reach + 1] = True
        due = []
        for index in range(large.n_segments):
            there = large.segment_patches(index)
            rows = slice(there.row * 8, (there.row + there.rows) * 8)
            if seen[rows, there.column * 8 : (there.column + there.columns) * 8].any():
                due.append(index)
        assert segments_seen(large, region, reach) == due
