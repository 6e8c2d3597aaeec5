"""The integer network: the same numbers as Python's own integers, whatever computes them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from carriers import BYTES, CARRIERS
from hypothesis import example, given, settings
from hypothesis import strategies as st
from precision import Products
from torch import Tensor

from nncodec.entropy.network import TOP, IntegerNetwork, Layer, Prepared, layers_of
from nncodec.entropy.products import EXACT, wide
from nncodec.formats.errors import WeightsError

CPU = torch.device("cpu")
FLOATS = (torch.float32, torch.float64)
Picture = list[list[list[int]]]


def random_layer(
    rng: np.random.Generator,
    inputs: int,
    outputs: int,
    size: int,
    *,
    steps: int = 1,
    shift: int | None = None,
    skip: bool = False,
) -> Layer:
    """Weights of eight bits, biases as large as the sums; without ``shift``, any of 0...12."""
    shifts = rng.integers(0, 13, outputs) if shift is None else np.full(outputs, shift)
    weight = rng.integers(-TOP, TOP + 1, (outputs, inputs, size, size))
    bias = rng.integers(-(1 << 14), 1 << 14, (steps, outputs))
    return Layer(
        torch.from_numpy(weight).to(torch.int8),
        torch.from_numpy(bias).to(torch.int32),
        torch.from_numpy(shifts).to(torch.int8),
        skip,
    )


def random_inputs(rng: np.random.Generator, largest: int, *shape: int) -> Tensor:
    return torch.from_numpy(rng.integers(-largest, largest + 1, shape))


def accumulators(layer: Layer, picture: Picture, situation: list[int]) -> Picture:
    """Sums of products with the biases and the half that rounds, in Python's integers."""
    weight, biases, shift = layer.weight.tolist(), layer.bias.tolist(), layer.shift.tolist()
    height, width, reach = len(picture), len(picture[0]), len(weight[0][0]) // 2
    sums = []
    for y in range(height):
        row = []
        for x in range(width):
            pixel = []
            for o in range(len(weight)):
                total = (1 << shift[o]) >> 1
                for times, bias in zip(situation, biases, strict=True):
                    total += times * bias[o]
                for i, plane in enumerate(weight[o]):
                    for dy, taps in enumerate(plane):
                        for dx, tap in enumerate(taps):
                            v, u = y + dy - reach, x + dx - reach
                            if 0 <= v < height and 0 <= u < width:
                                total += tap * picture[v][u][i]
                pixel.append(total)
            row.append(pixel)
        sums.append(row)
    return sums


def reference(layers: list[Layer], picture: Picture, step: int, bound: int) -> Picture:
    """What the network is to compute, in Python's integers."""
    situation = [int(i == step) for i in range(len(layers[0].bias))]
    for number, layer in enumerate(layers):
        last = number == len(layers) - 1
        lowest, highest = (-bound, bound) if last else (0, TOP)
        shift = layer.shift.tolist()
        results = []
        for y, row in enumerate(accumulators(layer, picture, situation)):
            line = []
            for x, pixel in enumerate(row):
                values = [total >> shift[o] for o, total in enumerate(pixel)]
                if layer.skip and not last:
                    values = [value + picture[y][x][o] for o, value in enumerate(values)]
                line.append([min(max(value, lowest), highest) for value in values])
            results.append(line)
        picture = results
    return picture


@st.composite
def networks(draw: st.DrawFn) -> tuple[list[Layer], int, int]:
    """Layers in a row, how many steps they know, and the largest magnitude of their inputs."""
    steps = draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    widths = draw(st.lists(st.integers(1, 4), min_size=2, max_size=4))
    layers = []
    for inputs, outputs in pairwise(widths):
        size = draw(st.sampled_from([1, 3, 5]))
        shift = draw(st.one_of(st.none(), st.integers(0, 12)))
        skip = inputs == outputs and len(layers) < len(widths) - 2 and draw(st.booleans())
        layers.append(random_layer(rng, inputs, outputs, size, steps=steps, shift=shift, skip=skip))
    return layers, steps, draw(st.sampled_from([1, TOP]))


slices = st.builds(slice, st.integers(0, 2), st.one_of(st.none(), st.just(4)), st.integers(1, 3))


