"""Mutations of .cae files: what a failing disk, or somebody clever, makes of small sound ones.

Written after the table in `nncodec.formats.cae`, without the package's writer: that one refuses to
write nearly all of this. A mutation is *sealed* if it was made with right checksums, so that it is
decoded as far as its content goes, and may be another picture.
"""

from __future__ import annotations

import zlib
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import accumulate, chain, repeat
from random import Random
from typing import NamedTuple
from unittest import mock

import numpy as np

from nncodec import api
from nncodec.formats.images import Metadata, Picture
from nncodec.formats.layout import Colour
from nncodec.formats.stages import VARIABLE_RATE
from nncodec.rate import Target
from nncodec.weights import manifest

START = b"\x89CAE\r\n\x1a\n\x01"
LAYOUT = "vvbvvbbvfvvvvvv"  # of the header's fields: varint, byte, fingerprint; then its params
WIDTH, HEIGHT, PAD_TOP, PAD_LEFT, COLOUR, MODEL, FINGERPRINT = 0, 1, 3, 4, 6, 7, 8
CHANNELS, SIDE, SEGMENT_ROWS, SEGMENT_COLUMNS, PLANES = 9, 10, 11, 12, 13
FINGERPRINT_BYTES = 8
NUMBERS = sorted({max(0, (1 << bit) + by) for bit in range(33) for by in (-1, 0, 1)})
MISSPELT = (b"", b"\x80", b"\x80\0", b"\xff" * 5, b"\xff" * 9, b"\x80\x80\x80\x80\x10")
STRIDE = 1_000_003  # a prime: its multiples visit all places of the files, far from the last one

Part = tuple[bytes, bytes]  # kind and body of a chunk


class Seed(NamedTuple):
    """A sound file, its header's fields, and the chunks between header and end."""

    name: str
    data: bytes
    fields: list[bytes]
    parts: list[Part]


class Mutation(NamedTuple):
    """What became of a seed."""

    kind: str
    seed: Seed
    data: bytes
    sealed: bool


# Sound files.


def seeds() -> list[Seed]:
    """Small files of every model and coding; among them all kinds of chunks, and two segments."""
    files = {}
    small, large = _picture(16, 16, Colour.RGB), _picture(140, 20, Colour.RGB_ALPHA)
    grey = _picture(24, 17, Colour.GREY_ALPHA)
    with mock.patch.object(api, "SEGMENT", 1):  # patches, so that there are two segments
        for model in manifest():
            make = api.codec_for(model, "cpu").compress_picture
            if model in VARIABLE_RATE:
                files[f"{model} small"] = make(small, Target(quality=20, stages=4), effort=1)
                files[f"{model} large"] = make(large, Target(quality=0, stages=4), effort=1)
                files[f"{model} grey"] = make(grey, Target(quality=0, stages=4), effort=1)
            else:
                files[f"{model} raw"] = make(small, entropy="raw")
                files[f"{model} zstd"] = make(large, entropy="zstd")
                files[f"{model} context"] = make(grey, entropy="context")
    return [Seed(name, data, *parse(data)) for name, data in files.items()]


def _picture(width: int, height: int, colour: Colour) -> Picture:
    """A slope; if it has alpha, there is a hole in it, and if it has colour, metadata as well."""
    slope = np.add.outer(np.arange(height) * 3, np.arange(width)).astype(np.uint8)
    pixels = np.stack([slope, slope if colour.is_grey else slope[::-1], slope], axis=2)
    if not colour.has_alpha:
        return Picture(pixels, colour)
    alpha = np.full((height, width), 255, np.uint8)
    alpha[3:9, 5:] = 0
    metadata = Metadata() if colour.is_grey else Metadata(b"profile", b"II*\0", b"<x/>")
    return Picture(pixels, colour, alpha, metadata=metadata)


