"""bin/bench runs for both kinds of model."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
@pytest.mark.parametrize("model", ["bitplane_256", "cae_16x8x8_zero_pad_bin"])
def test_bench_tells_both_directions(model: str) -> None:
    command = [sys.executable, ROOT / "bin" / "bench.py", "-m", model, "--repeat", "1"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    rows = {line.split()[0]: line.split() for line in result.stdout.splitlines() if line}
    for direction in ("compress", "decompress"):
        network, pipeline, ratio = map(float, rows[direction][1:])
        assert network > 0 and pipeline > 0 and ratio > 0
