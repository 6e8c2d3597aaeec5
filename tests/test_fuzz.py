"""Mutations of small files through the decoder, and the harness that runs a million of them."""

import importlib
import io
import os
import struct
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from nncodec import decompress
from nncodec.api import codec_for
from nncodec.engine import model_of
from nncodec.formats import alpha
from nncodec.formats.cae import Reader
from nncodec.formats.errors import Damaged, DamagedChunk, OutputError
from nncodec.formats.images import Metadata, Picture, write_image
from nncodec.weights import manifest

ROOT = Path(__file__).parents[1]
FAMILIES = ("cae_16x8x8_zero_pad_bin raw", "cae_16x8x8_refl_pad_bin zstd", "bitplane_256 small")
DRAWN = (
    "havoc", "field", "size", "length", "index", "order", "foreign", "model", "unknown", "payload",
    "touched", "coding", "inflate", "bomb",
)  # fmt: skip


@pytest.fixture(scope="module")
def fuzz() -> Iterator[ModuleType]:
    """bin/fuzz.py, which imports tests/mutations.py."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "bin")
        yield importlib.import_module("fuzz")


@pytest.fixture(scope="module")
def seeds(fuzz: ModuleType) -> dict[str, Any]:
    """The files that are mutated, by name."""
    return {seed.name: seed for seed in fuzz.seeds()}


@pytest.fixture(scope="module")
def examiner(fuzz: ModuleType, seeds: dict[str, Any]) -> Iterator[Any]:
    before = torch.get_num_threads()
    yield fuzz.Examiner(list(seeds.values()))
    torch.set_num_threads(before)


@pytest.fixture
def mutations(seeds: dict[str, Any]) -> ModuleType:
    return sys.modules["mutations"]


def test_seeds_are_of_every_model_and_coding(seeds: dict[str, Any], mutations: ModuleType) -> None:
    fixed = {f"{m} {c}" for m in manifest() for c in ("raw", "zstd", "context") if m[:3] == "cae"}
    assert fixed < set(seeds) and {name.split()[0] for name in seeds} == set(manifest())
    for seed in seeds.values():
        assert mutations.build(seed.fields, seed.parts) == seed.data
        assert mutations.resealed(seed.data) == seed.data
        damaged = bytearray(seed.data)
        end = len(damaged) - 4 - damaged[-4]
        damaged[-1] ^= 1  # the size of the end chunk
        damaged[end - 1] ^= 1  # the checksum of the one before
        assert mutations.resealed(bytes(damaged)) == seed.data


def test_every_byte_and_bit_has_its_turn(seeds: dict[str, Any], mutations: ModuleType) -> None:
    few = [seeds[name] for name in FAMILIES]
    drawn = mutations.Mutations(few)
    cut, flip = (kind for kind in mutations.KINDS if kind.make is None)
    cuts = {(m.seed.name, m.data) for m in (drawn.nth(cut, n) for n in range(drawn.bytes))}
    assert cuts == {(seed.name, seed.data[:end]) for seed in few for end in range(len(seed.data))}
    flips = {drawn.nth(flip, n).data for n in range(8 * drawn.bytes)}
    assert len(flips) == 8 * drawn.bytes and all(len(data) > 100 for data in flips)
    assert sum(kind.times for kind in mutations.KINDS) == 100
    assert {drawn.numbered(n).kind for n in range(100)} == {"cut", "flip", *DRAWN}
    assert drawn.numbered(12_345) == mutations.Mutations(few).numbered(12_345)


def refused(examiner: Any, mutations: ModuleType, seed: Any, data: bytes) -> None:
    """Fail unless a file is refused by name, and by nothing else."""
    mutation = mutations.Mutation("by hand", seed, data, False)
    errors = ("Truncated", "Damaged", "DamagedChunk", "Unsupported", "ModelMismatch")
    assert examiner.outcome(mutation, "decompress", False) in errors


@pytest.mark.parametrize("name", FAMILIES)
def test_every_truncation_is_refused(
    examiner: Any, mutations: ModuleType, seeds: dict[str, Any], name: str
) -> None:
    seed = seeds[name]
    for end in range(len(seed.data)):
        refused(examiner, mutations, seed, seed.data[:end])


def flipped(data: bytes, bit: int) -> bytes:
    damaged = bytearray(data)
    damaged[bit // 8] ^= 1 << bit % 8
    return bytes(damaged)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_flipped_bit_is_refused(
    examiner: Any, mutations: ModuleType, seeds: dict[str, Any], name: str
) -> None:
    """One in every byte of files that are slow to decode; the slow test has all."""
    seed = seeds[name]
    step = 9 if name.startswith("bitplane") else 1
    for bit in range(0, 8 * len(seed.data), step):
        refused(examiner, mutations, seed, flipped(seed.data, bit))


@pytest.mark.slow
def test_every_truncation_and_flipped_bit_of_every_file_is_refused(
    examiner: Any, mutations: ModuleType, seeds: dict[str, Any]
) -> None:
    for seed in seeds.values():
        for end in range(len(seed.data)):
            refused(examiner, mutations, seed, seed.data[:end])
        for bit in range(8 * len(seed.data)):
            refused(examiner, mutations, seed, flipped(seed.data, bit))


@pytest.mark.parametrize("name", DRAWN)
def test_mutations_are_refused_or_sound(
    fuzz: ModuleType, examiner: Any, mutations: ModuleType, seeds: dict[str, Any], name: str
) -> None:
    (kind,) = (kind for kind in mutations.KINDS if kind.name == name)
    drawn = mutations.Mutations(list(seeds.values()), key=1)
    ways = list(fuzz.WAYS)
    found = set()
    for number in range(240):
        found.add(examiner.outcome(drawn.nth(kind, number), ways[number % len(ways)], False))
    assert len(found) > 2  # it does not all end at the same place
    assert kind.sealed or "another" not in found


def test_drawn_pictures_are_compared(
    examiner: Any, mutations: ModuleType, seeds: dict[str, Any]
) -> None:
    """With the networks, and not only what would go into them."""
    for name in ("bitplane_256 small", "cae_16x8x8_zero_pad_bin zstd"):
        same = mutations.Mutation("none", seeds[name], seeds[name].data, False)
        assert examiner.outcome(same, "partial pipe", True) == "unharmed"


# What the harness itself would see.


@pytest.mark.parametrize(
    ("deed", "message"),
    [
        (lambda data: {}[data], "KeyError"),
        (lambda data: Path("x").write_bytes(data), "Forbidden: open"),
        (lambda data: Path("x").mkdir(), "Forbidden: os.mkdir"),
        (lambda data: subprocess.run(["true"]), "Forbidden: subprocess"),
        (lambda data: (({}, []), []), "Find: a wrong picture, unannounced"),
        (lambda data: _busy(10), "TooSlow: more than"),
        (lambda data: _refuse("two\nlines"), "Find: a message that is not one clear line"),
        (lambda data: _refuse("x" * 300), "Find: a message that is not one clear line"),
    ],
)
def test_the_harness_tells_a_find(
    fuzz: ModuleType,
    examiner: Any,
    monkeypatch: pytest.MonkeyPatch,
    seeds: dict[str, Any],
    mutations: ModuleType,
    folder: Path,
    deed: Callable[[bytes], Any],
    message: str,
) -> None:
    monkeypatch.setitem(fuzz.WAYS, "decompress", deed)
    monkeypatch.setattr(fuzz, "SECONDS", 0.1)
    seed = seeds[FAMILIES[0]]
    with pytest.raises(BaseException) as caught:
        examiner.outcome(mutations.Mutation("by hand", seed, b"", False), "decompress", False)
    assert f"{caught.typename}: {caught.value}".startswith(message)
    assert not list(folder.iterdir())


def _busy(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def _refuse(message: str) -> None:
    raise Damaged(message)


def run(*options: str | Path) -> subprocess.CompletedProcess[str]:
    """bin/fuzz as a command."""
    command = [str(ROOT / "bin" / "fuzz"), *map(str, options)]
    own = {**os.environ, "NNCODEC_PYTHON": sys.executable}
    return subprocess.run(command, capture_output=True, text=True, env=own)


@pytest.mark.slow
def test_the_command_counts_and_ends_with_0(folder: Path) -> None:
    found = run("--count", "100", "--seed", "3")
    assert (found.returncode, found.stderr) == (0, "")
    rows = {line.split()[0]: line.split() for line in found.stdout.splitlines() if line}
    assert rows["flip"][1] == "40" and rows["cut"][1] == "8" and rows["finds:"][1] == "0"
    assert "100 mutations in " in found.stdout and not list(folder.iterdir())


def test_a_find_is_told_and_saved(
    fuzz: ModuleType, seeds: dict[str, Any], monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    files = list(seeds.values())

    class Broken:
        def __init__(self, files: Any) -> None:
            self.mutations = fuzz.Mutations(files, 0)

        def outcome(self, mutation: Any, way: str, drawn: bool) -> str:
            if mutation.data == self.mutations.numbered(30_102).data:
                raise KeyError("oh")
            return "unharmed"

    monkeypatch.setattr(fuzz, "Examiner", Broken)
    monkeypatch.setattr(fuzz, "seeds", lambda: files)
    tally = fuzz.run(0, range(30_100, 30_105), None, folder / "finds")
    assert tally.outcomes == {("cut", "unharmed"): 4, ("cut", "FIND"): 1}
    assert tally.finds[0].startswith("30102 (cut of ")
    assert tally.finds[0].endswith("): KeyError: 'oh'")
    expected = fuzz.Mutations(files, 0).numbered(30_102).data
    assert (folder / "finds" / "0-30102.cae").read_bytes() == expected
    tally.add(tally)
    assert "\n10 mutations in " in fuzz.report(tally) and "\nfinds: 2" in fuzz.report(tally)


@pytest.mark.slow
def test_a_minute_of_mutations(folder: Path) -> None:
    found = run("--seconds", "60", "--count", "10000000", "--seed", str(int(time.time())))
    assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.slow
def test_half_a_minute_of_atheris(folder: Path) -> None:
    pytest.importorskip("atheris")
    found = run("--atheris", "30")
    assert found.returncode == 0 and "cov: " in found.stderr, found.stderr
    assert not list((folder / "finds").iterdir())


# The most that few bytes can ask for.


def filled(mutations: ModuleType, seed: Any, width: int, height: int, *parts: Any) -> bytes:
    """The seed's header for a picture of this size in one segment, and other content."""
    fields = list(seed.fields)
    fields[mutations.WIDTH], fields[mutations.HEIGHT] = map(mutations.varint, (width, height))
    fields[mutations.PAD_TOP] = fields[mutations.PAD_LEFT] = b"\0"
    fields[mutations.SEGMENT_ROWS] = fields[mutations.SEGMENT_COLUMNS] = mutations.varint(4096)
    fields[mutations.COLOUR] = b"\2"
    data: bytes = mutations.build(fields, parts)
    return data


