"""Segments: the bits of a tile of patches to the payload of a data chunk, and back."""

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from nncodec.formats import bits, zstd
from nncodec.formats.bits import Entropy
from nncodec.formats.cae import Coding, Header, Reader, Segment, Tile
from nncodec.formats.errors import CaeError, DamagedChunk, ModelMismatch, WeightsError
from nncodec.formats.layout import payload_limit

from .entropy.context import ContextModel
from .patches import cut, stitch

Bits = NDArray[np.bool_]


class SegmentCoder:
    """Codes the bits of ``model``, each segment for itself.

    ``context`` is their context model and ``context_id`` what files call it; both are None for
    weights that have none, whose bits are coded raw or with zstd.
    """

    def __init__(self, model: str, context: ContextModel | None, context_id: int | None) -> None:
        self.model = model
        self.context = context
        self.context_id = context_id

    def params(self, entropy: Entropy) -> tuple[int, ...]:
        """What the header says of the coding. WeightsError for "context" without such a model."""
        if self.context_id is not None and entropy in ("auto", "context"):
            return (self.context_id,)
        if entropy == "context":
            raise WeightsError(
                f"no context model ships for these weights of {self.model}; use --entropy auto"
            )
        return ()

    def check(self, params: tuple[int, ...]) -> None:
        """Raise ModelMismatch if a header with ``params`` was made with another context model."""
        if params and params != (self.context_id,):
            raise ModelMismatch(
                f"coded with another context model of {self.model} than ships with its weights;"
                " use the version of nncodec that made the file"
            )

    def encode(self, latent: Bits, side: int, entropy: Entropy) -> tuple[Coding, bytes]:
        """The coding and payload of a segment's bits (h, w, C), ``side`` being that of a patch.

        "auto" takes the smallest, the simplest if equal. Where a coding swells beyond what the
        format allows, it is raw.
        """
        packed = bits.pack(cut(latent, side))
        payloads: dict[Coding, bytes] = {}
        if entropy in ("auto", "raw"):
            payloads[Coding.RAW] = packed
        if entropy in ("auto", "zstd"):
            payloads[Coding.ZSTD] = zstd.deflate(packed)
        if entropy in ("auto", "context") and self.context is not None:
            payloads[Coding.CONTEXT] = self.context.encode(latent)
        coding = min(payloads, key=lambda coding: len(payloads[coding]))
        if len(payloads[coding]) > payload_limit(len(packed)):
            return Coding.RAW, packed
        return coding, payloads[coding]

    def decode(self, segment: Segment, header: Header) -> Bits:
        """The bits (h, w, C) of a segment. DamagedChunk if the payload does not hold just these."""
        tile = header.segment_patches(segment.index)
        if segment.coding is Coding.CONTEXT and self.context is not None:
            height, width = tile.rows * header.side, tile.columns * header.side
            return self.context.decode(segment.payload, height, width, segment.name)
        patches = bits.unpack_segment(segment, header) > 0
        latent: Bits = stitch(patches, tile.rows, tile.columns)
        return latent

    def read(
        self,
        reader: Reader,
        errors: list[CaeError] | None,
        wanted: Collection[int] | None = None,
    ) -> tuple[NDArray[np.uint8], list[Tile]]:
        """The latent of the whole picture, eight channels in a byte, (h, w, C / 8).

        It is zero but for the ``wanted`` segments (None: all). With a list of ``errors``, what is
        damaged is noted there; the tiles without bits come second.
        """
        header = reader.header
        rows, columns = header.grid
        side = header.side
        latent = np.zeros((rows * side, columns * side, -(-header.channels // 8)), np.uint8)
        wanted = range(header.n_segments) if wanted is None else wanted
        lost = dict.fromkeys(wanted)
        for segment in reader.segments(wanted):
            tile = header.segment_patches(segment.index)
            try:
                packed = np.packbits(self.decode(segment, header), axis=2)
            except DamagedChunk as error:
                if errors is None:
                    raise
                errors.append(error)
                continue
            y, x = tile.row * side, tile.column * side
            latent[y : y + packed.shape[0], x : x + packed.shape[1]] = packed
            del lost[segment.index]
        return latent, [header.segment_patches(index) for index in lost]
