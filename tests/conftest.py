"""What tests of all areas share: the sample images, and the command line in a folder of its own."""

import json
import math
import shutil
import signal
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from numpy.typing import NDArray
from PIL import Image

from nncodec import weights
from nncodec.cli import main

ROOT = Path(__file__).parents[1]
DATA = Path(__file__).parent / "data"

Run = Callable[..., Result]
Ship = Callable[..., bytes]


def pytest_configure() -> None:
    """Heed Ctrl-C, which a shell lets its background jobs ignore, and they what they start."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of the sample images."""
    return DATA


@pytest.fixture(scope="session")
def lake() -> Image.Image:
    """A photograph of 384x256 pixels."""
    return Image.open(DATA / "lake.png").convert("RGB")


@pytest.fixture(scope="session")
def scene(lake: Image.Image) -> NDArray[np.uint8]:
    """A part of it, (170, 300, 3), that ends within positions on both sides."""
    return np.asarray(lake)[60:230, 40:340]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, which is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def photo(folder: Path) -> Path:
    """photo.png in the current folder: 40x30 pixels of a photograph, one patch."""
    with Image.open(DATA / "lake.png") as image:
        image.resize((40, 30)).save(folder / "photo.png")
    return folder / "photo.png"


@pytest.fixture(scope="session")
def compressed_photo() -> bytes:
    """What becomes of photo.png by default."""
    from nncodec import compress

    with Image.open(DATA / "lake.png") as image:
        return compress(image.resize((40, 30)), stages=4)


@pytest.fixture
def photo_cae(folder: Path, compressed_photo: bytes) -> Path:
    """photo.cae in the current folder: photo.png, compressed in four stages."""
    (folder / "photo.cae").write_bytes(compressed_photo)
    return folder / "photo.cae"


@pytest.fixture
def tree(photo: Path) -> Path:
    """The folder photos with a.png, sub/b.jpg and sub/notes.txt, beside photo.png."""
    sub = photo.parent / "photos" / "sub"
    sub.mkdir(parents=True)
    shutil.copy(photo, sub.parent / "a.png")
    with Image.open(photo) as image:
        image.convert("RGB").save(sub / "b.jpg")
    (sub / "notes.txt").write_text("no image")
    return sub.parent


@pytest.fixture
def nncodec(folder: Path) -> Run:
    """Run the command line; fail if it ends with another status than the one expected.

    All in this process, unless more --jobs are asked for.
    """

    def run(*args: str | Path, status: int = 0, input: bytes | None = None, **env: Any) -> Result:
        env = {"NNCODEC_JOBS": "1"} | env
        result = CliRunner().invoke(main, [str(arg) for arg in args], input=input, env=env)
        assert result.exit_code == status, result.output
        assert "Traceback" not in result.output or "-v" in args
        return result

    return run


@pytest.fixture
def ship_context(monkeypatch: pytest.MonkeyPatch) -> Iterator[Ship]:
    """Let a model have a made-up context model, as if it shipped, and return that one's file.

    ``ship_context(model, data)`` ships a file of one's own; without ``data`` it is one with random
    weights, which foresees nothing and still has to be undone exactly.
    """
    from nncodec.api import codec_for

    files: dict[str, bytes] = {}
    read = weights._read

    def read_with_contexts(name: str) -> bytes:
        if name in files:
            return files[name]
        content = read(name)
        if name == "models.json":
            known = json.loads(content)
            for entry in known["models"]:
                if data := files.get(f"{entry['id']}-made-up"):
                    digest = sha256(data).hexdigest()
                    entry["context"] = {"file": f"{entry['id']}-made-up", "sha256": digest}
            content = json.dumps(known).encode()
        return content

    def forget() -> None:
        weights.manifest.cache_clear()
        weights._manifest_file.cache_clear()
        codec_for.cache_clear()

    def ship(model: str, data: bytes | None = None, seed: int = 0) -> bytes:
        files[f"{model}-made-up"] = data or made_up_context(model, seed)
        forget()
        return files[f"{model}-made-up"]

    monkeypatch.setattr(weights, "_read", read_with_contexts)
    yield ship
    forget()


def made_up_context(model: str, seed: int) -> bytes:
    """The file of a context model with random weights, whose chances are all near one half."""
    import torch
    from safetensors.torch import save

    from nncodec.train.context import build
    from nncodec.train.quantized import probability_table

    torch.manual_seed(seed)
    network = build(weights.entry(model).channels, groups=2, width=8)
    for layer in network.layers:
        for parameter in layer.parameters():
            torch.nn.init.normal_(parameter, std=0.02 if layer.last else 0.2)
    tensors = {**network.export(), "table": probability_table()}
    return save(tensors, metadata={"context": model})