def latents(data: bytes) -> tuple[float, float]:
    """Read a file down to its latent; seconds of processor time, and MiB of memory at most."""
    reader = Reader(io.BytesIO(data))
    codec = codec_for(model_of(reader.header), "cpu")
    codec.check(reader.header)
    begin = time.process_time()
    tracemalloc.start()
    try:
        if codec.variable:
            codec.engine.read(reader, None, [0], reader.header.planes)
        else:
            codec.engine.coder.read(reader, None)
        return time.process_time() - begin, tracemalloc.get_traced_memory()[1] / 2**20
    finally:
        tracemalloc.stop()


def test_575_bytes_that_inflate_to_16_mib(mutations: ModuleType, seeds: dict[str, Any]) -> None:
    """The largest segment there may be, of 4096 patches; its bits take eight times as much."""
    blocks = mutations.repeated(1 << 24, 0x55)
    seed = seeds["cae_32x32x32_zero_pad_bin zstd"]
    data = filled(mutations, seed, 4096 * 128, 128, (b"D", b"\1" + blocks))
    seconds, memory = latents(data)
    assert len(data) < 600 and seconds < 2 and 128 < memory < 300


def test_a_row_of_alpha_that_inflates_to_16_mib(
    mutations: ModuleType, seeds: dict[str, Any]
) -> None:
    """The largest strip there may be."""
    fields = list(seeds["cae_16x8x8_zero_pad_bin raw"].fields)
    fields[mutations.WIDTH], fields[mutations.HEIGHT] = mutations.varint(1 << 24), b"\1"
    fields[mutations.COLOUR] = b"\3"
    data = mutations.build(fields, [(b"A", b"\2" + mutations.repeated(1 << 24, 1))])
    reader = Reader(io.BytesIO(data), partial=True)
    tracemalloc.start()
    values = alpha.decode_strip(reader.alpha[0], reader.header)
    memory = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    assert values[0, :300].tolist() == [n % 256 for n in range(1, 301)]
    assert len(data) < 600 and 32 <= memory < 40


