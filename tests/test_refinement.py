"""Efforts: an encoder's decisions make files smaller and pictures better, for the same decoder."""

import io
import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import Result
from numpy.typing import NDArray
from PIL import Image

from nncodec import Codec, api
from nncodec.decisions import decide
from nncodec.formats.cae import Header, Reader, Tile
from nncodec.formats.errors import NncodecError
from nncodec.formats.stages import Settings
from nncodec.models.bitplane import trade_off
from nncodec.rate import EFFORTS, Effort, step_of
from nncodec.refinement import (
    CALM,
    FINE,
    MORE,
    RATE,
    USUAL,
    WILD,
    around,
    dearer,
    error_slopes,
    overlap,
    paces,
    refine,
    rise,
    tame,
    usual_slopes,
)
from nncodec.variable_transform import level_of
from nncodec.variation import Variation

Run = Callable[..., Result]
STEP = 640
SETTINGS = Settings(STEP)


@pytest.fixture(scope="module")
def codec(bitplane: Path) -> Codec:
    return Codec(weights=bitplane, device="cpu")


def latent_of(codec: Codec, pixels: NDArray[np.uint8]) -> tuple[Header, Any]:
    header = codec.header(api.to_picture(pixels))
    return header, codec.engine.transform.analyse(pixels, header)


def cost(codec: Codec, data: bytes, pixels: NDArray[np.uint8]) -> float:
    """What the weights were trained for: bits per pixel and weighted error."""
    decoded = np.asarray(codec.decompress(data)).astype(float)
    step = Reader(io.BytesIO(data)).header.params[0]
    rate = 8 * len(data) / (pixels.shape[0] * pixels.shape[1])
    return rate + float(trade_off(level_of(step))) * float(np.square(decoded - pixels).mean())


