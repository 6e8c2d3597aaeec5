"""Bits to bytes with a range coder, given each bit's probability.

The coder is constriction's (Bamler 2022), driven with whole arrays. Probabilities are multiples
of 2^-16, exact in floating point, which it turns into integers before it codes anything.
"""

from typing import Protocol

import numpy as np
from constriction import stream  # type: ignore[import-untyped]
from numpy.typing import NDArray

from nncodec.formats.errors import DamagedChunk

Bits = NDArray[np.bool_]
Chances = NDArray[np.uint16]  # of a bit being 1, out of 2^16

ONE = 1 << 16  # what a probability of certainty would be in a table
WORD = 4  # bytes that the coder works in


class Coder(Protocol):
    """What codes bits: a model walks through a latent in the same way in both directions."""

    def code(self, chances: Chances, bits: Bits) -> Bits:
        """Code ``bits`` (n,), each being 1 with its chance (n,), and return them.

        A decoder returns what was coded, whatever ``bits`` are.
        """


class Encoder:
    """Takes bits in batches; :meth:`finish` gives the bytes."""

    def __init__(self) -> None:
        self._coder = stream.queue.RangeEncoder()
        self._model = stream.model.Bernoulli(perfect=False)

    def code(self, chances: Chances, bits: Bits) -> Bits:
        """Code ``bits`` (n,), each being 1 with its chance (n,) out of 2^16, and return them."""
        self.add(bits.astype(np.int32), probabilities(chances))
        return bits

    def add(self, symbols: NDArray[np.int32], ones: NDArray[np.float32]) -> None:
        """Code bits as the library takes them, with the probabilities of 1."""
        self._coder.encode(symbols, self._model, ones)

    def finish(self) -> bytes:
        """All bits as bytes, less the zeros at the end, which a decoder supplies."""
        words: NDArray[np.uint32] = self._coder.get_compressed()
        return words.astype(">u4").tobytes().rstrip(b"\0")


class Decoder:
    """Gives the bits back in the same batches, from the same chances.

    Nearly any bytes are some bits. So those found are coded again: at the end, that must give these
    very bytes.
    """

    def __init__(self, data: bytes, name: str = "the payload") -> None:
        padded = data + bytes(-len(data) % WORD)
        self._coder = stream.queue.RangeDecoder(np.frombuffer(padded, ">u4").astype(np.uint32))
        self._model = stream.model.Bernoulli(perfect=False)
        self._again = Encoder()
        self._data = data
        self._name = name

    def code(self, chances: Chances, bits: Bits) -> Bits:
        """The next bits, one for each chance. DamagedChunk if these bytes hold no such bits."""
        ones = probabilities(chances)
        try:
            symbols: NDArray[np.int32] = self._coder.decode(self._model, ones)
        except AssertionError:
            raise self._damage() from None
        self._again.add(symbols, ones)
        return symbols.astype(np.bool_)

    def finish(self) -> None:
        """Raise DamagedChunk if the bytes are not those that the bits would have been coded to."""
        if self._again.finish() != self._data:
            raise self._damage()

    def _damage(self) -> DamagedChunk:
        return DamagedChunk(f"{self._name} holds bits that cannot have been coded")


def probabilities(chances: Chances) -> NDArray[np.float32]:
    return np.multiply(chances, np.float32(1 / ONE), dtype=np.float32)