def parse(data: bytes) -> tuple[list[bytes], list[Part]]:
    """The fields of a sound file's header, and its chunks but for header and end."""
    parts, at = [], len(START)
    while data[at : at + 1] != b"E":
        length, begin = _varint(data, at + 1)
        parts.append((data[at : at + 1], data[begin : begin + length]))
        at = begin + length + 4
    (_, header), *rest = parts
    fields, at = [], 0
    for kind in chain(LAYOUT, repeat("v")):
        if at == len(header):
            break
        end = {"b": at + 1, "f": at + FINGERPRINT_BYTES}.get(kind) or _varint(header, at)[1]
        fields.append(header[at:end])
        at = end
    return fields, rest


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """The varint at a place, and where it ends."""
    value = 0
    for position in range(at, len(data)):
        value |= (data[position] & 0x7F) << 7 * (position - at)
        if data[position] < 0x80:
            return value, position + 1
    raise ValueError("no varint")


# Files by hand, sound or not.


def varint(value: int) -> bytes:
    """Spell a number of any size."""
    low = [value >> shift & 0x7F for shift in range(0, max(value.bit_length(), 1), 7)]
    return bytes([*(part | 0x80 for part in low[:-1]), low[-1]])


def frame(kind: bytes, body: bytes, number: int = 0, declared: int | None = None) -> bytes:
    """A chunk with the right checksum, whatever length it declares."""
    head = kind + varint(len(body) if declared is None else declared)
    numbered = zlib.crc32(number.to_bytes(4, "little") + head)
    return head + body + zlib.crc32(body, numbered).to_bytes(4, "little")


def frames(parts: Sequence[Part]) -> list[bytes]:
    """Chunks in their order, with the right numbers."""
    known: Counter[bytes] = Counter()
    out = []
    for kind, body in parts:
        out.append(frame(kind, body, known[kind]))
        known[kind] += 1
    return out


def join(chunks: Sequence[bytes], index: Sequence[int] | None = None) -> bytes:
    """The file of these chunks; ``index`` is what the end chunk holds, if not what it should."""
    sizes = [len(chunk) for chunk in chunks if chunk[:1] == b"D"]
    numbers = [len(sizes), *sizes] if index is None else index
    end = frame(b"E", b"".join(map(varint, numbers)))
    return START + b"".join(chunks) + end + len(end).to_bytes(4, "little")


def build(fields: Sequence[bytes], parts: Sequence[Part]) -> bytes:
    """The file with a header of these fields, and these chunks; undoes :func:`parse`."""
    return join(frames([(b"H", b"".join(fields)), *parts]))


def resealed(data: bytes) -> bytes:
    """The file with right checksums, numbers and index, as far as it consists of chunks."""
    parts, at = [], len(START)
    try:
        while data[at : at + 1] not in (b"", b"E"):
            size, begin = _varint(data, at + 1)
            parts.append((data[at : at + 1], data[begin : begin + size]))
            at = begin + size + 4
    except ValueError:
        pass
    return join(frames(parts))


# Mutations: each takes a source of chance, a seed, and all seeds.


def havoc(rng: Random, seed: Seed, others: Sequence[Seed]) -> bytes:
    """Bytes replaced, put in and taken out at up to four places, nothing else made to fit."""
    data = bytearray(seed.data)
    for _ in range(rng.randint(1, 4)):
        begin = rng.randint(0, len(data))
        source = rng.choice(others).data
        at = rng.randrange(len(source))
        new = rng.choice(
            (b"", rng.randbytes(rng.randint(1, 8)), source[at : at + rng.randint(1, 40)])
        )
        data[begin : begin + rng.choice((0, 1, 2, len(new), 30))] = new
    return bytes(data)


def field(rng: Random, seed: Seed, others: Sequence[Seed]) -> bytes:
    """Fields of the header at their extremes, beside what they are, misspelt or missing."""
    fields = list(seed.fields)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        place = rng.randrange(len(fields))
        near = max(0, _number(fields[place]) + rng.choice((-1, 1, 8)))
        extremes = varint(rng.choice(NUMBERS)), varint(near), rng.randbytes(len(fields[place]))
        fields[place] = rng.choice((*extremes, rng.choice(MISSPELT)))
    return build(fields, seed.parts)


