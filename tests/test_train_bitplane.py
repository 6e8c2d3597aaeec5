"""The stages of the variable-rate model's training, with the smallest of networks."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import Result
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load, load_file
from torch.nn import functional as F

from nncodec import Codec, weights
from nncodec.formats import stages
from nncodec.formats.cae import Reader
from nncodec.formats.errors import NncodecError, WeightsError
from nncodec.models.bitplane import LEVELS, STEP, Bitplane
from nncodec.models.pixel_filter import PixelFilter
from nncodec.rate import COARSEST, FINEST
from nncodec.train import bitplane, pixel_filter, planes, ways
from nncodec.train.bitplane import POINTS, TransformRecipe
from nncodec.train.evenness import FAR, USUAL, balanced, even_factors, input_sizes
from nncodec.train.files import averaged_weights, read_state
from nncodec.train.loop import Run
from nncodec.train.pixel_filter import FilterRecipe
from nncodec.train.planes import PlanesRecipe, plane_shares, step_code
from nncodec.train.start_transform import principal_start
from nncodec.train.ways import WaysRecipe
from nncodec.variation import worth

MODEL = "bitplane_256"
CPU = torch.device("cpu")

Command = Callable[..., Result]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two pictures of 512x512 pixels, smooth ones with noise."""
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(2):
        rng = np.random.default_rng(number)
        small = Image.fromarray(rng.integers(0, 256, (24, 24, 3), dtype=np.uint8))
        smooth = np.asarray(small.resize((512, 512), Image.Resampling.BICUBIC), np.int16)
        noisy = (smooth + rng.integers(-5, 6, smooth.shape)).clip(0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(folder / f"{number}.png")
    return folder


def transform_run(pictures: Path, folder: Path, **changes: Any) -> Run:
    settings = {"steps": 4, "crop": 64, "batch": 2, "blocks": 1, "channels": 16, "val_every": 2}
    settings |= {"synthesis_blocks": 1}
    settings |= {"warmup": 1, "bf16": False}
    config = bitplane.Config(MODEL, str(pictures), str(pictures), **(settings | changes))  # type: ignore[arg-type]
    return Run(TransformRecipe(config, folder, CPU))


def planes_run(pictures: Path, folder: Path, start: Path, **changes: Any) -> Run:
    settings = {"start": str(start), "steps": 4, "crop": 128, "crops": 6, "batch": 2, "width": 16}
    settings |= {"narrow": 8, "val_every": 2, "warmup": 1, "bf16": False}
    config = planes.Config(MODEL, str(pictures), str(pictures), **(settings | changes))  # type: ignore[arg-type]
    return Run(PlanesRecipe(config, folder, CPU))


@pytest.fixture(scope="module")
def transform(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run of the first stage."""
    folder = tmp_path_factory.mktemp("transform")
    transform_run(pictures, folder).train()
    return folder


def interrupted(make: Callable[[], Run], after: int) -> Run:
    """A run that is stopped after so many steps, and goes on."""
    first = make()
    first.train(stop=lambda: first.step == after)
    torch.manual_seed(99)
    second = make()
    assert second.step == after
    second.train()
    return second


def same(one: Path, other: Path) -> bool:
    """Whether the averaged weights of two runs are the same."""
    first, second = (averaged_weights(folder / "checkpoint.pt") for folder in (one, other))
    return first.keys() == second.keys() and all(first[key].equal(second[key]) for key in first)


def test_all_principal_components_are_the_picture() -> None:
    torch.manual_seed(0)
    crops = torch.randn(250, 3, 32, 32).cumsum(2).cumsum(3) * 4
    model = Bitplane(1, 768, 1)
    principal_start(model, crops)
    level = torch.zeros(len(crops))
    with torch.no_grad():
        latent = model.analysis(crops)
        assert (model.synthesis(latent, level) - crops).abs().max() < 0.01 * crops.abs().max()
        # scaled, they are what an orthonormal transform gives, in steps
        scaled = latent * model.gains.scale(level)
        assert (scaled.square().sum() * STEP**2 / crops.square().sum()).sqrt() == pytest.approx(
            1, rel=1e-3
        )
        back = scaled * model.gains.unscale(level)
        torch.testing.assert_close(back, latent)
        assert (scaled.square().mean((0, 2, 3)).diff()[:40] < 1e-3).all()  # strongest first


def test_few_principal_components_are_most_of_it() -> None:
    torch.manual_seed(0)
    crops = torch.randn(60, 3, 32, 32).cumsum(2).cumsum(3) * 4
    model = Bitplane(1, 24, 1)
    principal_start(model, crops)
    with torch.no_grad():
        found = model.synthesis(model.analysis(crops), torch.zeros(len(crops)))
    assert (found - crops).square().mean() < 0.05 * crops.square().mean()


def test_levels_are_spread_evenly(pictures: Path, tmp_path: Path) -> None:
    recipe = transform_run(pictures, tmp_path).recipe
    assert isinstance(recipe, TransformRecipe)
    levels = recipe.levels(8)
    parts = (levels - LEVELS[0]) / (LEVELS[1] - LEVELS[0]) * 8
    assert parts.floor().tolist() == list(range(8)) and not levels.equal(recipe.levels(8))


def test_costly_crops_weigh_less() -> None:
    level = torch.tensor([-0.5, 0.3, 1.9, 1.9, 0.0])
    usual = torch.exp(USUAL[0] + USUAL[1] * level)
    cost = (usual * torch.tensor([1, 4, 0.25, 1e6, 0])).requires_grad_()
    for even, wanted in ((0, [1] * 5), (0.5, [1, 0.5, 2, FAR**-0.5, FAR**0.5]), (1, [1, 0.25, 4])):
        (slope,) = torch.autograd.grad(balanced(cost, level, even), cost)
        assert (5 * slope)[: len(wanted)].tolist() == pytest.approx(wanted)


def test_steps_are_even_in_what_they_change(
    pictures: Path, transform: Path, tmp_path: Path
) -> None:
    """A weight's first step of Adam is its rate; here, it is divided by how large its input is."""
    equal = transform_run(pictures, tmp_path / "equal", start="closed-form")
    assert not any(group.get("factors") for group in equal.optimizers[0].param_groups)
    run = transform_run(pictures, tmp_path, start=str(transform / "checkpoint.pt"))
    block = run.network.model.analysis.blocks[0]
    (group,) = (g for g in run.optimizers[0].param_groups if g.get("factors"))
    number = next(i for i, p in enumerate(group["params"]) if p is block.expand.weight)
    factors = group["factors"][number]
    assert factors.shape == (1, block.expand.in_channels, 1, 1)
    assert factors.min() == 0.25 < factors.median() < 1.1 * factors.max()  # means of squares
    assert float(factors.median()) == pytest.approx(1, abs=0.05)
    before = block.gate.weight.detach().clone()
    block.gate.weight.grad = torch.ones_like(before)
    group["lr"] = 1e-3
    run.optimizers[0].step()
    number = next(i for i, p in enumerate(group["params"]) if p is block.gate.weight)
    moved = (before - block.gate.weight.detach()) / 1e-3
    assert torch.allclose(moved, group["factors"][number].expand_as(moved), rtol=1e-3)


def test_input_sizes_are_root_mean_squares() -> None:
    layer = torch.nn.Conv2d(3, 5, 1)
    x = torch.randn(2, 3, 4, 6) * torch.tensor([1.0, 10, 0])[:, None, None]
    size = input_sizes([layer], lambda: layer(x))[layer]
    assert torch.allclose(size, x.square().mean((0, 2, 3)).sqrt())
    factors = even_factors(torch.tensor([1.0, 2, 5, 100, 0]))
    assert factors.flatten().tolist() == pytest.approx([2, 1, 0.4, 0.25, 4])
    assert not layer._forward_pre_hooks


def test_a_transform_goes_on_exactly(pictures: Path, transform: Path, tmp_path: Path) -> None:
    run = interrupted(lambda: transform_run(pictures, tmp_path), 3)
    assert same(tmp_path, transform)
    state = read_state(transform / "checkpoint.pt")
    assert run.best == state["best"] < 100
    with safe_open(transform / "transform.safetensors", "pt") as file:
        assert file.metadata() == {"model": MODEL}
    tensors = load_file(transform / "transform.safetensors")
    assert {key.split(".")[0] for key in tensors} == {"transform"}
    halves = {key for key, tensor in tensors.items() if tensor.dtype == torch.float16}
    assert tensors.keys() - halves == {"transform.gains.before", "transform.gains.after"}
    proxy = load_file(transform / "proxy.safetensors")
    average = averaged_weights(transform / "checkpoint.pt")
    assert proxy.keys() == {key for key in average if key.startswith("proxy.")}
    assert all(tensor.equal(average[key].half()) for key, tensor in proxy.items())


def test_a_new_proxy_learns_first(pictures: Path, transform: Path, tmp_path: Path) -> None:
    """Begun with weights that ship, which are without one."""
    start = transform / "transform.safetensors"
    shipped = {k: t.float() for k, t in load_file(start).items()}
    run = transform_run(pictures, tmp_path, start=str(start), frozen=0.5)
    proxy = run.network.proxy.prior.clone()

    def kept() -> bool:
        state = run.network.state_dict()
        return all(
            tensor.equal(state[key.replace("transform.", "model.", 1)])
            for key, tensor in shipped.items()
        )

    held = []
    run.train(lambda step, row: held.append(kept()))
    assert held == [True, True, False, False]
    assert not proxy.equal(run.network.proxy.prior)


def test_the_proxy_knows_means_of_blocks(pictures: Path, tmp_path: Path) -> None:
    run = transform_run(pictures, tmp_path, start="closed-form", crop=192)
    network = run.network
    found = network.proxy.means.bool()
    assert found.sum() == 3
    with torch.no_grad():
        latent = network.model.analysis(run.recipe.draw(40))
    # what four neighbours leave of their variance, against that of all others
    around = F.avg_pool2d(latent, 3, 1) * 9 - latent[..., 1:-1, 1:-1]
    left = (latent[..., 1:-1, 1:-1] - around / 8).square().mean((0, 2, 3))
    share = left / latent.square().mean((0, 2, 3))
    assert share[found].max() < share[~found].min()


def test_what_ships_is_trained_on(pictures: Path, tmp_path: Path) -> None:
    whole = {"start": "shipped", "blocks": 6, "synthesis_blocks": 4, "channels": 256, "steps": 1}
    proxy = weights.load_proxy_bytes(MODEL)
    assert proxy
    kept = {
        key.replace("transform.", "model.", 1): tensor
        for key, tensor in (load(weights.load_bytes(MODEL)) | load(proxy)).items()
    }
    for part in ("all", "quick", "synthesis"):
        changes = {} if part == "all" else {part: True}
        run = transform_run(pictures, tmp_path / part, **whole, **changes)
        found = run.network.state_dict()
        assert all(tensor.equal(kept[key].float()) for key, tensor in found.items())
        assert {key for key in kept if key not in found} == {k for k in kept if "planes." in k}
    file = Path(weights.__file__).with_name(weights.entry(MODEL).file)
    bare = transform_run(pictures, tmp_path / "bare", **(whole | {"start": str(file)}))
    known, new = (one.recipe.validate(one.average)["val"] for one in (run, bare))
    assert known < 0.7 * new  # a new proxy knows nothing


def test_the_quick_analysis_is_trained_alone(
    pictures: Path, transform: Path, tmp_path: Path
) -> None:
    start = transform / "checkpoint.pt"
    run = transform_run(pictures, tmp_path / "quick", quick=True, start=str(start))
    average, blocks = averaged_weights(start), "model.analysis.blocks.0."
    first = {key.replace("blocks", "quick"): x for key, x in average.items() if blocks in key}
    found = run.network.state_dict()
    assert first and all(first[key].equal(found[key]) for key in first)
    run.train()
    trained = averaged_weights(tmp_path / "quick" / "checkpoint.pt")
    changed = {key for key, tensor in trained.items() if not tensor.equal(average[key])}
    assert all(key.startswith("model.analysis.quick.") for key in changed)
    assert changed >= {key for key in first if key.endswith("weight")}
    again = transform_run(pictures, tmp_path / "more", quick=True, start=str(run.checkpoint))
    found = again.network.state_dict()
    assert all(trained[key].equal(found[key]) for key in trained)  # what is trained goes on
    bare = tmp_path / "bare.pt"  # what a start holds counts, not its name
    torch.save({key: x for key, x in trained.items() if key.startswith("model.")}, bare)
    for other in (str(transform / "transform.safetensors"), str(bare), "closed-form", "random"):
        with pytest.raises(NncodecError, match="--quick needs its network for the rate"):
            transform_run(pictures, tmp_path / "other", quick=True, start=other)


def test_the_synthesis_is_trained_alone(pictures: Path, tmp_path: Path) -> None:
    longer = transform_run(pictures, tmp_path / "longer", synthesis_blocks=2, steps=1)
    longer.train()
    start = str(longer.checkpoint)
    run = transform_run(pictures, tmp_path / "run", start=start, synthesis=True)
    average, found = averaged_weights(longer.checkpoint), run.network.state_dict()
    gone = average.keys() - found.keys()
    assert gone and all(key.startswith("model.synthesis.blocks.1.") for key in gone)
    assert all(average[key].equal(found[key]) for key in found)
    run.train()
    trained = averaged_weights(run.checkpoint)
    changed = {key for key in trained if not trained[key].equal(average[key])}
    assert all(key.startswith("model.synthesis.") for key in changed)
    filters = {key for key in trained if re.match(r"model\.synthesis\..*weight$", key)}
    assert len(filters) == 12 and changed >= filters
    with pytest.raises(NncodecError, match="--synthesis needs its network for the rate"):
        transform_run(pictures, tmp_path / "other", synthesis=True)
    with pytest.raises(NncodecError, match="give one of --quick and --synthesis"):
        transform_run(pictures, tmp_path / "both", start=start, synthesis=True, quick=True)


def test_a_transform_begins_with_another(pictures: Path, transform: Path, tmp_path: Path) -> None:
    for name in ("checkpoint.pt", "transform.safetensors"):
        run = transform_run(pictures, tmp_path / name, start=str(transform / name))
        average = averaged_weights(transform / "checkpoint.pt")
        found = run.network.state_dict()
        exact = name == "checkpoint.pt"
        assert run.step == 0
        assert all(
            torch.allclose(average[key], found[key], rtol=1e-3, atol=0 if exact else 1e-6)
            for key in found
            if key.startswith("model.")
        )
        assert all(average[key].equal(found[key]) == exact for key in found if "down.0.w" in key)
    with pytest.raises(WeightsError, match="checkpoint.pt: these weights do not fit"):
        start = str(transform / "checkpoint.pt")
        transform_run(pictures, tmp_path / "other", start=start, channels=32)


def test_checkpoints_without_the_newer_entries_go_on(
    pictures: Path, transform: Path, tmp_path: Path
) -> None:
    """Those of before had the states of random generators instead."""
    state = read_state(transform / "checkpoint.pt")
    for key in ("best", "seconds"):
        del state[key]
    del state["config"]["model"], state["config"]["start"]
    state |= {"generator": torch.Generator().get_state(), "torch_rng": torch.get_rng_state()}
    torch.save(state, tmp_path / "checkpoint.pt")
    run = transform_run(pictures, tmp_path, steps=5)
    assert run.step == 4
    assert math.isfinite(run.train()) and run.step == 5
    assert planes_run(pictures, tmp_path / "planes", tmp_path / "checkpoint.pt").step == 0


def test_planes_go_on_exactly(pictures: Path, transform: Path, tmp_path: Path) -> None:
    start = tmp_path / "start.pt"
    start.write_bytes((transform / "checkpoint.pt").read_bytes())
    whole = planes_run(pictures, tmp_path / "whole", start)
    best = whole.train()

    def part() -> Run:
        run = planes_run(pictures, tmp_path / "parts", start)
        start.unlink(missing_ok=True)  # a run keeps to what it began with
        return run

    assert interrupted(part, 1).best == best
    assert same(tmp_path / "whole", tmp_path / "parts")
    files = [(tmp_path / run / "weights.safetensors").read_bytes() for run in ("whole", "parts")]
    assert files[0] == files[1]
    with safe_open(tmp_path / "whole" / "weights.safetensors", "pt") as file:
        assert file.metadata() == {"model": MODEL}

    # The twin may begin with that of another run, also from a bare state dict.
    average = averaged_weights(whole.checkpoint)
    torch.save(average, tmp_path / "twin.pt")
    for init in (whole.checkpoint, tmp_path / "twin.pt"):
        file_ = transform / "transform.safetensors"
        warm = planes_run(pictures, tmp_path / init.stem, file_, init=str(init))
        found = warm.network.state_dict()
        assert warm.step == 0 and all(average[key].equal(found[key]) for key in found)
    # ... or with the integers of a file, which it makes again.
    written = tmp_path / "whole" / "weights.safetensors"
    start_ = transform / "transform.safetensors"
    warm = planes_run(pictures, tmp_path / "integers", start_, init=str(written))
    planes = {k: t for k, t in load_file(written).items() if k.startswith("planes.")}
    again = warm.recipe.exported(warm.network)
    assert planes.keys() == {"planes." + key for key in again}
    assert all(tensor.equal(planes["planes." + key]) for key, tensor in again.items())
    with pytest.raises(WeightsError, match="transform.safetensors: no weights of such a context"):
        planes_run(pictures, tmp_path / "other", start_, init=str(start_))
    with pytest.raises(WeightsError, match="lake.png: "):
        lake = Path(__file__).parent / "data" / "lake.png"
        planes_run(pictures, tmp_path / "none", lake)


def test_what_is_trained_codes_pictures(pictures: Path, transform: Path, tmp_path: Path) -> None:
    run = planes_run(pictures, tmp_path, transform / "transform.safetensors")
    run.train()
    codec = Codec(weights=tmp_path / "weights.safetensors")
    assert codec.variable
    recipe = run.recipe
    assert isinstance(recipe, PlanesRecipe) and len(recipe.val) == 1
    row = recipe.validate(run.average)
    assert row["bpp"] == pytest.approx(sum(row[f"bpp{i}"] for i in range(4)) / 4)
    assert row["bpp0"] > row["bpp1"] > row["bpp2"] > row["bpp3"] > 0
    # What validation says is what the file of this picture has, of one segment.
    with Image.open(pictures / "0.png") as image:
        pixels = np.asarray(image)
    quality = 100 * (step_code(POINTS[2]) - COARSEST) / (FINEST - COARSEST)
    file = codec.compress(pixels, quality=quality)
    assert 0 < len(file) - row["bpp2"] * 512 * 512 / 8 < 150
    error = np.square(np.asarray(codec.decompress(file)) - pixels * 1.0).mean()
    assert error < 0.5 * pixels.var()


def test_a_batch_of_questions(pictures: Path, transform: Path, tmp_path: Path) -> None:
    recipe = planes_run(pictures, tmp_path, transform / "checkpoint.pt", batch=3, window=6).recipe
    assert isinstance(recipe, PlanesRecipe)
    batch = recipe.draw()
    assert batch.size.shape == batch.sign.shape == (3, 6, 6, 16)
    assert batch.asked.shape == batch.answer.shape == (3, 3, 6, 6, 16)
    assert batch.asked.any() and batch.weight.min() > 2
    assert not (batch.asked[:, 0] & batch.asked[:, 2]).any()
    for count in (1, 4, 9):
        shares = plane_shares(count)
        assert len(shares) == count and float(shares.sum()) == pytest.approx(1)
        assert (shares.diff() <= 0).all()
    # steps of the codes are those of the levels
    for level in (-0.7, 0.0, 2.0):
        assert 2 ** (step_code(level) / 128) == pytest.approx(STEP * math.exp(level), rel=0.003)
    # what is the largest in pictures is what the table expects
    table = recipe.tops.to(torch.int64)
    assert table.shape == (64, 16, 13) and table.min() >= 64 and table.max() <= 2**16 - 64
    assert table[8, 0, 0] > 0.9 * 2**16
    assert (table[8:, 0, 3].diff() <= 0).all()  # coarser steps, fewer planes


@pytest.fixture(scope="module")
def whole(pictures: Path, transform: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with all weights of a small model, whose filter is nothing."""
    folder = tmp_path_factory.mktemp("whole")
    planes_run(pictures, folder, transform / "checkpoint.pt").train()
    return folder / "weights.safetensors"


def filter_run(pictures: Path, folder: Path, start: Path, **changes: Any) -> Run:
    settings = {"start": str(start), "steps": 6, "crop": 96, "crops": 4, "batch": 2, "rounds": 1}
    settings |= {"val_every": 2, "warmup": 1}
    config = pixel_filter.Config(MODEL, str(pictures), str(pictures), **(settings | changes))  # type: ignore[arg-type]
    return Run(FilterRecipe(config, folder, CPU))


def test_a_filter_goes_on_exactly(pictures: Path, whole: Path, tmp_path: Path) -> None:
    filter_run(pictures, tmp_path / "one", whole).train()
    interrupted(lambda: filter_run(pictures, tmp_path / "two", whole), 2)
    assert same(tmp_path / "one", tmp_path / "two")


def test_a_filter_gains_and_all_else_stays(pictures: Path, whole: Path, tmp_path: Path) -> None:
    gain = filter_run(pictures, tmp_path, whole, steps=60, val_every=20, lr=1e-2).train()
    assert gain > 0.02  # dB
    before, after = load_file(whole), load_file(tmp_path / "weights.safetensors")
    changed = {name for name, tensor in after.items() if not tensor.equal(before[name])}
    assert changed == {name for name in before if re.search(r"synthesis\.filter\.(?!ways)", name)}
    # What training says of PSNR holds for files.
    pixels = np.asarray(Image.open(pictures / "0.png"))
    errors = []
    for file in (whole, tmp_path / "weights.safetensors"):
        codec = Codec(MODEL, "cpu", weights=file)
        decoded = np.asarray(codec.decompress(codec.compress(pixels, quality=50)))
        errors.append(np.square(decoded.astype(float) - pixels).mean())
    assert errors[1] < errors[0]


def test_a_filter_begins_as_nothing_and_bounds_what_it_adds() -> None:
    network, level = PixelFilter(), torch.tensor([0.3, 1.1])
    pixels = 100 * torch.randn(2, 3, 70, 9)
    around = (0, 0, 0, 0)
    assert network(pixels, level, around).equal(pixels)
    torch.nn.init.normal_(network.back)
    with torch.no_grad():
        added = network(pixels, level, around) - pixels
        even = torch.full((2, 3, 70, 9), 55.0)
        assert (network(even, level, around) - even).abs().max() < 1e-3
        bounds = torch.exp(network.bounds[0] + network.bounds[1] * level[:, None])
        most = (network.back.abs().sum((2, 3)) * bounds[:, None]).sum(-1)  # (2 pictures, 3)
    assert (added.abs().amax((2, 3)) <= most * 1.0001).all()
    assert added.abs().max() > 1


def ways_run(pictures: Path, folder: Path, start: Path, **changes: Any) -> Run:
    settings = {"start": str(start), "steps": 6, "crop": 96, "crops": 9, "batch": 3}
    settings |= {"val_every": 2, "warmup": 1}
    config = ways.Config(MODEL, str(pictures), str(pictures), **(settings | changes))  # type: ignore[arg-type]
    return Run(WaysRecipe(config, folder, CPU))


def test_ways_go_on_exactly(pictures: Path, whole: Path, tmp_path: Path) -> None:
    ways_run(pictures, tmp_path / "one", whole).train()
    interrupted(lambda: ways_run(pictures, tmp_path / "two", whole), 2)
    assert same(tmp_path / "one", tmp_path / "two")


def test_ways_are_those_that_gain(pictures: Path, whole: Path, tmp_path: Path) -> None:
    run = ways_run(pictures, tmp_path, whole, steps=40, val_every=20, ema=0.5)
    principal = run.validate()
    noise = torch.randn(run.network.even.shape)
    for network in (run.network, run.average):  # few pictures leave the beginning nothing to learn
        network.load_state_dict({"even": noise})
    run.best = 0.0
    began = run.validate()
    assert run.train() > 1.02 * began["gain"] > 0
    found = run.validate()
    assert 1.1 * began["8"] < found["8"] <= found["16"] <= found["32"] <= found["gain"]
    assert principal["8"] > found["8"]
    before, after = load_file(whole), load_file(tmp_path / "weights.safetensors")
    changed = {name for name, tensor in after.items() if not tensor.equal(before[name])}
    assert changed == {"transform.synthesis.filter.ways"}
    # Files with them are better where they are no larger than the factors make them.
    pixels = np.asarray(Image.open(pictures / "0.png"))
    costs = []
    for file in (whole, tmp_path / "weights.safetensors"):
        codec = Codec(MODEL, "cpu", weights=file)
        data = codec.compress(pixels, quality=80)
        settings = stages.Settings.of(Reader(io.BytesIO(data)).header)
        error = np.square(np.asarray(codec.decompress(data)).astype(float) - pixels).sum()
        costs.append(8 * len(data) + worth(settings.step) * error)
    assert settings.factors and costs[1] < costs[0]


def test_a_filter_belongs_to_the_variable_rate_model(nncodec: Command, pictures: Path) -> None:
    common = ["--data", pictures, "--val", pictures, "-o", "x", "--filter"]
    result = nncodec("train", "cae_16x8x8_zero_pad_bin", *common, status=2)
    assert "only bitplane_256 has a filter" in result.stderr
    result = nncodec("train", MODEL, *common, "--width", "8", status=2)
    assert "--width has no meaning for bitplane_256 with --filter" in result.stderr
    common[-1] = "--ways"
    result = nncodec("train", MODEL, *common, "--rounds", "8", status=2)
    assert "--rounds has no meaning for bitplane_256 with --ways" in result.stderr


def test_the_command_makes_one_file_in_four_stages(
    nncodec: Command, pictures: Path, folder: Path
) -> None:
    common = ["--data", pictures, "--val", pictures, "--device", "cpu", "--steps", "2"]
    first = [*common, "-o", "one", "--blocks", "1", "--channels", "16", "--crop", "96"]
    result = nncodec("train", MODEL, *first, "--batch", "1", "--lr-linear", "1e-4")
    assert "step 2  loss " in result.stderr and "  db3 " in result.stderr
    assert result.stdout.startswith("one/transform.safetensors: loss ")
    second = [*common, "--context", "--start", "one/checkpoint.pt", "-o", "two", "--crop", "128"]
    second += ["--crops", "4", "--width", "8", "--narrow", "8", "--foretold", "3"]
    result = nncodec("train", MODEL, *second)
    assert result.stdout.startswith("two/weights.safetensors: ")
    assert " bits per pixel on " in result.stdout
    assert load_file("two/weights.safetensors")["planes.forecast.weight"].shape == (3, 3, 3, 3)
    third = [*common, "--filter", "--start", "two/weights.safetensors", "-o", "three"]
    result = nncodec("train", MODEL, *third, "--crop", "96", "--crops", "2", "--rounds", "1")
    assert result.stdout.startswith("three/weights.safetensors: ")
    fourth = [*common, "--ways", "--start", "three/weights.safetensors", "-o", "four"]
    result = nncodec("train", MODEL, *fourth, "--crop", "96", "--crops", "2", "--batch", "2")
    assert result.stdout.startswith("four/weights.safetensors: ")
    photo = pictures / "0.png"
    nncodec("compress", photo, "x.cae", "--weights", "four/weights.safetensors")
    nncodec("decompress", "x.cae", "x.png", "--weights", "four/weights.safetensors")
    with Image.open("x.png") as image:
        assert image.size == (512, 512)
