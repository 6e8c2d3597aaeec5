"""The filter of a picture: what its factors change, what they cost, how a file tells them."""

import io
import itertools
import math
from dataclasses import replace
from functools import partial
from pathlib import Path

import independent_factors
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from nncodec import Codec, api
from nncodec.decisions import decide
from nncodec.formats.cae import Header, Reader, Tile
from nncodec.formats.errors import Damaged, NncodecError
from nncodec.formats.stages import (
    FACTOR_DIGITS,
    LARGEST_FACTOR,
    Settings,
    factor_bits,
    first_stages,
    read_factors,
    write_factors,
)
from nncodec.latents import decode_latents, encode_latents
from nncodec.models.pixel_filter import WAYS, Moments, PixelFilter, along, padded
from nncodec.rate import Effort
from nncodec.variation import Variation, worth, worthwhile

STEP = 560
FACTORS = (20, -30, 0, 7)


@pytest.fixture(scope="module")
def codec(bitplane: Path) -> Codec:
    return Codec(weights=bitplane, device="cpu")


def header_of(data: bytes) -> Header:
    return Reader(io.BytesIO(data)).header


# What factors do.


@pytest.mark.parametrize("stride", [1, 2])
def test_threads_do_not_change_what_factors_are_chosen_by(stride: int) -> None:
    """Of a wide picture, whose sums are longer than libraries leave to one thread."""
    torch.manual_seed(0)
    network, level, before = PixelFilter(), torch.tensor(0.5), torch.get_num_threads()
    due = 100 * torch.randn(1, 3, 70, 1100)
    seen = padded(due + torch.randn_like(due), (0, 0, 0, 0))
    found = []
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        with torch.inference_mode():
            found.append(network.moments(seen, due, level, stride))
    torch.set_num_threads(before)
    assert all(one.seen.equal(found[0].seen) and one.pull.equal(found[0].pull) for one in found)


def test_moments_tell_what_factors_do_to_the_error(codec: Codec, scene: NDArray[np.uint8]) -> None:
    """Also of a picture that ends within a position, and whatever tiles it is seen in."""
    transform = codec.engine.transform
    header = codec.header(api.to_picture(scene))
    latent = transform.quantise(transform.analyse(scene, header), STEP)
    whole = Tile(0, 0, *header.grid)

    def error(settings: Settings) -> float:
        with torch.inference_mode():
            found = transform._output(torch.from_numpy(latent), settings).numpy()
        return float(np.square(found[:170, :300].astype(float) - scene).sum())

    found = transform.moments(latent, header, whole, STEP, scene)
    plain = error(Settings(STEP))
    assert float(found.error) == pytest.approx(plain, rel=1e-5)
    curve, pull = along(transform.network.synthesis.filter.ways, found)
    factors = np.zeros(WAYS)
    factors[: len(FACTORS)] = FACTORS
    less = 2 * pull.numpy() @ factors - factors @ curve.numpy() @ factors
    varied_error = error(Settings(STEP, factors=FACTORS))
    assert abs(varied_error - plain) > 1e-3 * plain
    assert plain - varied_error == pytest.approx(less, rel=1e-3)
    parts = [
        transform.moments(latent, header, Tile(0, column, 2, 1), STEP, scene)
        for column in range(header.grid[1])
    ]
    added = Moments(*(sum(some[1:], some[0]) for some in zip(*parts, strict=True)))
    for one, other in zip(added, found, strict=True):
        assert (one - other).abs().max() < 1e-4 * other.abs().max()


def total(
    factors: tuple[int, ...], curve: NDArray[np.float32], pull: NDArray[np.float32], trade: float
) -> float:
    """What three factors cost: what they do to the error, and bits."""
    f = np.array([*factors, 0, 0, 0][:3])
    return float(trade * (f @ curve @ f - 2 * pull @ f)) + sum(factor_bits(int(x)) for x in f)


