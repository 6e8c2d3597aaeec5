"""Ways to read a file, for bin/fuzz: each returns all that comes out, and the errors noted."""

import io
import math
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np

from nncodec.api import codec_for, model_of
from nncodec.cli.contents import contents, segment_record, table, without_payload
from nncodec.cli.segment_map import draw
from nncodec.formats import alpha, bits
from nncodec.formats.cae import Coding, Header, Reader, Tile
from nncodec.formats.errors import Unsupported
from nncodec.formats.images import to_pil
from nncodec.formats.stages import first_stages

# That are decoded: what a larger picture takes is not the file's fault.
MAX_PIXELS, MAX_PATCHES = 1 << 14, 12

Result = tuple[Any, ...]


class Pipe(io.RawIOBase):
    """A stream that cannot seek and gives a few bytes at a time."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self._file.read(min(size, 100))


def decoded(file: BinaryIO, partial: bool = False, region: Any = None) -> tuple[Result, list[Any]]:
    """The picture, as `nncodec.decompress` reads it."""
    reader = Reader(file, partial=partial, max_pixels=MAX_PIXELS)
    if math.prod(reader.header.grid) > MAX_PATCHES:
        raise Unsupported("too many patches for two seconds")
    codec = codec_for(model_of(reader.header), "cpu")
    picture = codec.decompress_from(reader, region=region)
    to_pil(picture)
    opacity = None if picture.alpha is None else picture.alpha.tobytes()
    shape, kept = picture.pixels.shape, vars(picture.metadata)
    return (picture.pixels.tobytes(), shape, opacity, kept, picture.depth), reader.errors


def verified(file: BinaryIO) -> tuple[Result, list[Any]]:
    """All bits that can be had without a model, as `nncodec verify` reads them: of any size."""
    reader = Reader(file)
    opacity = [alpha.decode_strip(strip, reader.header).tobytes() for strip in reader.alpha]
    content = []
    for segment in reader.segments():
        if segment.coding is not Coding.CONTEXT:
            bits.unpack_segment(segment, reader.header)
        content.append(segment.payload)
    return (reader.header, opacity, reader.metadata, content), reader.errors


def truncated(file: BinaryIO) -> tuple[Result, list[Any]]:
    """The first stage, as `nncodec truncate` reads it."""
    return (first_stages(Reader(file), 1),), []


def shown(file: BinaryIO) -> tuple[Result, list[Any]]:
    """What `nncodec info -v` shows, of any size."""
    reader = Reader(file, partial=True)
    segments = list(map(without_payload, reader.segments()))
    record = {"input": "it", **contents(reader, segments, 1)}
    listed = [segment_record(reader.header, *segment) for segment in segments]
    return (table(record), draw(reader.header, segments, 80, "utf-8"), listed), reader.errors


WAYS: dict[str, Callable[[bytes], tuple[Result, list[Any]]]] = {
    "decompress": lambda data: decoded(io.BytesIO(data)),
    "pipe": lambda data: decoded(Pipe(data)),
    "partial": lambda data: decoded(io.BytesIO(data), partial=True),
    "region": lambda data: decoded(io.BytesIO(data), region=(2, 3, 9, 8)),
    "verify": lambda data: verified(io.BytesIO(data)),
    "partial pipe": lambda data: decoded(Pipe(data), partial=True),
    "truncate": lambda data: truncated(io.BytesIO(data)),
    "info": lambda data: shown(io.BytesIO(data)),
}


def digest(latent: Any, header: Header, tile: Tile, *step: int) -> Any:
    """In place of a tile's pixels, a colour that tells all latents apart, in next to no time."""
    colour = zlib.crc32(latent.tobytes(), zlib.crc32(repr((latent.shape, step)).encode()))
    pixels = np.zeros((tile.rows * header.patch, tile.columns * header.patch, 3), np.uint8)
    pixels[::4, ::4] = list(colour.to_bytes(4, "little")[:3])
    return pixels


@contextmanager
def undrawn(models: Sequence[str]) -> Iterator[None]:
    """All pictures are painted by :func:`digest` in here, and not by networks."""
    transforms = [codec_for(model, "cpu").engine.transform for model in models]
    for transform in transforms:
        vars(transform)["synthesise"] = digest  # found before the method
    try:
        yield
    finally:
        for transform in transforms:
            del vars(transform)["synthesise"]
