"""FORMAT.md is what the code does: its tables, its example, and readers written from it alone."""

import ast
import hashlib
import importlib.util
import io
import json
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from nncodec import Codec, weights
from nncodec.entropy import coder, context, digits, groups, network, plane_network, pyramid
from nncodec.entropy import weights as tensor_rules
from nncodec.formats import alpha, bits, cae, layout, stages, varint, zstd
from nncodec.formats.cae import AlphaCoding, Coding, Colour, Header, PadMode, Reader, Writer
from nncodec.formats.chunks import frame
from nncodec.formats.errors import CaeError, DamagedChunk, Truncated
from nncodec.formats.index import encode_end
from nncodec.models import bitplane
from nncodec.models import cae as networks

TESTS = Path(__file__).parent
TEXT = (TESTS.parent / "FORMAT.md").read_text(encoding="utf-8")
WORDS = " ".join(TEXT.split())
GOLDEN = sorted((TESTS / "data" / "golden").glob("*.cae"))
HASHES = json.loads((TESTS / "data" / "golden" / "bits.json").read_text())
ALLOWED = {"collections", "json", "numpy", "typing", "zlib", "zstandard"}


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, TESTS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


reader = load("independent_reader")
decoder = load("independent_context")
means = load("independent_means")
factors = load("independent_factors")


READERS = [f"independent_{name}" for name in ("reader", "context", "means", "factors")]


@pytest.mark.parametrize("name", READERS)
def test_the_readers_share_no_code_and_are_short(name: str) -> None:
    source = (TESTS / f"{name}.py").read_text()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            assert {alias.name.split(".")[0] for alias in node.names} <= ALLOWED
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and str(node.module).split(".")[0] in ALLOWED
    assert len([line for line in source.splitlines() if line.strip()]) <= 160


# The tables.


def tables(*head: str) -> Iterator[list[list[str]]]:
    """The rows of every table whose head begins with these cells, without the marks of code."""
    lines = TEXT.splitlines()
    for number, line in enumerate(lines):
        if cells(line)[: len(head)] == list(head) and lines[number + 1].startswith("|---"):
            rows = []
            for row in lines[number + 2 :]:
                if not row.startswith("|"):
                    break
                rows.append(cells(row))
            yield rows


def table(*head: str) -> list[list[str]]:
    (rows,) = tables(*head)
    return rows


def cells(line: str) -> list[str]:
    return [cell.strip().replace("`", "") for cell in line.strip("|").split("|")]


def number(text: str) -> int:
    base, _, power = text.partition("^")
    return int(base) ** int(power or 1)


