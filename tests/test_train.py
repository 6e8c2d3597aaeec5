"""Training: crops, the optimizer, the closed-form start, and runs that resume exactly."""

import csv
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import Result
from PIL import Image

from nncodec.checkpoint import load_model
from nncodec.formats.errors import ImageError
from nncodec.models.cae import SPECS, Cae
from nncodec.train.data import Crops, list_images, validation_crops
from nncodec.train.loop import Config, noise_width, psnr_loss, schedule, train
from nncodec.train.muon import Muon, orthogonalize
from nncodec.train.quantizer import allocate, fit_quantizer
from nncodec.train.start import closed_form_start

MODEL = "cae_16x8x8_zero_pad_bin"

Run = Callable[..., Result]


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


def test_an_orthogonalized_matrix_has_singular_values_near_one() -> None:
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
    assert schedule(config, 1000) == pytest.approx(0.01)
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


@pytest.mark.slow
def test_a_stopped_run_goes_on_exactly(images: Path, tmp_path: Path) -> None:
    def config() -> Config:
        return Config(
            model=MODEL,
            data=str(images),
            val=str(images),
            start="random",
            steps=4,
            crop=128,
            batch=1,
            frozen=0.25,
            val_every=2,
            val_crops=1,
            bf16=False,
        )

    device = torch.device("cpu")
    best = train(config(), tmp_path / "whole", device)
    seen: list[int] = []
    train(
        config(),
        tmp_path / "parts",
        device,
        lambda step, row: seen.append(step),
        lambda: len(seen) == 3,
    )
    assert seen == [1, 2, 3]
    assert train(config(), tmp_path / "parts", device) == best
    whole, parts = (
        load_model(MODEL, tmp_path / run / "weights.safetensors")[1].state_dict()
        for run in ("whole", "parts")
    )
    assert all(torch.equal(whole[key], parts[key]) for key in whole)
    with (tmp_path / "whole" / "log.csv").open() as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["2", "4"]


@pytest.mark.slow
def test_the_command_trains_weights_that_compress(nncodec: Run, images: Path) -> None:
    options = ["--data", images, "--val", images, "-o", "run", "--start", "random"]
    short = ["--steps", "2", "--batch", "1", "--val-every", "2", "--device", "cpu"]
    result = nncodec("train", "cae_16x8x8_refl_pad_bin", *options, *short)
    assert "validation" in result.stderr and "dB on" in result.stdout
    photo = next(images.iterdir())
    nncodec("compress", photo, "x.cae", "--weights", "run/weights.safetensors")
    assert "other weights" in nncodec("decompress", "x.cae", "x.png", status=1).stderr
    nncodec("decompress", "x.cae", "x.png", "--weights", "run/weights.safetensors")
    assert "no network 'cae'" in nncodec("train", "cae", *options, status=2).stderr


def test_validation_crops(images: Path) -> None:
    crops = validation_crops(images, 128, 2)
    assert crops.shape == (3, 2, 3, 128, 128) and crops.dtype == torch.uint8
    assert len(validation_crops(images, 200, 1)) == 2  # one is too small
    with pytest.raises(ImageError, match="no image has 400 pixels"):
        validation_crops(images, 400, 1)