def _number(field: bytes) -> int:
    """The number that a field is, or begins with."""
    return _varint(field + b"\0", 0)[0]


def size(rng: Random, seed: Seed, others: Sequence[Seed]) -> bytes:
    """Sizes that a header may have, up to the largest, none of them that of the content."""
    fields = list(seed.fields)
    fields[WIDTH], fields[HEIGHT] = (varint(int(2 ** rng.uniform(0, 24))) for _ in range(2))
    for place in (PAD_TOP, PAD_LEFT):
        fields[place] = varint(rng.choice((0, 0, 0, 1, 63, 127)))
    for place in (SEGMENT_ROWS, SEGMENT_COLUMNS):
        fields[place] = varint(rng.choice((1, 2, 8, 64, 4096)))
    if rng.random() < 0.3:
        fields[PLANES] = varint(rng.randint(1, 64))
    return build(fields, seed.parts)


def length(rng: Random, seed: Seed, others: Sequence[Seed]) -> bytes:
    """A chunk that declares another length than it has."""
    parts = _parts(seed)
    chunks, place = frames(parts), rng.randrange(len(parts))
    kind, body = parts[place]
    near = max(0, len(body) + rng.choice((-1, 1, -2, 4)))
    number = sum(before == kind for before, _ in parts[:place])
    chunks[place] = frame(kind, body, number, rng.choice((near, rng.choice(NUMBERS))))
    return join(chunks)


def index(rng: Random, seed: Seed, others: Sequence[Seed]) -> bytes:
    """An end chunk, or the size of it, that is not that of the file."""
    chunks = frames(_parts(seed))
    sizes = [len(chunk) for chunk in chunks if chunk[:1] == b"D"]
    numbers = [len(sizes), *sizes]
    if rng.random() < 0.2:
        return join(chunks)[:-4] + rng.choice(NUMBERS[:-2]).to_bytes(4, "little")
    for _ in range(rng.randint(1, 2)):
        place = rng.randrange(len(numbers))
        near = max(0, numbers[place] + rng.choice((-1, 1)))
        new = rng.choice(([], [near], [rng.choice(NUMBERS)], [numbers[place]] * 2))
        numbers[place : place + 1] = new
        numbers = numbers or [0]
    return join(chunks, numbers)


def order(rng: Random, seed: Seed, others: Sequence[Seed]) -> bytes:
    """Chunks left out, doubled, exchanged or shuffled, with the numbers they had or those due."""
    parts = _parts(seed)
    old = list(zip(parts, frames(parts), strict=True))
    for _ in range(rng.randint(1, 3)):
        a, b = rng.randrange(len(old)), rng.randrange(len(old))
        change = rng.randrange(4)
        if change == 0 and len(old) > 1:
            del old[a]
        elif change == 1:
            old.insert(b, old[a])
        elif change == 2:
            old[a], old[b] = old[b], old[a]
        else:
            old.insert(b, old.pop(a))
        if rng.random() < 0.05:
            rng.shuffle(old)
    if rng.random() < 0.5:
        return join([chunk for _, chunk in old])
    return join(frames([part for part, _ in old]))


def foreign(rng: Random, seed: Seed, others: Sequence[Seed]) -> bytes:
    """The header of one file and the content of another, or a single chunk of it."""
    other = rng.choice(others)
    if rng.random() < 0.5:
        return build(seed.fields, other.parts)
    parts = list(seed.parts)
    parts[rng.randrange(len(parts))] = rng.choice(other.parts)
    return build(seed.fields, parts)