@settings(deadline=None, max_examples=60)
@given(networks(), st.integers(1, 5), st.integers(1, 5), st.data())
def test_the_network_is_python_s_integers(
    network: tuple[list[Layer], int, int], height: int, width: int, data: st.DataObject
) -> None:
    layers, steps, largest = network
    step = data.draw(st.integers(0, steps - 1))
    bound = data.draw(st.sampled_from([3, 354, 1 << 20]))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    inputs = random_inputs(rng, largest, 2, height, width, layers[0].weight.shape[1])
    where = data.draw(slices), data.draw(slices), data.draw(slices)
    expected = torch.tensor([reference(layers, one, step, bound) for one in inputs.tolist()])
    for dtype in CARRIERS:
        network = IntegerNetwork(layers, largest, bound, dtype=dtype)
        results = network(inputs, step)
        assert results.dtype == wide(dtype)
        assert results.tolist() == expected.tolist()
        assert network(inputs, step, where).tolist() == expected[(slice(None), *where)].tolist()


def test_a_shift_rounds_to_the_nearest_and_halves_up() -> None:
    layer = Layer(torch.ones(1, 1, 1, 1), torch.zeros(1, 1), torch.tensor([2]), False)
    inputs = torch.arange(-8, 8).reshape(1, 1, 16, 1)
    rounded = IntegerNetwork([layer], 8, 100)(inputs, 0).flatten().tolist()
    assert rounded == [-2, -2, -1, -1, -1, -1, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2]


def wide_network(
    dtype: torch.dtype = torch.float32, device: torch.device = CPU, largest: int = 2047
) -> IntegerNetwork:
    """Wide enough for threads and blocks of a matrix product, its weights of twelve bits.

    No result of such weights survives arithmetic in bfloat16 or TF32.
    """
    rng = np.random.default_rng(5)
    layers = [
        random_layer(rng, 16, 48, 5, steps=2, shift=5),
        random_layer(rng, 48, 48, 1, steps=2, shift=8, skip=True),
        random_layer(rng, 48, 48, 3, steps=2, shift=10, skip=True),
        random_layer(rng, 48, 16, 1, steps=2, shift=4),
    ]
    fine = torch.from_numpy(rng.integers(-largest, largest + 1, (16, 48, 1, 1)))
    layers[3] = Layer(fine, layers[3].bias, layers[3].shift, False)
    return IntegerNetwork(layers, 1, 1 << 20, device, dtype)


@pytest.fixture(scope="module")
def wide_inputs() -> Tensor:
    return random_inputs(np.random.default_rng(6), 1, 3, 40, 33, 16)


@pytest.fixture(scope="module")
def wide_results(wide_inputs: Tensor) -> Tensor:
    """In float64, where nothing comes near the bound."""
    results = wide_network(torch.float64)(wide_inputs, 1)
    assert len(results.unique()) > 10_000
    return results


@pytest.fixture
def restored() -> Iterator[None]:
    """A process whose threads and precision are afterwards what they were."""
    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    yield
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision(precision)


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("dtype", FLOATS)
def test_threads_and_carriers_do_not_matter(
    threads: int, dtype: torch.dtype, wide_inputs: Tensor, wide_results: Tensor
) -> None:
    torch.set_num_threads(threads)
    assert wide_network(dtype)(wide_inputs, 1).double().equal(wide_results)


@pytest.mark.skipif(not BYTES, reason="no exact products of bytes here")
@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize("threads", [1, 2])
def test_bytes_carry_weights_of_eight_bits(threads: int, wide_inputs: Tensor) -> None:
    expected = wide_network(torch.float64, largest=TOP)(wide_inputs, 1)
    torch.set_num_threads(threads)
    network = wide_network(torch.int8, largest=TOP)
    assert network(wide_inputs, 1).double().equal(expected)
    alone = torch.cat([network(one[None], 1) for one in wide_inputs])
    assert alone.double().equal(expected)
    with pytest.raises(WeightsError, match="layer 3 .* weights beyond"):
        wide_network(torch.int8)


def test_the_size_of_a_batch_does_not_matter(wide_inputs: Tensor, wide_results: Tensor) -> None:
    network = wide_network()
    alone = torch.cat([network(one[None], 1) for one in wide_inputs])
    assert alone.double().equal(wide_results)


@pytest.mark.parametrize("rows", [slice(None), slice(1, None, 2), slice(40, None)])
@pytest.mark.parametrize("channels", [slice(1, None, 4), slice(0, 0)])
def test_results_are_computed_where_they_are_wanted(
    rows: slice, channels: slice, wide_inputs: Tensor, wide_results: Tensor
) -> None:
    where = rows, slice(2, 30, 3), channels
    found = wide_network()(wide_inputs, 1, where)
    assert found.double().equal(wide_results[(slice(None), *where)])


