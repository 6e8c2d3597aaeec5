"""Rare bits in groups: any come back, they cost what they tell, and few decisions are coded."""

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nncodec.entropy.coder import ONE, Bits, Chances, Coder, Decoder, Encoder
from nncodec.entropy.groups import GROUP, RARE, code_rare, grouped
from nncodec.formats.errors import DamagedChunk


class Counting(Encoder):
    """Knows how many decisions there were."""

    decisions = 0

    def code(self, chances: Chances, bits: Bits) -> Bits:
        assert chances.dtype == np.uint16 and (chances > 0).all()
        self.decisions += len(chances)
        return super().code(chances, bits)


class Scripted(Coder):
    """A decoder that says what it was told to say."""

    def __init__(self, *answers: Bits) -> None:
        self.answers = [*answers]

    def code(self, chances: Chances, bits: Bits) -> Bits:
        return self.answers.pop(0)


@st.composite
def rare_bits(draw: st.DrawFn) -> tuple[Chances, Bits]:
    count = draw(st.integers(0, 200))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    likely = draw(st.sampled_from([0, 0.01, 0.5, 1]))
    return rng.integers(1, RARE, count).astype(np.uint16), rng.random(count) < likely


@settings(deadline=None)
@given(rare_bits())
@example((np.array([1], np.uint16), np.array([True])))
@example((np.array([1] * 32 + [255], np.uint16), np.array([True] * 33)))
def test_round_trip(drawn: tuple[Chances, Bits]) -> None:
    chances, bits = drawn
    coder = Encoder()
    assert code_rare(coder, chances, bits).tolist() == np.flatnonzero(bits).tolist()
    decoder = Decoder(coder.finish())
    other = np.ones(len(bits), np.bool_)  # what a decoder is given is of no account
    assert code_rare(decoder, chances, other).tolist() == np.flatnonzero(bits).tolist()
    decoder.finish()


def test_every_bit_is_in_the_group_of_its_remainder() -> None:
    values = np.arange(1, 71, dtype=np.uint16)
    columns = grouped(values)
    assert columns.shape == (GROUP, 3)
    for group in range(3):
        assert [x for x in columns[:, group] if x] == values[group::3].tolist()


def test_bits_as_rare_as_they_say_cost_little_more_than_they_tell_and_few_decisions() -> None:
    rng = np.random.default_rng(0)
    chances = rng.integers(1, RARE, 200_000).astype(np.uint16)
    bits = rng.random(200_000) * ONE < chances
    coder = Counting()
    code_rare(coder, chances, bits)
    chance = np.where(bits, chances, ONE - chances.astype(int)) / ONE
    ideal = -np.log2(chance).sum() / 8
    assert ideal < len(coder.finish()) < 1.15 * ideal
    assert coder.decisions == 200_000 // GROUP + GROUP * len(
        np.unique(np.flatnonzero(bits) % (200_000 // GROUP))
    )
    assert coder.decisions < len(bits) / 10


def test_certain_zeros_cost_next_to_nothing() -> None:
    coder = Counting()
    zeros = np.zeros(10_000, np.bool_)
    assert len(code_rare(coder, np.full(10_000, RARE - 1, np.uint16), zeros)) == 0
    assert coder.decisions == math.ceil(10_000 / GROUP)
    assert coder.finish() == b""


@pytest.mark.parametrize("said", [[False, False, False], [True, False, False]])
def test_a_group_that_has_no_one_is_damage(said: list[bool]) -> None:
    chances = np.full(3, 7, np.uint16)
    coder = Scripted(np.array([True]), np.array(said))
    if any(said):
        assert code_rare(coder, chances, np.zeros(3, np.bool_)).tolist() == [0]
    else:
        with pytest.raises(DamagedChunk, match="the payload holds bits that cannot"):
            code_rare(coder, chances, np.zeros(3, np.bool_))
