"""Segments: the smallest coding, context models that do not fit, and payloads that are made up."""

import io
import json
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import Result
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load, save

import nncodec
from nncodec import Codec, weights
from nncodec.entropy.context import PHASES
from nncodec.entropy.weights import build_context
from nncodec.formats import cae, chunks
from nncodec.formats.bits import Entropy
from nncodec.formats.cae import Coding, Reader, Segment, Writer
from nncodec.formats.errors import (
    Damaged,
    DamagedChunk,
    ModelMismatch,
    NncodecError,
    Unsupported,
    WeightsError,
)
from nncodec.segments import SegmentCoder
from nncodec.weights import manifest

SMALL = "cae_16x8x8_zero_pad_bin"
MODELS = (
    SMALL,
    "cae_16x8x8_refl_pad_bin",
    "cae_16x16x16_zero_pad_bin",
    "cae_32x32x32_zero_pad_bin",
)
Bits = NDArray[np.bool_]
Run = Callable[..., Result]
Ship = Callable[..., bytes]


@pytest.fixture
def codec(ship_context: Ship) -> Codec:
    ship_context(SMALL)
    return Codec(SMALL, "cpu")


def random_bits(height: int, width: int, channels: int = 16) -> Bits:
    return np.random.default_rng(0).random((height, width, channels)) < 0.5


def codings(data: bytes) -> list[Coding]:
    return [segment.coding for segment in Reader(io.BytesIO(data)).segments()]


def remade(data: bytes, *payloads: bytes | None) -> bytes:
    """A .cae file with other context-coded payloads, sound as far as its checksums tell."""
    reader = Reader(io.BytesIO(data))
    file = io.BytesIO()
    writer = Writer(file, reader.header)
    for segment, payload in zip(reader.segments(), payloads, strict=True):
        writer.segment(Coding.CONTEXT, segment.payload if payload is None else payload)
    writer.close()
    return file.getvalue()


@pytest.mark.parametrize("model", MODELS)
def test_context_coding_changes_no_bit(model: str, lake: Image.Image, ship_context: Ship) -> None:
    ship_context(model)
    codec = Codec(model, "cpu")
    image = lake.crop((0, 0, 200, 100))
    context = codec.compress(image, entropy="context")
    raw = codec.compress(image, entropy="raw")
    assert codings(context) == [Coding.CONTEXT] and codings(raw) == [Coding.RAW]
    latents = []
    for data in (context, raw):
        latent, lost = codec.engine.coder.read(Reader(io.BytesIO(data)), None)
        assert lost == []
        latents.append(latent)
    assert np.array_equal(*latents)
    assert codec.decompress(context).tobytes() == codec.decompress(raw).tobytes()
    assert nncodec.decompress(context, device="cpu").size == (200, 100)


@pytest.mark.parametrize("model", MODELS)
def test_overhead_with_a_context_model_is_at_most_64_bytes(
    model: str, lake: Image.Image, ship_context: Ship
) -> None:
    ship_context(model)
    codec = Codec(model, "cpu")
    data = codec.compress(lake.resize((768, 512)))
    reader = Reader(io.BytesIO(data))
    assert reader.header.params == (manifest()[model].context_id,)
    (segment,) = reader.segments()
    assert len(data) - len(segment.payload) <= 64


