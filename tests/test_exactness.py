"""Guarantee 3: a file is decoded to the same bits everywhere, and to the same pixels, ±1 level.

Processors, thread counts, kernels, tiles and devices differ in how they round a sum. The pixels
show it by a level; the bits must not, or the rest of a file is lost.
"""

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from precision import Products

from nncodec import Codec, variable
from nncodec.api import codec_for
from nncodec.formats.cae import Reader
from nncodec.variable import VariableRate
from nncodec.weights import manifest

ROOT = Path(__file__).parents[1]
FIXED = "cae_16x8x8_zero_pad_bin"
BITPLANE = "bitplane_256"

# Processors that a process is made to believe it runs on, and ways of dividing and adding. What
# one does not have, the libraries leave out.
MACHINES: dict[str, dict[str, str]] = {
    "SSE4.1": {"ONEDNN_MAX_CPU_ISA": "SSE41", "ATEN_CPU_CAPABILITY": "default"},
    "AVX": {"ONEDNN_MAX_CPU_ISA": "AVX", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2"},
    "AVX2": {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"},
    "AVX-512": {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE", "MKL_ENABLE_INSTRUCTIONS": "AVX512"},
    "compatible": {"MKL_CBWR": "COMPATIBLE", "ATEN_CPU_CAPABILITY": "default"},
    "threads": {"OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2"},
}


def latent_of(codec: Codec, data: bytes) -> NDArray[Any]:
    """All that a file's payloads say."""
    reader = Reader(io.BytesIO(data))
    if isinstance(codec.engine, VariableRate):
        segments = list(range(reader.header.n_segments))
        return codec.engine.read(reader, None, segments, reader.header.planes)[0]
    return codec.engine.coder.read(reader, None)[0]


def pixels_of(codec: Codec, data: bytes) -> NDArray[np.int16]:
    return np.asarray(codec.decompress(data)).astype(np.int16)


def differ(one: NDArray[np.int16], other: NDArray[np.int16]) -> int:
    return int(np.abs(one - other).max())


Case = tuple[Codec, bytes, NDArray[Any], NDArray[np.int16]]  # what is decoded, to be met again


@pytest.fixture(scope="module", params=[FIXED, BITPLANE])
def case(request: pytest.FixtureRequest, lake: Image.Image) -> Case:
    """Six patches of a photograph, their latent and their pixels."""
    codec = codec_for(request.param, "cpu")
    data = codec.compress(lake, entropy="context")
    return codec, data, latent_of(codec, data), pixels_of(codec, data)


@pytest.fixture(params=[1, 2, 3])
def threads(request: pytest.FixtureRequest) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


def test_threads(case: Case, threads: None) -> None:
    codec, data, latent, pixels = case
    assert (latent_of(codec, data) == latent).all()
    assert (pixels_of(codec, data) == pixels).all()


@pytest.mark.parametrize("size", [(200, 150), (40, 30), (80, 16)])
@pytest.mark.parametrize("quick", [False, True])
def test_an_encoder_decides_alike_with_any_threads(
    lake: Image.Image, monkeypatch: pytest.MonkeyPatch, quick: bool, size: tuple[int, int]
) -> None:
    codec, before, files = codec_for(BITPLANE, "cpu"), torch.get_num_threads(), set()
    monkeypatch.setattr(codec.engine.transform, "bf16", quick)
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        files.add(codec.compress(lake.resize(size), effort=5))
    torch.set_num_threads(before)
    assert len(files) == 1


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_batches(case: Case, batch_size: int) -> None:
    codec, data, latent, pixels = case
    other = Codec(codec.model, "cpu", batch_size=batch_size)
    assert (latent_of(other, data) == latent).all()
    assert differ(pixels_of(other, data), pixels) <= 1


@pytest.mark.parametrize("side", [1, 2, 5])
def test_tiles(case: Case, monkeypatch: pytest.MonkeyPatch, side: int) -> None:
    codec, data, _, pixels = case
    monkeypatch.setattr(variable, "TILE", side)
    if not isinstance(codec.engine, VariableRate):
        monkeypatch.setattr(codec.engine.transform, "tile_side", side)
    assert differ(pixels_of(codec, data), pixels) <= 1


def plain_kernels() -> AbstractContextManager[None]:
    flags: AbstractContextManager[None] = torch.backends.mkldnn.flags(enabled=False)
    return flags


def rough_products() -> AbstractContextManager[None]:
    return torch.autocast("cpu", torch.bfloat16)


# The largest difference of pixels that is allowed.
SURROUNDINGS = {
    "as is": (nullcontext, 0),
    "plain": (plain_kernels, 1),
    "bf16": (rough_products, 0),
}


@pytest.mark.parametrize("name", SURROUNDINGS)
def test_kernels_and_precision(case: Case, name: str) -> None:
    codec, data, latent, pixels = case
    surroundings, most = SURROUNDINGS[name]
    with surroundings():
        assert (latent_of(codec, data) == latent).all()
        assert differ(pixels_of(codec, data), pixels) <= most


def test_pixels_are_computed_in_full_precision_whatever_the_program_has_set(case: Case) -> None:
    codec, data, _, pixels = case
    torch.set_float32_matmul_precision("medium")
    try:
        with Products() as products:
            assert differ(pixels_of(codec, data), pixels) == 0
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert products.precisions == {"highest"}


@pytest.mark.slow
@pytest.mark.parametrize("name", MACHINES)
def test_other_processors(name: str) -> None:
    """All golden files, every model and coding, in a process on another kind of machine."""
    command = [sys.executable, str(ROOT / "tests" / "test_golden.py")]
    env = {**os.environ, "OMP_NUM_THREADS": "1", **MACHINES[name]}
    found = json.loads(subprocess.check_output(command, env=env))
    assert len(found) == 3 * len(manifest()) - 2
    assert all(same and levels <= 1 for same, levels in found.values()), found


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("model", manifest())
def test_a_gpu(model: str, lake: Image.Image) -> None:
    here, there = codec_for(model, "cpu"), codec_for(model, "cuda")
    for maker in (here, there):
        data = maker.compress(lake)
        assert (latent_of(there, data) == latent_of(here, data)).all()
        assert differ(pixels_of(there, data), pixels_of(here, data)) <= 1
