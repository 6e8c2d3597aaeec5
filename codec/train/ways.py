"""Training of the ways in which the filter of decoded pixels may vary from picture to picture.

They are trained after the filter, on how much what it leaves of rounded pictures could be improved
with other weights of its second layer. That is a matter of products of what these multiply, which
are all that is kept of a picture.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from nncodec import weights as shipped
from nncodec.api import Codec
from nncodec.checkpoint import find_weights, parse_tensors
from nncodec.formats.cae import Tile
from nncodec.models.bitplane import BITPLANE
from nncodec.models.pixel_filter import INPUTS, RESPONSES, WAYS, Moments, along
from nncodec.variable import VariableRate

from .data import Crops, validation_crops
from .files import SHIPPED, State, kept, weights_file, write_weights
from .loop import Recipe, Settings
from .pixel_filter import PREFIX, in_bytes, pictures
from .processes import rank

NAME = PREFIX + "ways"
AT_ONCE = 50  # crops that are drawn together
RIDGE = 1e-3  # of a picture's error, what one factor costs: no picture is served by chance
FLOOR = 1e-9  # of products, relative to the largest
FINENESS = 64  # factors that change a usual picture as much as its error is large


@dataclass
class Config(Settings):
    """Everything that decides a run; ``start`` names all weights but those of the ways."""

    start: str = SHIPPED
    steps: int = 600
    crop: int = 256
    batch: int = 48
    lr: float = 2e-2
    warmup: int = 20
    ema: float = 0.98
    val_every: int = 100
    crops: int = 2_000  # pictures that are decoded to learn from


class Ways(nn.Module):
    """Ways (WAYS, 3, INPUTS), before they are multiplied by what makes inputs equal."""

    def __init__(self) -> None:
        super().__init__()
        self.even = nn.Parameter(torch.zeros(WAYS, 3, INPUTS))


class WaysRecipe(Recipe[Config]):
    """The ways, on decoded crops, each at a level of its own."""

    settings = Config
    judge, figure = "gain", "{:.4f} dB"

    network: Ways

    def __init__(self, config: Config, folder: Path, device: torch.device) -> None:
        super().__init__(config, folder, device)
        _, data, name = find_weights(BITPLANE, weights_file(config.start))
        self.weights = parse_tensors(data, name)
        self.network = Ways()
        wanted = (config.data, config.val, config.crop, config.crops, config.seed)
        key = f"{shipped.fingerprint(data).hex()} {wanted}"
        state = kept(folder / f"moments{rank() or ''}.pt", key, self.made)
        self.train = Moments(*(part.to(device) for part in state["train"]))
        self.val = Moments(*(part.to(device) for part in state["val"]))
        # With inputs that are all as large, and tell nothing of each other, on average
        mean = self.train.seen.double().mean(0)
        mean += FLOOR * mean.diagonal().max() * torch.eye(INPUTS, device=device)
        self.root = torch.linalg.cholesky(mean).float()

    def made(self) -> State:
        """What is to be learned from, and what to choose by."""
        codec = Codec(BITPLANE, str(self.device), weights=weights_file(self.config.start))
        source = Crops.from_folder(Path(self.config.data), self.config.crop, torch.device("cpu"))
        train: list[Moments] = []
        while len(train) < self.config.crops:
            count = min(AT_ONCE, self.config.crops - len(train))
            train += decoded(codec, in_bytes(source.draw(count)))
        val = decoded(codec, validation_crops(Path(self.config.val), self.config.crop, 1)[:, 0])
        return {"train": tuple(gathered(train)), "val": tuple(gathered(val))}

    def begin(self) -> None:
        """Begin with the principal components of what is best for each picture alone."""
        seen, pull, _ = self.train
        usual = RIDGE * seen.diagonal(dim1=1, dim2=2).mean(1)[:, None, None]
        own = torch.linalg.solve(seen + usual * torch.eye(INPUTS, device=self.device), pull)
        even = (self.root.T @ own).mT.flatten(1)
        found = torch.linalg.svd(even, full_matrices=False)[2][:WAYS]
        with torch.no_grad():
            self.network.even[: len(found)] = found.reshape(-1, 3, INPUTS)

    def optimizers(self) -> list[Optimizer]:
        groups = [{"params": list(self.network.parameters()), "peak": self.config.lr}]
        return [Adam(groups, lr=self.config.lr)]

    def ways(self, network: Ways) -> Tensor:
        """The ways, (WAYS, 3, INPUTS)."""
        even, root = network.even, self.root
        found: Tensor = torch.linalg.solve_triangular(root, even, upper=False, left=False)
        return found

    def loss(self, step: int) -> Tensor:
        """The part of a picture's error that is left with the first ways, or all, on average."""
        which = torch.randint(len(self.train.error), (self.config.batch,), device=self.device)
        first = int(torch.randint(1, WAYS + 1, ())) if step % 2 else WAYS
        some = Moments(*(part[which] for part in self.train))
        return left(self.ways(self.network)[:first], some).mean()

    def validate(self, average: Ways) -> dict[str, float]:
        """What PSNR gains, in dB, by all ways, and by some of the first."""
        ways = self.ways(average)
        gains = {
            str(count): float((-10 * torch.log10(left(ways[:count], self.val))).mean())
            for count in (8, 16, 32, WAYS)
        }
        return {"gain": gains.pop(str(WAYS)), **gains}

    def export(self, average: Ways, path: Path) -> None:
        ways = self.ways(average)
        usual = along(ways, Moments(*(part.mean(0) for part in self.train)))[0].diagonal()
        scale = FINENESS * usual.clamp_min(torch.finfo(usual.dtype).tiny).sqrt()
        shape = (WAYS, 3, RESPONSES, 3, 3)
        found = (ways / scale[:, None, None]).reshape(shape).half().cpu()
        write_weights({**self.weights, NAME: found}, path, {"model": self.config.model})


def decoded(codec: Codec, crops: Tensor) -> list[Moments]:
    """What the filter can do for crops (n, 3, h, w), uint8, each at a level of its own.

    Relative to the error that it leaves.
    """
    assert isinstance(codec.engine, VariableRate)
    transform, found = codec.engine.transform, []
    for pixels, header, step in pictures(codec, crops):
        latent = transform.quantise(transform.analyse(pixels, header), step)
        whole = Tile(0, 0, *header.grid)
        moments = transform.moments(latent, header, whole, step, pixels)
        found.append(Moments(*(part.cpu() / moments.error.cpu() for part in moments)))
    return found


def gathered(moments: list[Moments]) -> Moments:
    """Those of n pictures with a leading dimension n."""
    return Moments(*(torch.stack(parts) for parts in zip(*moments, strict=True)))


def left(ways: Tensor, moments: Moments) -> Tensor:
    """The parts of the errors of n pictures that are left, (n,), each with its best factors."""
    curve, pull = (x.double() for x in along(ways, moments))
    steep = curve + RIDGE * torch.eye(len(ways), device=ways.device, dtype=torch.float64)
    factors: Tensor = torch.linalg.solve(steep, pull)
    less = 2 * pull - (curve @ factors[..., None])[..., 0]
    return 1 - (less * factors).sum(-1)