def test_no_factor_is_dearer_than_it_is_worth() -> None:
    """The best of all small ones, where they do not depend on each other; else as good as any."""
    rng = np.random.default_rng(0)
    for _ in range(40):
        shape = rng.normal(size=(9, 3))
        curve = (shape.T @ shape * rng.uniform(0.1, 30)).astype(np.float32)
        if rng.random() < 0.5:
            curve = np.diag(curve.diagonal())
        pull = (curve @ rng.normal(size=3) * 2).astype(np.float32)
        trade = float(rng.uniform(0.01, 1))
        cost = partial(total, curve=curve, pull=pull, trade=trade)

        found = worthwhile(curve, pull, trade)
        assert len(found) <= 3 and (not found or found[-1] != 0)
        assert cost(found) <= cost(())
        if np.count_nonzero(curve) == 3:
            least = min(map(cost, itertools.product(range(-12, 13), repeat=3)))
            assert max(map(abs, (0, *found))) > 11 or cost(found) == pytest.approx(least)
        for index, by in itertools.product(range(3), (-1, 1)):
            other = [*found, 0, 0, 0][:3]
            other[index] += by
            assert cost(found) <= cost(tuple(other)) + 1e-6


def test_factors_are_bounded() -> None:
    many = np.eye(WAYS, dtype=np.float32)
    assert worthwhile(many, np.zeros(WAYS, np.float32), 1e6) == ()
    assert worthwhile(0 * many, np.ones(WAYS, np.float32), 1e6) == ()
    largest = worthwhile(many, np.full(WAYS, 1e4, np.float32), 1e6)
    assert set(largest) == {LARGEST_FACTOR}
    assert sum(map(factor_bits, largest)) <= FACTOR_DIGITS < 14 * (len(largest) + 1)
    assert Settings(1, 2, largest) == settings_of(Settings(1, 2, largest).params)
    assert worthwhile(many, np.full(WAYS, -1e4, np.float32), 1e6)[0] == -LARGEST_FACTOR


# How files tell them.


def settings_of(params: tuple[int, ...]) -> Settings:
    header = Header(
        width=9,
        height=9,
        patch=128,
        pad_top=0,
        pad_left=0,
        pad_mode=0,  # type: ignore[arg-type]
        colour=2,  # type: ignore[arg-type]
        depth=8,
        model="bitplane_256",
        fingerprint=bytes(8),
        channels=256,
        side=8,
        segment_rows=8,
        segment_columns=8,
        params=params,
    )
    return Settings.of(header)


factors_of_files = st.lists(
    st.integers(-LARGEST_FACTOR, LARGEST_FACTOR) | st.integers(-2, 2), max_size=28
)


@given(factors_of_files)
def test_factors_come_back(drawn: list[int]) -> None:
    factors = tuple(drawn)
    while factors and factors[-1] == 0:
        factors = factors[:-1]
    params = write_factors(factors)
    assert read_factors(params) == factors
    assert all(0 <= param < 1 << 28 for param in params) and (not params or params[-1])
    assert len(params) <= math.ceil(sum(map(factor_bits, factors)) / 28)
    assert settings_of((5, 0, *params)) == Settings(5, 0, factors)
    assert independent_factors.factors((5, 0, *params)) == drawn[: len(factors)]


@given(st.lists(st.integers(0, 2**29), min_size=1, max_size=14))
def test_numbers_are_factors_to_both_readers_or_to_none(params: list[int]) -> None:
    try:
        known = settings_of((5, 0, *params)).factors
        assert Settings(5, 0, known).params == (5, 0, *params)
    except Damaged:
        known = None
    try:
        found = tuple(independent_factors.factors((5, 0, *params)))
    except ValueError:
        found = None
    assert found == known or (known is not None and len(known) > WAYS)


@pytest.mark.parametrize("params", [(0,), (1,), (2, 0), (1 << 28,), (128,), (1 << 27, 1 << 20)])
def test_wrong_factors_are_refused(params: tuple[int, ...]) -> None:
    with pytest.raises(Damaged, match="parameters that bitplane_256 does not know"):
        settings_of((5, 0, *params))


def test_a_file_of_more_ways_is_refused(codec: Codec, scene: NDArray[np.uint8]) -> None:
    header = codec.header(api.to_picture(scene))
    for count in (WAYS, WAYS + 1):
        factors = (0,) * (count - 1) + (1,)
        header = replace(header, params=Settings(5, 0, factors).params)
        if count == WAYS:
            codec.engine.check(header)
        else:
            with pytest.raises(Damaged, match="more parameters than bitplane_256 knows"):
                codec.engine.check(header)


# What comes of them.