PlaneTensors = Callable[..., "dict[str, Any]"]


@pytest.fixture(scope="session")
def plane_tensors() -> PlaneTensors:
    """The tensors of a plane model: ``plane_tensors(channels, seed)``.

    Its weights are random. But what it says is likely: that elements stay zero, less so beside
    large ones.
    """
    import numpy as np
    import torch

    from nncodec.entropy.digits import MAX_TOP
    from nncodec.entropy.plane_network import SIGNIFICANT, SITUATIONS
    from nncodec.train.quantized import probability_table

    def made(channels: int, seed: int = 0) -> dict[str, torch.Tensor]:
        rng = np.random.default_rng(seed)

        def integers(most: int, *shape: int) -> torch.Tensor:
            return torch.from_numpy(rng.integers(-most, most + 1, shape))

        tensors: dict[str, torch.Tensor] = {}
        foretold = (channels + 1) // 2  # channels whose signs are
        last = 3 * channels + foretold
        layers = (
            (2 * channels, 8, 1, 40, 4),
            (8, 8, 3, 20, 6),
            (8, last, 1, 10, 6),
        )
        for number, (inputs, outputs, size, most, shift) in enumerate(layers):
            tensors |= {
                f"{number}.weight": integers(most, outputs, inputs, size, size).to(torch.int8),
                f"{number}.bias": integers(30, SITUATIONS, outputs).to(torch.int32),
                f"{number}.shift": torch.full((outputs,), shift, dtype=torch.int8),
                f"{number}.skip": torch.tensor(number == 1),
            }
        tensors["2.bias"][-2:, SIGNIFICANT * channels : (SIGNIFICANT + 1) * channels] -= 600
        own = integers(1, 3, 3, 3, channels)
        own[SIGNIFICANT] += 8
        own[SIGNIFICANT, 1, 1] += 16
        means = torch.arange(channels) % 4 == 1
        others = torch.arange(channels, dtype=torch.int16)[2::4]
        return tensors | {
            "own.weight": own.to(torch.int8),
            "own.lead": integers(3, 3, channels).to(torch.int8),
            "forecast.weight": integers(50, foretold, foretold, 3, 3).to(torch.int8),
            "forecast.bias": integers(9, SITUATIONS, foretold).to(torch.int32),
            "forecast.shift": torch.full((foretold,), 3, dtype=torch.int8),
            "forecast.skip": torch.tensor(False),
            "table": probability_table(),
            "tops": torch.full((SITUATIONS, channels, MAX_TOP), 1 << 15).to(torch.uint16),
            "means": means,
            "others": others,
            "slopes": integers(90, 2, 2, int(means.sum()), 4 + 9 * len(others)).to(torch.int16),
            "told.weight": integers(40, 8, 2 * channels, 1, 1).to(torch.int8),
            "told.bias": integers(9, SITUATIONS, 8).to(torch.int32),
            "told.shift": torch.full((8,), 4, dtype=torch.int8),
            "told.skip": torch.tensor(False),
        }

    return made


@pytest.fixture
def album(folder: Path, lake: Image.Image) -> Path:
    """A folder album with 8 small images, two of them in the folder sub."""
    (folder / "album" / "sub").mkdir(parents=True)
    for number in range(8):
        image = lake.crop((40 * number, 10 * number, 40 * number + 60, 10 * number + 30 + number))
        image.save(folder / "album" / ("sub" if number > 5 else "") / f"{number}.png")
    return folder / "album"


@pytest.fixture(scope="session")
def plane_outputs() -> Callable[..., Any]:
    """One look of a plane model's network at a latent as it is.

    ``plane_outputs(network, size, sign, done, after, where, active, at, plane)`` are the outputs
    (positions, 3 decisions, active channels) where ``where`` (h, w) is true. ``size`` and ``sign``
    (h, w, active), of the channels whose indices are ``active``, and ``done`` (h, w) are those that
    :func:`nncodec.entropy.plane_network.middle` takes; ``after`` (h, w, active) are the middles
    that later turns are told of, ``at`` is the situation.
    """
    import torch
    from torch import Tensor

    from nncodec.entropy.board import COLOURS, Board
    from nncodec.entropy.network import exact_arithmetic
    from nncodec.entropy.plane_network import DECISIONS, PlaneNetwork, middle
    from nncodec.entropy.plane_view import View, by_turns
    from nncodec.entropy.products import wide

    def look(
        network: PlaneNetwork,
        size: Tensor,
        sign: Tensor,
        done: Any,
        after: Tensor,
        where: Any,
        active: Tensor,
        at: Tensor,
        plane: int,
    ) -> Tensor:
        board = Board(*where.shape)
        turns = by_turns(active.numpy(), plane)
        now = middle(size, sign, torch.from_numpy(done)[..., None])
        known, due = (board.lay(x.numpy()[..., turns], "f4") for x in (now, after))
        width = DECISIONS * len(active)
        rows = torch.zeros(COLOURS * board.length, width, dtype=wide(network.dtype))
        with exact_arithmetic(network.device):
            for colour in range(COLOURS):
                here, middles = board.run(colour), known.copy()
                found = rows[here].view(board.count, DECISIONS, len(active))
                view = View(network, board, active.numpy()[turns], middles, plane)
                for columns, outputs in view(colour, at):
                    found[..., turns[columns]] = outputs.swapaxes(0, 1)
                    middles[here, columns] = due[here, columns]
        gathered = board.gather(rows.numpy())[where]
        return torch.from_numpy(gathered.reshape(-1, DECISIONS, len(active)))

    return look