def test_zstd_that_inflates_to_other_sizes(mutations: ModuleType, seeds: dict[str, Any]) -> None:
    seed = seeds["cae_16x8x8_zero_pad_bin zstd"]
    for size in (127, 129, 1 << 17, 1 << 22):
        part = b"D", b"\1" + mutations.repeated(size, 0)
        with pytest.raises(DamagedChunk, match="does not inflate to 128 bytes"):
            latents(filled(mutations, seed, 128, 128, part))
    for size in (1 << 17) + 1, (1 << 21) - 1:  # in one block, which may have 128 KiB
        block = (1 | 1 << 1 | size << 3).to_bytes(3, "little") + b"\0"
        with pytest.raises(DamagedChunk, match="does not inflate to 128 bytes"):
            latents(filled(mutations, seed, 128, 128, (b"D", b"\1" + block)))


def test_a_megapixel_from_a_payload_of_nothing(
    mutations: ModuleType, seeds: dict[str, Any]
) -> None:
    """The largest segment that is context coded; a range coder finds bits in no bytes at all."""
    for name in ("cae_32x32x32_zero_pad_bin context", "bitplane_256 small"):
        stages = 4 if name.startswith("bitplane") else 1
        data = filled(mutations, seeds[name], 1024, 1024, *[(b"D", b"\2")] * stages)
        seconds, _ = latents(data)
        assert len(data) < 100 and seconds < 2


