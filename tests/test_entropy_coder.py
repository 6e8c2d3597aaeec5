"""The range coder: any bits come back, whatever their chances; damage is named."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from nncodec.entropy.coder import ONE, Decoder, Encoder
from nncodec.formats.errors import DamagedChunk

Bits = NDArray[np.bool_]
Chances = NDArray[np.uint16]

ENDING = 5  # bytes that the end of the coded bits may cost
EACH = 1.5e-4  # bits that a bit may cost on average because the coder's range is an integer

MESSAGE = r"^damaged: plane 2 of 5 holds bits that cannot have been coded$"


def encode(bits: Bits, chances: Chances, cuts: list[int] | None = None) -> bytes:
    """In batches that end at ``cuts``."""
    coder = Encoder()
    for batch in np.split(np.arange(len(bits)), sorted(cuts or [])):
        assert coder.code(chances[batch], bits[batch]).tolist() == bits[batch].tolist()
    return coder.finish()


def take(coder: Decoder, chances: Chances, cuts: list[int] | None = None) -> Bits:
    """All bits, in batches that end at ``cuts``, without a look at how the bytes end."""
    other = np.ones(len(chances), np.bool_)  # what a decoder is given is of no account
    batches = np.split(np.arange(len(chances)), sorted(cuts or []))
    parts = [coder.code(chances[batch], other[batch]) for batch in batches]
    assert all(part.dtype == np.bool_ for part in parts)
    return np.concatenate(parts)


def decode(data: bytes, chances: Chances, cuts: list[int] | None = None) -> Bits:
    coder = Decoder(data, "plane 2 of 5")
    bits = take(coder, chances, cuts)
    coder.finish()
    return bits


def information(bits: Bits, chances: Chances) -> float:
    """Bytes that bits of such chances cost at best."""
    chance = np.where(bits, chances, ONE - chances.astype(np.int64)) / ONE
    return float(-np.log2(chance).sum()) / 8


@st.composite
def coded(draw: st.DrawFn) -> tuple[Bits, Chances]:
    """Bits with chances: likely ones, unlikely ones, all the same."""
    count = draw(st.integers(0, 300))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    extremes = np.array([1, 2, ONE // 2, ONE - 2, ONE - 1])
    mixed = np.where(rng.random(count) < 0.5, rng.choice(extremes, count), 0)
    chances = np.where(mixed, mixed, rng.integers(1, ONE, count)).astype(np.uint16)
    kind = draw(st.sampled_from(["likely", "random", "zeros", "ones"]))
    bits = {
        "likely": rng.random(count) * ONE < chances,
        "random": rng.random(count) < 0.5,
        "zeros": np.zeros(count, np.bool_),
        "ones": np.ones(count, np.bool_),
    }[kind]
    return bits, chances


cuts = st.lists(st.integers(0, 300), max_size=3)


@settings(deadline=None)
@given(coded(), cuts, cuts)
@example((np.zeros(0, np.bool_), np.zeros(0, np.uint16)), [], [0])
def test_round_trip_in_any_batches(
    known: tuple[Bits, Chances], ends: list[int], other_ends: list[int]
) -> None:
    bits, chances = known
    data = encode(bits, chances)
    assert encode(bits, chances, ends) == data
    assert decode(data, chances, other_ends).tolist() == bits.tolist()
    assert len(data) <= information(bits, chances) + ENDING


@pytest.mark.parametrize("chance", [1, ONE // 2, ONE - 1])
def test_all_the_same_bit(chance: int) -> None:
    chances = np.full(10_000, chance, np.uint16)
    ones, zeros = np.ones(10_000, np.bool_), np.zeros(10_000, np.bool_)
    data = encode(ones, chances)
    assert decode(data, chances).all()
    assert abs(len(data) - information(ones, chances)) < ENDING
    # the lowest of all numbers, however unlikely: zeros, which are dropped
    assert encode(zeros, chances) == b""
    assert not decode(b"", chances).any()


@pytest.mark.parametrize("likely", [None, 1, 20, 655, 20_000, ONE // 2, ONE - 20])
def test_bits_cost_what_information_they_hold(likely: int | None) -> None:
    rng = np.random.default_rng(1)
    count = 100_000
    chances = rng.integers(1, ONE, count) if likely is None else np.full(count, likely)
    chances = chances.astype(np.uint16)
    bits = rng.random(count) * ONE < chances
    size = len(encode(bits, chances))
    assert abs(size - information(bits, chances)) < ENDING + count * EACH / 8


def test_nothing_costs_nothing() -> None:
    assert Encoder().finish() == b""
    assert encode(np.zeros(0, np.bool_), np.zeros(0, np.uint16)) == b""
    assert decode(b"", np.zeros(0, np.uint16)).tolist() == []


@pytest.mark.parametrize("zeros", [0, 7, 8, 20, 100, 1000])
def test_zeros_at_the_end_are_dropped_and_restored(zeros: int) -> None:
    bits = np.array([1, 0, 1, 1, 0, 1, 0, 1] + [0] * zeros, np.bool_)
    chances = np.full(len(bits), ONE // 2, np.uint16)
    data = encode(bits, chances)
    assert len(data) <= 8
    assert (decode(data, chances) == bits).all()


@settings(deadline=None)
@given(coded(), st.integers(1, 9))
def test_zeros_at_the_end_change_no_bit_but_are_refused(
    known: tuple[Bits, Chances], more: int
) -> None:
    bits, chances = known
    data = encode(bits, chances)
    assert not data.endswith(b"\0")
    coder = Decoder(data + bytes(more), "plane 2 of 5")
    assert (take(coder, chances) == bits).all()
    with pytest.raises(DamagedChunk, match=MESSAGE):
        coder.finish()


def accepted(payload: bytes, chances: Chances, cuts: list[int]) -> bool:
    """Whether the bytes are bits, which then are coded as these very bytes; else DamagedChunk."""
    try:
        bits = decode(payload, chances, cuts)
    except DamagedChunk as error:
        assert str(error) == "damaged: plane 2 of 5 holds bits that cannot have been coded"
        return False
    assert bits.shape == chances.shape
    assert encode(bits, chances) == payload
    return True


def test_made_up_bytes_are_damage() -> None:
    rng = np.random.default_rng(3)
    found = 0
    for _ in range(500):
        count = int(rng.integers(20, 100))
        chances = rng.integers(1, ONE, count).astype(np.uint16)
        data = encode(rng.random(count) * ONE < chances, chances)
        noise = rng.bytes(int(rng.integers(1, 40)))
        cut = data[: int(rng.integers(0, len(data)))]
        for payload in (noise, cut, data + noise, cut + noise, b"\xff" * len(data)):
            found += accepted(payload, chances, [count // 2])
        assert accepted(data, chances, [count // 3])
    assert found < 150  # of 2500: noise of just the right length may be bits


@settings(deadline=None)
@given(st.binary(max_size=40), st.lists(st.integers(1, ONE - 1), max_size=200), cuts)
@example(b"\xff" * 40, [1] * 100, [])
@example(b"", [1] * 100, [])
def test_any_bytes_are_bits_or_damage(payload: bytes, likely: list[int], ends: list[int]) -> None:
    accepted(payload, np.array(likely, np.uint16), ends)


def test_bytes_that_no_encoder_writes_are_named() -> None:
    with pytest.raises(DamagedChunk, match=MESSAGE):
        take(Decoder(b"\xff" * 40, "plane 2 of 5"), np.full(100, 1, np.uint16))


def test_a_changed_byte_changes_bits_from_its_place_on() -> None:
    rng = np.random.default_rng(4)
    chances = np.full(8000, ONE // 2, np.uint16)
    bits = rng.random(8000) < 0.5
    data = encode(bits, chances)
    assert math.ceil(8000 / 8) <= len(data) <= 1004
    changed = bytes([*data[:500], data[500] ^ 0x80, *data[501:]])
    found = take(Decoder(changed), chances)
    assert (found[:3900] == bits[:3900]).all()
    assert (found != bits).any()
