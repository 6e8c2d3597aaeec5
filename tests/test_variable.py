"""The engine of variable-rate models: any rate, any picture, no seams, coarse to fine."""

import io
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import Result
from numpy.typing import NDArray
from PIL import Image

from nncodec import Codec, api, variable_transform
from nncodec.entropy.planes import PlaneModel
from nncodec.formats.cae import Coding, Header, Reader, Tile, Writer, read_index
from nncodec.formats.errors import Damaged, DamagedChunk, NncodecError
from nncodec.formats.images import to_pil
from nncodec.formats.stages import Settings
from nncodec.models.bitplane import Block
from nncodec.models.pixel_filter import WAYS
from nncodec.rate import DEFAULT_QUALITY, ENOUGH, effort_of, step_of
from nncodec.transform import to_pixels
from nncodec.variable_encoder import STAGES, VariableEncoder

Run = Callable[..., Result]
Pixels = NDArray[np.uint8]


@pytest.fixture(scope="module")
def codec(bitplane: Path) -> Codec:
    return Codec(weights=bitplane, device="cpu")


@pytest.fixture(scope="module")
def scene(lake: Image.Image) -> Pixels:
    """A picture of 200x150 pixels without much detail: the small model can show it."""
    return np.asarray(lake.crop((250, 150, 290, 180)).resize((200, 150), Image.Resampling.BICUBIC))


def header_of(data: bytes) -> Header:
    return Reader(io.BytesIO(data)).header


def mse(codec: Codec, data: bytes, pixels: Pixels, stages: int | None = None) -> float:
    decoded = codec.decompress_from(Reader(io.BytesIO(data)), stages=stages).pixels
    return float(np.square(decoded.astype(float) - pixels).mean())


def recoded(codec: Codec, pixels: Pixels, step: int) -> bytes:
    """The file of a picture, just rounded, at a step code, of those that no quality has, too."""

    def write(header: Header, payloads: Iterable[tuple[Coding, bytes]]) -> bytes:
        file = io.BytesIO()
        writer = Writer(file, header)
        for payload in payloads:
            writer.segment(*payload)
        writer.close()
        return file.getvalue()

    header, engine = codec.header(api.to_picture(pixels)), codec.engine
    encoder = VariableEncoder(engine.transform, engine.planes, pixels, header, write, effort_of(2))
    return encoder.file(encoder.decided(step, encoder.effort))


def vars_of(header: Header) -> dict[str, Any]:
    return {name: getattr(header, name) for name in Header.__dataclass_fields__}


def test_quick_arithmetic_of_the_encoder_costs_nothing(
    lake: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Products of bfloat16 in the analysis, with the shipped weights: as many bits, as good."""
    codec, pixels = Codec(device="cpu"), np.asarray(lake.crop((64, 64, 320, 192)))
    found = []
    for quick in (False, True):
        monkeypatch.setattr(codec.engine.transform, "bf16", quick)
        data = codec.compress(pixels, quality=50, effort=1)
        found.append((data, 10 * np.log10(255**2 / mse(codec, data, pixels))))
    (exact, db), (rough, rough_db) = found
    assert rough != exact
    assert abs(len(rough) / len(exact) - 1) < 0.005 and abs(rough_db - db) < 0.02


@pytest.mark.parametrize("effort", [1, 2, 5])
@pytest.mark.filterwarnings("error")
def test_noise_which_nothing_was_trained_for_is_coded_as_noise(effort: int) -> None:
    """256 of the 768 values of a square can hold 12 dB of it, and blocks let no more be lost."""
    codec = Codec(device="cpu")
    for seed in range(2):
        noise = np.random.default_rng(seed).integers(0, 256, (96, 128, 3)).astype(np.uint8)
        for quality in (50, 95):
            data = codec.compress(noise, quality=quality, effort=effort)
            assert len(data) > 3000
            assert 10 * np.log10(255**2 / mse(codec, data, noise)) > 11.5


def test_blocks_grow_in_a_line_only() -> None:
    """A gate's product would grow with the square of what a block is given."""
    torch.manual_seed(0)
    block = Block(8, False)
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter)
    x = torch.randn(1, 8, 5, 5)
    with torch.inference_mode():
        near, far = (float(block(scale * x).abs().max()) for scale in (1e4, 1e6))
    assert 90 < far / near < 110


