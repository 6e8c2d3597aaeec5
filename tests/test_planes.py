"""The plane model: exact, stage by stage, whatever it is given."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from carriers import CARRIERS
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from nncodec.entropy import planes
from nncodec.entropy.board import Board
from nncodec.entropy.digits import LARGEST as LARGEST_MEAN
from nncodec.entropy.digits import MAX_TOP, Latent, Partial
from nncodec.entropy.network import TOP
from nncodec.entropy.plane_network import (
    DECISIONS,
    LARGEST,
    LARGEST_FORECAST,
    LATE,
    OWN_SHIFT,
    PER_OCTAVE,
    PHASES,
    REFINE,
    SIGN,
    SIGNIFICANT,
    SITUATIONS,
    TENT,
    TRUST_SHIFT,
    TURNS,
    WEIGHT,
    PlaneNetwork,
    chequer,
    situation,
)
from nncodec.entropy.plane_view import View
from nncodec.entropy.planes import PlaneModel
from nncodec.entropy.products import wide
from nncodec.entropy.weights import build_planes
from nncodec.formats.errors import DamagedChunk, WeightsError

LARGEST_VALUE = 2**MAX_TOP - 1
Made = Callable[..., dict[str, Tensor]]
Cube = list[list[list[int]]]


@pytest.fixture(scope="module")
def models(plane_tensors: Made) -> dict[int, PlaneModel]:
    return {channels: PlaneModel(plane_tensors(channels), channels) for channels in (1, 2, 5)}


@pytest.fixture
def restored() -> Iterator[None]:
    """A process whose threads are afterwards as many as they were."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def random_latent(rng: np.random.Generator, height: int, width: int, channels: int) -> Latent:
    """Mostly small numbers; channels of very different sizes, some all zero."""
    scale = rng.choice([0, 0.5, 2, 30, 1000, 20_000], channels)
    values = rng.laplace(size=(height, width, channels)) * scale
    most = np.where(np.arange(channels) % 4 == 1, LARGEST_MEAN, LARGEST_VALUE)
    return np.rint(values).clip(-most, most).astype(np.int16)


@st.composite
def latents(draw: st.DrawFn) -> Latent:
    side = st.one_of(st.just(1), st.integers(1, 9))
    shape = draw(side), draw(side), draw(st.sampled_from([1, 2, 5]))
    return random_latent(np.random.default_rng(draw(st.integers(0, 2**32 - 1))), *shape)


def cut(latent: Latent, last: int) -> Latent:
    """What the planes down to ``last`` tell of a latent, in units of 2^last."""
    return np.sign(latent) * (np.abs(latent) >> last)


def decoded(model: PlaneModel, payloads: list[bytes], latent: Latent, step: int) -> Partial:
    known = Partial.nothing(*latent.shape)
    for stage, payload in enumerate(payloads):
        last = len(payloads) - 1 - stage
        known = model.decode(payload, known, step, last, "the payload")
        assert known.stages == stage + 1
        assert known.coded.dtype == np.int16
        assert (known.coded == cut(model.predicted(latent), last)).all()
    return known


@settings(deadline=None, max_examples=40)
@given(latents(), st.integers(0, 16 * PER_OCTAVE - 1), st.integers(1, MAX_TOP))
def test_every_stage_is_the_latent_cut_off_at_a_plane(
    models: dict[int, PlaneModel], latent: Latent, step: int, stages: int
) -> None:
    model = models[latent.shape[2]]
    payloads = model.encode(latent, step, stages)
    assert len(payloads) == stages
    known = decoded(model, payloads, latent, step)
    assert (model.restored(2 * known.coded, 2) == 2 * latent).all()
    tops = [int(largest).bit_length() for largest in np.abs(known.coded).max((0, 1))]
    assert known.tops.tolist() == tops


@pytest.mark.parametrize("value", [0, 1, -1, LARGEST_VALUE, -LARGEST_VALUE])
def test_one_number(models: dict[int, PlaneModel], value: int) -> None:
    latent = np.full((1, 1, 1), value, np.int16)
    decoded(models[1], models[1].encode(latent, 500, 4), latent, 500)