def test_auto_takes_the_smallest_and_the_simplest_if_equal(codec: Codec) -> None:
    class Knows:
        """A context model that codes anything in so many bytes."""

        def __init__(self, size: int) -> None:
            self.size = size

        def encode(self, latent: Bits) -> bytes:
            return bytes(self.size)

    def chosen(latent: Bits, size: int | None, entropy: Entropy = "auto") -> tuple[Coding, int]:
        context = None if size is None else Knows(size)
        coder = SegmentCoder(SMALL, context, None)  # type: ignore[arg-type]
        coding, payload = coder.encode(latent, 8, entropy)
        return coding, len(payload)

    noise = random_bits(16, 16)
    assert chosen(noise, None) == chosen(noise, 512) == (Coding.RAW, 512)
    assert chosen(noise, 511) == (Coding.CONTEXT, 511)
    assert chosen(noise, 0) == (Coding.CONTEXT, 0)
    same = np.ones((16, 16, 16), np.bool_)
    coding, size = chosen(same, None)
    assert coding is Coding.ZSTD and size < 20
    assert chosen(same, size) == (Coding.ZSTD, size)
    assert chosen(same, size - 1) == (Coding.CONTEXT, size - 1)
    assert chosen(same, 0, "zstd") == (Coding.ZSTD, size)
    assert chosen(same, 0, "raw") == (Coding.RAW, 512)
    # What was asked for, unless the format has no room for it: 512 + 4 + 64 bytes.
    assert chosen(noise, 580, "context") == (Coding.CONTEXT, 580)
    assert chosen(noise, 581, "context") == (Coding.RAW, 512)


def test_the_first_bits_of_the_hash_name_the_context_model(ship_context: Ship) -> None:
    data = ship_context(SMALL)
    assert weights.entry(SMALL).context_id == int(sha256(data).hexdigest()[:4], 16) >> 2
    assert weights.load_context_bytes(SMALL) == data


def test_only_the_context_model_that_made_a_file_decodes_it(
    codec: Codec, lake: Image.Image, ship_context: Ship
) -> None:
    image = lake.resize((50, 40))
    data = codec.compress(image)
    raw = codec.compress(image, entropy="raw")
    ship_context(SMALL, seed=1)
    other = Codec(SMALL, "cpu")
    assert other.engine.coder.context_id != codec.engine.coder.context_id
    with pytest.raises(ModelMismatch, match="^wrong model: coded with another context model of"):
        other.decompress(data)
    assert other.decompress(raw).tobytes() == codec.decompress(raw).tobytes()


def test_weights_of_ones_own_have_no_context_model(
    codec: Codec, lake: Image.Image, tmp_path: Path
) -> None:
    from nncodec.checkpoint import save_weights

    path = tmp_path / "shipped.safetensors"
    path.write_bytes(weights.load_bytes(SMALL))
    assert (
        Codec(SMALL, "cpu", weights=path).engine.coder.context is not None
    )  # the very same weights
    path = tmp_path / "own.safetensors"
    save_weights(codec.engine.transform.network.state_dict(), SMALL, path)
    own = Codec(SMALL, "cpu", weights=path)
    assert Reader(io.BytesIO(own.compress(lake.resize((50, 40))))).header.params == ()
    with pytest.raises(NncodecError, match="no context model .* use --entropy auto"):
        own.compress(lake, entropy="context")


def test_a_lost_segment_costs_no_other(codec: Codec, lake: Image.Image) -> None:
    wide = lake.resize((1100, 60))  # nine patches: two segments
    data = codec.compress(wide, entropy="context")
    assert codings(data) == [Coding.CONTEXT] * 2
    whole, _ = codec.engine.coder.read(Reader(io.BytesIO(data)), None)
    begins = cae.read_index(io.BytesIO(data))
    for number, kept in ((0, slice(64, None)), (1, slice(0, 64))):  # latent columns
        damaged = bytearray(data)
        damaged[begins[number] + 20] ^= 1
        with pytest.raises(DamagedChunk, match=f"data chunk {number + 1} of 2 .* its checksum"):
            codec.decompress(bytes(damaged))
        reader = Reader(io.BytesIO(bytes(damaged)), partial=True)
        latent, lost = codec.engine.coder.read(reader, reader.errors)
        assert [tile.column for tile in lost] == [8 * number] and len(reader.errors) == 1
        assert np.array_equal(latent[:, kept], whole[:, kept])
        reader = Reader(io.BytesIO(bytes(damaged)), partial=True)
        grey = codec.decompress_from(reader).pixels == 128
        begin = 8 * 128 - reader.header.pad_left
        assert grey[:, begin:].all() == (number == 1) and grey[:, :begin].all() == (number == 0)


