"""Training: crops, the optimizer, the closed-form start, and runs that resume exactly."""

import csv
import math
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import Result
from PIL import Image

from nncodec.checkpoint import load_model, parse_tensors
from nncodec.entropy.weights import build_context
from nncodec.formats.errors import ImageError
from nncodec.models.cae import SPECS, Cae
from nncodec.train import context, muon
from nncodec.train.cae import CaeRecipe, Config, noise_width, psnr_loss
from nncodec.train.data import Crops, list_images, validation_crops
from nncodec.train.files import averaged_weights, read_state, write_state
from nncodec.train.loop import Run, schedule
from nncodec.train.muon import Muon, orthogonalize
from nncodec.train.quantizer import allocate, fit_quantizer
from nncodec.train.start import closed_form_start

MODEL = "cae_16x8x8_zero_pad_bin"
CPU = torch.device("cpu")

Command = Callable[..., Result]


def test_crops_are_parts_of_the_images() -> None:
    ramp = torch.arange(40 * 50).reshape(40, 50)
    image = torch.stack([ramp % 251, ramp // 251, torch.full_like(ramp, 9)]).to(torch.uint8)
    crops = Crops([image], 16, torch.device("cpu")).draw(20, torch.Generator().manual_seed(0))
    assert crops.shape == (20, 3, 16, 16) and 0 <= crops.min() and crops.max() <= 1
    value = (crops[:, 0] * 255 + crops[:, 1] * 255 * 251).round().long()
    assert (crops[:, 2] == 9 / 255).all()
    # neighbours differ by 1 along one axis and by the width along the other, flipped or not
    down, right = value[:, 1:].sub(value[:, :-1]), value[:, :, 1:].sub(value[:, :, :-1])
    assert {abs(int(down[0, 0, 0])), abs(int(right[0, 0, 0]))} == {1, 50}
    assert down.unique().numel() == right.unique().numel() == 1
    assert len(value[:, 0, 0].unique()) > 10


def test_images_that_are_too_small_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no training image has 200 pixels"):
        Crops([torch.zeros(3, 100, 300, dtype=torch.uint8)], 200, torch.device("cpu"))
    with pytest.raises(ImageError, match="no image in this folder"):
        list_images(tmp_path)


@pytest.mark.parametrize("rough", [False, True])
def test_an_orthogonalized_matrix_has_singular_values_near_one(
    rough: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(muon, "quick_in_bf16", lambda device: rough)
    torch.manual_seed(0)
    for shape in ((32, 288), (288, 32)):
        values = torch.linalg.svdvals(orthogonalize(torch.randn(shape)))
        assert values.min() > 0.6 and values.max() < 1.3


def test_muon_descends() -> None:
    torch.manual_seed(0)
    layer, target = torch.nn.Conv2d(4, 8, 3), torch.nn.Conv2d(4, 8, 3)
    x = torch.randn(16, 4, 8, 8)
    optimizer = Muon([{"params": [layer.weight]}], lr=0.02)

    def loss() -> torch.Tensor:
        return (layer(x) - target(x)).square().mean()

    first = float(loss().detach())
    for _ in range(60):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    assert float(loss().detach()) < 0.3 * first


def test_schedules() -> None:
    config = Config(model=MODEL, data="", val="", steps=1000, warmup=10, noise=0.4, noise_end=0.5)
    assert schedule(config, 0) == 0.1 and schedule(config, 10) == 1
    assert schedule(config, 505) == pytest.approx((1 + 0.01) / 2)
    assert schedule(config, 1000) == schedule(config, 2000) == pytest.approx(0.01)
    assert noise_width(config, 0) == 0.4 and noise_width(config, 250) == pytest.approx(0.2)
    assert noise_width(config, 500) == noise_width(config, 900) == 0


def test_the_loss_is_the_mean_logarithm_inside_the_margin() -> None:
    crops = torch.zeros(2, 3, 64, 64)
    output = crops.clone()
    output[0] += 0.1
    output[1] += 0.3
    output[:, :, :16] = 5  # the margin does not count
    loss = psnr_loss(output, crops, 0.001)
    assert float(loss) == pytest.approx((math.log(0.011) + math.log(0.091)) / 2, abs=1e-5)


def test_quantizers_follow_the_theory() -> None:
    samples = np.random.default_rng(0).normal(size=40_000)
    # Max (1960): mean squared errors of the best quantizers of a normal variable
    for bits, error in ((0, 1.0), (1, 0.3634), (2, 0.1175), (3, 0.03454)):
        assert fit_quantizer(samples, bits).mse == pytest.approx(error, rel=0.05)
    both = np.stack([samples, np.roll(samples, 1)], 1)
    given = allocate(both, np.array([100.0, 1.0]), 4)
    assert [q.bits for q in given] == [4, 0]
    quantizer = fit_quantizer(samples, 4)
    assert [len(quantizer.flips(plane)) for plane in (1, 2, 3)] == [1, 3, 7]
    assert quantizer.flips(1)[0] == quantizer.thresholds[3]
    assert list(quantizer.flips(3)) == list(quantizer.thresholds)
    # the code of a magnitude: each bit starts at 0 and flips where it is said to
    cell = np.searchsorted(quantizer.thresholds, np.abs(samples))
    code = [np.searchsorted(quantizer.flips(plane), np.abs(samples)) % 2 for plane in (1, 2, 3)]
    assert np.array_equal(code[0] * 4 + code[1] * 2 + code[2], cell)


@pytest.fixture
def images(tmp_path: Path, data: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for path in data.glob("*.png"):
        with Image.open(path) as image:
            image.convert("RGB").save(folder / path.name)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("model", ["cae_16x8x8_zero_pad_bin", "cae_16x16x16_zero_pad_bin"])
def test_the_closed_form_start_is_a_codec(model: str, images: Path) -> None:
    torch.manual_seed(0)
    crops = Crops.from_folder(images, 128, torch.device("cpu"))
    patches = crops.draw(40, torch.Generator().manual_seed(0))
    network = Cae(SPECS[model])

    def quality() -> float:
        with torch.inference_mode():
            error = network.decode(network.encode(patches)) - patches
        return -10 * math.log10(float(error[..., 24:-24, 24:-24].square().mean()))

    noise = quality()
    bits = closed_form_start(network, patches)
    assert sum(bits) == 16 and bits[0] >= 3
    assert quality() > noise + 3 and quality() > 14


def cae_run(images: Path, folder: Path, **changes: Any) -> Run:
    config = Config(MODEL, str(images), str(images), start="random", steps=4, crop=128, batch=1)
    config.val_every, config.val_crops, config.bf16 = 2, 1, False
    for name, value in changes.items():
        setattr(config, name, value)
    return Run(CaeRecipe(config, folder, CPU))


@pytest.mark.slow
def test_a_stopped_run_of_a_cae_goes_on_exactly(images: Path, tmp_path: Path) -> None:
    best = cae_run(images, tmp_path / "whole").train()
    seen: list[int] = []
    parts = cae_run(images, tmp_path / "parts")
    encoder = parts.network.e_conv_1[1].weight
    assert isinstance(encoder, torch.Tensor)
    before = encoder.detach().clone()
    parts.train(lambda step, row: seen.append(step), lambda: len(seen) == 1)
    assert seen == [1] and encoder.equal(before)  # it waits for a quarter of the steps
    again = cae_run(images, tmp_path / "parts")
    assert again.train() == best
    assert not again.network.e_conv_1[1].weight.equal(before)
    whole, parts_ = (
        load_model(MODEL, tmp_path / run / "weights.safetensors")[1].state_dict()
        for run in ("whole", "parts")
    )
    assert all(torch.equal(whole[key], parts_[key]) for key in whole)
    with (tmp_path / "whole" / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["2", "4"]
    assert max(float(row["val_psnr"]) for row in rows) == pytest.approx(best, abs=1e-5)

    # Its averaged weights are where another run begins.
    start = str(tmp_path / "whole" / "checkpoint.pt")
    other = cae_run(images, tmp_path / "other", start=start)
    average = averaged_weights(Path(start))
    assert all(torch.equal(average[key], v) for key, v in other.network.state_dict().items())


@pytest.mark.slow
def test_the_command_trains_weights_that_compress(nncodec: Command, images: Path) -> None:
    options = ["--data", images, "--val", images, "-o", "run", "--start", "random"]
    short = ["--steps", "2", "--batch", "1", "--device", "cpu", "--warmup", "0"]
    result = nncodec("train", "cae_16x8x8_refl_pad_bin", *options, *short)
    assert "step 2  loss " in result.stderr and "  val_psnr " in result.stderr
    assert result.stdout.startswith("run/weights.safetensors: ") and " dB on " in result.stdout
    photo = next(images.iterdir())
    nncodec("compress", photo, "x.cae", "--weights", "run/weights.safetensors")
    assert "other weights" in nncodec("decompress", "x.cae", "x.png", status=1).stderr
    nncodec("decompress", "x.cae", "x.png", "--weights", "run/weights.safetensors")
    refused = nncodec("train", MODEL, *options, status=1).stderr
    assert "checkpoint.pt: of another training; choose another folder" in refused


def test_options_that_do_not_concern_what_is_trained(nncodec: Command, images: Path) -> None:
    options = ["--data", images, "--val", images, "-o", "run"]
    for model, option, flags, how in (
        (MODEL, "--noise-end", ["--context"], "with"),
        (MODEL, "--width", [], "without"),
        (MODEL, "--blocks", [], "without"),
        ("bitplane_256", "--floor", [], "without"),
        ("bitplane_256", "--lr-proxy", ["--context"], "with"),
        ("bitplane_256", "--groups", ["--context"], "with"),
    ):
        refused = nncodec("train", model, *options, *flags, option, "1", status=2).stderr
        assert f"{option} has no meaning for {model} {how} --context" in refused
    assert "no network 'cae'; known are" in nncodec("train", "cae", *options, status=2).stderr
    odd = nncodec("train", MODEL, *options, "--crop", "100", status=1).stderr
    assert "the side of a crop is 100, no multiple of 16" in odd
    missing = nncodec("train", MODEL, *options, "--start", "no.pt", status=1).stderr
    assert "no.pt: No such file or directory" in missing


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder with two pictures of 512x512 pixels, smooth ones with noise."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(2):
        rng = np.random.default_rng(number)
        small = Image.fromarray(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8))
        smooth = np.asarray(small.resize((512, 512), Image.Resampling.BICUBIC), np.int16)
        noisy = (smooth + rng.integers(-9, 10, smooth.shape)).clip(0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(folder / f"{number}.png")
    return folder


CONTEXT = ["--context", "--crops", "5", "--crop", "128", "--steps", "4", "--val-every", "2"]


def test_the_command_trains_a_context_model(nncodec: Command, pictures: Path) -> None:
    options = [*CONTEXT, "--data", pictures, "--val", pictures, "--device", "cpu"]
    options += ["--width", "16", "--groups", "1", "--lr", "0.01", "--batch", "4"]
    result = nncodec("train", MODEL, *options, "-o", "bits")
    assert "step 4  loss " in result.stderr and "  saved " in result.stderr
    last = result.stdout.splitlines()[-1]
    assert last.startswith("bits/weights.safetensors: ") and "% of the bits saved on " in last
    data = Path("bits/weights.safetensors")
    model = build_context(parse_tensors(data.read_bytes(), "it"), 16, "it")
    bits = np.random.default_rng(0).random((8, 8, 16)) < 0.5
    assert model.groups == 1 and (model.decode(model.encode(bits), 8, 8) == bits).all()

    # Latents are made once; another run may begin where this one ended.
    state = read_state(Path("bits/latents.pt"))
    assert state["train"].shape == (5, 16, 8, 8) and state["val"].shape == (1, 16, 32, 32)
    state["train"][:] = 1
    write_state(state, Path("bits/latents.pt"))
    run = Run(
        context.ContextRecipe(
            read_config(Path("bits"), init="bits/checkpoint.pt"), Path("bits"), CPU
        )
    )
    assert run.step == 4 and (run.recipe.bits == 1).all()
    warm = read_config(Path("bits"), init="bits/checkpoint.pt", seed=1)
    other = Run(context.ContextRecipe(warm, Path("other"), CPU))
    assert other.step == 0 and not (other.recipe.bits == 1).all()
    average = averaged_weights(Path("bits/checkpoint.pt"))
    assert all(torch.equal(average[key], v) for key, v in other.network.state_dict().items())
    integers = read_config(Path("bits"), init="bits/weights.safetensors", seed=1)
    found = context.exported(Run(context.ContextRecipe(integers, Path("third"), CPU)).network)
    due = parse_tensors(data.read_bytes(), "it")
    assert due.keys() == found.keys() and all(due[key].equal(found[key]) for key in due)


def read_config(folder: Path, **changes: Any) -> context.Config:
    """The settings of the run in a folder, changed."""
    return context.Config(**(read_state(folder / "checkpoint.pt")["config"] | changes))


def test_a_signal_saves_the_run(
    nncodec: Command, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = context.ContextRecipe.draw
    drawn: list[int] = []

    def interrupt(self: context.ContextRecipe) -> Any:
        drawn.append(1)
        if len(drawn) == 3:
            signal.raise_signal(signal.SIGTERM)
        return draw(self)

    monkeypatch.setattr(context.ContextRecipe, "draw", interrupt)
    options = [*CONTEXT, "--data", pictures, "--val", pictures, "--device", "cpu", "--width", "8"]
    handler = signal.getsignal(signal.SIGTERM)
    result = nncodec("train", MODEL, *options, "-o", "bits", status=130)
    assert signal.getsignal(signal.SIGTERM) is handler
    assert "interrupted; the same command goes on from bits/checkpoint.pt" in result.stderr
    assert len(drawn) == 3 and read_state(Path("bits/checkpoint.pt"))["step"] == 3
    nncodec("train", MODEL, *options, "-o", "bits")
    nncodec("train", MODEL, *options, "-o", "whole")
    parts, whole = (averaged_weights(Path(run) / "checkpoint.pt") for run in ("bits", "whole"))
    assert len(drawn) == 4 + 4 and all(torch.equal(parts[key], whole[key]) for key in whole)


def test_validation_crops(images: Path) -> None:
    crops = validation_crops(images, 128, 2)
    assert crops.shape == (3, 2, 3, 128, 128) and crops.dtype == torch.uint8
    assert len(validation_crops(images, 200, 1)) == 2  # one is too small
    with pytest.raises(ImageError, match="no image has 400 pixels"):
        validation_crops(images, 400, 1)
