"""The context model: any bits come back, in few steps, each from what the decoder knows by then.

`python tests/test_entropy_context.py` writes tests/data/entropy anew, for when the coding changes
before a release; afterwards, never again.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from carriers import CARRIERS
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from nncodec.entropy.context import PHASES, ContextModel, coding_steps
from nncodec.entropy.network import TOP, Where
from nncodec.formats.errors import DamagedChunk, WeightsError
from nncodec.train.context import Config

GOLDEN = Path(__file__).parent / "data" / "entropy"
CPU = torch.device("cpu")
Bits = NDArray[np.bool_]
Chances = NDArray[np.uint16]


@cache
def random_tensors(channels: int, groups: int, seed: int = 0) -> dict[str, Tensor]:
    """A small network with random weights, whose outputs reach all of its table."""
    rng = np.random.default_rng([channels, groups, seed])
    tensors = {}
    shapes = [(8, channels, 5, 5), (8, 8, 1, 1), (8, 8, 3, 3), (channels, 8, 1, 1)]
    for number, (shape, shift) in enumerate(zip(shapes, [4, 7, 9, 7], strict=True)):
        bias = rng.integers(-1000, 1000, (PHASES * groups, shape[0]))
        tensors |= {
            f"{number}.weight": torch.from_numpy(rng.integers(-TOP, TOP + 1, shape)).to(torch.int8),
            f"{number}.bias": torch.from_numpy(bias).to(torch.int32),
            f"{number}.shift": torch.full(shape[:1], shift, dtype=torch.int8),
            f"{number}.skip": torch.tensor(shape[0] == shape[1] and number < 3),
        }
    table = 1 / (1 + np.exp(np.linspace(8, -8, 257)))
    return {**tensors, "table": torch.from_numpy((table * (1 << 16)).astype(np.uint16))}


@cache
def random_model(channels: int, groups: int, dtype: torch.dtype = torch.float32) -> ContextModel:
    return ContextModel(random_tensors(channels, groups), channels, dtype=dtype)


def step_masks(shape: tuple[int, int, int], groups: int) -> Bits:
    """Which bits (h, w, C) each step codes, (steps, h, w, C)."""
    steps = list(coding_steps(groups))
    masks = np.zeros((len(steps), *shape), np.bool_)
    for mask, where in zip(masks, steps, strict=True):
        mask[where] = True
    return masks


@st.composite
def latents(draw: st.DrawFn) -> tuple[Bits, int]:
    """Bits of any shape, and in how many groups they are coded."""
    channels, groups = draw(st.sampled_from([(1, 1), (3, 2), (5, 4), (2, 4), (8, 4)]))
    side = st.one_of(st.just(1), st.integers(1, 11))
    shape = draw(side), draw(side), channels
    density = draw(st.sampled_from([0, 0.1, 0.5, 1]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return rng.random(shape) < density, groups


@settings(deadline=None, max_examples=60)
@given(latents())
def test_round_trip(latent: tuple[Bits, int]) -> None:
    bits, groups = latent
    height, width, channels = bits.shape
    model = random_model(channels, groups)
    data = model.encode(bits)
    found = model.decode(data, height, width)
    assert found.dtype == np.bool_ and found.shape == bits.shape
    assert (found == bits).all()
    assert random_model(channels, groups, torch.float64).encode(bits) == data
    turned = np.ascontiguousarray(bits.transpose(2, 0, 1)).transpose(1, 2, 0)
    assert model.encode(turned) == data


@settings(deadline=None)
@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 33), st.sampled_from([1, 2, 3, 4]))
def test_every_bit_is_coded_in_one_step(
    height: int, width: int, channels: int, groups: int
) -> None:
    masks = step_masks((height, width, channels), groups)
    assert masks.shape == (PHASES * groups, height, width, channels)
    assert (masks.sum(0) == 1).all()
    step = masks.argmax(0)
    # In the later half of a group's phases all four neighbours are known.
    padded = np.pad(step, ((1, 1), (1, 1), (0, 0)), constant_values=-1)
    neighbours = padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]
    later = step % PHASES >= PHASES // 2
    for neighbour in neighbours:
        assert (neighbour != step).all()
        assert (neighbour < step)[later].all()
    if height > 1 and width > 1 and channels >= groups:
        assert masks.any((1, 2, 3)).all()


class Recorded(ContextModel):
    """Notes the chances of every step."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__(random_tensors(channels, groups), channels)
        self.steps: list[Chances] = []

    def chances(self, known: NDArray[np.int8], step: int, where: Where) -> Chances:
        found = super().chances(known, step, where)
        self.steps.append(found)
        return found

    def of(self, run: Callable[[], object]) -> list[Chances]:
        self.steps = []
        run()
        return self.steps


def test_a_chance_depends_on_earlier_steps_only() -> None:
    shape, groups = (5, 4, 3), 2
    model = Recorded(3, groups)
    bits = np.random.default_rng(1).random(shape) < 0.5
    before = model.of(lambda: model.encode(bits))
    assert len(before) == PHASES * groups
    heard = 0
    for step, mask in enumerate(step_masks(shape, groups)):
        for place in np.argwhere(mask):
            flipped = bits.copy()
            flipped[tuple(place)] ^= True
            after = model.of(lambda latent=flipped: model.encode(latent))
            for mine, theirs in zip(before[: step + 1], after[: step + 1], strict=True):
                assert mine.tolist() == theirs.tolist()
            heard += any(
                mine.tolist() != theirs.tolist()
                for mine, theirs in zip(before[step + 1 :], after[step + 1 :], strict=True)
            )
    assert heard == step_masks(shape, groups)[:-1].sum()