def test_what_no_checksum_sees_is_damage_nevertheless(codec: Codec, lake: Image.Image) -> None:
    data = codec.compress(lake.resize((1100, 60)), entropy="context")
    impossible = b"\xff" * 900
    with pytest.raises(DamagedChunk, match="data chunk 1 of 2 .* cannot have been coded"):
        codec.decompress(remade(data, impossible, None))
    reader = Reader(io.BytesIO(remade(data, impossible, None)), partial=True)
    _, lost = codec.engine.coder.read(reader, reader.errors)
    assert [tile.column for tile in lost] == [0] and len(reader.errors) == 1


def test_a_payload_may_be_empty(codec: Codec, lake: Image.Image) -> None:
    data = codec.compress(lake.resize((50, 40)), entropy="context")
    empty = remade(data, b"")
    (segment,) = Reader(io.BytesIO(empty)).segments()
    assert (segment.coding, segment.payload) == (Coding.CONTEXT, b"")
    assert codec.decompress(empty).size == (50, 40)


def test_threads_and_batches_change_no_byte(codec: Codec, lake: Image.Image) -> None:
    expected = codec.compress(lake, entropy="context")
    assert Codec(SMALL, "cpu", batch_size=1).compress(lake, entropy="context") == expected
    latent, _ = codec.engine.coder.read(Reader(io.BytesIO(expected)), None)
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            assert codec.compress(lake, entropy="context") == expected
            found, _ = codec.engine.coder.read(Reader(io.BytesIO(expected)), None)
            assert np.array_equal(found, latent)
    finally:
        torch.set_num_threads(before)


def test_context_coding_needs_a_name_and_bounds(codec: Codec, lake: Image.Image) -> None:
    data = codec.compress(lake.resize((50, 40)), entropy="raw")
    begin = cae.read_index(io.BytesIO(data))[0]
    (segment,) = Reader(io.BytesIO(data)).segments()
    claimed = chunks.frame("D", b"\2" + segment.payload)
    raw = chunks.frame("D", b"\0" + segment.payload)
    assert data[begin:].startswith(raw)
    with pytest.raises(Damaged, match="context coded, but the header names no context model"):
        codec.decompress(data.replace(raw, claimed))
    context = codec.compress(lake.resize((50, 40)), entropy="context")
    header = replace(Reader(io.BytesIO(context)).header, width=1100, segment_columns=9)
    file = io.BytesIO()
    writer = Writer(file, header)
    writer.segment(Coding.CONTEXT, b"")
    writer.close()
    assert [s.coding for s in Reader(io.BytesIO(file.getvalue())).segments()] == [Coding.CONTEXT]
    file = io.BytesIO()
    writer = Writer(file, replace(header, height=1100, segment_rows=9))
    writer.segment(Coding.CONTEXT, b"")
    writer.close()
    with pytest.raises(DamagedChunk, match="over 1048576 pixels, but is context coded"):
        codec.decompress(file.getvalue())
    with pytest.raises(ValueError, match="no params"):
        Writer(io.BytesIO(), Reader(io.BytesIO(data)).header).segment(Coding.CONTEXT, b"")


def test_info_and_verify(nncodec: Run, codec: Codec, lake: Image.Image, folder: Path) -> None:
    data = codec.compress(lake.resize((1100, 60)), entropy="context")
    Path("x.cae").write_bytes(data)
    (known,) = map(json.loads, nncodec("info", "--json", "x.cae").stdout.splitlines())
    segments = list(Reader(io.BytesIO(data)).segments())
    size = sum(len(segment.payload) for segment in segments)
    raw = 9 * 16 * 8 * 8
    assert known["codings"] == {
        "context": {"segments": 2, "bytes": size, "bits_saved": raw - 8 * size}
    }
    assert known["context_shipped"] and known["params"] == [codec.engine.coder.context_id]
    how = "smaller" if 8 * size < raw else "larger"
    share = 100 * abs(1 - 8 * size / raw)
    compared = f", {share:.1f} % {how} than raw" if 8 * size != raw else ""
    assert f"  coding     context (2 segments){compared}\n" in nncodec("info", "x.cae").stdout
    assert nncodec("verify", "x.cae").stdout == "x.cae: ok, 2 segments\n"
    assert nncodec("verify", "--deep", "x.cae").stdout == "x.cae: ok, 2 segments\n"
    impossible = remade(data, b"\xff" * 900, None)
    Path("made-up.cae").write_bytes(impossible)
    assert nncodec("verify", "made-up.cae").stdout == "made-up.cae: ok, 2 segments\n"
    error = nncodec("verify", "--deep", "made-up.cae", status=1).stderr
    assert "data chunk 1 of 2" in error and error.count("\n") == 1