@pytest.mark.parametrize("effort", [2, 4])
def test_a_file_with_its_filter_is_better(
    codec: Codec, scene: NDArray[np.uint8], effort: int
) -> None:
    data = codec.compress(scene, quality=80, effort=effort)
    settings = Settings.of(header_of(data))
    assert settings.factors
    engine, header = codec.engine, header_of(data)
    middles, _ = engine.read(Reader(io.BytesIO(data)), None, [0], 4)
    whole = Tile(0, 0, *header.grid)
    errors = []
    for one in (settings, Settings(settings.step)):
        pixels = engine.pixels(middles, header, whole, one)
        errors.append(float(np.square(pixels.astype(float) - scene).sum()))
    assert np.array_equal(engine.pixels(middles, header, whole, settings), codec.decompress(data))
    bits = sum(map(factor_bits, settings.factors))
    assert worth(settings.step) * (errors[1] - errors[0]) > bits
    found = Variation(engine.transform, middles // 2, scene, header, settings.step)
    assert found.settings == settings
    found.look(0 * middles, 0)
    assert found.settings != settings
    found.look(middles // 2, 0)
    assert found.settings == settings


@pytest.mark.parametrize(
    ("rounds", "few", "stride"), [(0, 0, 2), (4, 0, 2), (48, 0, 1), (0, 1 << 17, 1)]
)
def test_some_pixels_stand_for_all_where_there_are_many(
    codec: Codec,
    scene: NDArray[np.uint8],
    monkeypatch: pytest.MonkeyPatch,
    rounds: int,
    few: int,
    stride: int,
) -> None:
    monkeypatch.setattr("nncodec.decisions.FEW", few)
    monkeypatch.setattr("nncodec.decisions.refine", lambda planes, latent, variation, *_: variation)
    engine, header = codec.engine, codec.header(api.to_picture(scene))
    latent = engine.transform.analyse(scene, header)
    args = (engine.transform, engine.planes, latent, scene, header, STEP)
    found = decide(*args, Effort(False, rounds))
    due = Variation(
        engine.transform, engine.transform.quantise(latent, STEP), scene, header, STEP, stride
    )
    assert found.settings == due.settings
    if rounds:
        assert found.latent.stride == stride
    whole = Tile(0, 0, *header.grid)
    every, some = (
        engine.transform.moments(
            engine.transform.quantise(latent, STEP), header, whole, STEP, scene, by
        )
        for by in (1, 2)
    )
    assert float(some.error) == pytest.approx(float(every.error), rel=0.05)


def test_the_lowest_effort_has_none(codec: Codec, scene: NDArray[np.uint8]) -> None:
    assert len(header_of(codec.compress(scene, quality=80, effort=1)).params) == 2


def test_the_first_stages_keep_the_filter(codec: Codec, scene: NDArray[np.uint8]) -> None:
    data = codec.compress(scene, quality=80, stages=3)
    less = first_stages(Reader(io.BytesIO(data)), 1)
    settings = Settings.of(header_of(data))
    assert settings.factors
    assert Settings.of(header_of(less)) == replace(settings, last=2)
    due = codec.decompress_from(Reader(io.BytesIO(data)), stages=1).pixels
    assert (codec.decompress_from(Reader(io.BytesIO(less))).pixels == due).all()


def test_latents_have_the_filters_of_files(bitplane: Path, scene: NDArray[np.uint8]) -> None:
    codec = Codec(weights=bitplane, device="cpu")
    batch = torch.from_numpy(np.stack([scene, scene[::-1]])).permute(0, 3, 1, 2).float() / 255
    latents = encode_latents(batch, weights=bitplane, device="cpu", quality=80)
    pictures = decode_latents(latents, weights=bitplane, device="cpu")
    for image, factors, picture in zip(batch, latents.factors, pictures, strict=True):
        pixels = (image * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
        data = codec.compress(np.ascontiguousarray(pixels), quality=80)
        assert factors == Settings.of(header_of(data)).factors != ()
        decoded = np.asarray(codec.decompress(data)).astype(int)
        assert np.abs((picture * 255).permute(1, 2, 0).numpy() - decoded).max() <= 1.01
    plain = decode_latents(replace(latents, factors=()), weights=bitplane, device="cpu")
    assert not plain.equal(pictures)
    for wrong, message in (
        (latents.factors[:1], "2 pictures have not 1 filters"),
        (((64,), ()), "a filter has up to 64 factors up to 63"),
        (((1,) * 65, ()), "a filter has up to 64 factors up to 63"),
    ):
        with pytest.raises(NncodecError, match=message):
            decode_latents(replace(latents, factors=wrong), weights=bitplane, device="cpu")