# Rates.


def test_every_quality_works_and_larger_is_finer(codec: Codec, scene: Pixels) -> None:
    sizes, errors = [], []
    for quality in (0, 0.5, 10, 33.3, 50, 75, 90, 99.5, 100):
        data = codec.compress(scene, quality=quality)
        assert header_of(data).params[:2] == (step_of(quality), 0)
        sizes.append(len(data))
        errors.append(mse(codec, data, scene))
    assert all(after >= before - 5 for before, after in pairwise(sizes))
    assert all(after <= 1.02 * before for before, after in pairwise(errors))
    assert sizes[-1] > 2 * sizes[0] and errors[-1] < errors[0] / 2
    assert codec.compress(scene) == codec.compress(scene, quality=DEFAULT_QUALITY)


@pytest.mark.parametrize("size", [400, 900, 2500])
def test_a_size_is_never_exceeded_and_used(codec: Codec, scene: Pixels, size: int) -> None:
    data = codec.compress(scene, size=size, effort=2)
    step = header_of(data).params[0]
    assert len(data) <= size
    assert len(data) >= 0.98 * size or len(recoded(codec, scene, step - 1)) > size
    assert recoded(codec, scene, step) == data


def test_bits_per_pixel_are_a_size(codec: Codec, scene: Pixels) -> None:
    data = codec.compress(scene, bpp=0.301)
    assert data == codec.compress(scene, size=int(0.301 * 200 * 150 / 8))
    assert 8 * len(data) / (200 * 150) <= 0.301