def model(rng: Random, seed: Seed, others: Sequence[Seed]) -> bytes:
    """Another model, by number or name, with its own weights and latent or not; other weights."""
    fields, other = list(seed.fields), rng.choice(others).fields
    names = b"tiny", b"../up", b"x" * 65, b"\xff\n", b"cae_16x8x8_zero_pad_bin", b""
    change = rng.randrange(5)
    if change == 0:
        name = rng.choice(names)
        fields[MODEL] = b"\0" + varint(len(name)) + name
    elif change == 1:
        fields[MODEL] = varint(rng.randint(0, 6))
    elif change == 2:
        fields[FINGERPRINT] = rng.randbytes(FINGERPRINT_BYTES)
    elif change == 3:
        fields[MODEL:SEGMENT_ROWS] = other[MODEL:SEGMENT_ROWS]
    else:
        fields[PLANES:] = other[PLANES:]
    return build(fields, seed.parts)


def unknown(rng: Random, seed: Seed, others: Sequence[Seed]) -> bytes:
    """Chunks of any kind put in, one or many."""
    parts = list(seed.parts)
    for _ in range(rng.choice((1, 1, 2, 64, 70))):
        kind = rng.choice((b"c", b"x", b"m", b"q", b"A", b"D", b"E", b"Q", rng.randbytes(1)))
        parts.insert(rng.randint(0, len(parts)), (kind, rng.randbytes(rng.choice((0, 1, 9)))))
    return build(seed.fields, parts)


def payload(rng: Random, seed: Seed, others: Sequence[Seed]) -> bytes:
    """A payload of random bytes, zeros or ones, as long as it was or not."""
    parts = list(seed.parts)
    place = _coded(rng, parts)
    kind, body = parts[place]
    count = rng.choice((len(body) - 1, len(body) - 1, rng.choice((0, 1, 4, len(body), 700))))
    noise = rng.choice((rng.randbytes(count), bytes(count), b"\xff" * count, body[1 : 1 + count]))
    parts[place] = kind, body[:1] + noise
    return build(seed.fields, parts)


def touched(rng: Random, seed: Seed, others: Sequence[Seed]) -> bytes:
    """A bit or two of what is coded flipped, and the checksum with them."""
    parts = list(seed.parts)
    place = _coded(rng, parts)
    kind, body = parts[place]
    flipped = bytearray(body)
    for _ in range(rng.randint(1, 2)):
        flipped[rng.randrange(len(body))] ^= 1 << rng.randrange(8)
    parts[place] = kind, bytes(flipped)
    return build(seed.fields, parts)


def coding(rng: Random, seed: Seed, others: Sequence[Seed]) -> bytes:
    """A payload said to be coded in another way."""
    parts = list(seed.parts)
    place = _coded(rng, parts)
    kind, body = parts[place]
    parts[place] = kind, bytes([rng.choice((0, 1, 2, 3, rng.randrange(256)))]) + body[1:]
    return build(seed.fields, parts)


def inflate(rng: Random, seed: Seed, others: Sequence[Seed]) -> bytes:
    """Blocks of zstandard that hold too much, too little, or what no encoder writes."""
    parts = list(seed.parts)
    place = _coded(rng, parts)
    count = rng.choice((1, 1, 2, 3, 200))
    blocks = b"".join(_block(rng, number == count - 1) for number in range(count))
    parts[place] = parts[place][0], b"\1" + blocks
    return build(seed.fields, parts)


def _block(rng: Random, last: bool) -> bytes:
    """A block of a zstandard frame: raw, one byte repeated, compressed, or of no known type."""
    kind = rng.randrange(4)
    size = rng.choice((0, 1, 128, 512, 1 << 17, (1 << 17) + 1, (1 << 21) - 1))
    content = rng.randbytes((min(size, 600), 1, rng.randrange(60), 3)[kind])
    return (last | kind << 1 | size << 3).to_bytes(3, "little") + content