def test_nothing_costs_next_to_nothing(models: dict[int, PlaneModel]) -> None:
    latent = np.zeros((40, 40, 5), np.int16)
    first, *others = models[5].encode(latent, 500, 4)
    assert len(first) <= 2 and others == [b"", b"", b""]


def test_the_bytes_do_not_depend_on_how_numbers_lie_in_memory(
    models: dict[int, PlaneModel],
) -> None:
    latent = random_latent(np.random.default_rng(3), 7, 6, 5)
    turned = np.ascontiguousarray(latent.transpose(2, 0, 1)).transpose(1, 2, 0)
    assert models[5].encode(turned, 700, 3) == models[5].encode(latent, 700, 3)


@pytest.mark.usefixtures("restored")
def test_threads_and_carriers_do_not_matter(plane_tensors: Made) -> None:
    tensors = plane_tensors(40)
    latent = random_latent(np.random.default_rng(1), 32, 30, 40)
    expected = PlaneModel(tensors, 40).encode(latent, 600, 3)
    assert sum(map(len, expected)) > 5_000
    for threads in (1, 2):
        torch.set_num_threads(threads)
        for dtype in CARRIERS:
            model = PlaneModel(tensors, 40, dtype=dtype)
            assert model.encode(latent, 600, 3) == expected
        decoded(PlaneModel(tensors, 40), expected, latent, 600)


@pytest.mark.parametrize("precision", ["high", "medium"])
def test_the_precision_of_a_program_around_does_not_matter(
    plane_tensors: Made, precision: str
) -> None:
    model = PlaneModel(plane_tensors(40), 40)
    latent = random_latent(np.random.default_rng(1), 32, 30, 40)
    expected = model.encode(latent, 600, 3)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        with torch.autocast("cpu", torch.bfloat16):
            assert model.encode(latent, 600, 3) == expected
    finally:
        torch.set_float32_matmul_precision(before)


def test_a_mean_is_coded_as_what_others_do_not_tell(plane_tensors: Made) -> None:
    tensors = plane_tensors(2)
    latent = np.zeros((20, 30, 2), np.int16)
    latent[...] = (40 + 3 * np.arange(30))[:, np.newaxis]  # a slope along the rows
    nobody, no_slopes = (torch.zeros(size, dtype=torch.int16) for size in ((0,), (2, 2, 1, 4)))
    sizes = []
    for which in (0, 1):
        tensors |= {"means": torch.arange(2) == which, "others": nobody, "slopes": no_slopes}
        model = PlaneModel(tensors, 2)
        coded = model.predicted(latent)
        assert (coded[..., 1 - which] == latent[..., 1 - which]).all()
        assert np.count_nonzero(coded[..., which]) < 60  # of 600
        assert (model.restored(coded, 1) == latent).all()
        (payload,) = model.encode(latent, 600, 1)
        decoded(model, [payload], latent, 600)
        sizes.append(len(payload))
    tensors |= {"means": torch.zeros(2, dtype=torch.bool), "slopes": no_slopes[:, :, :0]}
    (payload,) = PlaneModel(tensors, 2).encode(latent, 600, 1)
    assert max(sizes) < 0.7 * len(payload)


def test_what_is_made_up_is_restored_within_what_an_element_holds(
    models: dict[int, PlaneModel],
) -> None:
    found = np.full((17, 17, 5), 2 * (2**MAX_TOP - 1), np.int16)
    assert models[5].restored(found, 2).max() == np.iinfo(np.int16).max
    assert models[5].restored(-found, 2).min() == -np.iinfo(np.int16).max


# What a network may see.


Evaluation = tuple[list[int], NDArray[np.float32], int, list[int]]


@pytest.fixture
def evaluations(monkeypatch: pytest.MonkeyPatch) -> list[Evaluation]:
    """Notes what every evaluation of the network is given: channels, middles, colour, situation."""
    noted: list[Evaluation] = []

    class Noting(View):
        def __init__(
            self, network: PlaneNetwork, board: Board, active: Any, middles: Any, plane: int
        ) -> None:
            super().__init__(network, board, active, middles, plane)
            self.active = active.tolist()

        def __call__(self, colour: int, at: Tensor) -> Iterator[tuple[slice, Tensor]]:
            seen = self._board.gather(self._middle.numpy()).copy()
            noted.append((self.active, seen, colour, at.tolist()))
            return super().__call__(colour, at)

    monkeypatch.setattr(planes, "View", Noting)
    return noted


