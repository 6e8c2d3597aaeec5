"""The engine of a variable-rate model: pictures to files of any rate, sent in stages, and back."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from nncodec.formats.bits import Entropy
from nncodec.formats.cae import Coding, Header, Reader, Tile
from nncodec.formats.errors import CaeError, Damaged, DamagedChunk, NncodecError
from nncodec.formats.stages import MAX_STEP, Settings

from .entropy.planes import Latent, Partial, PlaneModel
from .fixed import Seams
from .models.bitplane import PATCH, STRIDE, Bitplane
from .patches import Region, assemble, covering, segments_seen, shown, split
from .rate import DEFAULT_QUALITY, Target, Write, least_within, step_of
from .transform import Pixels, Progress
from .variable_transform import TILE, VariableTransform, area, latent_size, middles

STAGES = 4  # that a picture is sent in


class VariableRate:
    """A model whose files have any rate, sent in stages from coarse to fine."""

    patch = PATCH

    def __init__(self, network: Bitplane, planes: PlaneModel, device: torch.device) -> None:
        self.transform = VariableTransform(network, device)
        self.planes = planes
        self.channels = planes.network.channels
        self.side = PATCH // STRIDE

    def pad(self, length: int) -> int:
        """Pixels to add before an axis of ``length``: none."""
        return 0

    def check(self, header: Header) -> None:
        """Raise Damaged if a header has settings that this model cannot have written."""
        Settings.of(header)
        if header.pad_top or header.pad_left:
            raise Damaged(f"the header has a pad that {header.model} does not know")

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
            ready = replace(header, planes=STAGES, params=Settings(step).params)
            return write(ready, self.stages(latent, ready))

        def size(step: int) -> tuple[float, bytes]:
            file = at(step)
            return len(file), file

        def error(finer: int) -> tuple[float, int]:
            step = MAX_STEP - 1 - finer
            found = self.transform.quantise(latent, step)
            found *= 2  # the middles, all planes being known
            return max(self.mean_square(found, header, step, pixels), 1e-3), step

        if target.psnr is not None:
            step = least_within(error, 255**2 * 10 ** (-target.psnr / 10), 0, MAX_STEP - 1)
            if step is None:
                raise NncodecError(f"{target.psnr:g} dB cannot be reached with this model")
            return at(step)
        budget = target.budget(header.width * header.height)
        if budget is None:
            return at(step_of(DEFAULT_QUALITY if target.quality is None else target.quality))
        file = least_within(size, budget, 0, MAX_STEP - 1)
        if file is None:
            least = len(at(MAX_STEP - 1))
            raise NncodecError(f"no file of {budget:,} bytes; the smallest has {least:,}")
        return file

    def stages(self, latent: NDArray[np.float32], header: Header) -> Iterator[tuple[Coding, bytes]]:
        """The payloads of all segments of a latent (h, w, C), stage by stage."""
        step = Settings.of(header).step
        coded = []
        for index in range(header.n_segments):
            part = latent[area(header, header.segment_patches(index))]
            coded.append(self.planes.encode(self.transform.quantise(part, step), step, STAGES))
        for stage in range(STAGES):
            for segment in coded:
                yield Coding.CONTEXT, segment[stage]

    def decode(
        self,
        reader: Reader,
        region: Region,
        errors: list[CaeError] | None,
        seams: Seams,
        stages: int | None,
        progress: Progress | None = None,
    ) -> tuple[Pixels, list[Tile]]:
        """The pixels (H, W, 3) of what ``reader`` reads; outside of ``region`` they mean nothing.

        Only the first ``stages`` are read (None: all). With a list of ``errors``, what is damaged
        is noted there, and the picture is as good as what is left of each segment; the tiles of
        which nothing is left come second.
        """
        header = reader.header
        if seams != "joint":
            raise NncodecError(f"{header.model} has no seams; leave out --seams")
        seen = segments_seen(header, region, self.transform.network.reach)
        latent, lost = self.read(reader, errors, seen, min(stages or header.planes, header.planes))
        tile = covering(header, region)
        return self.pixels(latent, header, tile, Settings.of(header).step, progress), lost

    def read(
        self, reader: Reader, errors: list[CaeError] | None, segments: list[int], stages: int
    ) -> tuple[Latent, list[Tile]]:
        """The :func:`middles` (h, w, C) of the latent, zero but for these segments.

        With a list of ``errors``, what is damaged is noted there; the tiles without a sound stage
        come second.
        """
        header, settings = reader.header, Settings.of(reader.header)
        latent = np.zeros((*latent_size(header), header.channels), np.int16)
        known: dict[int, Partial] = {}  # by segment, less those that miss a stage
        unknown = dict.fromkeys(segments)
        wanted = {
            stage * header.n_segments + index for stage in range(stages) for index in segments
        }
        for segment in reader.segments(wanted):
            place = area(header, header.segment_patches(segment.index))
            if segment.plane == 0:
                known[segment.index] = Partial.nothing(*latent[place].shape)
            part = known.get(segment.index)
            if part is None or part.stages != segment.plane:
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
            latent[place] = middles(part.latent, last)
            unknown.pop(segment.index, None)
        return latent, [header.segment_patches(index) for index in unknown]

    def pixels(
        self,
        latent: Latent,
        header: Header,
        tile: Tile,
        step: int,
        progress: Progress | None = None,
    ) -> Pixels:
        """The picture (H, W, 3) of :func:`middles` (h, w, C), zero but for a ``tile``."""

        def synthesise(part: Tile) -> Pixels:
            return self.transform.synthesise(latent, header, part, step)

        return assemble(header, tile, TILE, synthesise, progress)

    def mean_square(self, latent: Latent, header: Header, step: int, pixels: Pixels) -> float:
        """The mean squared error against ``pixels`` (H, W, 3) of :func:`middles` (h, w, C)."""
        total = 0
        for part in split(Tile(0, 0, *header.grid), TILE):
            decoded = self.transform.synthesise(latent, header, part, step)
            place = shown(header, part)
            due = pixels[place.rows, place.columns]
            found = decoded[: place.height, : place.width]
            total += int(np.square(np.subtract(found, due, dtype=np.int32)).sum())
        return total / pixels.size
