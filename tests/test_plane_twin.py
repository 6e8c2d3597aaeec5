"""The plane model's float twin is trained on what the integer network computes, exactly."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from nncodec.checkpoint import find_weights, parse_tensors
from nncodec.entropy import planes
from nncodec.entropy.digits import MAX_TOP, tops_of
from nncodec.entropy.plane_network import DECISIONS, PHASES, SITUATIONS, chequer
from nncodec.entropy.planes import PlaneModel
from nncodec.entropy.pyramid import Pyramid
from nncodec.models.bitplane import BITPLANE
from nncodec.train.plane_twin import OWN_UNIT, PlaneTwin
from nncodec.train.planes import Question, question
from nncodec.train.quantized import OUTPUT_BITS, QuantizedConv

CHANNELS = 12


def random_planes(channels: int, seed: int) -> PlaneTwin:
    """A twin of the plane model's network, with random weights of all sizes."""
    twin = PlaneTwin(channels, 12, 8, channels - 1)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in twin.modules():
            if isinstance(layer, QuantizedConv):
                spread = (2 / layer.weight[0].numel()) ** 0.5
                layer.weight.normal_(0, spread, generator=generator)
                layer.bias.normal_(0, 1.5, generator=generator)
        twin.own.normal_(0, 0.1, generator=generator)
        twin.own[0, 0, 0, 1, 1] = 9.0  # beyond what eight bits hold
        twin.lead.normal_(0, 0.1, generator=generator)
    return twin


def random_latent(seed: int, channels: int) -> NDArray[np.int16]:
    """An integer latent (7, 9, C) whose channels become smaller and smaller, the last one 0."""
    rng = np.random.default_rng(seed)
    size = 40 * np.exp(-np.arange(channels) / 3)
    size[-1] = 0
    return (rng.laplace(size=(7, 9, channels)) * size).round().astype(np.int16)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32 - 1), st.integers(300, 1200), st.integers(0, 5), st.integers(0, 1))
def test_the_planes_twin_equals_the_exact_network(
    plane_outputs: Callable[..., Tensor], seed: int, step: int, plane: int, phase: int
) -> None:
    channels = 12
    twin, q = random_planes(channels, seed), random_latent(seed, channels)
    tops = tops_of(np.abs(q).max((0, 1)))
    asked = question(q, tops, step, plane, phase)
    batch = Question(*(part[None] for part in asked))
    with torch.no_grad():
        (logits,) = twin(batch.size, batch.sign, batch.done, batch.after, batch.situation)
    model = PlaneModel({**twin.export(), **no_tops(channels)}, channels)
    where = chequer(7, 9, phase)
    done = asked.done[..., 0].numpy()
    for active in (torch.arange(channels), torch.from_numpy(np.flatnonzero(tops > plane))):
        if plane and not len(active):
            continue
        size, sign, after = (x[..., active] for x in (asked.size, asked.sign, asked.after))
        at = asked.situation
        exact = plane_outputs(model.network, size, sign, done, after, where, active, at, plane)
        found = logits[:, active].permute(2, 3, 0, 1)[torch.from_numpy(where)]
        assert exact.equal(found * 2**OUTPUT_BITS)
    assert len(exact.unique()) > 40


def no_tops(channels: int) -> dict[str, Tensor]:
    """The tensors that a twin does not train, and which tell nothing."""
    tops = torch.full((SITUATIONS, channels, MAX_TOP), 2**15).to(torch.uint16)
    slopes = np.zeros((2, 2, 0, 4), np.int16)
    nothing = Pyramid(np.zeros(channels, np.bool_), np.zeros(0, np.int16), slopes)
    return {"tops": tops, **nothing.tensors()}


def test_questions_are_what_the_coder_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every decision of a latent is asked once, and costs what a loss says that it costs.

    With none in groups, which assume that what is said to be rare is so.
    """
    monkeypatch.setattr(planes, "RARE", 0)
    channels, step = 6, 700
    twin, q = random_planes(channels, 3), random_latent(3, channels)
    tops = tops_of(np.abs(q).max((0, 1)))
    assert tops.tolist() == [int(v).bit_length() for v in np.abs(q).max((0, 1))]
    total, count = 0.0, 0
    for plane in range(int(tops.max())):
        for phase in range(PHASES):
            asked = question(q, tops, step, plane, phase)
            batch = Question(*(part[None] for part in asked))
            with torch.no_grad():
                (logits,) = twin(batch.size, batch.sign, batch.done, batch.after, batch.situation)
            logits = logits.permute(0, 2, 3, 1)
            chances = torch.sigmoid(torch.where(asked.answer, logits, -logits))[asked.asked]
            total -= float(chances.clamp(2**-16, 1 - 2**-16).log2().sum())
            count += int(asked.asked.sum())
    # a sign for each element that is not 0, and one more decision a plane
    assert count == np.count_nonzero(q) + int(tops.sum()) * 7 * 9
    model = PlaneModel({**twin.export(), **no_tops(channels)}, channels)
    (data,) = model.encode(q, step, 1)
    tops_cost = int(tops.sum()) + channels  # half a chance each
    assert len(data) * 8 == pytest.approx(total + tops_cost, rel=0.005, abs=40)


def test_weights_of_surroundings_use_their_eight_bits() -> None:
    twin = random_planes(4, 0)
    found = twin.export()
    assert found["own.weight"].shape == (DECISIONS, 3, 3, 4)
    assert found["own.weight"][0, 1, 1, 0] == 127  # 9.0 is 4608
    assert found["own.lead"].dtype == torch.int8
    assert (found["own.lead"] * OWN_UNIT - twin.lead.detach()).abs().max() <= OWN_UNIT / 2


def test_what_ships_is_made_again_by_its_twin() -> None:
    """Training can go on from the integers alone."""
    _, data, name = find_weights(BITPLANE, None)
    tensors = parse_tensors(data, name)
    shipped = {k.removeprefix("planes."): t for k, t in tensors.items() if k.startswith("planes.")}
    width, narrow = (len(shipped[f"{layer}.weight"]) for layer in (0, 1))
    twin = PlaneTwin(shipped["own.lead"].shape[1], width, narrow, len(shipped["forecast.weight"]))
    twin.restore(shipped)
    again = twin.export()
    assert again.keys() == shipped.keys() - {"tops", "means", "others", "slopes"}
    assert all(tensor.equal(shipped[key]) for key, tensor in again.items())