def test_no_evaluation_sees_what_is_decoded_later(
    plane_tensors: Made, evaluations: list[Evaluation]
) -> None:
    channels, step, stages = 6, 640, 3
    latent = random_latent(np.random.default_rng(8), 6, 5, channels)
    latent[..., 0] = 0
    model = PlaneModel(plane_tensors(channels), channels)
    payloads = model.encode(latent, step, stages)
    coded = model.predicted(latent)
    tops = np.array([int(top).bit_length() for top in np.abs(coded).max((0, 1))])
    assert len(evaluations) == PHASES * tops.max()
    turns = [TURNS] * LATE + [1] * MAX_TOP
    for number, (active, seen, colour, at) in enumerate(evaluations):
        plane, phase = tops.max() - 1 - number // PHASES, number % PHASES
        ranks = sorted(np.flatnonzero(tops > plane), key=lambda c: (c % turns[plane], -tops[c]))
        assert active == ranks
        assert colour == phase
        done = chequer(6, 5, 0)[..., None] & (phase == 1)
        mine = np.abs(coded[..., active].astype(int))
        coarse, fine = mine >> (plane + 1), mine >> plane
        middle = np.where(done, 2 * fine + (fine > 0), 2 * (2 * coarse + (coarse > 0)))
        assert (seen == middle * np.sign(coded[..., active])).all()
        assert at == situation(step, plane, phase).tolist()
    encoded = [*evaluations]
    evaluations.clear()
    decoded(model, payloads, latent, step)
    for (*mine, where, a), (*theirs, there, b) in zip(encoded, evaluations, strict=True):
        assert (where, a, mine[0]) == (there, b, theirs[0])
        assert mine[1].tolist() == theirs[1].tolist()


@pytest.mark.usefixtures("restored")
def test_threads_stay_as_many_and_make_the_same(models: dict[int, PlaneModel]) -> None:
    latent = random_latent(np.random.default_rng(4), 9, 8, 5)
    payloads, left = [], []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        payloads.append(models[5].encode(latent, 640, 4))
        left.append(torch.get_num_threads())
    assert payloads[0] == payloads[1] == payloads[2] and left == [1, 2, 3]


def test_the_last_plane_costs_what_it_is_coded_to(models: dict[int, PlaneModel]) -> None:
    latent = np.rint(np.random.default_rng(2).laplace(size=(30, 31, 5)) * 3).astype(np.int16)
    chances = models[5].chances(latent, 0, 640)
    assert chances.shape == (DECISIONS, *latent.shape) and chances.dtype == np.uint16
    coded = models[5].predicted(latent)
    size = np.abs(coded)
    new, old = size == 1, size > 1
    spent = np.where(old, cost(chances[REFINE], size % 2 > 0), cost(chances[SIGNIFICANT], new))
    spent += np.where(new, cost(chances[SIGN], coded > 0), 0)
    due = models[5].encode(latent, 640, 2)[1]
    assert spent.sum() / 8 == pytest.approx(len(due), abs=5)


