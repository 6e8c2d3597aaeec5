"""Context decoding written from FORMAT.md, Part II, alone: no code of the package, no torch."""

import json
from collections.abc import Iterable

import numpy as np

Array = np.ndarray
Tensors = dict[str, Array]
DTYPES = {"I8": "<i1", "I16": "<i2", "U16": "<u2", "I32": "<i4", "BOOL": "?"}
PARTS = ("weight", "bias", "shift", "skip")  # of a layer
LOGARITHM = np.array([round(4 * np.log2(1 + u)) for u in range(64)])


class Impossible(Exception):
    """No encoder writes such a payload."""


def tensors(file: bytes, prefix: str = "") -> Tensors:
    """The integers of a safetensors file by their names, less the prefix that they have there."""
    start = 8 + int.from_bytes(file[:8], "little")
    found = {}
    for name, entry in json.loads(file[8:start]).items():
        if name.startswith(prefix) and entry.get("dtype") in DTYPES:
            begin, end = entry["data_offsets"]
            values = np.frombuffer(file[start + begin : start + end], DTYPES[entry["dtype"]])
            found[name[len(prefix) :]] = values.reshape(entry["shape"]).astype(np.int64)
    return found


class Decoder:
    """Section 16."""

    def __init__(self, payload: bytes) -> None:
        self.payload, self.taken, self.range = payload, 0, 2**64 - 1
        self.value = self.next() << 32 | self.next()

    def next(self) -> int:
        self.taken += 4
        self.last = int.from_bytes(self.payload[self.taken - 4 :][:4].ljust(4, b"\0"), "big")
        return self.last

    def bit(self, chance: int) -> bool:
        share = 256 * (65536 - chance) - (chance < 32768)
        unit = self.range >> 24
        if self.value >= unit << 24:
            raise Impossible
        one = self.value >= unit * share
        self.value -= one * unit * share
        self.range = unit * (2**24 - share if one else share)
        if self.range < 2**32:
            self.range <<= 32
            self.value = self.value << 32 | self.next()
        return one

    def bits(self, chances: Iterable[int]) -> Array:
        return np.array([self.bit(int(chance)) for chance in chances], bool)

    def end(self) -> None:
        more = self.payload[self.taken :] or self.payload.endswith(b"\0")
        if more or self.last or self.value >= 2**32:
            raise Impossible


def surroundings(x: Array, size: int) -> Array:
    """What every position sees, (h, w, size, size, channels); beyond the edges, zeros."""
    (h, w, _), reach = x.shape, size // 2
    padded = np.pad(x, ((reach, reach), (reach, reach), (0, 0)))
    rows = [[padded[i : i + h, j : j + w] for j in range(size)] for i in range(size)]
    return np.array(rows).transpose(2, 3, 0, 1, 4)