def test_info_names_a_context_model_that_is_not_here(
    nncodec: Run, codec: Codec, lake: Image.Image, folder: Path, ship_context: Ship
) -> None:
    Path("x.cae").write_bytes(codec.compress(lake.resize((50, 40))))
    ship_context(SMALL, seed=1)
    assert "context model that is not shipped" in nncodec("info", "x.cae").stdout
    assert not json.loads(nncodec("info", "--json", "x.cae").stdout)["context_shipped"]
    error = nncodec("decompress", "x.cae", "x.png", status=1).stderr
    assert error.startswith("nncodec: x.cae: wrong model: ") and error.count("\n") == 1


def test_the_command_line_offers_it(
    nncodec: Run, photo: Path, ship_context: Ship, tmp_path: Path
) -> None:
    ship_context(SMALL)
    nncodec("compress", photo, "x.cae", "-m", SMALL, "--entropy", "context")
    assert codings(Path("x.cae").read_bytes()) == [Coding.CONTEXT]
    nncodec("decompress", "x.cae", "x.png")
    assert Image.open("x.png").size == Image.open(photo).size


def test_eval_shows_the_codings_beside_each_other(
    nncodec: Run, photo: Path, ship_context: Ship
) -> None:
    ship_context(SMALL)
    three = ["--entropy", "raw", "--entropy", "zstd", "--entropy", "context"]
    out = nncodec("eval", photo, "-m", SMALL, "--peers", "none", *three, "--json").stdout
    means = [entry for entry in map(json.loads, out.splitlines()) if entry["kind"] == "mean"]
    assert [mean["setting"] for mean in means] == ["joint, raw", "joint, zstd", "joint, context"]
    assert len({mean["psnr"] for mean in means}) == 1
    pixels = 40 * 30
    for mean, coding in zip(means, ("raw", "zstd", "context"), strict=True):
        nncodec("compress", photo, f"{coding}.cae", "-m", SMALL, "--entropy", coding)
        assert mean["bpp"] == 8 * Path(f"{coding}.cae").stat().st_size / pixels


# What is wrong with a context model's file.


@pytest.fixture
def tensors(ship_context: Ship) -> dict[str, torch.Tensor]:
    return load(ship_context(SMALL))


def test_the_tensors_as_they_are_fit(tensors: dict[str, torch.Tensor]) -> None:
    context = build_context(tensors, 16, "c.safetensors")
    assert (context.channels, context.groups) == (16, 2)