def test_limits_are_those_of_the_code() -> None:
    told = {name: number(value) for _, value, name in table("limit")}
    bounds = {name for name in vars(layout) if name.startswith("MAX_")}
    known = bounds | {"ALPHA_STRIP_BYTES", "STAGE_SWELL"}
    assert told == {name: getattr(layout, name) for name in known}
    assert f"max(1, {layout.ALPHA_STRIP_BYTES} div width)" in WORDS
    assert f"below 2^{varint.LIMIT.bit_length() - 1}" in WORDS
    assert "b + b div 128 + 64 bytes" in WORDS
    assert all(layout.payload_limit(b) == b + b // 128 + 64 for b in (1, 127, 128, 2**24))
    assert f"below {stages.MAX_STEP}" in WORDS and f"2^(code / {stages.PER_OCTAVE})" in WORDS
    assert f"at most {stages.BIT_PLANES} together" in WORDS
    assert f"first {weights.CONTEXT_ID_BITS} bits of the SHA-256" in WORDS
    planes_of = {models: most for models, most, _ in table("model", "planes")}
    assert planes_of == {"1 to 4": "1", "5": f"1 to {stages.BIT_PLANES}"}
    assert f"| fingerprint | {layout.FINGERPRINT_BYTES} bytes |" in TEXT
    assert f"in units of {layout.PATCH_UNIT} pixels" in WORDS


def test_codes_are_those_of_the_code() -> None:
    def names(*head: str) -> dict[int, str]:
        return {int(code): name.replace(" + ", "_").upper() for code, name, *_ in table(*head)}

    for codes, head in ((Coding, "coding"), (Colour, "colour"), (PadMode, "pad mode")):
        assert names(head) == {code.value: code.name for code in codes}
    assert set(names("alpha coding")) == set(AlphaCoding)
    depths = {int(bits): int(code) for code, bits in table("depth code")}
    assert depths == layout.DEPTH_CODES


def test_the_frame_is_that_of_the_code() -> None:
    file = {part: content for part, _, content in table("part")}
    assert bytes.fromhex(file["signature"]) == cae.SIGNATURE
    assert file["version"] == str(cae.VERSION)
    kinds = {kind: content for kind, content, _ in table("kind", "content")}
    assert kinds.keys() == {*"HADE", *layout.METADATA_KINDS.values()}
    for name, kind in layout.METADATA_KINDS.items():
        assert name.upper() in kinds[kind]
    assert bytes.fromhex(re.findall(r"put `([0-9a-f ]+)`", TEXT)[0]) == zstd._HEADER
    assert varint.encode(300).hex(" ") in WORDS


def test_models_are_those_of_the_code() -> None:
    rows = table("model", "id")
    assert {int(row[0]): row[1] for row in rows} == cae.MODEL_NUMBERS
    for _, model, *sizes in rows:
        entry = weights.entry(model)
        patch = bitplane.PATCH if model in stages.VARIABLE_RATE else networks.PATCH
        assert [int(size) for size in sizes] == [patch, entry.channels, entry.side]


def test_constants_of_context_coding_are_those_of_the_code() -> None:
    modules = {"coder": coder, "network": network, "weights": tensor_rules}
    modules |= {"plane_network": plane_network, "digits": digits, "groups": groups}
    modules |= {"pyramid": pyramid}
    rows = [row for rows in tables("constant") for row in rows]
    assert len(rows) >= 10
    for _, value, place in rows:
        module, name = place.split(".")
        assert getattr(modules[module], name) == number(value), place
    (block,) = re.findall(r"```\n((?:[ \d]+\n)+)```", TEXT)
    assert [int(u) for u in block.split()] == plane_network.LOGARITHM.tolist()
    square = np.empty((2, 2), int)
    for phase, row, column in table("phase"):
        square[int(row), int(column)] = int(phase)
    assert square.tolist() == context.SQUARE.tolist()
    assert [row[0] for row in table("decision")] == ["0", "1", "2"]
    assert (plane_network.SIGNIFICANT, plane_network.SIGN, plane_network.REFINE) == (0, 1, 2)
    most = plane_network.WEIGHT
    points = plane_network.SITUATIONS - plane_network.CLASSES - plane_network.PHASES
    assert table("index", "value") == [
        [f"min(i, {points - 1})", f"{most} - f"],
        [f"min(i + 1, {points - 1})", "f"],
        [f"{points} + min(p, {plane_network.CLASSES - 1})", str(most)],
        [f"{points + plane_network.CLASSES} + phase", str(most)],
    ]
    tent = plane_network.TENT
    assert f"i = a div {tent}, f = (a mod {tent}) * {most} div {tent}" in WORDS
    assert f"`N.shift` | int8 | outputs | 0 to {tensor_rules.MAX_SHIFT} |" in TEXT
    largest = plane_network.LARGEST
    assert f"clamp(m, -{largest['value']}, {largest['value']})" in WORDS
    assert f"- m), -{largest['lead']}, {largest['lead']})" in WORDS


def test_tensors_are_those_of_the_weights() -> None:
    layers, own = tables("tensor")
    told = {name.removeprefix("N."): dtype for name, dtype, *_ in layers}
    rules = {name: str(dtype).removeprefix("torch.") for name, dtype in tensor_rules.DTYPES.items()}
    assert told == rules
    counted = {
        tensor_rules.CHANNELS: str(bitplane.CHANNELS),
        tensor_rules.MEANS: "channels that are means",
        tensor_rules.OTHERS: "any number",
        tensor_rules.SLOPES: "4 + 9 * others",
    }
    for name, dtype, shape in own:
        rule, sides = tensor_rules.OWN[name]
        assert str(rule) == f"torch.{dtype}"
        assert shape.split(", ") == [counted.get(str(side), str(side)) for side in sides]
    assert len(own) == len(tensor_rules.OWN)


# The example.


def example() -> bytes:
    """The dump's bytes; every line must say where it is."""
    file = b""
    for at, data in re.findall(
        r"^([0-9a-f]{3})  ((?:[0-9a-f]{2} ?){1,8})(?: |$)", TEXT, re.MULTILINE
    ):
        assert int(at, 16) == len(file)
        file += bytes.fromhex(data)
    return file


EXAMPLE = example()


def test_the_example_is_what_the_code_writes() -> None:
    head = Header(
        width=130,
        height=2,
        patch=128,
        pad_top=63,
        pad_left=63,
        pad_mode=PadMode.EDGE,
        colour=Colour.RGB_ALPHA,
        depth=8,
        model="cae_16x8x8_zero_pad_bin",
        fingerprint=bytes.fromhex("8f13e4bda34e6ae7"),
        channels=16,
        side=8,
        segment_rows=1,
        segment_columns=1,
    )
    found = reader.read(EXAMPLE)
    opacity = np.full((2, 130), 255, np.uint8)
    opacity[1, 2:] = 0
    letter = ["..####..", ".#......", *4 * ["#......."], ".#......", "..####.."]
    drawn = -np.ones((16, 8, 8), np.int8)
    drawn[0] = [[1 if place == "#" else -1 for place in row] for row in letter]
    drawn[15] = np.where(np.indices((8, 8)).sum(0) % 2, 1, -1)
    assert (found.bits[0] == drawn).all() and (found.bits[1] == 1).all()
    assert (found.alpha == opacity).all()

    file = io.BytesIO()
    writer = Writer(file, head)
    writer.metadata("xmp", b"<x/>")
    # Other versions of the library may find other blocks for the same content.
    blocks = EXAMPLE[0x033:0x043]
    assert zstd.inflate(blocks, 260, "") == opacity.tobytes()
    writer.alpha(AlphaCoding.ZSTD, blocks)
    writer.segment(Coding.RAW, bits.pack(drawn))
    blocks = EXAMPLE[0x0D2:0x0DD]
    assert zstd.inflate(blocks, 128, "") == b"\xff" * 128
    writer.segment(Coding.ZSTD, blocks)
    writer.close()
    assert file.getvalue() == EXAMPLE


def test_the_reader_refuses_every_truncation() -> None:
    for file in (*(EXAMPLE[:cut] for cut in range(len(EXAMPLE))), EXAMPLE + b"\0"):
        with pytest.raises(reader.Unreadable):
            reader.read(file)


def test_the_reader_refuses_every_flipped_bit() -> None:
    for place in range(8 * len(EXAMPLE)):
        file = bytearray(EXAMPLE)
        file[place // 8] ^= 1 << place % 8
        with pytest.raises(reader.Unreadable):
            reader.read(bytes(file))


# Files of the package, read without it.


def agree(file: bytes) -> Any:
    """Read a file in both ways, compare all that is found, and return the independent result."""
    found, known = reader.read(file), Reader(io.BytesIO(file))
    segments, head = list(known.segments()), known.header
    told = found.header
    assert told["pad"] == tuple(head.pad) and told["grid"] == head.grid
    for name in ("width", "height", "patch", "model", "fingerprint", "channels", "side", "planes"):
        assert told[name] == getattr(head, name)
    assert told["params"] == head.params and told["colour"] == head.colour
    assert told["depth"] == layout.DEPTH_CODES[head.depth]
    names = {kind.encode(): name for name, kind in layout.METADATA_KINDS.items()}
    assert {names[kind]: data for kind, data in found.optional.items()} == known.metadata
    if head.colour.has_alpha:
        assert (found.alpha == alpha.decode(known.alpha, head)).all()
    else:
        assert found.alpha is None
    assert found.data == [(segment.coding, segment.payload) for segment in segments]
    for segment, values in zip(segments, found.bits, strict=True):
        assert told["segments"][segment.index] == head.segment_patches(segment.index)
        if segment.coding is not Coding.CONTEXT:
            assert (values == bits.unpack_segment(segment, head)).all()
    return found


@st.composite
def headers(draw: st.DrawFn) -> Header:
    patch = draw(st.sampled_from([8, 24]))
    return Header(
        width=draw(st.integers(1, 3 * patch)),
        height=draw(st.integers(1, 3 * patch)),
        patch=patch,
        pad_top=draw(st.integers(0, patch - 1)),
        pad_left=draw(st.integers(0, patch - 1)),
        pad_mode=draw(st.sampled_from(PadMode)),
        colour=draw(st.sampled_from(Colour)),
        depth=draw(st.sampled_from([8, 16])),
        model=draw(st.sampled_from([*cae.MODEL_NUMBERS.values(), "another.model-1"])),
        fingerprint=draw(st.binary(min_size=8, max_size=8)),
        channels=draw(st.integers(1, 5)),
        side=draw(st.integers(1, 5)),
        segment_rows=draw(st.sampled_from([1, 2, 4096])),
        segment_columns=draw(st.sampled_from([1, 2, 300])),
        planes=draw(st.integers(1, 3)),
        params=tuple(draw(st.lists(st.integers(0, 2**32 - 1), max_size=3))),
    )


@settings(deadline=None, max_examples=40)
@given(headers(), st.dictionaries(st.sampled_from(["icc", "exif", "xmp"]), st.binary()), st.data())
def test_files_of_all_kinds_are_read(
    head: Header, metadata: dict[str, bytes], data: st.DataObject
) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    file = io.BytesIO()
    writer = Writer(file, head)
    for name, content in metadata.items():
        writer.metadata(name, content)
    # Smooth, so that all codings of alpha come up.
    step = rng.integers(-3, 4, (2, 1))
    opacity = (step * np.indices((head.height, head.width)).reshape(2, -1)).sum(0)
    opacity = (opacity + rng.integers(0, 2, opacity.shape)).astype(np.uint8)
    for strip in alpha.encode(opacity.reshape(head.height, head.width), head):
        writer.alpha(*strip)
    for chunk in range(head.n_chunks):
        packed = bits.pack(rng.random(head.segment_bits(chunk % head.n_segments)) < 0.1)
        coding = data.draw(st.sampled_from(Coding if head.params else [Coding.RAW, Coding.ZSTD]))
        payload = zstd.deflate(packed) if coding is Coding.ZSTD else packed
        writer.segment(coding, payload)
    writer.close()
    agree(file.getvalue())


@pytest.mark.parametrize("size", [(1, 1), (127, 129), (300, 140)])
@pytest.mark.parametrize("entropy", ["raw", "zstd"])
def test_files_of_a_codec_are_read(
    size: tuple[int, int], entropy: bits.Entropy, lake: Image.Image, random_weights: Path
) -> None:
    codec = Codec("cae_16x8x8_refl_pad_bin", "cpu", weights=random_weights)
    image = lake.resize(size)
    image.putalpha(image.convert("L"))
    image.info |= {"icc_profile": b"a profile", "exif": b"Exif\0\0MM\0*", "xmp": b"<x/>"}
    found = agree(codec.compress(image, entropy=entropy))
    assert found.optional == {b"c": b"a profile", b"x": b"MM\0*", b"m": b"<x/>"}
    assert (found.alpha == np.asarray(image)[..., 3]).all()
    assert {coding for coding, _ in found.data} == {Coding[entropy.upper()]}
    assert sum(map(len, found.bits)) == found.header["grid"][0] * found.header["grid"][1]


def test_alpha_strips_are_read() -> None:
    wide = replace(
        Reader(io.BytesIO(EXAMPLE)).header, width=2**21 + 1, height=3, segment_columns=99
    )
    opacity = np.arange(3 * wide.width, dtype=np.uint32).astype(np.uint8).reshape(3, wide.width)
    file = io.BytesIO()
    writer = Writer(file, wide)
    for strip in alpha.encode(opacity, wide):
        writer.alpha(*strip)
    assert wide.n_alpha_strips == 3
    for chunk in range(wide.n_chunks):
        writer.segment(Coding.RAW, bytes(wide.segment_bytes(chunk)))
    writer.close()
    assert (reader.read(file.getvalue()).alpha == opacity).all()


def test_unknown_optional_chunks_are_skipped_and_required_ones_refused() -> None:
    place = 0x026  # behind the header
    file = EXAMPLE[:place] + frame("q", b"new", 0) + frame("q", b"", 1) + EXAMPLE[place:]
    assert (reader.read(file).bits[0] == reader.read(EXAMPLE).bits[0]).all()
    for added in (frame("Q", b""), frame("c", b"1") + frame("c", b"2", 1), frame("q", b"", 1)):
        file = EXAMPLE[:place] + added + EXAMPLE[place:]
        with pytest.raises(reader.Unreadable):
            reader.read(file)
        with pytest.raises(CaeError):
            Reader(io.BytesIO(file))
    for count in (layout.MAX_OPTIONAL_CHUNKS - 1, layout.MAX_OPTIONAL_CHUNKS):  # beside the "m"
        added = b"".join(frame("q", b"", number) for number in range(count))
        file = EXAMPLE[:place] + added + EXAMPLE[place:]
        due = count < layout.MAX_OPTIONAL_CHUNKS
        assert accepted(reader.read, file) == accepted(read_with_the_package, file) == due


def chunks_of(file: bytes) -> list[tuple[str, bytes]]:
    """The kinds and bodies of all chunks."""
    taken, found = reader.Bytes(file), []
    taken.take(9)
    counts: Counter[str] = Counter()
    while taken.at < len(file) - 4:
        kind = chr(file[taken.at])
        found.append((kind, taken.chunk(counts[kind], 2**24)))
        counts[kind] += 1
    return found


def assemble(chunks: list[tuple[str, bytes]]) -> bytes:
    """A file of these chunks before a sound end, all with sound checksums."""
    counts: Counter[str] = Counter()
    file, sizes = EXAMPLE[:9], []
    for kind, body in chunks:
        framed = frame(kind, body, counts[kind])
        counts[kind] += 1
        sizes += [len(framed)] if kind == "D" else []
        file += framed
    return file + encode_end(sizes)


def accepted(read: Callable[[bytes], Any], file: bytes) -> bool:
    try:
        read(file)
    except (CaeError, reader.Unreadable):
        return False
    return True


def read_with_the_package(file: bytes) -> None:
    known = Reader(io.BytesIO(file))
    segments = list(known.segments())
    alpha.decode(known.alpha, known.header)
    for segment in segments:
        if segment.coding is not Coding.CONTEXT:
            bits.unpack_segment(segment, known.header)


def test_the_readers_refuse_the_same_files() -> None:
    """Whatever is in the bodies, and in whatever order, the document and the code agree."""
    sound = chunks_of(EXAMPLE)[:-1]
    assert assemble(sound) == EXAMPLE
    rng = random.Random(0)
    outcomes = Counter[bool]()
    for _ in range(800):
        chunks = [*sound]
        at, change = rng.randrange(len(chunks)), rng.randrange(8)
        kind, body = chunks[at]
        place = rng.randrange(len(body))
        if change < 5:
            byte = bytes([rng.choice([0, 1, 2, 3, 4, 127, 128, 255])])
            body = body[:place] + byte + body[place + rng.choice([0, 1, 1, 1]) :]
            chunks[at] = kind, body
        elif change == 5:
            chunks[at] = kind, body[:place]
        elif change == 6:
            chunks.insert(at, rng.choice([*sound, ("q", b""), ("Q", b""), ("x", b"1")]))
        else:
            del chunks[at]
        file = assemble(chunks)
        sure = accepted(reader.read, file)
        assert sure == accepted(read_with_the_package, file), file.hex()
        outcomes[sure] += 1
    assert min(outcomes[True], outcomes[False]) > 50


# Context coding, decoded without the package.


def segment_of(found: Any) -> tuple[int, int]:
    """Rows and columns of the latent of a fixed-rate file's only segment."""
    ((_, _, rows, columns),) = found.header["segments"]
    return rows * found.header["side"], columns * found.header["side"]


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_golden_files_are_read_to_the_last_bit(path: Path) -> None:
    found = agree(path.read_bytes())
    told = found.header
    model = weights.load_bytes(told["model"])
    assert told["fingerprint"] == hashlib.sha256(model).digest()[:8]
    if told["model"] in stages.VARIABLE_RATE:
        size = -(-told["height"] // 16), -(-told["width"] // 16)
        payloads = [payload for _, payload in found.data]
        tensors = decoder.tensors(model, "planes.")
        middles = decoder.decode_stages(tensors, payloads, *size, *told["params"][:2])
        known = stages.Settings(*told["params"][:2], tuple(factors.factors(told["params"])))
        assert known.factors and known.params == told["params"]
        values = means.restore(middles, tensors).astype("<i2")
    elif found.bits[0] is None:
        file = weights.load_context_bytes(told["model"])
        assert file is not None
        number = int.from_bytes(hashlib.sha256(file).digest()[:2], "big") >> 2
        assert told["params"] == (number,)
        values = decoder.decode_bits(decoder.tensors(file), found.data[0][1], *segment_of(found))
        rows, columns, side = *told["grid"], told["side"]
        values = values.reshape(rows, side, columns, side, -1).transpose(0, 2, 4, 1, 3)
    else:
        values = found.bits[0]
    values = values if values.dtype == "<i2" else values.astype(np.int8)
    assert hashlib.sha256(values.tobytes()).hexdigest() == HASHES[path.stem]


def numbers(tensors: dict[str, torch.Tensor]) -> dict[str, np.ndarray]:
    return {name: tensor.numpy().astype(np.int64) for name, tensor in tensors.items()}


@pytest.mark.parametrize("size", [(1, 1), (1, 6), (5, 3), (19, 5)])
@pytest.mark.parametrize("largest", [0, 1, 9, 2000])
def test_planes_of_any_network_are_decoded(
    size: tuple[int, int], largest: int, plane_tensors: Any
) -> None:
    """Also where features and outputs are clamped, which those of a photograph hardly are."""
    channels, sent = 5, 3
    step = {0: 0, 1: 63, 9: 700, 2000: stages.MAX_STEP - 1}[largest]
    tensors = plane_tensors(channels, seed=largest)
    model = tensor_rules.build_planes(tensors, channels, "made up")
    rng = np.random.default_rng(largest)
    latent = np.rint(largest * rng.uniform(-1, 1, (*size, channels)) ** 3).astype(np.int16)
    payloads = model.encode(latent, step, sent)
    for stage in range(1, sent + 1):
        last = sent - stage
        found = decoder.decode_stages(numbers(tensors), payloads[:stage], *size, step, last)
        due = digits.cut(model.predicted(latent), last)
        assert (np.sign(found) * (np.abs(found) >> last + 1) == due).all()
        whole = means.restore(found, numbers(tensors))
        assert (whole == model.restored(found.astype(np.int16), 2)).all()
    assert (whole == 2 * latent).all()


def test_payloads_that_no_encoder_writes_are_refused() -> None:
    """The range coder's end is as strict as the program's, which codes the bits again."""
    rng = np.random.default_rng(0)
    outcomes = set()
    for _ in range(300):
        chances = rng.choice([1, 300, 32767, 32768, 65535], rng.integers(0, 40)).astype(np.uint16)
        encoder = coder.Encoder()
        encoder.code(chances, rng.random(len(chances)) < 0.5)
        payload = bytearray(encoder.finish() + bytes(rng.integers(0, 2)))
        if payload and rng.random() < 0.6:
            payload[rng.integers(len(payload))] ^= 1 << rng.integers(8)
        known, found = None, None
        try:
            check = coder.Decoder(bytes(payload))
            known = check.code(chances, np.zeros(len(chances), np.bool_)).tolist()
            check.finish()
        except DamagedChunk:
            known = None
        try:
            one = decoder.Decoder(bytes(payload))
            found = one.bits(chances).tolist()
            one.end()
        except decoder.Impossible:
            found = None
        assert found == known
        outcomes.add(known is None)
    assert outcomes == {True, False}


def test_a_file_cut_to_its_first_stages_is_what_the_document_says() -> None:
    (path,) = (path for path in GOLDEN if "bitplane" in path.stem)
    file = path.read_bytes()
    whole = reader.read(file)
    kept = 2
    short = reader.read(stages.first_stages(Reader(io.BytesIO(file)), kept))
    step, last, *factors = whole.header["params"]
    left_out = whole.header["planes"] - kept
    assert factors and short.header["params"] == (step, last + left_out, *factors)
    assert short.data == whole.data[:kept]
    unchanged = whole.header.keys() - {"params", "planes"}
    assert all(short.header[name] == whole.header[name] for name in unchanged)


def test_a_file_cut_off_in_a_stage_has_the_stages_before() -> None:
    (path,) = (path for path in GOLDEN if "bitplane" in path.stem)
    file = path.read_bytes()
    begin = cae.read_index(io.BytesIO(file))[2]
    whole = reader.read(file)
    cut = Reader(io.BytesIO(file[: begin + 9]), partial=True)
    found = [segment.payload for segment in cut.segments()]
    assert found == [payload for _, payload in whole.data[:2]]
    strict = Reader(io.BytesIO(file[: begin + 9]))
    with pytest.raises(Truncated):
        list(strict.segments())