def test_a_decoder_has_the_chances_of_the_encoder() -> None:
    model = Recorded(3, 2)
    bits = np.random.default_rng(1).random((6, 7, 3)) < 0.5
    data = model.encode(bits)
    encoder = model.of(lambda: model.encode(bits))
    decoder = model.of(lambda: model.decode(data, 6, 7))
    assert [step.tolist() for step in decoder] == [step.tolist() for step in encoder]
    used = {int(chance) for step in encoder for chance in step.ravel()}
    assert len(used) > 50 and {min(used), max(used)} == {21, 65514}


@pytest.mark.parametrize("shape", [(1, 1), (24, 24)])
def test_the_network_is_evaluated_eight_times_at_most(
    shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    groups = Config(model="", data="", val="").groups
    model = ContextModel(random_tensors(16, groups), 16)
    network, calls = model.network, []

    def counted(inputs: Tensor, step: int, where: Where) -> Tensor:
        calls.append(step)
        return network(inputs, step, where)

    monkeypatch.setattr(model, "network", counted)
    data = model.encode(np.ones((*shape, 16), np.bool_))
    assert calls == list(range(8))
    model.decode(data, *shape)
    assert calls == [*range(8), *range(8)]


def test_likely_bits_become_few_bytes() -> None:
    """A chance of +1 of 97 % throughout: one bit in 33 is false, and costs five bits."""
    tensors = {
        "0.weight": torch.zeros(2, 2, 1, 1, dtype=torch.int8),
        "0.bias": torch.full((PHASES, 2), 3, dtype=torch.int32),
        "0.shift": torch.zeros(2, dtype=torch.int8),
        "0.skip": torch.tensor(False),
        "table": torch.tensor([0, 1, 2, 3, 4, 5, 63570], dtype=torch.int32).to(torch.uint16),
    }
    model = ContextModel(tensors, 2)
    bits = np.random.default_rng(2).random((100, 100, 2)) < 0.97
    entropy = -(bits.sum() * np.log2(0.97) + (~bits).sum() * np.log2(0.03)) / 8
    assert abs(len(model.encode(bits)) - entropy) < 6
    assert len(model.encode(bits)) < 0.21 * bits.size / 8


def test_other_latents_and_weights_are_refused() -> None:
    tensors = random_tensors(3, 2)
    with pytest.raises(WeightsError, match="not the context model of a latent of 4 channels"):
        ContextModel(tensors, 4)
    with pytest.raises(WeightsError, match="not the context model of a latent of 3 channels"):
        ContextModel({"table": tensors["table"]}, 3)
    bias = torch.full_like(tensors["2.bias"], 1 << 24)
    with pytest.raises(WeightsError, match="layer 2 of the context model could reach"):
        ContextModel({**tensors, "2.bias": bias}, 3)
    assert ContextModel({**tensors, "2.bias": bias}, 3, dtype=torch.float64).groups == 2


def test_damage_is_bits_or_named() -> None:
    model = random_model(3, 2)
    rng = np.random.default_rng(3)
    data = model.encode(rng.random((6, 7, 3)) < 0.5)
    payloads = [data[:cut] for cut in range(len(data))]
    payloads += [rng.bytes(int(size)) for size in rng.integers(0, 60, 60)]
    payloads += [data + rng.bytes(9), b"\xff" * 60]
    damaged = 0
    for payload in payloads:
        try:
            found = model.decode(payload, 6, 7, "segment 4")
            assert found.shape == (6, 7, 3) and model.encode(found) == payload
        except DamagedChunk as error:
            assert str(error) == "damaged: segment 4 holds bits that cannot have been coded"
            damaged += 1
    assert damaged > len(payloads) - 5


def golden() -> tuple[dict[str, Tensor], Bits, bytes]:
    """A model's tensors, the bits of a latent, and what they are coded as."""
    tensors = load_file(GOLDEN / "context.safetensors")
    bits = np.load(GOLDEN / "bits.npy", allow_pickle=False)
    return tensors, bits, (GOLDEN / "coded.bin").read_bytes()


@pytest.mark.parametrize("dtype", CARRIERS)
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_golden_file(dtype: torch.dtype, device: str) -> None:
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    tensors, bits, coded = golden()
    height, width, channels = bits.shape
    model = ContextModel(tensors, channels, torch.device(device), dtype)
    assert model.encode(bits) == coded
    assert (model.decode(coded, height, width) == bits).all()


def write() -> None:
    GOLDEN.mkdir(exist_ok=True)
    tensors = random_tensors(3, 2, seed=1)
    rng = np.random.default_rng(1)
    bits = np.repeat(np.repeat(rng.random((6, 5, 3)) < 0.5, 3, 0), 3, 1)
    bits ^= rng.random(bits.shape) < 0.1
    save_file(tensors, GOLDEN / "context.safetensors")
    np.save(GOLDEN / "bits.npy", bits)
    (GOLDEN / "coded.bin").write_bytes(ContextModel(tensors, 3).encode(bits))


if __name__ == "__main__":
    write()