@pytest.fixture(scope="session")
def bitplane(tmp_path_factory: pytest.TempPathFactory, plane_tensors: PlaneTensors) -> Path:
    """The weights of a small variable-rate model.

    Its transform is a cosine one of 16 x 16 pixels, six coefficients for each colour, with a block
    of random branches around it.
    """
    import numpy as np
    import torch
    from safetensors.torch import save_file

    from nncodec.models.bitplane import BITPLANE, FOLD, UNIT, WIDTH, Bitplane

    orders = [(0, 0), (0, 1), (1, 0), (0, 2), (1, 1), (2, 0)]
    place = np.arange(16) + 0.5
    waves = np.stack([np.cos(np.pi * k * place / 16) for k in range(3)]) / np.sqrt(8)
    waves[0] /= np.sqrt(2)
    channels = 3 * len(orders)
    basis = np.zeros((channels, 3, 2, FOLD, 2, FOLD), np.float32)
    for number, (i, j) in enumerate(orders):
        for colour in range(3):
            wave = np.outer(waves[i], waves[j]).reshape(2, FOLD, 2, FOLD)
            basis[3 * number + colour, colour] = wave
    # (channels, a place in 8 x 8 pixels of a colour, one of four such places)
    folded = torch.from_numpy(basis.transpose(0, 1, 3, 5, 2, 4).reshape(channels, WIDTH, 2, 2))
    torch.manual_seed(7)
    network = Bitplane(1, channels, 1)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith(("project.weight", "merge.weight")):
                parameter.normal_(std=0.005)
            if ".gate." in name:  # a sixteenth comes through: within its bound, as of photographs
                parameter.mul_(0.25)
            if name.endswith("merge.weight"):
                parameter.mul_(16)
        network.synthesis.filter.back.fill_(1e-3)
        generator = torch.Generator().manual_seed(3)
        ways = network.synthesis.filter.ways
        ways.copy_(torch.randn(ways.shape, generator=generator) / 200)
        for layer, scale in ((network.analysis.head, 1), (network.synthesis.tail, UNIT)):
            layer.weight.copy_(scale * torch.eye(WIDTH)[:, :, None, None])
        network.gains.before[0] = math.log(UNIT)
        network.gains.after[0] = -math.log(UNIT)
        network.analysis.down.weight.copy_(folded)
        network.synthesis.up.weight.copy_(folded.reshape(channels, -1).T[:, :, None, None])
        for layer in (network.analysis.head, network.analysis.down):
            layer.bias.zero_()
        for layer in (network.synthesis.up, network.synthesis.tail):
            layer.bias.zero_()
    tensors = {f"transform.{key}": value for key, value in network.state_dict().items()}
    tensors |= {f"planes.{key}": value for key, value in plane_tensors(channels).items()}
    path = tmp_path_factory.mktemp("weights") / "bitplane.safetensors"
    save_file({k: v.contiguous() for k, v in tensors.items()}, path, metadata={"model": BITPLANE})
    return path


@pytest.fixture(scope="session")
def random_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of the quickest network: what it makes of a picture does not matter."""
    import torch

    from nncodec.checkpoint import save_weights
    from nncodec.models.cae import SPECS, Cae

    model = "cae_16x8x8_refl_pad_bin"
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "random.safetensors"
    save_weights(Cae(SPECS[model]).state_dict(), model, path)
    return path


@pytest.fixture
def eval_options(random_weights: Path) -> list[str]:
    """What makes ``nncodec eval`` quick."""
    model = ["-m", "cae_16x8x8_refl_pad_bin", "--weights", str(random_weights)]
    return [*model, "--device", "cpu", "--peers", "jpeg"]
