"""The variable-rate model at work: pictures to files of any rate, and back.

The analysis runs once; every step size is tried on its latent alone. Tiles are shown their
neighbours as far as the network looks, and nothing beyond the picture's edges, where its own zeros
are: what comes out is what the whole picture at once would give.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from nncodec.formats.bits import Entropy
from nncodec.formats.cae import Coding, Header, Reader, Tile
from nncodec.formats.errors import CaeError, Damaged, DamagedChunk, NncodecError

from .entropy.plane_network import PER_OCTAVE
from .entropy.planes import MAX_TOP, Latent, Partial, PlaneModel
from .fixed import Seams
from .models.bitplane import PATCH, STEP, STRIDE, Bitplane
from .models.place import place
from .patches import look_at_latent, look_at_picture, put, split
from .rate import Target, Write, least_within
from .transform import Pixels, Progress, exact_pixels, to_blocks, to_pixels

STAGES = 4  # that a picture is sent in
TILE = 8  # patches along a side of what goes through the network at once
MAX_STEP = 16 * PER_OCTAVE  # step codes are below

# The step codes of quality 0 and 100; each point of quality is the same factor of the step.
COARSEST, FINEST = 1062, 400
DEFAULT_QUALITY = 60.0


@dataclass(frozen=True)
class Settings:
    """What a file's header says of its latent: the step code, and the last plane that was sent."""

    step: int
    last: int = 0

    @classmethod
    def of(cls, header: Header) -> "Settings":
        """The settings in a header's parameters; Damaged if there are others."""
        if len(header.params) != 2 or header.params[0] > MAX_STEP or header.params[1] >= MAX_TOP:
            raise Damaged(f"the header has parameters that {header.model} does not know")
        return cls(*header.params)

    @property
    def params(self) -> tuple[int, ...]:
        return (self.step, self.last)

    @property
    def level(self) -> torch.Tensor:
        """The level of the step, (1,): STEP * e^level = 2^(code / PER_OCTAVE)."""
        return torch.tensor([self.step / PER_OCTAVE * math.log(2) - math.log(STEP)])


def step_of(quality: float) -> int:
    """The step code of a quality from 0 to 100."""
    return round(COARSEST + (FINEST - COARSEST) * quality / 100)


class VariableTransform:
    """The analysis and synthesis of a :class:`Bitplane` network on a device."""

    def __init__(self, network: Bitplane, device: torch.device) -> None:
        place(network, device)
        self.network = network
        self.device = device

    @torch.inference_mode()
    def analyse(
        self, pixels: Pixels, header: Header, progress: Progress | None = None
    ) -> NDArray[np.float32]:
        """The latent (h, w, C) of a picture (H, W, 3), before any quantisation."""
        rows, columns = header.grid
        side, reach = header.side, self.network.reach * STRIDE
        latent = np.empty((rows * side, columns * side, header.channels), np.float32)
        for tile in split(Tile(0, 0, rows, columns), TILE):
            seen, down, across = look_at_picture(pixels, header, tile, reach, 0)
            values = torch.from_numpy(seen.transpose(2, 0, 1)[np.newaxis]).to(self.device)
            with exact_pixels():
                found = self.network.analysis(values.float() - 127.5)
            kept = found[0].permute(1, 2, 0)[
                to_blocks(down.keep, STRIDE), to_blocks(across.keep, STRIDE)
            ]
            y, x = tile.row * side, tile.column * side
            latent[y : y + len(kept), x : x + kept.shape[1]] = kept.cpu().numpy()
            if progress:
                progress(tile.rows * tile.columns)
        return latent

    @torch.inference_mode()
    def quantise(self, latent: NDArray[np.float32], settings: Settings) -> Latent:
        """The nearest multiples of the step, int16, for a latent (h, w, C)."""
        scale = self.network.gains.scale(settings.level.to(self.device))[0, :, 0, 0].cpu().numpy()
        bound = 2**MAX_TOP - 1
        rounded: Latent = np.rint(latent * scale).clip(-bound, bound).astype(np.int16)
        return rounded

    @torch.inference_mode()
    def synthesise(self, middles: Latent, header: Header, tile: Tile, settings: Settings) -> Pixels:
        """The pixels (h, w, 3) of a tile, from the :func:`middles` (h, w, C) of the picture."""
        level = settings.level.to(self.device)
        seen, down, across = look_at_latent(middles, header, tile, self.network.reach, 0)
        values = torch.from_numpy(seen.transpose(2, 0, 1)[np.newaxis]).to(self.device) / 2
        with exact_pixels():
            found = self.network.synthesis(values * self.network.gains.unscale(level), level)
        levels = (found[0] + 127.5).round().clamp(0, 255).to(torch.uint8)
        whole: Pixels = levels.permute(1, 2, 0).cpu().numpy()
        return whole[to_pixels(down.keep, STRIDE), to_pixels(across.keep, STRIDE)]


def middles(latent: Latent, last: int) -> Latent:
    """Twice the middle of the interval that each element is known to lie in.

    ``latent`` holds signed magnitudes in units of 2^last.
    """
    unit = 1 << last
    middle: Latent = (2 * unit * latent + np.sign(latent) * (unit - 1)).astype(np.int16)
    return middle


def area(header: Header, index: int) -> tuple[slice, slice]:
    """Where segment ``index`` lies in the latent of the picture: rows and columns."""
    tile, side = header.segment_patches(index), header.side
    rows = slice(tile.row * side, (tile.row + tile.rows) * side)
    return rows, slice(tile.column * side, (tile.column + tile.columns) * side)


