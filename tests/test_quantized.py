"""The float twin computes what the integer network computes, and learns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor

from nncodec.entropy.context import PHASES, ContextModel, coding_steps
from nncodec.entropy.network import TOP, IntegerNetwork, Layer, Prepared, layers_of
from nncodec.train.context import Config, ContextRecipe, build
from nncodec.train.loop import Run
from nncodec.train.quantized import (
    HIDDEN_BITS,
    OUTPUT_BITS,
    QuantizedConv,
    probability_table,
    round_through,
)

CPU = torch.device("cpu")
ONE = 1 << 16


def scrambled(network: torch.nn.Module, seed: int, size: float) -> None:
    """Other weights, of all sizes: ``size`` times those of a new layer, and biases."""
    generator = torch.Generator().manual_seed(seed)
    for layer in network.modules():
        if isinstance(layer, QuantizedConv):
            fan = layer.weight[0].numel()
            with torch.no_grad():
                layer.weight.normal_(0, size * (2 / fan) ** 0.5, generator=generator)
                layer.bias.normal_(0, 1.5, generator=generator)


def random_known(seed: int, *shape: int) -> Tensor:
    """-1, 0 and 1, as an unfinished latent holds them."""
    return torch.randint(-1, 2, shape, generator=torch.Generator().manual_seed(seed)).float()


@settings(deadline=None, max_examples=25)
@given(
    st.sampled_from([(3, 2, 8), (16, 4, 16), (1, 1, 5)]),
    st.integers(0, 2**32 - 1),
    st.floats(0.01, 6),
)
@example((3, 2, 8), 0, 100.0)  # weights that eight bits cannot hold
def test_the_twin_equals_the_exported_network(
    kind: tuple[int, int, int], seed: int, size: float
) -> None:
    channels, groups, width = kind
    twin = build(channels, groups, width)
    scrambled(twin, seed, size)
    exported = twin.export()
    bound = len(probability_table()) // 2
    network = IntegerNetwork(layers_of(exported), 1, bound)
    steps = PHASES * groups
    known = random_known(seed, steps, channels, 7, 6)
    with torch.no_grad():
        outputs = twin(known, torch.eye(steps)).permute(0, 2, 3, 1) * 2**OUTPUT_BITS
    for step in range(steps):
        exact = network(known[step].permute(1, 2, 0)[None], step)[0]
        assert exact.equal(outputs[step].clamp(-bound, bound))


def test_the_outputs_compared_are_many_and_not_clamped() -> None:
    """What the test before this one compares tells networks apart."""
    twin, steps = build(16, 4, 16), 4 * PHASES
    scrambled(twin, 0, 1.0)
    with torch.no_grad():
        outputs = twin(random_known(0, steps, 16, 7, 6), torch.eye(steps)) * 2**OUTPUT_BITS
    assert len(outputs.unique()) > 100
    assert (outputs.abs() < len(probability_table()) // 2).float().mean() > 0.8


@pytest.mark.parametrize("last", [False, True])
def test_a_layer_equals_its_twin_in_a_mixed_situation(last: bool) -> None:
    total = 24
    twin = QuantizedConv(6, 5, 3, 4, total=total, last=last)
    scrambled(twin, 1, 1.0)
    layer = Layer(**twin.export())
    x = torch.randint(0, TOP + 1, (1, 6, 5, 4), generator=torch.Generator().manual_seed(2))
    situation = torch.tensor([[5.0, 0, 12, 7]])
    assert situation.sum() == total
    with torch.no_grad():
        result = twin(x * 2.0**-HIDDEN_BITS, situation)
    integers = Prepared(layer, CPU, torch.float32)
    exact = integers(x.permute(0, 2, 3, 1).float(), situation[0])
    places = OUTPUT_BITS if last else HIDDEN_BITS
    expected = exact if last else exact.clamp(0, TOP)
    assert expected.equal(result.permute(0, 2, 3, 1) * 2**places)
    assert len(exact.unique()) > 50


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.floats(0, 100), st.booleans())
def test_exported_numbers_fit(seed: int, size: float, last: bool) -> None:
    conv = QuantizedConv(4, 6, 3, 2, last=last)
    scrambled(conv, seed, size)
    found = conv.export()
    assert found["weight"].dtype == torch.int8 and found["weight"].shape == (6, 4, 3, 3)
    assert found["bias"].dtype == torch.int32 and found["bias"].shape == (2, 6)
    assert found["shift"].dtype == torch.int8 and found["shift"].shape == (6,)
    assert found["weight"].min() >= -TOP
    assert found["shift"].min() >= 0 and found["shift"].max() <= 12 + HIDDEN_BITS
    assert bool(found["skip"]) is False
    # biases are as fine as the sums, and whole
    fine = torch.exp2(conv.exponents() + HIDDEN_BITS)
    assert (found["bias"] - conv.bias.detach() * fine).abs().max() <= 0.5


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.floats(0.05, 5))
def test_weights_use_their_eight_bits(seed: int, size: float) -> None:
    conv = QuantizedConv(4, 6, 3, 2)
    scrambled(conv, seed, size)
    found = conv.export()
    unit = torch.exp2(-conv.exponents())[:, None, None, None]
    assert (found["weight"] * unit - conv.weight.detach()).abs().max() <= unit.max() / 2
    assert (found["weight"].abs().amax((1, 2, 3)) >= TOP // 2).all()


def test_rounding_is_to_the_nearest_and_passes_the_gradient() -> None:
    x = torch.tensor([-0.75, -0.5, -0.26, 0.0, 0.24, 0.25, 0.5, 0.75], requires_grad=True)
    rounded = round_through(x, 0.5)
    assert rounded.tolist() == [-0.5, -0.5, -0.5, 0, 0, 0.5, 0.5, 1]
    rounded.sum().backward()
    assert x.grad is not None and (x.grad == 1).all()


def test_without_rounding_results_are_near() -> None:
    twin = build(4, 2, 16)
    scrambled(twin, 0, 1.0)
    known, steps = random_known(0, 2 * PHASES, 4, 6, 6), torch.eye(2 * PHASES)
    with torch.no_grad():
        rounded = twin(known, steps)
        twin.rounding(False)
        smooth = twin(known, steps)
        twin.rounding(True)
        assert twin(known, steps).equal(rounded)
    difference = (rounded - smooth).abs()
    assert 0 < difference.mean() < 0.15 and smooth.std() > 1


def test_the_table_is_a_logistic_curve() -> None:
    table = probability_table()
    assert table.dtype == torch.uint16
    chances = table.long()
    offset = len(chances) // 2
    assert len(chances) == 2 * offset + 1 and chances[offset] == ONE // 2
    assert (chances + chances.flip(0) == ONE).all()
    assert (chances.diff() >= 0).all()
    assert chances[0] == 1 and chances[-1] == ONE - 1
    logits = (torch.arange(len(chances)) - offset) / 2**OUTPUT_BITS
    assert (chances / ONE - torch.sigmoid(logits.double())).abs().max() <= 0.51 / ONE


def correlated_bits(count: int, seed: int) -> Tensor:
    """±1 bits (n, 2, 16, 16): blocks of 4x4 equal ones, in the second channel with noise."""
    generator = torch.Generator().manual_seed(seed)
    blocks = torch.randint(0, 2, (count, 1, 4, 4), generator=generator)
    first = blocks.repeat_interleave(4, 2).repeat_interleave(4, 3)
    noise = torch.rand(first.shape, generator=generator) < 0.02
    return (torch.cat([first, first ^ noise.long()], 1) * 2 - 1).to(torch.int8)


class CorrelatedBits(ContextRecipe):
    """A training on such bits, of no pictures."""

    def pictures(self) -> tuple[Tensor, Tensor]:
        return correlated_bits(64, 1), correlated_bits(4, 2)


def tiny_recipe(folder: Path) -> CorrelatedBits:
    config = Config("tiny", "", "", steps=60, groups=2, width=16, window=12, lr=1e-2, bf16=False)
    config.val_every, config.warmup, config.ema = 30, 20, 0.9
    return CorrelatedBits(config, folder, CPU)


def test_a_batch_shows_what_is_known_in_its_step(tmp_path: Path) -> None:
    recipe = tiny_recipe(tmp_path)
    masks = torch.zeros(2 * PHASES, 12, 12, 2, dtype=torch.bool)
    for mask, where in zip(masks, coding_steps(2), strict=True):
        mask[where] = True
    masks = masks.permute(0, 3, 1, 2)
    assert recipe.coded.equal(masks)
    windows = {
        latent[:, y : y + 12, x : x + 12].numpy().tobytes()
        for latent in recipe.bits
        for y in range(5)
        for x in range(5)
    }
    seen = set()
    for _ in range(3):
        values, steps, known = recipe.draw()
        assert values.shape == known.shape == (16, 2, 12, 12)
        seen |= set(steps.tolist())
        for one, step, shown in zip(values, steps.tolist(), known, strict=True):
            assert one.contiguous().numpy().tobytes() in windows
            assert shown.equal(one * masks[:step].any(0))
            assert not shown[masks[step]].any()
    assert seen == set(range(2 * PHASES))


def test_the_loss_is_the_bits_that_a_step_costs(tmp_path: Path) -> None:
    recipe = tiny_recipe(tmp_path)
    scrambled(recipe.network, 0, 1.0)
    torch.manual_seed(3)
    loss = recipe.loss(0)
    torch.manual_seed(3)
    bits, steps, known = recipe.draw()
    with torch.no_grad():
        logits = recipe.network(known.float(), torch.eye(2 * PHASES)[steps])
    chances = torch.where(bits > 0, torch.sigmoid(logits), torch.sigmoid(-logits))
    costs = -chances.double().log2()[recipe.coded[steps]]
    assert loss.item() == pytest.approx(costs.mean().item(), rel=1e-4)


def test_training_learns_what_bits_have_in_common(tmp_path: Path) -> None:
    recipe = tiny_recipe(tmp_path)
    rows: list[dict[str, float]] = []
    best = Run(recipe).train(lambda step, row: rows.append(row))
    measured = [row["saved"] for row in rows if "saved" in row]
    assert len(rows) == 60 and len(measured) == 2
    assert best == max(measured) > 0.55
    # The file costs what the loss says, and the chances of untrained weights save nothing.
    assert 1 - best == pytest.approx(np.mean([row["loss"] for row in rows[-10:]]), abs=0.1)
    assert rows[0]["loss"] == pytest.approx(1, abs=0.1)

    model = ContextModel(load_file(tmp_path / "weights.safetensors"), 2)
    latents = (recipe.val > 0).permute(0, 2, 3, 1).contiguous().numpy()
    coded = [model.encode(latent) for latent in latents]
    assert 1 - sum(map(len, coded)) * 8 / latents.size == best
    for data, latent in zip(coded, latents, strict=True):
        assert (model.decode(data, 16, 16) == latent).all()