def test_headers_of_a_million_chunks_that_are_not_there(
    mutations: ModuleType, seeds: dict[str, Any]
) -> None:
    """2^32 pixels in segments of one patch: what is missing is told before it is prepared for."""
    for name, planes in (("bitplane_256 small", 4), ("cae_32x32x32_zero_pad_bin raw", 1)):
        seed = seeds[name]
        fields = list(seed.fields)
        fields[mutations.WIDTH], fields[mutations.HEIGHT] = map(mutations.varint, (1 << 24, 256))
        fields[mutations.SEGMENT_ROWS] = fields[mutations.SEGMENT_COLUMNS] = b"\1"
        fields[mutations.PAD_TOP] = fields[mutations.PAD_LEFT] = b"\0"
        fields[mutations.PLANES] = mutations.varint(planes)
        first = next(i for i, (tag, _) in enumerate(seed.parts) if tag == b"D")
        parts = list(seed.parts)  # nearly any bytes are some bits, but none end with a zero
        parts[first] = (b"D", parts[first][1] + b"\0")
        begin = time.process_time()
        with pytest.raises(Damaged, match="data chunk 1 of "):
            decompress(mutations.build(fields, parts), device="cpu", max_pixels=None)
        assert time.process_time() - begin < 2


# What the fuzzing has found.


@pytest.mark.parametrize(
    ("tag", "kind", "content"),
    [
        (0x11A, 1, b"0"),  # a resolution that is a byte
        (0x11A, 2, b"0\0"),  # a resolution that is text
        (0x10F, 5, b"\1\0\0\0\1\0\0\0"),  # a maker that is a fraction
    ],
)
def test_exif_that_pillow_cannot_write_is_one_line(tag: int, kind: int, content: bytes) -> None:
    """A TIFF file with such tags ended in a TypeError or AttributeError."""
    count = 1 if kind == 5 else len(content)
    value = content.ljust(4, b"\0") if len(content) <= 4 else struct.pack("<I", 26)
    entry = struct.pack("<HHHI", 1, tag, kind, count) + value
    exif = b"II*\0\x08\0\0\0" + entry + bytes(4) + content
    picture = Picture(np.zeros((2, 3, 3), np.uint8), metadata=Metadata(exif=exif))
    with pytest.raises(OutputError, match="^cannot be written as tiff: .*; use png$"):
        write_image(picture, io.BytesIO(), "tiff")
    write_image(picture, io.BytesIO(), "png")