@pytest.mark.parametrize("kind", [torch.int8, torch.int64, torch.float32, torch.bfloat16])
def test_inputs_come_in_any_type(
    kind: torch.dtype, wide_inputs: Tensor, wide_results: Tensor
) -> None:
    assert wide_network()(wide_inputs.to(kind), 1).double().equal(wide_results)


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize("precision", ["highest", "high", "medium"])
def test_products_are_in_full_precision_whatever_the_program_has_set(
    precision: str, wide_inputs: Tensor, wide_results: Tensor
) -> None:
    network = wide_network()
    torch.set_float32_matmul_precision(precision)
    with Products() as products:
        results = network(wide_inputs, 1)
    assert products.precisions == {"highest"}
    assert results.double().equal(wide_results)
    assert torch.get_float32_matmul_precision() == precision


@pytest.mark.skipif(
    not hasattr(torch.backends.cuda.matmul, "fp32_precision"), reason="torch before 2.9"
)
def test_a_program_may_choose_for_one_kind_of_device(
    wide_inputs: Tensor, wide_results: Tensor
) -> None:
    matmul: Any = torch.backends.cuda.matmul
    before = matmul.fp32_precision
    matmul.fp32_precision = "tf32"
    try:
        assert wide_network()(wide_inputs, 1).double().equal(wide_results)
        assert matmul.fp32_precision == "tf32"
    finally:
        matmul.fp32_precision = before


def test_autocast_around_does_not_matter(wide_inputs: Tensor, wide_results: Tensor) -> None:
    network = wide_network()
    ones = torch.ones(2, 2)
    with torch.autocast("cpu", torch.bfloat16):
        results = network(wide_inputs, 1)
        assert (ones @ ones).dtype == torch.bfloat16
    assert results.dtype == torch.float32
    assert results.double().equal(wide_results)


@pytest.mark.usefixtures("restored")
def test_the_precision_is_what_it_was_after_an_error() -> None:
    torch.set_float32_matmul_precision("medium")
    with pytest.raises(RuntimeError, match="shape"):
        wide_network()(torch.zeros(1, 4, 4, 5), 1)
    assert torch.get_float32_matmul_precision() == "medium"
    with pytest.raises(IndexError):
        wide_network()(torch.zeros(1, 4, 4, 16), 2)
    assert torch.get_float32_matmul_precision() == "medium"


@pytest.mark.usefixtures("restored")
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("precision", ["highest", "medium"])
@pytest.mark.parametrize("dtype", FLOATS)
def test_a_gpu_computes_the_same(
    precision: str, dtype: torch.dtype, wide_inputs: Tensor, wide_results: Tensor
) -> None:
    torch.set_float32_matmul_precision(precision)
    network = wide_network(dtype, torch.device("cuda"))
    with torch.autocast("cuda", torch.bfloat16):
        assert network(wide_inputs, 1).cpu().double().equal(wide_results)
        alone = torch.cat([network(one[None], 1) for one in wide_inputs])
        assert alone.cpu().double().equal(wide_results)


def test_a_gpu_without_exact_products_is_left_alone() -> None:
    network = wide_network(device=torch.device("mps"))
    assert network.device == CPU
    assert network(torch.zeros(1, 1, 1, 16), 0).device == CPU