def test_slopes_are_those_of_the_squared_error(
    codec: Codec, scene: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Along a random direction, and whatever tiles they are computed in."""
    header, latent = latent_of(codec, scene)
    transform = codec.engine.transform
    monkeypatch.setattr(transform, "bf16", False)
    chosen = transform.quantise(latent, STEP)
    whole = Tile(0, 0, *header.grid)
    slopes, missed = error_slopes(transform, chosen, scene, header, whole, SETTINGS)
    with monkeypatch.context() as patch:
        patch.setattr(transform, "bf16", True)
        rough, _ = error_slopes(transform, chosen, scene, header, whole, SETTINGS)
    assert 0 < np.abs(rough - slopes).mean() < 0.03 * np.abs(slopes).mean()
    monkeypatch.setattr("nncodec.refinement.TILE", 1)
    tiled, tiles_missed = error_slopes(transform, chosen, scene, header, whole, SETTINGS)
    assert np.abs(tiled - slopes).max() < 1e-4 * np.abs(slopes).max()
    assert tiles_missed == pytest.approx(missed, rel=1e-3)
    decoded = transform.rough_errors(chosen, header, whole, SETTINGS, scene)
    assert missed.sum() == pytest.approx(decoded.sum(), rel=0.02)  # less the rounding of pixels
    assert decoded.sum() == transform.squared_error(chosen, header, SETTINGS, scene)
    with monkeypatch.context() as patch:
        patch.setattr(transform, "bf16", True)
        rough_errors = transform.rough_errors(chosen, header, whole, SETTINGS, scene)
    assert 0 < np.abs(rough_errors - decoded).mean() < 0.1 * decoded.mean()
    assert np.corrcoef(missed.ravel(), decoded.ravel())[0, 1] > 0.999

    direction = np.random.default_rng(0).standard_normal(chosen.shape).astype(np.float32)

    def error(way: float) -> float:
        values = torch.from_numpy(chosen + way * direction)
        with torch.inference_mode():
            found = transform._output(values, SETTINGS)[: scene.shape[0], : scene.shape[1]]
        return float((found.double().clamp(0, 255) - torch.tensor(scene)).square().sum())

    measured = (error(0.01) - error(-0.01)) / 0.02
    assert measured == pytest.approx(float((slopes * direction).sum()), rel=0.02)


@pytest.mark.parametrize("rounds", [1, 6])
def test_nothing_becomes_wild(
    codec: Codec, scene: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch, rounds: int
) -> None:
    """Where refining went much too far, it is rounded again, and only around there."""
    header, latent = latent_of(codec, scene)
    transform, planes = codec.engine.transform, codec.engine.planes
    whole = Tile(0, 0, *header.grid)
    rounded = transform.quantise(latent, STEP)
    first = transform.rough_errors(rounded, header, whole, SETTINGS, scene)
    bound = 1.1 * WILD * np.maximum(first, first.mean())  # as it is known but roughly
    calm = rise

    def rising(more: NDArray[np.float32], values: NDArray[np.float32]) -> NDArray[np.float32]:
        found = calm(more, values)
        found[2:4, 3:5] = -1e9
        return found

    monkeypatch.setattr("nncodec.refinement.rise", rising)
    monkeypatch.setattr("nncodec.refinement.usual_slopes", lambda slopes: usual_slopes(slopes[5:]))
    monkeypatch.setattr("nncodec.refinement.LONGEST", 20.0)

    def found() -> tuple[NDArray[np.int16], NDArray[np.float64]]:
        variation = Variation(transform, rounded, scene, header, STEP)
        chosen = refine(planes, latent, variation, rounds)
        return chosen, transform.rough_errors(chosen, header, whole, SETTINGS, scene)

    chosen, after = found()
    assert (after <= bound).all()
    assert (chosen[2:4, 3:5] == rounded[2:4, 3:5]).all()
    assert (chosen != rounded)[:, 13:].any()
    monkeypatch.setattr("nncodec.refinement.tame", lambda *_: None)
    monkeypatch.setattr("nncodec.refinement.WILD", math.inf)
    _, after = found()
    assert (after > bound).any()


def test_all_is_rounded_again_if_need_be(codec: Codec, scene: NDArray[np.uint8]) -> None:
    """Also where rounding itself is beyond the bound: then nothing is left to be done."""
    header, latent = latent_of(codec, scene)
    transform = codec.engine.transform
    rounded = transform.quantise(latent, STEP)
    chosen = rounded + np.int16(1)
    bound = np.full(chosen.shape[:2], -1, np.float32)
    whole = Tile(0, 0, *header.grid)
    tame(transform, chosen, rounded, scene, header, whole, SETTINGS, bound)
    assert (chosen == rounded).all()


def test_places_around_are_those_within_reach() -> None:
    places = np.zeros((6, 9), bool)
    places[1, 7] = True
    rows, columns = np.indices(places.shape)
    near = np.maximum(np.abs(rows - 1), np.abs(columns - 7))
    for reach in (0, 2, 20):
        assert (around(places, reach) == (near <= reach)).all()


def test_usual_slopes_are_root_mean_squares() -> None:
    slopes = np.zeros((2, 3, 4), np.float32)
    slopes[..., 0], slopes[..., 1] = 5, [[3, -4, 0], [0, 4, -3]]
    slopes[0, 0, 2] = 0.1
    mean = (25 + 50 / 6 + 0.01 / 6) / 4
    least = math.sqrt(mean / 1000)  # what a channel counts as that hardly has any
    assert usual_slopes(slopes).tolist() == pytest.approx([5, math.sqrt(50 / 6), least, least])
    assert (usual_slopes(np.zeros((1, 1, 3), np.float32)) > 0).all()


def test_the_pace_is_that_of_the_rounds_and_of_the_step() -> None:
    coarse, fine = step_of(10), step_of(95)
    assert paces(coarse, 0) == []
    assert paces(coarse, 1) == pytest.approx([RATE])
    first = RATE * 24**MORE
    assert 1.5 * RATE < first < 2.5 * RATE
    assert paces(coarse, 24)[0] == pytest.approx(first)
    assert paces(coarse, 24)[12] == pytest.approx(first * 0.5 ** (CALM[0] + 24 * CALM[1]))
    ratios = [after / before for before, after in pairwise(paces(coarse, 24))]
    assert ratios == sorted(ratios, reverse=True) and ratios[0] < 0.7 and ratios[-1] < 0.01
    level, growth = FINE
    faster = math.exp(growth * (level - float(level_of(fine))))
    assert faster > 2
    assert paces(fine, 16) == pytest.approx([faster * rate for rate in paces(coarse, 16)])


@pytest.mark.parametrize("quality", [10, 60])
def test_flat_pictures_are_left_alone(quality: float) -> None:
    """Where rounding makes hardly any error, bits alone do not pull a latent to pieces."""
    codec = Codec(device="cpu")
    for colour in ((128, 128, 128), (0, 0, 0), (200, 30, 30)):
        flat = np.full((150, 200, 3), colour, np.uint8)
        plain, refined, most = (
            cost(codec, codec.compress(flat, quality=quality, effort=effort), flat)
            for effort in (2, 5, 9)
        )
        assert refined < 1.03 * plain
        assert most < 1.03 * plain


def test_tolls_are_what_coding_costs(codec: Codec, scene: NDArray[np.uint8]) -> None:
    """The chances behind them foretell the last plane's bytes."""
    _, latent = latent_of(codec, scene)
    planes = codec.engine.planes
    chosen = codec.engine.transform.quantise(latent, STEP)
    significant, sign, refine = planes.chances(chosen, 0, STEP).astype(float) / 2**16
    coded = planes.predicted(chosen)
    size, active = np.abs(coded), np.abs(coded).max((0, 1)) > 0

    def bits(chance: NDArray[np.float64], digit: Any, asked: Any) -> float:
        return float(-np.log2(np.where(digit, chance, 1 - chance))[asked & active].sum())

    total = bits(significant, size == 1, size < 2) + bits(sign, coded > 0, size == 1)
    total += bits(refine, size % 2 == 1, size >= 2)
    payload = planes.encode(chosen, STEP, 2)[-1]
    assert 8 * len(payload) == pytest.approx(total, abs=40)

    more = dearer(planes, chosen, STEP)
    means = planes.pyramid.means
    assert means.any() and not more[..., means].any()
    two = planes.chances(chosen, 1, STEP)[0] / 2**16
    up = np.where(chosen < 0, 1 - sign, sign)
    small, large = (size < 2) & ~means, (size > 1) & ~means
    assert small.any() and (large & (size > 3)).any()
    odds = [np.log2(1 / chance - 1) for chance in (significant, two, refine)]
    exact = pytest.approx
    assert more[0][small] == exact((odds[0] - np.log2(up))[small], abs=1e-3)
    second = odds[1] + np.log2(significant) - math.log2(1 - USUAL)
    assert more[1][small] == exact(second[small], abs=1e-3)
    assert more[2][large] == exact(odds[2][large], abs=1e-3)
    assert more[2][small] == exact(math.log2(1 / USUAL - 1))
    # of a Laplacian, P(2 or more) is P(1 or more) cubed: 1 of those below 2 is what is left
    some = np.cbrt(two)
    one = (some - two) / (1 - two)
    assert more[0][large] == exact((1 + np.log2(1 / one - 1))[large], abs=1e-3)
    second = odds[1] + np.log2(one) - np.log2(1 - refine)
    assert more[1][large] == exact(second[large], abs=1e-3)


def test_what_the_next_integer_costs() -> None:
    """Between two integers, whatever the sign. Large ones stay on their side of where not known."""
    values = np.array([0, 0.4, -0.9, 1.1, -2.5, 4, -4.6, 3.2, -5.4, 3.9, -7.8], np.float32)
    for last in (3, -3):
        more = np.broadcast_to(np.array([1, -2, last], np.float32)[:, None], (3, len(values)))
        found = rise(more[:, None, None], values[None, None])[0, 0].tolist()
        assert found == [1, 1, 1, -2, last, last, last, 3, 3, -3, -3]


def test_more_effort_costs_less(scene: NDArray[np.uint8]) -> None:
    """With the weights that ship: each level is better than the one before, or nearly."""
    codec = Codec(device="cpu")
    costs = [
        cost(codec, codec.compress(scene, quality=60, effort=effort), scene)
        for effort in (1, 3, 5, 9)
    ]
    assert all(after < 1.003 * before for before, after in pairwise(costs))
    assert costs[2] < 0.98 * costs[0]


def test_the_lowest_efforts_are_plain_rounding(codec: Codec, scene: NDArray[np.uint8]) -> None:
    header, latent = latent_of(codec, scene)
    engine = codec.engine
    args = (engine.transform, engine.planes, latent, scene, header, STEP)
    rounded = engine.transform.quantise(latent, STEP)
    chosen, settings = decide(*args, Effort(True, 0))
    assert (chosen == rounded).all() and settings == SETTINGS
    chosen, settings = decide(*args, Effort(False, 0))
    assert (chosen == rounded).all() and settings.factors
    told: list[float] = []
    refined, _ = decide(*args, Effort(False, 2), told.append)
    changed = refined != rounded
    assert 0.001 < changed.mean() < 0.2
    assert (np.abs(refined.astype(int) - rounded)[changed] == 1).all()
    assert sum(told) == 2 * header.grid[0] * header.grid[1]


@pytest.mark.parametrize("effort", [2, 6])
def test_targets_are_met(codec: Codec, lake: Image.Image, effort: int) -> None:
    soft = lake.crop((250, 150, 290, 180)).resize((200, 150), Image.Resampling.BICUBIC)
    scene = np.asarray(soft)  # the small model can show it
    data = codec.compress(scene, size=1200, effort=effort)
    assert 0.97 * 1200 <= len(data) <= 1200
    data = codec.compress(scene, psnr=28, effort=effort)
    decoded = np.asarray(codec.decompress(data)).astype(float)
    found = 10 * math.log10(255**2 / np.square(decoded - scene).mean())
    assert 28 <= found < 28.1


def test_several_segments(codec: Codec, lake: Image.Image, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is refined beside its neighbours; together they cost what the whole would."""
    pixels = np.asarray(lake.crop((0, 0, 300, 280)))
    whole = cost(codec, codec.compress(pixels, effort=5), pixels)
    plain = cost(codec, codec.compress(pixels, effort=1), pixels)
    monkeypatch.setattr(api, "SEGMENT", 1)
    parts = cost(codec, codec.compress(pixels, effort=5), pixels)
    plain_parts = cost(codec, codec.compress(pixels, effort=1), pixels)
    assert parts - plain_parts == pytest.approx(whole - plain, rel=0.15)


def test_overlap() -> None:
    assert overlap(slice(4, 9), slice(2, 7)) == (slice(0, 3), slice(2, 5))
    assert overlap(slice(2, 7), slice(0, 20)) == (slice(0, 5), slice(2, 7))


def test_efforts_that_are_none(codec: Codec, scene: NDArray[np.uint8]) -> None:
    for effort in (0, len(EFFORTS) + 1):
        with pytest.raises(NncodecError, match=f"^an effort is from 1 to 9, not {effort}"):
            codec.compress(scene, effort=effort)
    with pytest.raises(NncodecError, match="has one rate, one stage and one effort"):
        Codec("cae_16x8x8_zero_pad_bin", "cpu").compress(scene, effort=5)


def test_the_command_line(
    bitplane: Path, codec: Codec, scene: NDArray[np.uint8], nncodec: Run, folder: Path
) -> None:
    Image.fromarray(scene).save(folder / "scene.png")
    command = ["compress", folder / "scene.png", folder / "a.cae", "-e"]
    nncodec(*command, "2", "--weights", bitplane)
    assert (folder / "a.cae").read_bytes() == codec.compress(scene, effort=2)
    for effort in ("0", "10", "x"):
        nncodec(*command, effort, status=2)
