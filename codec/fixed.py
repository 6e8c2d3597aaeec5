"""The fixed-rate CAEs at work: pictures to bits, segment by segment, and back."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Literal

import torch

from nncodec.formats.bits import Entropy
from nncodec.formats.cae import Coding, Header, Reader, Tile
from nncodec.formats.errors import CaeError, Damaged, NncodecError

from .models.cae import PATCH, Cae
from .patches import Region, assemble, covering, even_pad, segments_seen
from .rate import Target, Write
from .segments import SegmentCoder
from .transform import Pixels, Progress, Transform

Seams = Literal["joint", "alone"]  # patches decoded with the bits around them, or without


class FixedRate:
    """A CAE and the coder of its bits."""

    patch = PATCH

    def __init__(
        self, network: Cae, coder: SegmentCoder, device: torch.device, batch_size: int | None
    ) -> None:
        self.transform = Transform(network, device, batch_size)
        self.coder = coder
        self.channels = network.spec.channels
        self.side = network.spec.side

    def check(self, header: Header) -> None:
        """Raise CaeError if this model cannot have written a file with this header."""
        if header.planes != 1 or len(header.params) > 1:
            raise Damaged(f"the header has parameters that {header.model} does not know")
        self.coder.check(header.params)

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
        """The file of a picture (H, W, 3). NncodecError if a ``target`` or ``effort`` is given."""
        if target != Target() or effort is not None:
            raise NncodecError(
                f"{header.model} has one rate, one stage and one effort;"
                " for others use a variable-rate model"
            )

        def segments() -> Iterator[tuple[Coding, bytes]]:
            for index in range(header.n_segments):
                tile = header.segment_patches(index)
                latent = self.transform.analyse(pixels, header, tile, progress)
                yield self.coder.encode(latent, header.side, entropy)

        return write(replace(header, params=self.coder.params(entropy)), segments())

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

        With a list of ``errors``, what is damaged is noted there, and the tiles that are lost come
        second. There is one stage.
        """
        header, transform = reader.header, self.transform
        joint = seams == "joint"
        reach = transform.spec.decoder_reach if joint else 0
        latent, lost = self.coder.read(reader, errors, segments_seen(header, region, reach))
        synthesise = transform.synthesise if joint else transform.synthesise_alone
        tile, paint = covering(header, region), partial(synthesise, latent, header)
        return assemble(header, tile, transform.tile_side, paint, progress), lost

    def pad(self, length: int) -> int:
        """Pixels to add before an axis of ``length``."""
        return even_pad(length, self.patch)
