"""bin/bench runs for both kinds of model, and against its rivals."""

import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from nncodec import Codec

ROOT = Path(__file__).parents[1]


def bench(*options: str | Path) -> dict[str, list[str]]:
    """The rows of what bin/bench prints, by their first words."""
    command = [sys.executable, ROOT / "bin" / "bench.py", *options, "--repeat", "1"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return {line.split()[0]: line.split() for line in result.stdout.splitlines() if line}


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [("-m", "bitplane_256", "-e", "3"), ("-m", "cae_16x8x8_zero_pad_bin")]
)
def test_bench_tells_both_directions(options: tuple[str, ...]) -> None:
    rows = bench(*options)
    for direction in ("compress", "decompress"):
        transform, networks, pipeline, *ratios = map(float, rows[direction][1:])
        assert transform > 0 and networks > 0 and pipeline > 0
        for bare, ratio in zip((transform, networks), ratios, strict=True):
            rounding = 0.005 + (0.0005 + 0.0005 * ratio) / bare  # of the digits that are shown
            assert ratio == pytest.approx(pipeline / bare, abs=rounding)


@pytest.mark.parametrize(("effort", "asked"), [(1, 2), (4, 5)])
def test_a_tape_asks_the_networks_again(
    lake: Image.Image, monkeypatch: pytest.MonkeyPatch, effort: int, asked: int
) -> None:
    """What bin/bench calls the bare networks: the same results as in the pipeline, call by call."""
    monkeypatch.syspath_prepend(ROOT / "bin")
    tape = importlib.import_module("replay").Tape()
    codec = Codec("bitplane_256", "cpu")
    results: list[torch.Tensor] = []
    network = codec.engine.transform.network
    for half in (network.analysis, network.synthesis):
        half.register_forward_hook(lambda *given: results.append(given[-1].detach().clone()))
    picture = lake.crop((0, 0, 100, 80))
    with tape.recording(codec):
        data = codec.compress(picture, effort=effort)
        there = len(tape.coding)
        codec.decompress(data)
    assert len(tape.transforms) == len(results) == asked  # each way, two rounds and a last look
    assert torch.equal(tape.transforms[0](), results[0])
    assert torch.equal(tape.transforms[-1](), results[-1])
    for slopes in tape.transforms[1:-2]:  # through the synthesis, back to the latent
        assert slopes().shape == (1, 256, 5, 7) and slopes().any()
    back = len(tape.coding) - there
    assert back > 2
    assert there == back + 2 * (effort > 1)  # as many planes, and two for what one more costs
    outputs = tape.coding[-1]()  # of the last plane that is decoded, at all its channels
    assert len(outputs) == 3 and outputs.any() and torch.equal(outputs, outputs.round())
    codec.compress(picture, effort=effort)
    assert len(tape.transforms) == asked  # and no more is kept


@pytest.mark.slow
def test_bench_tells_how_rivals_compare(photo: Path) -> None:
    rows = bench(photo.parent, "--rivals", "-m", "bitplane_256")
    own, avif, other = (rows[name] for name in ("bitplane_256", "AVIF", "hyperprior"))
    assert own[3] == own[5] == "1.00"
    for rival in (avif, other):
        encode, decode, *ratios = map(float, rival[1:])
        assert encode > 0 and decode > 0 and min(ratios) > 0
        compress = float(own[1])
        rounding = 0.0005 * (1 + ratios[0]) + 0.005 * compress  # of the digits that are shown
        assert abs(encode - ratios[0] * compress) <= rounding + 1e-5


@pytest.fixture
def hyperprior(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(ROOT / "bin")
    return importlib.import_module("hyperprior")


def test_the_hyperprior_decodes_what_it_coded(hyperprior: Any, lake: Image.Image) -> None:
    """In its usual size, at a medium rate, from real bytes."""
    codec = hyperprior.Hyperprior()
    weights = sum(p.numel() for p in codec.network.parameters())
    assert weights == pytest.approx(17.55e6, rel=0.01)  # as published ones have
    pixels = np.asarray(lake.crop((0, 0, 150, 100)))
    noted = []
    synthesis = codec.network.synthesis
    synthesis.register_forward_pre_hook(lambda _, given: noted.append(given[0]))
    coded = codec.encode(pixels)
    assert 0.3 < 32 * (len(coded.latent) + len(coded.hyper)) / (192 * 128) < 2
    assert codec.decode(coded).shape == pixels.shape
    with hyperprior.torch.inference_mode():
        x = hyperprior.torch.tensor(pixels).permute(2, 0, 1)[None] / 255
        x = hyperprior.F.pad(x, (0, 42, 0, 28), "replicate")
        latent = hyperprior.spread(codec.network.analysis(x))
    assert (noted[0] - latent).abs().max() <= 0.5 + 1e-4
