"""Stages: a variable-rate model's file is one picture, sent from coarse to fine.

What its parameters mean is specified in `cae.py`. The first stages alone are a file, too.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace

from .errors import Damaged, NncodecError
from .header import Header
from .layout import MAX_PARAMS, MODEL_NUMBERS
from .parts import Segment
from .reader import Reader
from .writer import Writer

VARIABLE_RATE = frozenset({MODEL_NUMBERS[5]})
PER_OCTAVE = 128  # step codes from one step to its double
MAX_STEP = 16 * PER_OCTAVE  # step codes are below
BIT_PLANES = 13  # of a latent's magnitudes at most
DIGITS = 28  # binary ones of the factors that a parameter has: what a varint of four bytes holds
DIGIT_MASK = (1 << DIGITS) - 1
LARGEST_FACTOR = 63  # in magnitude
FACTOR_DIGITS = DIGITS * (MAX_PARAMS - 2)  # that there may be


@dataclass(frozen=True)
class Settings:
    """What a file's header says of its latent, and of how the picture is drawn.

    The step code, the last plane that was sent, and how much the filter of pixels varies in each of
    its ways; it does not in those beyond.
    """

    step: int
    last: int = 0
    factors: tuple[int, ...] = ()

    @classmethod
    def of(cls, header: Header) -> Settings:
        """The settings in a header's parameters; Damaged if there are others."""
        params, planes = header.params, header.planes
        known = len(params) >= 2 and params[0] < MAX_STEP and params[1] + planes <= BIT_PLANES
        if known:
            settings = cls(params[0], params[1], read_factors(params[2:]))
            if settings.params == params and within_bounds(settings.factors):
                return settings
        raise Damaged(f"the header has parameters that {header.model} does not know")

    @property
    def params(self) -> tuple[int, ...]:
        return (self.step, self.last, *write_factors(self.factors))

    @property
    def step_size(self) -> float:
        """The quantisation step in 8-bit levels."""
        return float(2 ** (self.step / PER_OCTAVE))


def write_factors(factors: Sequence[int]) -> list[int]:
    """Factors as parameters: one long binary number, DIGITS of it in each, the lowest first.

    From its lowest digit on, factor after factor has n zeros, a one and n digits: an exponential
    Golomb code of 0, 1, -1, 2, -2, ... The last factor is not 0.
    """
    number = place = 0
    for factor in factors:
        rank, digits = _rank(factor), factor_bits(factor) // 2
        number |= (1 | (rank - (1 << digits)) << 1) << place + digits
        place += 2 * digits + 1
    return [number >> begin & DIGIT_MASK for begin in range(0, number.bit_length(), DIGITS)]


def read_factors(params: Sequence[int]) -> tuple[int, ...]:
    """The factors of which these are the parameters, or of none if they are of no factors."""
    number = sum(param << DIGITS * index for index, param in enumerate(params))
    factors = []
    while number:
        digits = (number & -number).bit_length() - 1
        number >>= digits + 1
        rank = (number & (1 << digits) - 1) + (1 << digits)
        number >>= digits
        factors.append(rank // 2 if rank % 2 == 0 else -(rank // 2))
    return tuple(factors)


def within_bounds(factors: Sequence[int]) -> bool:
    """Whether all factors are as small as they must be, and the last one is not 0."""
    return all(abs(factor) <= LARGEST_FACTOR for factor in factors) and 0 not in factors[-1:]


def factor_bits(factor: int) -> int:
    """How many binary digits a factor takes."""
    return 2 * _rank(factor).bit_length() - 1


def _rank(factor: int) -> int:
    """The place, from 1, of a factor in 0, 1, -1, 2, -2, ..."""
    return 2 * abs(factor) - (factor > 0) + 1


def first_stages(reader: Reader, stages: int | None = None, size: int | None = None) -> bytes:
    """The file of the first ``stages`` of what ``reader`` reads, or of as many as fit ``size``.

    A file that is short enough stays as it is, less optional chunks that are not known. Raises
    CaeError; NncodecError if not even the first stage has so few bytes.
    """
    segments = list(reader.segments())
    planes = reader.header.planes
    most = planes if stages is None else min(stages, planes)
    for kept in range(most, 0, -1):
        file = _remade(reader, segments, kept)
        if size is None or len(file) <= size:
            return file
    raise NncodecError(f"the first stage alone takes {len(file):,} bytes, more than {size:,}")


def _remade(reader: Reader, segments: Sequence[Segment], stages: int) -> bytes:
    header = reader.header
    left_out = header.planes - stages
    if left_out:
        before = Settings.of(header)
        after = replace(before, last=before.last + left_out)
        header = replace(header, planes=stages, params=after.params)
    file = io.BytesIO()
    writer = Writer(file, header)
    for name, content in reader.metadata.items():
        writer.metadata(name, content)
    for strip in reader.alpha:
        writer.alpha(strip.coding, strip.payload)
    for segment in segments[: header.n_chunks]:
        writer.segment(segment.coding, segment.payload)
    writer.close()
    return file.getvalue()