def bomb(rng: Random, seed: Seed, others: Sequence[Seed]) -> bytes:
    """A sound file of few bytes whose one segment inflates to as much as 16 MiB."""
    fields = list(seed.fields)
    bits = _number(fields[CHANNELS]) * _number(fields[SIDE]) ** 2  # of a patch
    doublings = rng.randint(0, 17)
    across = min(doublings, 12)
    fields[WIDTH], fields[HEIGHT] = varint(128 << across), varint(128 << doublings - across)
    fields[PAD_TOP] = fields[PAD_LEFT] = b"\0"
    fields[SEGMENT_ROWS] = fields[SEGMENT_COLUMNS] = varint(4096)
    fields[COLOUR] = b"\2"
    return build(fields, [(b"D", b"\1" + repeated((bits << doublings) // 8, rng.randrange(256)))])


def repeated(size: int, byte: int) -> bytes:
    """The shortest blocks of zstandard for so many equal bytes: 4 for every 128 KiB."""
    blocks = b""
    while size:
        count = min(size, 1 << 17)
        size -= count
        blocks += ((size == 0) | 1 << 1 | count << 3).to_bytes(3, "little") + bytes([byte])
    return blocks


def _parts(seed: Seed) -> list[Part]:
    """All chunks but the end."""
    return [(b"H", b"".join(seed.fields)), *seed.parts]


def _coded(rng: Random, parts: Sequence[Part]) -> int:
    """The place of a chunk that holds something coded."""
    return rng.choice([place for place, (kind, _) in enumerate(parts) if kind in b"DA"])


Make = Callable[[Random, Seed, Sequence[Seed]], bytes]


class Kind(NamedTuple):
    """A kind of mutation: how often it comes in a hundred, and whether its checksums are right.

    Without ``make``, it is one of those that visit every byte or bit in turn.
    """

    name: str
    times: int
    sealed: bool = True
    make: Make | None = None


KINDS = (
    Kind("cut", 8, sealed=False),
    Kind("flip", 40, sealed=False),
    Kind("havoc", 12, False, havoc),
    *(
        Kind(make.__name__, times, True, make)
        for make, times in (
            (field, 11), (size, 4), (length, 3), (index, 4), (order, 4), (foreign, 3),
            (model, 2), (unknown, 2), (payload, 2), (touched, 1), (coding, 1), (inflate, 2),
            (bomb, 1),
        )
    ),
)  # fmt: skip
TURN = [(kind, nth) for kind in KINDS for nth in range(kind.times)]  # one after the other, again


class Mutations:
    """Numbered mutations of seeds: each can be made again from its number and the ``key``."""

    def __init__(self, seeds: Sequence[Seed], key: int = 0) -> None:
        self.seeds = seeds
        self.key = key
        self._ends = list(accumulate(len(seed.data) for seed in seeds))
        self.bytes = self._ends[-1]  # places of a cut; a flip has eight times as many

    def numbered(self, number: int) -> Mutation:
        """The mutation with a number, of which there is no end."""
        turn, slot = divmod(number, len(TURN))
        kind, nth = TURN[slot]
        return self.nth(kind, turn * kind.times + nth)

    def nth(self, kind: Kind, number: int) -> Mutation:
        """The mutation of a kind with a number."""
        if kind.make is None:
            bits = 8 if kind.name == "flip" else 1
            place, bit = divmod(number * STRIDE % (bits * self.bytes), bits)
            seed, at = self._place(place)
            data = bytearray(seed.data)
            if kind.name == "flip":
                data[at] ^= 1 << bit
            else:
                del data[at:]
            return Mutation(kind.name, seed, bytes(data), kind.sealed)
        rng = Random(f"{self.key} {kind.name} {number}")
        seed = rng.choice(self.seeds)
        return Mutation(kind.name, seed, kind.make(rng, seed, self.seeds), kind.sealed)

    def _place(self, place: int) -> tuple[Seed, int]:
        """A byte of all seeds put end to end."""
        number = bisect_right(self._ends, place)
        seed = self.seeds[number]
        return seed, place - self._ends[number] + len(seed.data)
