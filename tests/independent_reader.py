"""A reader of .cae files written from FORMAT.md, Part I, alone; it shares no code with the package.

It is here to prove that the document says all it takes. It is strict: any damage is Unreadable.
"""

import zlib
from collections import Counter
from typing import Any, NamedTuple

import numpy as np
import zstandard

Header = dict[str, Any]
SIZES = "16x8x8_zero", "16x8x8_refl", "16x16x16_zero", "32x32x32_zero"
MODELS = [*(f"cae_{size}_pad_bin" for size in SIZES), "bitplane_256"]


class Unreadable(Exception):
    """The file is no sound .cae file of version 1."""


def need(condition: bool, problem: str) -> None:
    if not condition:
        raise Unreadable(problem)


class Bytes:
    """Bytes taken in order."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, count: int) -> bytes:
        self.at += count
        need(self.at <= len(self.data), "too short")
        return self.data[self.at - count : self.at]

    def u32(self) -> int:
        return int.from_bytes(self.take(4), "little")

    def varint(self, least: int = 0, most: int = 2**32 - 1) -> int:
        value, byte, places = 0, 128, 0
        while byte >= 128:
            need(places < 5 * 7, "a varint of over five bytes")
            (byte,) = self.take(1)
            value |= (byte & 127) << places
            places += 7
        need(byte > 0 or places == 7, "a varint not in its shortest form")
        need(least <= value <= most, f"{value} is not in {least}...{most}")
        return value

    def chunk(self, number: int, limit: int) -> bytes:
        """The body of the next chunk, the `number`-th of its kind."""
        begin = self.at
        kind = self.take(1)
        body = self.take(self.varint(0, limit))
        covered = number.to_bytes(4, "little") + self.data[begin : self.at]
        need(self.u32() == zlib.crc32(covered), f"{kind!r} fails its checksum")
        return body

    def end(self) -> None:
        need(self.at == len(self.data), "too long")


def read_header(body: bytes) -> Header:
    """The fields by their names in FORMAT.md, and what follows from them."""
    b = Bytes(body)
    h: Header = {"width": b.varint(1, 2**24), "height": b.varint(1, 2**24)}
    need(h["width"] * h["height"] <= 2**32, "too many pixels")
    h["patch"] = patch = b.take(1)[0] * 8
    need(patch > 0, "no patches")
    top, left = b.varint(0, patch - 1), b.varint(0, patch - 1)
    h["pad mode"] = b.take(1)[0]
    h["depth"], h["colour"] = divmod(b.take(1)[0], 16)
    need(h["pad mode"] < 3 and h["colour"] < 4 and h["depth"] < 2, "an unknown code")
    model = b.varint(0, 5)
    name = b.take(b.varint(1, 64)) if model == 0 else MODELS[model - 1].encode()
    need(model > 0 or name.decode("latin-1") not in MODELS, "an id for a number")
    need(set(name) <= set(b"abcdefghijklmnopqrstuvwxyz0123456789_.-"), "no model id")
    h["model"], h["fingerprint"] = name.decode(), b.take(8)
    h["channels"], h["side"] = b.varint(1, 4096), b.varint(1, 128)
    tall, wide = b.varint(1, 4096), b.varint(1, 4096)
    h["planes"] = b.varint(1, 64)
    h["params"] = tuple(b.varint() for _ in range(b.varint(0, 16)))
    b.end()
    rows, columns = -(-(top + h["height"]) // patch), -(-(left + h["width"]) // patch)
    h["pad"] = top, left, rows * patch - top - h["height"], columns * patch - left - h["width"]
    h["grid"] = rows, columns
    need(-(-rows // tall) * -(-columns // wide) * h["planes"] <= 2**20, "too many data chunks")
    h["segments"] = [  # the first row and column of each, and how many
        (row, column, min(tall, rows - row), min(wide, columns - column))
        for row in range(0, rows, tall)
        for column in range(0, columns, wide)
    ]
    need(segment_bits(h, 0) <= 2**24 * 8, "too large segments")
    return h


def segment_bits(h: Header, index: int) -> int:
    return h["segments"][index][2] * h["segments"][index][3] * h["channels"] * h["side"] ** 2


def inflate(blocks: bytes, size: int) -> np.ndarray:
    frame = bytes.fromhex("28b52ffda0") + size.to_bytes(4, "little") + blocks
    try:
        data = zstandard.ZstdDecompressor().decompress(frame, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise Unreadable(str(error)) from None
    return np.frombuffer(data, np.uint8)


def read_bits(h: Header, index: int, coding: int, payload: bytes) -> np.ndarray | None:
    """The ±1 values (patches, channels, side, side) of a segment; None if context coded."""
    count = segment_bits(h, index)
    if coding == 2:
        pixels = count // h["channels"] // h["side"] ** 2 * h["patch"] ** 2
        need(h["params"] != () and pixels <= 2**20, "it cannot be context coded")
        return None
    need(coding < 2, "an unknown coding")
    packed = inflate(payload, -(-count // 8)) if coding else np.frombuffer(payload, np.uint8)
    need(len(packed) == -(-count // 8), "another number of bytes than are due")
    bits = np.unpackbits(packed).astype(np.int8)
    need(not bits[count:].any(), "filling bits that are not 0")
    return 2 * bits[:count].reshape(-1, h["channels"], h["side"], h["side"]) - 1


def read_strip(h: Header, rows: int, coding: int, payload: bytes) -> np.ndarray:
    """The alpha values (rows, width) of a strip."""
    need(coding in (1, 2, 3), "an unknown alpha coding")
    values = inflate(payload, rows * h["width"]).reshape(rows, h["width"])
    if coding > 1:
        values = values.cumsum(1, np.uint8)
    return values.cumsum(0, np.uint8) if coding == 3 else values


class Cae(NamedTuple):
    """What a file holds: optional chunks by kind, alpha, coding and payload of each D, its bits."""

    header: Header
    optional: dict[bytes, bytes]
    alpha: np.ndarray | None
    data: list[tuple[int, bytes]]
    bits: list[np.ndarray | None]


def read(file: bytes) -> Cae:
    """All that a file holds."""
    b = Bytes(file)
    need(b.take(9) == bytes.fromhex("894341450d0a1a0a 01"), "no .cae file of version 1")
    counts: Counter[bytes] = Counter()

    def body(kind: bytes, limit: int) -> bytes:
        need(file[b.at : b.at + 1] == kind, f"no {kind!r} where one is due")
        counts[kind] += 1
        return b.chunk(counts[kind] - 1, limit)

    def coded(kind: bytes, size: int, times: int = 1) -> tuple[int, bytes]:
        found = body(kind, 1 + (size + size // 128 + 64) * times)
        need(len(found) > 0, "an empty chunk")
        return found[0], found[1:]

    h = read_header(body(b"H", 256))
    optional, strips, data, bits, sizes = {}, [], [], [], []
    tall = max(1, 2**22 // h["width"])
    tops = range(0, h["height"] if h["colour"] in (1, 3) else 0, tall)
    while (kind := file[b.at : b.at + 1]) != b"D":
        if kind == b"A":
            need(len(strips) < len(tops), "too many strips")
            rows = min(tall, h["height"] - tops[len(strips)])
            strips.append(read_strip(h, rows, *coded(kind, rows * h["width"])))
        else:
            need(kind.islower() and counts.total() - len(strips) <= 64, f"{kind!r} is out of place")
            need(kind not in (b"c", b"x", b"m") or kind not in optional, f"{kind!r} comes twice")
            optional[kind] = body(kind, 2**24)
    need(len(strips) == len(tops), "strips are missing")
    for number in range(len(h["segments"]) * h["planes"]):
        begin, index = b.at, number % len(h["segments"])
        data.append(coded(b"D", -(-segment_bits(h, index) // 8), 64 if h["params"] else 1))
        bits.append(read_bits(h, index, *data[-1]))
        sizes.append(b.at - begin)
    begin = b.at
    end = Bytes(body(b"E", 5 * (1 + len(sizes))))
    need([end.varint() for _ in range(end.varint(0, 2**20))] == sizes, "other sizes in E")
    end.end()
    need(b.at - begin == b.u32(), "the tail is not the size of E")
    b.end()
    return Cae(h, optional, np.concatenate(strips) if strips else None, data, bits)
