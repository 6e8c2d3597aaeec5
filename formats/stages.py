"""Stages: a variable-rate model's file is one picture, sent from coarse to fine.

What its parameters mean is specified in `cae.py`. The first stages alone are a file, too.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace

from .errors import Damaged, NncodecError
from .header import Header
from .layout import MODEL_NUMBERS
from .parts import Segment
from .reader import Reader
from .writer import Writer

VARIABLE_RATE = frozenset({MODEL_NUMBERS[5]})
PER_OCTAVE = 128  # step codes from one step to its double
MAX_STEP = 16 * PER_OCTAVE  # step codes are below
BIT_PLANES = 13  # of a latent's magnitudes at most


@dataclass(frozen=True)
class Settings:
    """What a file's header says of its latent: the step code, and the last plane that was sent."""

    step: int
    last: int = 0

    @classmethod
    def of(cls, header: Header) -> Settings:
        """The settings in a header's parameters; Damaged if there are others."""
        params, planes = header.params, header.planes
        if len(params) != 2 or params[0] >= MAX_STEP or params[1] + planes > BIT_PLANES:
            raise Damaged(f"the header has parameters that {header.model} does not know")
        return cls(*params)

    @property
    def params(self) -> tuple[int, int]:
        return (self.step, self.last)

    @property
    def step_size(self) -> float:
        """The quantisation step in 8-bit levels."""
        return float(2 ** (self.step / PER_OCTAVE))


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
        params = Settings(before.step, before.last + left_out).params
        header = replace(header, planes=stages, params=params)
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
