"""Products of small integers: exact on every carrier, and quick ones only where they are."""

from collections.abc import Iterator

import pytest
import torch
from carriers import BYTES, CARRIERS
from hypothesis import given, settings
from hypothesis import strategies as st

from nncodec.entropy import products
from nncodec.entropy.products import BYTE, bytes_are_quick, product, quickest, wide

CPU = torch.device("cpu")
sides = st.integers(0, 40)


@settings(deadline=None)
@given(sides, sides, sides, st.booleans(), st.integers(0, 2**32 - 1))
def test_every_carrier_gives_the_same(n: int, k: int, m: int, turned: bool, seed: int) -> None:
    """Also of no rows, columns or products at all, and however they lie in memory."""
    maker = torch.Generator().manual_seed(seed)
    x = torch.randint(-BYTE, BYTE + 1, (n, k), generator=maker)
    weights = torch.randint(-BYTE, BYTE + 1, (k, m), generator=maker)
    for carrier in CARRIERS:
        a, b = x.to(carrier), weights.to(carrier)
        if turned:
            a, b = a.T.contiguous().T, b.T.contiguous().T
        found = product(a, b)
        assert found.dtype == wide(carrier)
        assert found.tolist() == (x @ weights).tolist()


@pytest.mark.skipif(not BYTES, reason="no exact products of bytes here")
@settings(deadline=None)
@given(sides, sides, st.integers(2, 5), st.integers(0, 2**32 - 1))
def test_the_strides_of_one_row_or_column_do_not_matter(n: int, k: int, by: int, seed: int) -> None:
    maker = torch.Generator().manual_seed(seed)
    whole = torch.randint(-BYTE, BYTE + 1, (n, k), generator=maker, dtype=torch.int8)
    wider = torch.randint(-BYTE, BYTE + 1, (k * by,), generator=maker, dtype=torch.int8)
    one = wider.as_strided((k, 1), (1, by))
    due = (whole.long() @ one.long()).tolist()
    assert product(whole, one).tolist() == due
    assert product(one.T, whole.T).T.tolist() == due


@pytest.mark.skipif(not BYTES, reason="no exact products of bytes here")
def test_nothing_saturates_that_could() -> None:
    for signs in (1, -1):
        x = torch.full((7, 1040), BYTE, dtype=torch.int8)
        assert product(x, signs * x.T).unique().tolist() == [signs * 1040 * BYTE**2]


@pytest.fixture
def fresh() -> Iterator[None]:
    """A process that has not yet looked at its processor; nor has it afterwards."""
    bytes_are_quick.cache_clear()
    yield
    bytes_are_quick.cache_clear()


@pytest.mark.skipif(not BYTES, reason="no exact products of bytes here")
@pytest.mark.usefixtures("fresh")
def test_bytes_are_chosen_where_the_processor_multiplies_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    monkeypatch.delenv("DNNL_MAX_CPU_ISA", raising=False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_vnni": True}, raising=False)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    assert quickest(CPU) == torch.int8
    assert quickest(torch.device("cuda")) == torch.float32


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("missing", ["processor", "library", "told", "function", "kernel", "sums"])
def test_bytes_are_not_chosen_without(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"avx512_vnni": missing != "processor"}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: known, raising=False)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: missing != "library")
    if missing == "told":
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    if missing == "function":
        monkeypatch.delattr(torch, "_int_mm")
    if missing == "kernel":  # as in torch 2.3, for a CPU

        def lacking(*_: torch.Tensor) -> torch.Tensor:
            raise NotImplementedError("Could not run 'aten::_int_mm'")

        monkeypatch.setattr(torch, "_int_mm", lacking)
    if missing == "sums":  # of pairs in 16 bits, as without VNNI, one of each without a sign

        def saturated(x: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
            x, weights = x.int() + 128, weights.int()
            pairs = [x[:, i : i + 2] @ weights[i : i + 2] for i in range(0, 64, 2)]
            added = torch.stack(pairs).clamp(-(2**15), 2**15 - 1).sum(0)
            return (added - 128 * weights.sum(0)).float()

        monkeypatch.setattr(products, "product", saturated)
    assert quickest(CPU) == torch.float32
