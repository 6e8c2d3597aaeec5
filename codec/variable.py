"""The engine of a variable-rate model: pictures to files of any rate, sent in stages, and back."""

from collections.abc import Collection

import numpy as np
import torch

from nncodec.formats.bits import Entropy
from nncodec.formats.cae import Coding, Header, Reader, Tile
from nncodec.formats.errors import CaeError, Damaged, DamagedChunk, NncodecError
from nncodec.formats.stages import Settings

from .entropy.digits import Latent, Partial
from .entropy.planes import PlaneModel
from .fixed import Seams
from .models.bitplane import PATCH, STRIDE, Bitplane
from .models.pixel_filter import WAYS
from .patches import Region, assemble, covering, segments_seen
from .rate import Target, Write, effort_of
from .transform import Pixels, Progress
from .variable_encoder import VariableEncoder
from .variable_transform import TILE, VariableTransform, area, latent_size, middles


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
        if len(Settings.of(header).factors) > WAYS:
            raise Damaged(f"the header has more parameters than {header.model} knows")
        if header.pad_top or header.pad_left:
            raise Damaged(f"the header has a pad that {header.model} does not know")

    def encode(
        self,
        pixels: Pixels,
        header: Header,
        target: Target,
        entropy: Entropy,
        write: Write,
        effort: int | None = None,
        progress: Progress | None = None,
    ) -> bytes:
        """The file of a picture (H, W, 3) that meets ``target``.

        ``header`` lacks the settings, ``write`` makes a file of a header and its payloads. Raises
        NncodecError if the target cannot be met.
        """
        if entropy not in ("auto", "context"):
            raise NncodecError(f"{header.model} is always context coded; leave out --entropy")
        encoder = VariableEncoder(
            self.transform, self.planes, pixels, header, write, effort_of(effort), progress
        )
        return encoder.encode(target)

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
        seen = segments_seen(header, region, self.transform.network.synthesis.reach)
        latent, lost = self.read(reader, errors, seen, min(stages or header.planes, header.planes))
        tile = covering(header, region)
        return self.pixels(latent, header, tile, Settings.of(header), progress), lost

    def read(
        self, reader: Reader, errors: list[CaeError] | None, segments: list[int], stages: int
    ) -> tuple[Latent, list[Tile]]:
        """The :func:`middles` (h, w, C) of the latent, zero but for these segments.

        With a list of ``errors``, what is damaged is noted there; the tiles without a sound stage
        come second.
        """
        header, settings = reader.header, Settings.of(reader.header)
        latent = np.zeros((*latent_size(header), header.channels), np.int16)
        known: dict[int, Partial] = {}  # by segment, as far as its stages are sound
        wanted: Collection[int] = range(stages * header.n_segments)
        if len(segments) < header.n_segments:
            wanted = {
                stage * header.n_segments + index for stage in range(stages) for index in segments
            }
        for segment in reader.segments(wanted):
            part = known.get(segment.index)
            if part is None:
                tile = header.segment_patches(segment.index)
                part = Partial.nothing(*latent[area(header, tile)].shape)
            if part.stages != segment.plane:
                continue
            last = settings.last + header.planes - 1 - segment.plane
            try:
                if segment.coding is not Coding.CONTEXT:
                    raise DamagedChunk(f"{segment.name} is not coded as this model's are")
                known[segment.index] = self.planes.decode(
                    segment.payload, part, settings.step, last, segment.name
                )
            except DamagedChunk as error:
                if errors is None:
                    raise
                errors.append(error)
        for index, part in known.items():
            last = settings.last + header.planes - part.stages
            place = area(header, header.segment_patches(index))
            latent[place] = self.planes.restored(middles(part.coded, last), 2)
        return latent, [header.segment_patches(index) for index in segments if index not in known]

    def pixels(
        self,
        latent: Latent,
        header: Header,
        tile: Tile,
        settings: Settings,
        progress: Progress | None = None,
    ) -> Pixels:
        """The picture (H, W, 3) of :func:`middles` (h, w, C), zero but for a ``tile``."""

        def synthesise(part: Tile) -> Pixels:
            return self.transform.synthesise(latent, header, part, settings)

        return assemble(header, tile, TILE, synthesise, progress)
