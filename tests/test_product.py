"""Products of vectors with a layer's matrix, by oneDNN and without."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from nncodec import Codec
from nncodec.models import product as products
from nncodec.models.pixel_filter import INPUTS, RUN
from nncodec.models.product import FEW, onednn_is_right, product

Operands = tuple[Tensor, Tensor, Tensor]


def drawn(rows: int, inputs: int = 48, outputs: int = 80) -> Operands:
    """Vectors (1, 1, rows, inputs), a matrix and a bias."""
    torch.manual_seed(rows)
    return torch.randn(1, 1, rows, inputs), torch.randn(outputs, inputs), torch.randn(outputs)


def torn(*operands: Tensor) -> list[Tensor]:
    """Copies that slopes are asked of."""
    return [x.clone().requires_grad_() for x in operands]


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A torch that has no such products."""

    def missing(*_: object) -> Tensor:
        raise AttributeError("_linear_pointwise")

    onednn_is_right.cache_clear()
    monkeypatch.setattr(products, "onednn", missing)
    yield
    onednn_is_right.cache_clear()


@pytest.mark.parametrize("rows", [1, FEW - 1, FEW, FEW + 1, 700])
@pytest.mark.parametrize("biased", [True, False])
def test_it_is_the_product(rows: int, biased: bool) -> None:
    x, weight, bias = drawn(rows)
    found = product(x, weight, bias if biased else None)
    due = x.double() @ weight.double().T + (bias if biased else 0)
    assert found.shape == (1, 1, rows, 80) and found.dtype == torch.float32
    assert (found - due).abs().max() < 1e-4


@pytest.mark.parametrize("rows", [3, 300])
def test_slopes_are_those_of_torch(rows: int) -> None:
    operands, force = drawn(rows), torch.randn(1, 1, rows, 80)
    mine, theirs = torn(*operands), torn(*operands)
    (product(*mine) * force).sum().backward()
    (F.linear(*theirs) * force).sum().backward()
    for one, other in zip(mine, theirs, strict=True):
        assert one.grad is not None and other.grad is not None
        assert torch.allclose(one.grad, other.grad, rtol=1e-4, atol=1e-3)


def test_slopes_are_computed_of_what_they_are_asked_of() -> None:
    x, weight, bias = drawn(200)
    product(x.requires_grad_(), weight, bias).sum().backward()
    assert x.grad is not None and weight.grad is None and bias.grad is None


def test_long_sums_are_the_same_for_any_threads() -> None:
    """Those of a filter's moments, which are as long as they may be."""
    x, weight, _ = drawn(INPUTS, RUN, INPUTS + 3)
    before, found = torch.get_num_threads(), []
    for count in (1, 2, 3, 4, 8):
        torch.set_num_threads(count)
        found.append(product(x, weight, None))
    torch.set_num_threads(before)
    assert all(one.equal(found[0]) for one in found)


@pytest.mark.parametrize("rows", [5, 130, 1000])
def test_threads_and_rows_around_do_not_matter(rows: int) -> None:
    x, weight, bias = drawn(rows, 192, 192)
    before, found = torch.get_num_threads(), []
    for count in (1, 2, 3, 7):
        torch.set_num_threads(count)
        found.append(product(x, weight, bias))
    torch.set_num_threads(before)
    assert all(one.equal(found[0]) for one in found)
    assert product(x[:, :, : rows // 2], weight, bias).equal(found[0][:, :, : rows // 2])


@pytest.mark.skipif(not onednn_is_right(), reason="no such products here")
@pytest.mark.parametrize("apart", [0, 1, 2])
def test_rows_may_lie_apart(monkeypatch: pytest.MonkeyPatch, apart: int) -> None:
    """oneDNN is not asked for what it would take a thousand times as long for."""
    x, weight, _ = drawn(300)
    due = product(x, weight, None)
    if apart != 1:
        x = torch.cat([x, x + 1], 3)[..., :48]
    if apart != 0:
        weight = torch.cat([weight, weight], 1)[:, :48]
    asked: list[Tensor] = []

    class Spied:
        def _linear_pointwise(self, *given: Any) -> Tensor:
            asked.extend(given[:2])
            return ask(*given)

    ask = torch.ops.mkldnn._linear_pointwise
    monkeypatch.setattr(torch.ops, "mkldnn", Spied())
    assert product(x, weight, None).equal(due)
    assert len(asked) == 2 and all(one.is_contiguous() for one in asked)


def test_slopes_may_lie_apart_or_be_one_for_all() -> None:
    x, weight, bias = torn(*drawn(300))
    found = product(x, weight, bias)
    found[..., :5].sum().backward()
    assert weight.grad is not None
    assert torch.allclose(weight.grad[:5], x.detach().sum((0, 1, 2)).expand(5, -1), atol=1e-3)


def test_autocast_chooses_the_arithmetic() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        assert product(*drawn(200)).dtype == torch.bfloat16


def test_others_than_float32_are_torchs_own() -> None:
    operands = [x.double() for x in drawn(200)]
    assert product(*operands).equal(F.linear(*operands))


def test_a_program_that_does_without_onednn_does_here(monkeypatch: pytest.MonkeyPatch) -> None:
    def unwanted(*_: object) -> Tensor:
        raise AssertionError

    assert onednn_is_right() in (True, False)  # known by now
    monkeypatch.setattr(products, "onednn", unwanted)
    operands = drawn(200)
    with torch.backends.mkldnn.flags(enabled=False):
        assert product(*operands).equal(F.linear(*operands))


def test_wrong_products_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    onednn_is_right.cache_clear()
    monkeypatch.setattr(products, "onednn", lambda x, weight, bias=None: 1.001 * (x @ weight.T))
    assert not onednn_is_right()
    onednn_is_right.cache_clear()


@pytest.mark.usefixtures("without")
def test_a_torch_without_them_gives_the_same() -> None:
    operands = drawn(200)
    assert not onednn_is_right()
    assert product(*operands).equal(F.linear(*operands))


def test_pictures_are_the_same_with_them_and_without(
    lake: Image.Image, request: pytest.FixtureRequest
) -> None:
    codec = Codec(device="cpu")
    data = codec.compress(lake, quality=60)
    found = np.asarray(codec.decompress(data)).astype(np.int16)
    request.getfixturevalue("without")
    other = np.asarray(codec.decompress(data)).astype(np.int16)
    assert np.abs(found - other).max() <= 1