def run(t: Tensors, x: Array, v: Array, told: Array | int = 0, skip_first: bool = True) -> Array:
    """The outputs (h, w, outputs) of a network, its last layer being told something; section 17."""
    count = sum(name.endswith(".shift") and name[0].isdigit() for name in t)
    for number in range(count):
        x = (x + told).clip(0, 127) if 0 < number == count - 1 else x
        weight, bias, shift, skip = (t[f"{number}.{part}"] for part in PARTS)
        (outputs, _, size, _), (h, w, _) = weight.shape, x.shape
        # Sums below 2^53 are exact in float64, whose matrix products are quick.
        seen = surroundings(x, size).reshape(h * w, -1).astype(float)
        taps = weight.transpose(2, 3, 1, 0).reshape(-1, outputs).astype(float)
        sums = (seen @ taps).astype(np.int64).reshape(h, w, outputs)
        out = (sums + v @ bias + (1 << shift) // 2) >> shift
        if skip and (number > 0 or skip_first) and number < count - 1:
            out += x
        x = out.clip(0, 127) if number < count - 1 else out
    return x


def chances(t: Tensors, outputs: Array) -> Array:
    most = len(t["table"]) // 2
    return t["table"][outputs.clip(-most, most) + most]


def decode_bits(t: Tensors, payload: bytes, h: int, w: int) -> Array:
    """The ±1 values (h, w, C) of a segment; section 18."""
    steps, channels = t["0.bias"].shape[0], t["0.weight"].shape[1]
    groups = steps // 4
    known = np.zeros((h, w, channels), np.int64)
    coder = Decoder(payload)
    for step in range(steps):
        row, column = ((0, 0), (1, 1), (0, 1), (1, 0))[step % 4]
        here = slice(row, None, 2), slice(column, None, 2), slice(step // 4, None, groups)
        found = chances(t, run(t, known, np.eye(steps, dtype=int)[step]))[here]
        known[here] = 2 * coder.bits(found.ravel()).reshape(found.shape) - 1
    coder.end()
    return known


def situation(a: int, plane: int, phase: int) -> Array:
    v = np.zeros(64, np.int64)
    point, fine = a // 64, a % 64 * 8 // 64
    v[min(point, 58)] += 8 - fine
    v[min(point + 1, 58)] += fine
    v[59 + min(plane, 2)] = v[62 + phase] = 8
    return v


def features(m: Array) -> Array:
    """The values and sizes (h, w, 2 * C) of m (h, w, C)."""
    return np.concatenate([m.clip(-16, 16), LOGARITHM[np.abs(m).clip(max=63)]], 2)


def own(t: Tensors, m: Array) -> Array:
    """What a channel's own surroundings say, (3, h, w, C)."""
    value, size = np.split(features(m), 2, 2)
    inside = surroundings(np.ones_like(m), 3)
    lead = (surroundings(m, 3) - m[:, :, None, None]) * inside
    lead = (lead[:, :, 0, 1] + lead[:, :, 2, 1] + lead[:, :, 1, 0] + lead[:, :, 1, 2]).clip(-48, 48)
    seen = np.array([surroundings(x, 3) for x in (size, value, size)])
    ahead = t["own.lead"][:, None, None] * lead
    ahead[2] *= np.sign(m)
    return ((seen * t["own.weight"][:, None, None]).sum((3, 4)) + ahead) >> 4


def decode_plane(t: Tensors, coder: Decoder, q: Array, tops: Array, plane: int, step: int) -> Array:
    """The signed magnitudes (h, w, C) in units of 2^plane, from those in units twice as large."""
    m = 4 * q + 2 * np.sign(q)
    ranks = np.argsort(-tops, kind="stable")
    forecast, told = ({"0." + p: t[name + p] for p in PARTS} for name in ("forecast.", "told."))
    turns = 4 if plane < 4 else 1
    turn_of = np.arange(len(tops)) % turns
    for phase in range(2):
        before, v = m.copy(), situation(step + 128 * plane, plane, phase)
        for turn in range(turns):
            heard = run(told, features(m * (turn_of < turn)), v)
            said = run(t, features(before), v, heard, skip_first=False)
            said, trust = np.split(said, [3 * len(tops)], 2)
            said = said.reshape(*q.shape[:2], 3, -1).transpose(2, 0, 1, 3) + own(t, before)
            foretold = run(forecast, features(before)[:, :, : trust.shape[2]], v).clip(-2047, 2047)
            said[1, :, :, : trust.shape[2]] += foretold * trust.clip(0, 127) >> 5
            chance = chances(t, said)
            here = (np.indices(q.shape[:2]).sum(0) % 2 == phase)[:, :, None] & (tops > plane)
            here = here & (turn_of == turn)
            place = np.array(np.nonzero(here[:, :, ranks]))  # in order
            place[2] = ranks[place[2]]
            kind = np.where(m != 0, 2, chance[0] < 256)[tuple(place)]
            likely, rare, old = (tuple(place[:, kind == k]) for k in range(3))
            ones = np.append(coder.bits(chance[0][likely]), in_groups(coder, chance[0][rare]))
            new = tuple(np.append(likely, rare, 1)[:, ones])
            # 4 |q| + 2 becomes 4 |q| + 1 or 4 |q| + 3
            m[old] += np.sign(m[old]) * (2 * coder.bits(chance[2][old]) - 1)
            m[new] = 3 * (2 * coder.bits(chance[1][new]) - 1)
    return np.sign(m) * (np.abs(m) // 2)


def in_groups(coder: Decoder, chance: Array) -> Array:
    """Rare bits; step 3 of section 19."""
    group = np.arange(len(chance)) % max(1, -(-len(chance) // 32))
    sums = np.bincount(group, chance).astype(int)
    hit = np.flatnonzero(coder.bits(sums)[group])
    ones = hit[coder.bits((65536 * chance[hit] // sums[group[hit]]).clip(max=65535))]
    if {*group[hit]} != {*group[ones]}:
        raise Impossible
    return np.bincount(ones, minlength=len(chance)) > 0


def decode_stages(t: Tensors, payloads: list[bytes], h: int, w: int, step: int, last: int) -> Array:
    """Twice the middles (h, w, C) of a segment, these stages ending with plane last; section 19."""
    channels = t["own.lead"].shape[1]
    tops, q = np.zeros(channels, int), np.zeros((h, w, channels), np.int64)
    for stage, payload in enumerate(payloads):
        coder, end = Decoder(payload), last + len(payloads) - 1 - stage
        first = end
        if stage == 0:
            for plane in range(13):
                above = np.flatnonzero(tops >= plane)
                tops[above] += coder.bits(t["tops"][min(step // 64, 63), above, plane])
            first = tops.max() - 1
        for plane in range(first, end - 1, -1):
            q = decode_plane(t, coder, q, tops, plane, step)
        coder.end()
    return 2 * q * 2**last + np.sign(q) * (2**last - 1)
