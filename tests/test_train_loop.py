"""The loop that all training shares, with the smallest of recipes: a straight line."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from nncodec.formats.errors import WeightsError
from nncodec.train import loop
from nncodec.train.files import append_row, averaged_weights, fill, read_state, write_weights
from nncodec.train.loop import Recipe, Run, Settings

CPU = torch.device("cpu")


class Line(Recipe[Settings]):
    """y = 3 x + 1, from noisy samples."""

    settings = Settings
    judge, sign, figure = "error", -1, "error {:.3f}"

    network: nn.Linear

    def __init__(self, config: Settings, folder: Path) -> None:
        super().__init__(config, folder, CPU)
        self.network = nn.Linear(1, 1)
        self.exported: list[float] = []

    def begin(self) -> None:
        nn.init.zeros_(self.network.weight)

    def optimizers(self) -> list[Optimizer]:
        groups = [
            {"params": [self.network.weight], "peak": self.config.lr},
            {"params": [self.network.bias], "peak": 2 * self.config.lr},
        ]
        return [Adam(groups)]

    def loss(self, step: int) -> Tensor:
        x = torch.rand(8, 1)
        error: Tensor = (self.network(x) - (3 * x + 1 + 0.1 * torch.randn(8, 1))).square().mean()
        return error

    def validate(self, average: nn.Linear) -> dict[str, float]:
        torch.rand(5)  # moves the generator on, which must not matter
        return {"error": abs(float(average.weight) - 3), "bias": float(average.bias)}

    def export(self, average: nn.Linear, path: Path) -> None:
        self.exported.append(float(average.weight))
        write_weights(average.state_dict(), path, {"model": self.config.model})


def line(folder: Path, **changes: Any) -> Run:
    settings = {"model": "line", "steps": 60, "lr": 0.1, "warmup": 5, "val_every": 20, **changes}
    return Run(Line(Settings(data="", val="", **settings), folder))


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "log.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_run_learns_logs_and_keeps_the_best(tmp_path: Path) -> None:
    run = line(tmp_path / "run", steps=150, val_every=40)
    seen: list[tuple[int, dict[str, float]]] = []
    best = run.train(lambda step, row: seen.append((step, row)))
    assert [step for step, _ in seen] == list(range(1, 151))
    assert sum(row["loss"] for _, row in seen[-10:]) / 10 < 0.1
    logged = rows(tmp_path / "run")
    assert list(logged[0]) == ["step", "loss", "error", "bias", "lr", "seconds"]
    # the last step is measured, too
    assert [row["step"] for row in logged] == ["40", "80", "120", "150"]
    assert best == pytest.approx(min(float(row["error"]) for row in logged), abs=1e-6) and best < 1
    assert float(logged[-1]["lr"]) == pytest.approx(0.1 * 0.01)
    kept = load_file(tmp_path / "run" / "weights.safetensors")
    assert abs(float(kept["weight"]) - 3) == best
    recipe = run.recipe
    assert isinstance(recipe, Line)
    errors = [abs(weight - 3) for weight in recipe.exported]
    assert errors == sorted(errors, reverse=True) and errors[-1] == best


@pytest.mark.parametrize("after", [1, 20, 33, 59])
def test_a_stopped_run_goes_on_exactly(tmp_path: Path, after: int) -> None:
    whole = line(tmp_path / "whole")
    best = whole.train()
    parts = line(tmp_path / "parts")
    parts.train(stop=lambda: parts.step == after)
    assert parts.step == after
    torch.manual_seed(99)
    again = line(tmp_path / "parts")
    assert again.step == after and again.best == parts.best
    assert again.train() == best
    for key in ("model", "ema", "optimizers", "step", "best"):
        one, other = (read_state(r.checkpoint)[key] for r in (whole, again))
        assert str(one) == str(other)
    torch.testing.assert_close(again.network.weight, whole.network.weight, rtol=0, atol=0)
    names = ("step", "error", "bias", "lr")
    logs = [
        [[row[name] for name in names] for row in rows(tmp_path / n)] for n in ("whole", "parts")
    ]
    assert logs[0] == logs[1]
    assert read_state(again.checkpoint)["seconds"] > parts.seconds
    assert line(tmp_path / "parts").train() == best  # there is nothing left to do


def test_random_numbers_depend_on_the_seed_and_the_step(tmp_path: Path) -> None:
    losses = []
    for number, seed in enumerate((0, 0, 1)):
        run = line(tmp_path / str(number), seed=seed, lr=1e-9)
        losses.append([run.update() for _ in range(3)])
    assert losses[0] == losses[1] != losses[2]
    assert len(set(losses[0])) == 3


@pytest.mark.parametrize(
    ("wanted", "quick", "kind"),
    [
        (True, True, torch.bfloat16),
        (True, False, torch.float32),
        (False, True, torch.float32),
    ],
)
def test_bfloat16_is_for_devices_that_are_quick_in_it(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    wanted: bool,
    quick: bool,
    kind: torch.dtype,
) -> None:
    monkeypatch.setattr(loop, "quick_in_bf16", lambda device: quick)
    recipe = line(tmp_path / "run", bf16=wanted).recipe
    with recipe.autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == kind


def test_the_average_follows(tmp_path: Path) -> None:
    run = line(tmp_path, ema=0.5)
    expected = run.network.weight.detach().clone()
    for step in range(1, 15):
        run.update()
        decay = min(0.5, step / (step + 10))
        expected = decay * expected + (1 - decay) * run.network.weight.detach()
        torch.testing.assert_close(run.average.weight, expected)
    assert not run.average.weight.requires_grad


def test_settings_may_change_on_the_way(tmp_path: Path) -> None:
    run = line(tmp_path)
    run.train(stop=lambda: run.step == 30)
    again = line(tmp_path, lr=0.02, steps=100)
    assert [group["peak"] for group in again.optimizers[0].param_groups] == [0.02, 0.04]
    again.update()
    assert 0.01 < again.optimizers[0].param_groups[0]["lr"] < 0.02


def test_other_runs_are_refused(tmp_path: Path) -> None:
    run = line(tmp_path)
    run.save()
    with pytest.raises(WeightsError, match="checkpoint.pt: of another training; choose another"):
        line(tmp_path, model="curve")
    torch.save({"model": {}, "ema": {}}, run.checkpoint)
    with pytest.raises(WeightsError, match="checkpoint.pt: these weights do not fit"):
        line(tmp_path)
    torch.save([1], run.checkpoint)
    with pytest.raises(WeightsError, match="not a checkpoint"):
        line(tmp_path)
    run.checkpoint.write_bytes(b"PK but no more")
    with pytest.raises(WeightsError, match="not a checkpoint"):
        line(tmp_path)
    with pytest.raises(WeightsError, match="none.pt: No such file"):
        averaged_weights(tmp_path / "none.pt")
    with pytest.raises(WeightsError, match="x.pt: these weights do not fit"):
        fill(nn.Linear(1, 1), {"weight": torch.zeros(2, 1), "bias": torch.zeros(1)}, "x.pt")


def test_a_log_keeps_its_columns(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    append_row(log, {"step": 1, "loss": 0.123456789, "old": 3e-9})
    append_row(log, {"new": 1, "step": 2, "loss": 0.5})
    assert log.read_text().splitlines() == ["step,loss,old", "1,0.1234568,3e-09", "2,0.5,"]


PROCESS = """
import os, sys, time, torch
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_train_loop import line
torch.distributed.init_process_group("gloo")
rank = torch.distributed.get_rank()
run = line(Path(sys.argv[2]))
seen = []
run.train(lambda step, row: seen.append(row["loss"]), lambda: rank == 1 and len(seen) == 7)
assert run.step == 7, run.step  # one stops, all stop
again = line(Path(sys.argv[2]))
again.train()
weight = again.network.weight.item()
Path(sys.argv[2], f"rank{rank}").write_text(f"{again.step} {weight!r} {seen[0]!r}")
time.sleep(1)  # until the other has all that was sent to it
os._exit(0)  # the threads of torch.distributed may outlive the interpreter, and abort
"""


@pytest.mark.slow
def test_processes_share_every_step(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(PROCESS)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    command += ["--master-port", "29517", str(script), str(Path(__file__).parent), str(tmp_path)]
    result = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert result.returncode == 0, result.stderr
    (steps, *first), (others, *second) = (
        (tmp_path / f"rank{rank}").read_text().split() for rank in (0, 1)
    )
    assert steps == others == "60"
    assert first[0] == second[0]  # alike weights
    assert first[1] != second[1]  # from samples of their own
    assert [row["step"] for row in rows(tmp_path)] == ["20", "40", "60"]
