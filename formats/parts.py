"""What a .cae file holds behind its header: the content of sound chunks, still coded."""

from __future__ import annotations

from dataclasses import dataclass

from .layout import AlphaCoding, Coding


@dataclass(frozen=True)
class AlphaStrip:
    """One alpha chunk: strip `index` of the image, see `Header.alpha_strip`."""

    index: int
    coding: AlphaCoding
    payload: bytes
    name: str  # in messages


@dataclass(frozen=True)
class Segment:
    """One data chunk: segment `index`, see `Header.segment_patches`, in one plane."""

    index: int
    plane: int
    coding: Coding
    payload: bytes
    name: str  # in messages