@pytest.mark.parametrize("size", [(200, 150), (61, 43)])
def test_a_flat_picture_is_quickly_searched(
    codec: Codec, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its size hardly falls with the step, and then in jumps."""
    calls, quantise = [], codec.engine.transform.quantise

    def counted(latent: Any, step: int) -> Any:
        calls.append(step)
        return quantise(latent, step)

    monkeypatch.setattr(codec.engine.transform, "quantise", counted)
    data = codec.compress(np.full((*size, 3), 200, np.uint8), size=130, effort=1)
    assert len(data) <= 130 and len(calls) <= 24


@pytest.mark.parametrize("psnr", [18, 26.5, 30])
def test_a_psnr_is_reached_and_a_coarser_step_would_miss(
    codec: Codec, scene: Pixels, psnr: float
) -> None:
    data = codec.compress(scene, psnr=psnr, effort=2)
    limit, step = 255**2 / 10 ** (psnr / 10), header_of(data).params[0]
    found = mse(codec, data, scene)
    assert found <= limit
    assert found >= ENOUGH * limit or mse(codec, recoded(codec, scene, step + 1), scene) > limit
    assert len(data) < len(codec.compress(scene, quality=100))


def test_budgets_that_cannot_be_met(codec: Codec, scene: Pixels) -> None:
    with pytest.raises(NncodecError, match="^no file of 60 bytes; the smallest has ") as caught:
        codec.compress(scene, size=60)
    least = int(str(caught.value).split()[-1])
    assert len(codec.compress(scene, size=least)) == least
    with pytest.raises(NncodecError, match="^no file of 0 bytes"):
        codec.compress(scene, bpp=0.0001)
    for psnr in (60, 100_000):
        with pytest.raises(NncodecError, match=f"^{psnr} dB cannot be reached"):
            codec.compress(scene, psnr=psnr)
    with pytest.raises(NncodecError, match="always context coded; leave out --entropy"):
        codec.compress(scene, entropy="zstd")
    with pytest.raises(NncodecError, match="cae_16x8x8_zero_pad_bin has one rate, one stage and"):
        Codec("cae_16x8x8_zero_pad_bin", "cpu").compress(scene, quality=50)


def test_the_error_that_is_searched_is_that_of_the_file(
    codec: Codec, lake: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nncodec.variable_transform.TILE", 2)
    pixels = np.asarray(lake)[:250, :370]
    header, transform = codec.header(api.to_picture(pixels)), codec.engine.transform
    latent = transform.quantise(transform.analyse(pixels, header), 700)
    data = recoded(codec, pixels, 700)
    settings = Settings.of(header_of(data))
    assert settings.step == 700 and settings.factors
    found = transform.squared_error(latent, header, settings, pixels) / pixels.size
    assert found == pytest.approx(mse(codec, data, pixels), rel=1e-12)


# Pictures.


@pytest.mark.parametrize("size", [(1, 1), (16, 16), (17, 1), (1, 140), (127, 129), (260, 33)])
def test_any_size(codec: Codec, lake: Image.Image, size: tuple[int, int]) -> None:
    image = lake.resize(size)
    data = codec.compress(image, quality=80)
    copy = codec.decompress(data)
    assert copy.size == size and copy.mode == "RGB"
    header = header_of(data)
    assert (header.pad_top, header.pad_left) == (0, 0)
    assert mse(codec, data, np.asarray(image)) < 3000


def test_a_small_picture_is_a_small_file(codec: Codec) -> None:
    """Nothing is coded for what the patches have beyond the picture: 16 x 16 pixels suffice."""
    dot = codec.compress(np.full((1, 1, 3), 90, np.uint8), quality=90, effort=1)
    square = codec.compress(np.full((16, 16, 3), 90, np.uint8), quality=90, effort=1)
    assert len(dot) == len(square) < 150
    for shape in ((17, 16, 3), (16, 17, 3)):
        wider = np.full(shape, 90, np.uint8)
        wider[16:], wider[:, 16:] = 200, 200
        assert len(codec.compress(wider, quality=90, effort=1)) > len(square)


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "I;16", "CMYK", "P"])
def test_modes(codec: Codec, lake: Image.Image, mode: str) -> None:
    image = lake.resize((50, 40))
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    else:
        image = image.convert(mode)
    if mode.endswith("A"):
        image.putalpha(Image.linear_gradient("L").resize((50, 40)))
    data = codec.compress(image, size=900)
    assert len(data) <= 900
    copy = codec.decompress(data)
    assert copy.mode == {"CMYK": "RGB", "P": "RGB", "I;16": "L"}.get(mode, mode)
    assert copy.size == (50, 40)
    if mode.endswith("A"):
        assert copy.getchannel("A").tobytes() == image.getchannel("A").tobytes()


def test_metadata_counts_in_a_budget(codec: Codec, scene: Pixels) -> None:
    image = Image.fromarray(scene)
    image.info["icc_profile"] = bytes(range(256))
    data = codec.compress(image, size=1200)
    assert len(data) <= 1200
    assert codec.decompress(data).info["icc_profile"] == bytes(range(256))


# Tiles, threads, segments.


def whole(codec: Codec, pixels: Pixels, settings: Settings) -> tuple[NDArray[np.float32], Pixels]:
    """Latent and picture as the network gives them for all of a picture at once."""
    network = codec.engine.transform.network
    height, width = pixels.shape[:2]
    padded = np.pad(pixels, ((0, -height % 16), (0, -width % 16), (0, 0)), "edge")
    with torch.inference_mode():
        values = torch.from_numpy(padded).permute(2, 0, 1)[None].float() - 127.5
        latent = network.analysis(values)
        level = variable_transform.level_of(settings.step)
        rounded = (latent * network.gains.scale(level)).round()
        factors = torch.zeros(1, WAYS)
        factors[0, : len(settings.factors)] = torch.tensor(settings.factors)
        values = rounded * network.gains.unscale(level)
        decoded = network.synthesis(values, level, factors=factors)
    levels = (decoded[0].permute(1, 2, 0) + 127.5).round().clamp(0, 255)
    return latent[0].permute(1, 2, 0).numpy(), levels[:height, :width].to(torch.uint8).numpy()


@pytest.mark.parametrize("tile", [1, 2])
@pytest.mark.parametrize("size", [(250, 370), (130, 274)])  # 130: a last row of one position
def test_tiles_show_no_seams(
    codec: Codec,
    lake: Image.Image,
    size: tuple[int, int],
    tile: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pixels = np.asarray(lake)[: size[0], : size[1]]
    settings = Settings(700, factors=(20, -30, 0, 7))
    latent, expected = whole(codec, pixels, settings)
    monkeypatch.setattr(codec.engine.transform, "bf16", False)  # as in whole()
    monkeypatch.setattr(variable_transform, "TILE", tile)
    monkeypatch.setattr("nncodec.variable.TILE", tile)
    transform, header = codec.engine.transform, codec.header(api.to_picture(pixels))
    found = transform.analyse(pixels, header)
    assert found.shape == latent.shape == (-(-size[0] // 16), -(-size[1] // 16), 18)
    assert np.abs(found - latent).max() < 1e-4
    middles = 2 * transform.quantise(latent, settings.step)
    decoded = codec.engine.pixels(middles, header, Tile(0, 0, *header.grid), settings)
    assert np.abs(decoded.astype(int) - expected).max() <= 1
    # Without its neighbours a tile would show its border: what they do is no trifle here.
    monkeypatch.setattr(type(transform.network.synthesis), "reach", 0)
    alone = codec.engine.pixels(middles, header, Tile(0, 0, *header.grid), settings)
    assert np.abs(alone.astype(int) - expected).max() > 2


def test_the_reach_is_as_far_as_the_network_sees(codec: Codec) -> None:
    network = codec.engine.transform.network
    level = torch.zeros(1)
    with torch.inference_mode():
        torch.manual_seed(0)
        latent = torch.randn(1, 18, 12, 12)
        other = latent.clone()
        other[..., :6] += 1
        seen = (network.synthesis(latent, level) != network.synthesis(other, level)).any(0).any(0)
        last = int(seen.any(0).nonzero().max()) // 16
        assert 6 <= last < 6 + network.synthesis.reach
        pixels = torch.randn(1, 3, 192, 192)
        other = pixels.clone()
        other[..., :96] += 1
        seen = (network.analysis(pixels) != network.analysis(other)).any(0).any(0)
        assert 6 <= int(seen.any(0).nonzero().max()) < 6 + network.analysis.reach


@pytest.mark.parametrize("quick", [False, True])
def test_what_is_cut_off_of_a_halo_on_the_way_is_not_missed(codec: Codec, quick: bool) -> None:
    """Each side has what the network sees, or all there is; the result is that of the whole."""
    network = codec.engine.transform.network
    level = torch.zeros(1)
    with torch.inference_mode():
        torch.manual_seed(0)
        latent, pixels = torch.randn(1, 18, 14, 15), 100 * torch.randn(1, 3, 16 * 14, 16 * 15)
        decoded, encoded = network.synthesis(latent, level), network.analysis(pixels, quick)
        reach = network.analysis.reach
        assert reach == network.synthesis.reach == 2
        for rows, columns in ((slice(5, 8), slice(6, 9)), (slice(2, 10), slice(0, 15))):
            above, below = (min(n, reach) for n in (rows.start, 14 - rows.stop))
            before, after = (min(n, reach) for n in (columns.start, 15 - columns.stop))
            halo = (above, below, before, after)
            high = slice(rows.start - above, rows.stop + below)
            wide = slice(columns.start - before, columns.stop + after)

            found = network.synthesis(latent[..., high, wide], level, halo)
            due = decoded[..., to_pixels(rows, 16), to_pixels(columns, 16)]
            assert found.shape == due.shape and (found - due).abs().max() < 1e-4

            seen = pixels[..., to_pixels(high, 16), to_pixels(wide, 16)]
            found = network.analysis(seen, quick, halo)
            due = encoded[..., rows, columns]
            assert found.shape == due.shape and (found - due).abs().max() < 1e-3


def test_threads_change_no_byte(codec: Codec, lake: Image.Image) -> None:
    expected = codec.compress(lake, effort=1)
    copy = codec.decompress(expected)
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            assert codec.compress(lake, effort=1) == expected
            assert codec.decompress(expected).tobytes() == copy.tobytes()
    finally:
        torch.set_num_threads(before)


def test_segments_are_coded_apart_and_show_no_seams(
    codec: Codec, lake: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = codec.compress(lake, effort=1)
    monkeypatch.setattr(api, "SEGMENT", 1)
    six = codec.compress(lake, effort=1)
    assert header_of(one).n_segments == 1 and header_of(six).n_segments == 6
    assert header_of(six).n_chunks == 6 * STAGES
    assert codec.decompress(one).tobytes() == codec.decompress(six).tobytes()


def test_a_picture_of_several_segments(
    codec: Codec, lake: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = np.asarray(lake.resize((1100, 40)))
    monkeypatch.setattr(codec.engine.transform, "bf16", False)  # as in whole()
    data = codec.compress(wide, quality=30, effort=2)
    assert header_of(data).segments == (1, 2)
    _, expected = whole(codec, wide, Settings.of(header_of(data)))
    decoded = codec.decompress_from(Reader(io.BytesIO(data))).pixels
    # the middle of an interval is what a whole number stands for, if all its planes are known
    assert np.abs(decoded.astype(int) - expected).max() <= 1


# Stages and damage.


def test_every_stage_is_finer(codec: Codec, scene: Pixels) -> None:
    data = codec.compress(scene, quality=40, stages=STAGES)
    errors = [mse(codec, data, scene, stages) for stages in range(1, STAGES + 1)]
    assert all(after < 0.9 * before for before, after in pairwise(errors))
    assert mse(codec, data, scene, 99) == mse(codec, data, scene) == errors[-1]


def test_damage_costs_the_rest_of_its_segment(
    codec: Codec, lake: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "SEGMENT", 1)
    pixels = np.asarray(lake)
    data = codec.compress(pixels, quality=60)
    finest = codec.decompress_from(Reader(io.BytesIO(data))).pixels.astype(int)
    coarser = codec.decompress_from(Reader(io.BytesIO(data)), stages=2).pixels.astype(int)
    damaged = bytearray(data)
    damaged[read_index(io.BytesIO(data))[2 * 6 + 5] + 4] ^= 1  # third stage, last of six segments
    with pytest.raises(DamagedChunk, match=r"data chunk 18 of 24 \(segment 5 of plane 2\)"):
        codec.decompress(bytes(damaged))
    reader = Reader(io.BytesIO(bytes(damaged)), partial=True)
    rescued = codec.decompress_from(reader).pixels.astype(int)
    assert [str(error) for error in reader.errors] == [
        "damaged: data chunk 18 of 24 (segment 5 of plane 2) fails its checksum"
    ]
    reach = 16 * codec.engine.transform.network.synthesis.reach
    y, x = 128, 256  # where the last segment begins
    assert np.abs(rescued - finest)[: y - reach].max() <= 1
    assert np.abs(rescued - finest)[:, : x - reach].max() <= 1
    assert np.abs(rescued - coarser)[y + reach :, x + reach :].max() <= 1
    assert np.abs(finest - coarser)[y + reach :, x + reach :].max() > 10

    damaged = bytearray(data)
    damaged[read_index(io.BytesIO(data))[5] + 4] ^= 1  # its first stage: nothing is left of it
    reader = Reader(io.BytesIO(bytes(damaged)), partial=True)
    rescued = codec.decompress_from(reader).pixels.astype(int)
    assert (rescued[y:, x:] == 128).all() and len(reader.errors) == 1
    assert np.abs(rescued - finest)[: y - reach].max() <= 1


def made_up(codec: Codec, payloads: list[bytes], coding: Coding, **fields: Any) -> bytes:
    header = codec.header(api.to_picture(np.zeros((20, 30, 3), np.uint8)))
    header = Header(**{**vars_of(header), "planes": 2, "params": (700, 0), **fields})
    file = io.BytesIO()
    writer = Writer(file, header)
    for payload in payloads:
        writer.segment(coding, payload)
    writer.close()
    return file.getvalue()


def test_what_no_checksum_sees_is_damage_nevertheless(codec: Codec) -> None:
    data = made_up(codec, [b"", b"\xff" * 50], Coding.CONTEXT)
    with pytest.raises(DamagedChunk, match="data chunk 2 of 2 .* cannot have been coded"):
        codec.decompress(data)
    reader = Reader(io.BytesIO(data), partial=True)
    assert (codec.decompress_from(reader).pixels != 128).any()
    assert len(reader.errors) == 1
    size = header_of(data).segment_bytes(0)
    data = made_up(codec, [bytes(size)] * 2, Coding.RAW)
    with pytest.raises(DamagedChunk, match="data chunk 1 of 2 .* is not coded as this model's"):
        codec.decompress(data)


@pytest.mark.parametrize(
    "fields",
    [
        {"params": ()},
        {"params": (700,)},
        {"params": (700, 0, 0)},
        {"params": (2048, 0)},
        {"params": (700, 12)},
        {"params": (700, 1 << 31)},
        {"planes": 14},
        {"planes": 64, "params": (0, 0)},
        {"pad_top": 1},
        {"pad_left": 127},
        {"channels": 19},
        {"side": 16},
    ],
)
def test_headers_that_the_model_cannot_have_written(codec: Codec, fields: dict[str, Any]) -> None:
    count = fields.get("planes", 2)
    raw = fields.get("params") == ()
    size = header_of(made_up(codec, [b""] * 2, Coding.CONTEXT)).segment_bytes(0)
    payload = [bytes(size)] if raw else [b""]
    data = made_up(codec, payload * count, Coding.RAW if raw else Coding.CONTEXT, **fields)
    with pytest.raises(Damaged, match="the header('s patches| has) "):
        codec.decompress(data)


def test_a_file_of_thirteen_stages_is_read(codec: Codec, scene: Pixels) -> None:
    """Another version may send more stages, or leave planes out."""
    planes: PlaneModel = codec.engine.planes
    header = codec.header(api.to_picture(scene))
    transform = codec.engine.transform
    latent = transform.quantise(transform.analyse(scene, header), 500)
    expected = codec.engine.pixels(2 * latent, header, Tile(0, 0, *header.grid), Settings(500))
    for stages, last in ((13, 0), (1, 0)):
        ready = Header(**{**vars_of(header), "planes": stages, "params": (500, last)})
        file = io.BytesIO()
        writer = Writer(file, ready)
        for payload in planes.encode(latent, 500, stages):
            writer.segment(Coding.CONTEXT, payload)
        writer.close()
        decoded = to_pil(codec.decompress_from(Reader(io.BytesIO(file.getvalue()))))
        assert (np.asarray(decoded) == expected).all()


# The command line.


def test_the_command_line_takes_one_target(
    nncodec: Run, photo: Path, bitplane: Path, folder: Path
) -> None:
    own = ["--weights", bitplane, "-f"]
    nncodec("compress", photo, "q.cae", "-q", "99.5", *own)
    assert header_of(Path("q.cae").read_bytes()).params[:2] == (step_of(99.5), 0)
    for options, limit in (
        (["--size", "0.2K"], 200),
        (["-b", "1.5"], 225),
        (["--bpp", "1.2"], 180),
    ):
        nncodec("compress", photo, "x.cae", *options, *own)
        assert 0.85 * limit < Path("x.cae").stat().st_size <= limit
    nncodec("compress", photo, "x.cae", "--psnr", "20", *own)
    nncodec("decompress", "x.cae", "x.png", "--weights", bitplane)
    error = np.asarray(Image.open("x.png"), float) - np.asarray(Image.open(photo).convert("RGB"))
    assert np.square(error).mean() <= 255**2 / 10**2
    for options in (["-q", "1", "-b", "1"], ["--size", "9", "--psnr", "9"], ["-b", "1", "-q", "0"]):
        result = nncodec("compress", photo, "y.cae", *options, status=2)
        assert "give one of -q, -b, --size and --psnr" in result.stderr
    for options in (
        ["--size", "1X"],
        ["--size", "0"],
        ["-q", "101"],
        ["-b", "0"],
        ["--psnr", "-1"],
    ):
        assert nncodec("compress", photo, "y.cae", *options, status=2).stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-m", "cae_16x8x8_zero_pad_bin", "-q", "50"], "has one rate"),
        (["--entropy", "raw", "--weights", "OWN"], "always context coded; leave out --entropy"),
        (["--size", "50", "--weights", "OWN"], "no file of 50 bytes; the smallest has "),
        (["-b", "0.001", "--weights", "OWN"], "no file of 0 bytes"),
        (["--psnr", "90", "--weights", "OWN"], "90 dB cannot be reached"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    nncodec: Run, photo: Path, bitplane: Path, options: list[str], message: str
) -> None:
    named = [str(bitplane) if option == "OWN" else option for option in options]
    error = nncodec("compress", photo, *named, status=1).stderr
    assert error.startswith(f"nncodec: {photo}: ") and error.count("\n") == 1
    assert message in error and not Path("photo.cae").exists()


@pytest.mark.parametrize(
    ("text", "count"), [("20000", 20_000), ("20K", 20_000), ("1.5M", 1_500_000), ("2kB", 2000)]
)
def test_numbers_of_bytes(text: str, count: int) -> None:
    from nncodec.cli.options import ByteCount

    assert ByteCount().convert(text, None, None) == count