@pytest.mark.parametrize(
    ("key", "tensor", "message"),
    [
        ("0.weight", None, "0.weight is missing"),
        ("2.bias", None, "2.bias is missing"),
        ("table", None, "table is missing"),
        ("9.bias", torch.zeros(8, 16, dtype=torch.int32), "9.bias has no place"),
        ("other", torch.zeros(1), "other has no place"),
        ("1.weight", torch.zeros(8, 8, 1, 1), "1.weight is torch.float32, not torch.int8"),
        ("1.bias", torch.zeros(4, 8, dtype=torch.int64), "1.bias is torch.int64"),
        ("table", torch.zeros(9), "table is torch.float32, not torch.uint16"),
        ("table", torch.ones(8, dtype=torch.uint16), r"table is \[8\], not odd"),
        ("table", torch.ones(3, 3, dtype=torch.uint16), r"table is \[3, 3\], not odd"),
        ("table", torch.zeros(9, dtype=torch.uint16), "a chance of 0"),
        ("0.bias", torch.zeros(PHASES + 1, 8, dtype=torch.int32), "steps, no multiple"),
        ("0.bias", torch.zeros(0, 8, dtype=torch.int32), "0 steps"),
        ("0.bias", torch.zeros(17 * PHASES, 8, dtype=torch.int32), "steps, no multiple .* up to"),
        ("0.bias", torch.tensor(1, dtype=torch.int32), "0 steps"),
        ("2.bias", torch.zeros(PHASES, 8, dtype=torch.int32), r"layer 2's bias is \["),
        ("0.weight", torch.ones(8, 8, 5, 5, dtype=torch.int8), "layer 0's weight is"),
        ("1.weight", torch.ones(8, 9, 1, 1, dtype=torch.int8), "layer 1's weight is"),
        ("1.weight", torch.ones(8, 8, 2, 2, dtype=torch.int8), "layer 1's weight is"),
        ("1.weight", torch.ones(8, 8, 3, 1, dtype=torch.int8), "layer 1's weight is"),
        ("1.weight", torch.ones(0, 8, 1, 1, dtype=torch.int8), "layer 1's weight is"),
        ("1.weight", torch.ones(8, dtype=torch.int8), "layer 1's weight is"),
        ("4.weight", torch.ones(9, 8, 1, 1, dtype=torch.int8), "layer 4's bias is"),
        ("1.shift", torch.full((8,), 25, dtype=torch.int8), "layer 1 shifts"),
        ("1.shift", torch.full((8,), -1, dtype=torch.int8), "layer 1 shifts"),
        ("1.shift", torch.zeros(7, dtype=torch.int8), "layer 1's shift"),
        ("0.skip", torch.tensor(True), "layer 0 skips from 16 to 8"),
        ("0.skip", torch.tensor([False]), "layer 0's skip"),
        ("1.bias", torch.full((2 * PHASES, 8), 1 << 30, dtype=torch.int32), "layer 1 .* reach"),
    ],
)
def test_tensors_that_do_not_fit_are_named(
    tensors: dict[str, torch.Tensor], key: str, tensor: torch.Tensor | None, message: str
) -> None:
    if tensor is None:
        del tensors[key]
    else:
        tensors[key] = tensor
    with pytest.raises(WeightsError, match=f"^c.safetensors: .*{message}") as caught:
        build_context(tensors, 16, "c.safetensors")
    assert "\n" not in str(caught.value)


def test_a_context_model_of_other_bits_is_refused(tensors: dict[str, torch.Tensor]) -> None:
    with pytest.raises(WeightsError, match=r"layer 0's weight is \[8, 16, 5, 5\]"):
        build_context(tensors, 32, "c.safetensors")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"x" * 1000, "the context model of None"),
        (save({}, metadata={"context": "another"}), "of another, not of cae_16x8x8"),
        (save({}, metadata={"context": SMALL}), "0.weight is missing"),
        (save({}, metadata={"context": SMALL})[:-1], "not a safetensors file|of None"),
    ],
)
def test_files_that_are_no_context_model_are_refused(
    ship_context: Ship, content: bytes, message: str
) -> None:
    ship_context(SMALL, content)
    with pytest.raises(WeightsError, match=f"^{SMALL}-made-up: .*{message}"):
        Codec(SMALL, "cpu")


def test_a_segment_that_only_a_model_can_read_is_said_so(codec: Codec) -> None:
    from nncodec.formats.bits import unpack_segment

    header = codec.header(nncodec.api.to_picture(np.zeros((8, 8, 3), np.uint8)))
    segment = Segment(0, 0, Coding.CONTEXT, b"", "data chunk 1 of 1 (segment 0)")
    with pytest.raises(Unsupported, match="data chunk 1 of 1 .* without the model"):
        unpack_segment(segment, header)