class VariableRate:
    """A model whose files have any rate, sent in stages from coarse to fine."""

    patch = PATCH

    def __init__(self, network: Bitplane, planes: PlaneModel, device: torch.device) -> None:
        self.transform = VariableTransform(network, device)
        self.planes = planes
        self.channels = planes.network.channels
        self.side = PATCH // STRIDE

    def check(self, header: Header) -> None:
        """Raise Damaged if a header has settings that this model cannot have written."""
        Settings.of(header)

    def encode(
        self,
        pixels: Pixels,
        header: Header,
        target: Target,
        entropy: Entropy,
        write: Write,
        progress: Progress | None = None,
    ) -> bytes:
        """The file of a picture (H, W, 3) that meets ``target``.

        ``header`` lacks the settings, ``write`` makes a file of a header and its payloads. Raises
        NncodecError if the target cannot be met.
        """
        if entropy not in ("auto", "context"):
            raise NncodecError(f"{header.model} is always context coded; leave out --entropy")
        latent = self.transform.analyse(pixels, header, progress)

        def at(step: int) -> bytes:
            settings = Settings(step)
            ready = replace(header, planes=STAGES, params=settings.params)
            return write(ready, self.stages(self.transform.quantise(latent, settings), ready))

        def size(step: int) -> tuple[float, bytes]:
            file = at(step)
            return len(file), file

        def error(finer: int) -> tuple[float, int]:
            settings = Settings(MAX_STEP - 1 - finer)
            found = middles(self.transform.quantise(latent, settings), 0)
            decoded = self.pixels(found, header, settings)
            mse = float(np.square(decoded.astype(np.float32) - pixels).mean())
            return max(mse, 1e-3), settings.step

        if target.psnr is not None:
            limit = 255**2 / 10 ** (target.psnr / 10)
            step = least_within(error, limit, 0, MAX_STEP - 1)
            if step is None:
                raise NncodecError(f"{target.psnr:g} dB cannot be reached with this model")
            return at(step)
        budget = target.budget(header.width * header.height)
        if budget is None:
            return at(step_of(DEFAULT_QUALITY if target.quality is None else target.quality))
        file = least_within(size, budget, 0, MAX_STEP - 1)
        if file is None:
            least = size(MAX_STEP - 1)[0]
            raise NncodecError(f"no file of {budget} bytes; the smallest has {least:.0f}")
        return file

    def stages(self, latent: Latent, header: Header) -> Iterator[tuple[Coding, bytes]]:
        """The payloads of all segments of a quantised latent (h, w, C), stage by stage."""
        step = Settings.of(header).step
        coded = [
            self.planes.encode(latent[area(header, index)], step, header.planes)
            for index in range(header.n_segments)
        ]
        for stage in range(header.planes):
            for segment in coded:
                yield Coding.CONTEXT, segment[stage]

    def decode(
        self,
        reader: Reader,
        errors: list[CaeError] | None,
        seams: Seams,
        stages: int | None,
        progress: Progress | None = None,
    ) -> tuple[Pixels, list[Tile]]:
        """The pixels (H, W, 3) of what ``reader`` reads, from its first ``stages`` (None: all).

        With a list of ``errors``, what is damaged is noted there, and the picture is as good as
        what is left of each segment; the tiles of which nothing is left come second.
        """
        if seams != "joint":
            raise NncodecError(f"{reader.header.model} has no seams; leave out --seams")
        header = reader.header
        rows, columns = header.grid
        side = header.side
        latent = np.zeros((rows * side, columns * side, header.channels), np.int16)
        lost = self.read(reader, latent, errors, stages or header.planes)
        return self.pixels(latent, header, Settings.of(header), progress), lost

    def read(
        self, reader: Reader, latent: Latent, errors: list[CaeError] | None, stages: int
    ) -> list[Tile]:
        """Fill ``latent`` (h, w, C) with :func:`middles`; returns tiles without a sound stage."""
        header, settings = reader.header, Settings.of(reader.header)
        known: dict[int, Partial] = {}  # by segment, less those that miss a stage
        unknown = set(range(header.n_segments))
        for segment in reader.segments():
            rows, columns = area(header, segment.index)
            if segment.plane == 0:
                size = rows.stop - rows.start, columns.stop - columns.start
                known[segment.index] = Partial.nothing(*size, header.channels)
            part = known.get(segment.index)
            if part is None or part.stages != segment.plane or segment.plane >= stages:
                continue
            last = settings.last + header.planes - 1 - segment.plane
            try:
                if segment.coding is not Coding.CONTEXT:
                    raise DamagedChunk(f"{segment.name} is not coded as this model's are")
                self.planes.decode(segment.payload, part, settings.step, last, segment.name)
            except DamagedChunk as error:
                if errors is None:
                    raise
                errors.append(error)
                del known[segment.index]
                continue
            latent[rows, columns] = middles(part.latent, last)
            unknown.discard(segment.index)
        return [header.segment_patches(index) for index in sorted(unknown)]

    def pixels(
        self, latent: Latent, header: Header, settings: Settings, progress: Progress | None = None
    ) -> Pixels:
        """The picture (H, W, 3) of :func:`middles` (h, w, C)."""
        pixels = np.zeros((header.height, header.width, 3), np.uint8)
        for tile in split(Tile(0, 0, *header.grid), TILE):
            put(pixels, header, tile, self.transform.synthesise(latent, header, tile, settings))
            if progress:
                progress(tile.rows * tile.columns)
        return pixels
