"""Bits to bytes with a range coder, given each bit's probability.

The coder is constriction's (Bamler 2022), driven with whole arrays. Probabilities are multiples
of 2^-16, exact in floating point, which it turns into integers before it codes anything.
"""

from abc import ABC, abstractmethod

import numpy as np
from constriction import stream  # type: ignore[import-untyped]
from numpy.typing import NDArray

from nncodec.formats.errors import DamagedChunk

Bits = NDArray[np.bool_]
Chances = NDArray[np.uint16]  # of a bit being 1, out of 2^16
Symbols = NDArray[np.int32]  # bits, as the library takes them
Probabilities = NDArray[np.float64]  # of 0 and of 1, (n, 2)

ONE = 1 << 16  # what a probability of certainty would be in a table
WORD = 4  # bytes that the coder works in


class Coder(ABC):
    """What codes bits: a model walks through a latent in the same way in both directions."""

    name = "the payload"

    @abstractmethod
    def code(self, chances: Chances, bits: Bits) -> Bits:
        """Code ``bits`` (n,), each being 1 with its chance (n,) out of 2^16, and return them.

        A decoder returns what was coded, whatever ``bits`` are.
        """

    def damage(self) -> DamagedChunk:
        """The error to raise at bits that no encoder codes."""
        return DamagedChunk(f"{self.name} holds bits that cannot have been coded")


class Encoder(Coder):
    """Takes bits in batches; :meth:`finish` gives the bytes."""

    def __init__(self) -> None:
        self._coder = stream.queue.RangeEncoder()
        self._model = stream.model.Categorical(perfect=False)

    def code(self, chances: Chances, bits: Bits) -> Bits:
        if len(chances):  # the library takes its time for none, too
            self.add(bits.astype(np.int32), probabilities(chances))
        return bits

    def add(self, symbols: Symbols, chances: Probabilities) -> None:
        """Code bits as the library takes them, with :func:`probabilities`."""
        self._coder.encode(symbols, self._model, chances)

    @property
    def size(self) -> int:
        """How many bytes there are by now, nearly."""
        return WORD * int(self._coder.num_words())

    def finish(self) -> bytes:
        """All bits as bytes, less the zeros at the end, which a decoder supplies."""
        words: NDArray[np.uint32] = self._coder.get_compressed()
        return words.astype(">u4").tobytes().rstrip(b"\0")


class Decoder(Coder):
    """Gives the bits back in the same batches, from the same chances.

    Nearly any bytes are some bits. So those found are coded again: at the end, that must give these
    very bytes.
    """

    def __init__(self, data: bytes, name: str = "the payload") -> None:
        padded = data + bytes(-len(data) % WORD)
        self._coder = stream.queue.RangeDecoder(np.frombuffer(padded, ">u4").astype(np.uint32))
        self._model = stream.model.Categorical(perfect=False)
        self._again = Encoder()
        self._data = data
        self.name = name

    def code(self, chances: Chances, bits: Bits) -> Bits:
        """The next bits, one for each chance. DamagedChunk if these bytes hold no such bits."""
        if not len(chances):
            return np.zeros(0, np.bool_)
        wanted = probabilities(chances)
        try:
            symbols: NDArray[np.int32] = self._coder.decode(self._model, wanted)
        except AssertionError:
            raise self.damage() from None
        self._again.add(symbols, wanted)
        return symbols.astype(np.bool_)

    def finish(self) -> None:
        """Raise DamagedChunk if the bytes are not those that the bits would have been coded to."""
        if self._again.finish() != self._data:
            raise self.damage()


def probabilities(chances: Chances) -> Probabilities:
    """Those of 0 and of 1, (n, 2).

    As a choice of two: told the probabilities of 1 alone, the library makes the very same bytes in
    1.8 times the time.
    """
    both = np.empty((len(chances), 2))
    np.multiply(chances, 1 / ONE, out=both[:, 1])
    np.subtract(1, both[:, 1], out=both[:, 0])
    return both