@settings(deadline=None, max_examples=30)
@given(st.sampled_from([1, 3]), st.data())
def test_a_layer_between_some_channels_in_a_mixed_situation(size: int, data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    layer = random_layer(rng, 4, 5, size, steps=3)
    some = st.one_of(
        slices, st.builds(torch.tensor, st.lists(st.integers(0, 3), min_size=1, unique=True))
    )
    inputs, outputs, down, across = (data.draw(kind) for kind in (some, some, slices, slices))
    situation = data.draw(st.lists(st.integers(0, 8), min_size=3, max_size=3))
    picture = random_inputs(rng, TOP, 3, 4, 4)
    shown = torch.zeros_like(picture)
    shown[..., inputs] = picture[..., inputs]
    sums = torch.tensor(accumulators(layer, shown.tolist(), situation))
    expected = (sums >> layer.shift.long())[down, across][..., outputs]
    for dtype in CARRIERS:
        part = Prepared(layer, CPU, dtype).part(inputs, outputs)
        weights = torch.tensor(situation, dtype=wide(dtype))
        results = part(picture[None, ..., inputs].to(dtype), weights, down, across)
        assert results[0].tolist() == expected.tolist()


def worst_inputs(layer: Layer, largest: int) -> Iterator[Picture]:
    """For every output the picture that makes its middle accumulator largest, and smallest."""
    for kernel in layer.weight.long():
        for sign in (1, -1):
            yield (kernel.sign() * sign * largest).permute(1, 2, 0).tolist()


def largest_reached(layer: Layer, largest: int, times: int) -> int:
    """The largest magnitude of all accumulators in the middle of the worst pictures."""
    steps, middle, reached = len(layer.bias), layer.weight.shape[-1] // 2, 0
    for worst in worst_inputs(layer, largest):
        for step in range(steps):
            situation = [times * (i == step) for i in range(steps)]
            sums = accumulators(layer, worst, situation)[middle][middle]
            reached = max(reached, *(abs(total) for total in sums))
    return reached


@settings(deadline=None, max_examples=40)
@given(
    st.tuples(st.integers(1, 4), st.integers(1, 3), st.sampled_from([1, 3, 5])),
    st.integers(1, 3),
    st.integers(1, 5),
    st.integers(1, TOP),
    st.integers(0, 2**32 - 1),
)
@example((1, 1, 1), 1, 1, 1, 0)
def test_largest_is_what_the_worst_inputs_reach(
    shape: tuple[int, int, int], steps: int, times: int, largest: int, seed: int
) -> None:
    layer = random_layer(np.random.default_rng(seed), *shape, steps=steps)
    upward = Layer(layer.weight, layer.bias.abs(), layer.shift, False)
    assert upward.largest(largest, times) == largest_reached(upward, largest, times)
    # The half that rounds lessens the sum with a negative bias, but not before it is added.
    assert layer.largest(largest, times) == upward.largest(largest, times)
    assert layer.largest(largest, times) >= largest_reached(layer, largest, times)


def layer_that_reaches(bound: int, largest: int, inputs: int) -> Layer:
    """One output, whose accumulator could reach ``bound`` for all that is known."""
    weight = torch.tensor([TOP * (-1) ** i for i in range(inputs)]).reshape(1, inputs, 1, 1)
    layer = Layer(weight, torch.tensor([[0]]), torch.tensor([0]), False)
    rest = torch.tensor([[bound - layer.largest(largest)]])
    assert rest > 0
    layer = Layer(weight, rest, layer.shift, False)
    assert layer.largest(largest) == bound
    return layer


def test_what_could_reach_the_bound_is_refused_in_float32_only() -> None:
    bound = EXACT[torch.float32]
    assert bound == 1 << 24 and EXACT[torch.float64] == 1 << 53
    below = layer_that_reaches(bound - 1, TOP, 1040)
    for worst in worst_inputs(below, TOP):
        for dtype in CARRIERS:
            network = IntegerNetwork([below], TOP, 1 << 30, dtype=dtype)
            assert network(torch.tensor([worst]), 0).tolist() == [accumulators(below, worst, [1])]

    at = layer_that_reaches(bound, TOP, 1040)
    with pytest.raises(WeightsError, match=f"layer 0 .* {bound}, .*float32 is exact below {bound}"):
        IntegerNetwork([at], TOP, 1 << 30)
    for worst in worst_inputs(at, TOP):
        network = IntegerNetwork([at], TOP, 1 << 30, dtype=torch.float64)
        assert network(torch.tensor([worst]), 0).tolist() == [accumulators(at, worst, [1])]


def test_the_bias_of_every_step_counts() -> None:
    below = layer_that_reaches((1 << 24) - 1, 1, 3)
    for rest, refused in ((below.bias, False), (below.bias + 1, True)):
        layer = Layer(below.weight, torch.cat([torch.zeros(1, 1), -rest]), below.shift, False)
        if refused:
            with pytest.raises(WeightsError, match="could reach 16777216"):
                IntegerNetwork([layer], 1, 100)
        else:
            IntegerNetwork([layer], 1, 100)


def test_later_layers_take_activations() -> None:
    first = random_layer(np.random.default_rng(0), 2, 1040, 1)
    second = layer_that_reaches(1 << 24, TOP, 1040)
    with pytest.raises(WeightsError, match="layer 1 .* could reach 16777216"):
        IntegerNetwork([first, second], 1, 100)
    IntegerNetwork([second], 1, 100)


def test_layers_of_a_file() -> None:
    layers = [random_layer(np.random.default_rng(i), 2, 2, 3, skip=i == 0) for i in range(2)]
    tensors = {
        f"{i}.{name}": torch.as_tensor(getattr(layer, name))
        for i, layer in enumerate(layers)
        for name in ("weight", "bias", "shift", "skip")
    }
    found = layers_of({**tensors, "table": torch.zeros(3)})
    assert [layer.skip for layer in found] == [True, False]
    for mine, theirs in zip(layers, found, strict=True):
        assert mine.weight.equal(theirs.weight) and mine.bias.equal(theirs.bias)
        assert mine.shift.equal(theirs.shift)
    assert layers_of({}) == []