def cost(chances: NDArray[np.uint16], bits: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Bits that a decision costs, its chance being out of 2^16."""
    ones = chances / 2**16
    return -np.log2(np.where(bits, ones, 1 - ones))


def test_a_situation_lies_between_two_supporting_points() -> None:
    for step in range(0, 16 * PER_OCTAVE, 37):
        for plane in range(MAX_TOP):
            for phase in range(PHASES):
                vector = situation(step, plane, phase)
                points, classes, phases = vector.split([SITUATIONS - 5, 3, 2])
                assert points.sum() == classes.sum() == phases.sum() == WEIGHT
                assert points.min() >= 0 and points.count_nonzero() <= 2
                threshold = (step + PER_OCTAVE * plane) / TENT
                if threshold < SITUATIONS - 6:
                    place = points @ torch.arange(SITUATIONS - 5) / WEIGHT
                    assert 0 <= threshold - place < 1 / WEIGHT
                assert classes[min(plane, 2)] == phases[phase] == WEIGHT


# The network against Python's own integers.


def reference(
    tensors: dict[str, Tensor],
    size: Cube,
    sign: Cube,
    done: list[list[bool]],
    later: Cube,
    at: list[int],
    turns: int,
) -> Cube:
    """The outputs of the network at all positions, (h, w, 3 * C), of all channels.

    ``later`` (h, w, C) are the middles that are known when the next of so many ``turns`` come.
    """
    height, width, channels = len(size), len(size[0]), len(size[0][0])

    def clip(x: int, bound: int) -> int:
        return min(max(x, -bound), bound)

    def logarithm(u: int) -> int:
        return max(n for n in range(30) if 2 * (1 + u) ** 8 >= 4**n)

    def around(y: int, x: int, places: list[tuple[int, int]]) -> Iterator[tuple[int, int, int]]:
        for number, (i, j) in enumerate(places):
            if 0 <= y + i < height and 0 <= x + j < width:
                yield number, y + i, x + j

    square = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
    cross = [(-1, 0), (1, 0), (0, -1), (0, 1)]
    places = [(y, x) for y in range(height) for x in range(width)]
    exact = [[[0] * channels for _ in range(width)] for _ in range(height)]
    for y, x in places:
        for c in range(channels):
            unit = 2 * size[y][x][c] + 1 if done[y][x] else 4 * size[y][x][c] + 2
            exact[y][x][c] = unit * sign[y][x][c]

    def features(middles: Cube) -> tuple[Cube, Cube]:
        values = [[[clip(v, LARGEST["value"]) for v in row] for row in line] for line in middles]
        sizes = [[[logarithm(min(abs(v), 63)) for v in row] for row in line] for line in middles]
        return values, sizes

    def side_by_side(values: Cube, sizes: Cube) -> Cube:
        return [[values[y][x] + sizes[y][x] for x in range(width)] for y in range(height)]

    values, sizes = features(exact)
    state = side_by_side(values, sizes)
    count = sum(key.endswith(".shift") and key[0].isdigit() for key in tensors)

    def layer(name: str, state: Cube, *, last: bool) -> Cube:
        weight, biases, shift, skip = (
            tensors[f"{name}.{part}"].tolist() for part in ("weight", "bias", "shift", "skip")
        )
        near = square if len(weight[0][0]) == 3 else [(0, 0)]
        after = [[[0] * len(weight) for _ in range(width)] for _ in range(height)]
        for y, x in places:
            for o, plane in enumerate(weight):
                total = sum(a * bias[o] for a, bias in zip(at, biases, strict=True))
                total += (1 << shift[o]) >> 1
                for tap, v, u in around(y, x, near):
                    i, j = divmod(tap, len(plane[0]))
                    total += sum(plane[c][i][j] * state[v][u][c] for c in range(len(plane)))
                result = total >> shift[o]
                if not last:
                    result = min(max(result + (state[y][x][o] if skip else 0), 0), TOP)
                after[y][x][o] = result
        return after

    for number in range(count - 1):
        state = layer(str(number), state, last=False)
    said = []
    for turn in range(turns):
        heard = [[[v * (c % turns < turn) for c, v in enumerate(r)] for r in q] for q in later]
        told = layer("told", side_by_side(*features(heard)), last=True)
        added = [[[0] * len(told[0][0]) for _ in range(width)] for _ in range(height)]
        for y, x in places:
            sums = (a + b for a, b in zip(state[y][x], told[y][x], strict=True))
            added[y][x] = [min(max(total, 0), TOP) for total in sums]
        said.append(layer(str(count - 1), added, last=True))
    whose = [*range(channels)] * DECISIONS + [*range(channels)]  # decisions, then trust
    state = [
        [
            [said[c % turns][y][x][o] for o, c in enumerate(whose[: len(said[0][y][x])])]
            for x in range(width)
        ]
        for y in range(height)
    ]
    forecast = layer("forecast", values, last=True)
    for y, x in places:
        for c, foretold in enumerate(forecast[y][x]):
            trust = min(max(state[y][x][DECISIONS * channels + c], 0), TOP)
            told = clip(foretold, LARGEST_FORECAST) * trust
            state[y][x][SIGN * channels + c] += told >> TRUST_SHIFT
        del state[y][x][DECISIONS * channels :]
    own, ahead = tensors["own.weight"].tolist(), tensors["own.lead"].tolist()
    for y, x in places:
        for decision, source in enumerate((sizes, values, sizes)):
            for c in range(channels):
                middle = exact[y][x][c]
                lead = sum(exact[v][u][c] - middle for _, v, u in around(y, x, cross))
                total = clip(lead, LARGEST["lead"]) * ahead[decision][c]
                if decision == REFINE:
                    total *= sign[y][x][c]
                for tap, v, u in around(y, x, square):
                    total += own[decision][tap // 3][tap % 3][c] * source[v][u][c]
                state[y][x][decision * channels + c] += total >> OWN_SHIFT
    return state


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_the_network_is_python_s_integers(
    plane_tensors: Made,
    plane_outputs: Callable[..., Tensor],
    height: int,
    width: int,
    channels: int,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    tensors = plane_tensors(channels, seed)
    for number in range(3):
        tensors[f"{number}.bias"] *= int(rng.integers(1, 40))
    tensors["own.weight"] = torch.from_numpy(rng.integers(-127, 128, (3, 3, 3, channels)))
    active = np.flatnonzero(rng.permutation(channels) <= rng.integers(channels))
    size = np.rint(rng.exponential(rng.choice([1, 8]), (height, width, channels))).astype(int)
    sign = np.sign(size) * rng.choice([-1, 1], size.shape)
    later = np.rint(rng.laplace(size=size.shape) * 9).astype(int)
    others = np.setdiff1d(np.arange(channels), active)
    size[..., others] = sign[..., others] = later[..., others] = 0
    done, where = rng.random((2, height, width)) < 0.5
    where[rng.integers(height), rng.integers(width)] = True
    step, plane, phase = (int(x) for x in rng.integers(0, (2048, rng.choice([2, 13]), PHASES)))
    at = situation(step, plane, phase)
    expected = np.array(
        reference(
            tensors,
            *(x.tolist() for x in (size, sign, done, later, at)),
            turns=TURNS if plane < LATE else 1,
        )
    ).reshape(height, width, DECISIONS, channels)[where][..., active]
    for dtype in CARRIERS:
        outputs = plane_outputs(
            PlaneNetwork(tensors, channels, dtype=dtype),
            torch.from_numpy(size[..., active]),
            torch.from_numpy(sign[..., active]),
            done,
            torch.from_numpy(later[..., active]),
            where,
            torch.from_numpy(active),
            at,
            plane,
        )
        assert outputs.dtype == wide(dtype)
        assert outputs.tolist() == expected.tolist()


# Payloads that nobody has coded.


def check_made_up(model: PlaneModel, payload: bytes, shape: tuple[int, int, int]) -> bool:
    """Whether a first stage is sound; if so, it is what its latent is coded to."""
    try:
        known = model.decode(payload, Partial.nothing(*shape), 700, 1, "chunk 7")
    except DamagedChunk as error:
        assert str(error) == "damaged: chunk 7 holds bits that cannot have been coded"
        return False
    assert (np.abs(known.coded).astype(int) << 1 < 1 << known.tops.astype(int)).all()
    return True


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=40), st.sampled_from([(1, 1, 5), (4, 3, 5), (2, 2, 1)]))
def test_any_bytes_are_a_latent_or_damaged(
    models: dict[int, PlaneModel], payload: bytes, shape: tuple[int, int, int]
) -> None:
    check_made_up(models[shape[2]], payload, shape)


def test_flipped_bits_and_cuts_are_a_latent_or_damaged(models: dict[int, PlaneModel]) -> None:
    model = models[5]
    latent = random_latent(np.random.default_rng(5), 5, 5, 5)
    payload = model.encode(latent, 700, 2)[0]
    assert check_made_up(model, payload, (5, 5, 5))
    sound = []
    for place in range(0, len(payload), 11):
        flipped = bytearray(payload)
        flipped[place] ^= 1 << place % 8
        sound.append(check_made_up(model, bytes(flipped), (5, 5, 5)))
        assert not check_made_up(model, payload[:place] + bytes(1), (5, 5, 5))
    assert not check_made_up(model, payload + b"\1", (5, 5, 5))
    assert not all(sound)


# What is wrong with a plane model's file.


def test_the_tensors_as_they_are_fit(plane_tensors: Made) -> None:
    assert build_planes(plane_tensors(4), 4, "p.safetensors").network.channels == 4


@pytest.mark.parametrize(
    ("key", "tensor", "message"),
    [
        ("1.weight", None, "1.weight is missing"),
        ("own.lead", None, "own.lead is missing"),
        ("forecast.shift", None, "forecast.shift is missing"),
        ("forecast.weight", torch.zeros(2, 2, 3, 3), "forecast.weight is torch.float32"),
        ("forecast.weight", torch.zeros(2, 2, 5, 5, dtype=torch.int8), "the forecast's weight is"),
        (
            "forecast.weight",
            torch.zeros(2, 1, 3, 3, dtype=torch.int8),
            "layer forecast's weight is",
        ),
        ("forecast.bias", torch.zeros(64, 3, dtype=torch.int32), "layer forecast's bias is"),
        ("forecast.skip", torch.tensor(True), "forecast.skip is true, but nothing skips"),
        ("forecast.what", torch.tensor(1), "forecast.what has no place"),
        ("told.shift", None, "told.shift is missing"),
        ("told.weight", torch.zeros(8, 7, 1, 1, dtype=torch.int8), "layer told's weight is"),
        ("told.weight", torch.zeros(8, 8, 3, 3, dtype=torch.int8), "the told's weight is"),
        ("told.bias", torch.zeros(64, 9, dtype=torch.int32), "layer told's bias is"),
        ("told.skip", torch.tensor(True), "told.skip is true, but nothing skips"),
        ("2.weight", torch.zeros(14, 8, 3, 3, dtype=torch.int8), r"look at \[1, 3, 3\] positions"),
        ("means", None, "means is missing"),
        (
            "means",
            torch.zeros(3, dtype=torch.bool),
            r"means is torch.bool \[3\], not",
        ),
        ("others", None, "others is missing"),
        ("others", torch.tensor([1], dtype=torch.int16), "others are not among the channels that"),
        ("others", torch.tensor([4], dtype=torch.int16), "others are not among the channels that"),
        ("slopes", None, "slopes is missing"),
        (
            "slopes",
            torch.zeros(2, 2, 1, 4, dtype=torch.int16),
            r"slopes is torch.int16 \[2, 2, 1, 4\], not torch.int16 \[2, 2, 1, 13\]",
        ),
        ("tops", None, "tops is missing"),
        ("tops", torch.zeros(64, 4, 13, dtype=torch.uint16), "tops holds a chance of 0"),
        ("tops", torch.ones(63, 4, 13, dtype=torch.uint16), r"tops is torch.uint16 \[63, 4, 13\]"),
        ("own.weight", torch.zeros(3, 3, 3, 4), "own.weight is torch.float32"),
        ("own.more", torch.zeros(1, dtype=torch.int8), "own.more has no place"),
        ("2.bias", torch.zeros(64, 11, dtype=torch.int32), "layer 2's bias is"),
        ("0.weight", torch.zeros(8, 8, 3, 3, dtype=torch.int8), r"look at \[3, 3, 1\] positions"),
        ("0.bias", torch.zeros(63, 8, dtype=torch.int32), "layer 0's bias is"),
        ("0.skip", torch.tensor(True), "0.skip is true, but nothing skips the first layer"),
        ("2.skip", torch.tensor(True), "layer 2 skips from|2.skip is true, but nothing skips"),
        ("1.bias", torch.full((64, 8), 1 << 20, dtype=torch.int32), "layer 1 .* could reach"),
    ],
)
def test_tensors_that_do_not_fit_are_named(
    plane_tensors: Made, key: str, tensor: Tensor | None, message: str
) -> None:
    tensors = plane_tensors(4)
    if tensor is None:
        del tensors[key]
    else:
        tensors[key] = tensor
    with pytest.raises(WeightsError, match=f"^p.safetensors: .*{message}") as caught:
        build_planes(tensors, 4, "p.safetensors")
    assert "\n" not in str(caught.value)


def test_a_plane_model_of_another_latent_is_refused(plane_tensors: Made) -> None:
    with pytest.raises(WeightsError, match=r"layer 0's weight is \[8, 8, 1, 1\]"):
        build_planes(plane_tensors(4), 3, "p.safetensors")
    with pytest.raises(WeightsError, match="not the plane model of a latent of 3 channels"):
        PlaneModel(plane_tensors(4), 3)
