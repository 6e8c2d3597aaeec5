"""The library: pictures to .cae files and back, with one loaded model."""

import io
import os
from collections.abc import Collection, Iterable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nncodec.formats import alpha
from nncodec.formats.bits import Entropy
from nncodec.formats.cae import Coding, Header, PadMode, Reader, Tile, Writer
from nncodec.formats.errors import Damaged, ModelMismatch
from nncodec.formats.files import StrPath
from nncodec.formats.images import MAX_PIXELS, Metadata, Picture, with_metadata
from nncodec.formats.images import to_pil as picture_to_pil

from .engine import load_engine, model_of
from .fixed import Seams
from .inputs import CaeSource, ImageSource, opened, to_picture
from .patches import Region, covering, grown, shown
from .rate import Target
from .seams import DEFAULT_METHOD, DEFAULT_WINDOW, Method, borders, smooth_strips
from .transform import Progress, pick_device
from .variable import VariableRate

SEGMENT = 8  # patches along a side of a segment: what is coded, lost or found together
ANY = Target()  # the model's default
METADATA = ("exif", "icc", "xmp")
GREY = 128  # of what a damaged file has lost


class Codec:
    """A model on a device, for any number of pictures.

    ``model`` is the id of a shipped model (None: the default) or of the network that the
    safetensors file ``weights`` is for; ``device`` is "auto", "cpu", "cuda[:n]" or "mps";
    ``batch_size`` patches at most go through the network at once (None: as many as take some 500 MB
    of memory). Raises NncodecError for a model, file or device that is not there.
    """

    def __init__(
        self,
        model: str | None = None,
        device: str = "auto",
        *,
        weights: StrPath | None = None,
        batch_size: int | None = None,
    ) -> None:
        loaded = load_engine(model, weights, pick_device(device), batch_size)
        self.model, self.fingerprint, self.engine = loaded

    @property
    def variable(self) -> bool:
        """Whether the model has any rate, as its quality says, and not just one."""
        return isinstance(self.engine, VariableRate)

    def compress(
        self,
        image: ImageSource,
        *,
        quality: float | None = None,
        size: int | None = None,
        bpp: float | None = None,
        psnr: float | None = None,
        stages: int | None = None,
        effort: int | None = None,
        entropy: Entropy = "auto",
        metadata: Collection[str] = METADATA,
    ) -> bytes:
        """Compress ``image`` (Pillow image, path, file, bytes, or uint8 (H, W[, 3 or 4])).

        A variable-rate model takes one of: ``quality`` from 0 to 100, ``size`` in bytes or ``bpp``
        bits per pixel that the file may have at most, ``psnr`` in dB that it reaches at least;
        ``effort`` from 1, one pass, to 9, the best picture for its size (None: the default); and
        how many ``stages`` it is sent in (None: up to four, fewer for a small file).
        ``entropy`` is "raw", "zstd", "context" (learned probabilities) or "auto", the smallest of
        them for each segment; ``metadata`` names what is kept of "exif", "icc" and "xmp" (a picture
        whose EXIF says how to turn it is turned when it loses that). Raises
        ImageError; NncodecError for what this model cannot do.
        """
        target = Target(quality, size, bpp, psnr, stages)
        return self.compress_picture(
            to_picture(image), target, effort=effort, entropy=entropy, metadata=metadata
        )

    def compress_picture(
        self,
        picture: Picture,
        target: Target = ANY,
        *,
        effort: int | None = None,
        entropy: Entropy = "auto",
        metadata: Collection[str] = METADATA,
        progress: Progress | None = None,
    ) -> bytes:
        """Compress ``picture`` to the content of a .cae file; see :meth:`compress`."""
        picture = with_metadata(picture, metadata)
        kept = {name: getattr(picture.metadata, name) for name in sorted(METADATA)}
        header = self.header(picture)
        strips = [] if picture.alpha is None else list(alpha.encode(picture.alpha, header))

        def write(header: Header, payloads: Iterable[tuple[Coding, bytes]]) -> bytes:
            file = io.BytesIO()
            writer = Writer(file, header)
            for name, content in kept.items():
                if content is not None:
                    writer.metadata(name, content)
            for strip in strips:
                writer.alpha(*strip)
            for payload in payloads:
                writer.segment(*payload)
            writer.close()
            return file.getvalue()

        return self.engine.encode(picture.pixels, header, target, entropy, write, effort, progress)

    def decompress(
        self,
        data: CaeSource,
        *,
        smooth: int | None = None,
        region: tuple[int, int, int, int] | None = None,
        max_pixels: int | None = MAX_PIXELS,
    ) -> Image.Image:
        """Decompress ``data`` (content, path or stream) to an L, LA, RGB or RGBA image.

        ``smooth`` is the window across the seams in pixels (None: the default, 0: off); ``region``
        is the part (x, y, width, height) that is wanted (None: all). A file of more than
        ``max_pixels`` (None: no limit) is refused. Raises CaeError; ModelMismatch if it was made
        with other weights; NncodecError for a region that is not inside.
        """
        with opened(data) as file:
            reader = Reader(file, max_pixels=max_pixels)
            return picture_to_pil(self.decompress_from(reader, smooth=smooth, region=region))

    def decompress_from(
        self,
        reader: Reader,
        *,
        smooth: int | None = None,
        method: Method = DEFAULT_METHOD,
        seams: Seams = "joint",
        stages: int | None = None,
        region: tuple[int, int, int, int] | None = None,
        progress: Progress | None = None,
    ) -> Picture:
        """Decompress what ``reader`` reads.

        With ``seams`` "joint" every patch is decoded with the bits around it, and there are none;
        "alone" decodes each for itself, as these networks were published. Across the
        borders a window of ``smooth`` pixels is smoothed (None: the default, which is 0 for
        "joint"). Of a file that is sent in stages, the first ``stages`` are decoded (None: all), to
        the same picture at a lower quality. If the reader is ``partial``, what is lost becomes grey
        (alpha: opaque) and its ``errors`` tell what that is.

        A ``region`` (x, y, width, height) is what would be cut out of the whole picture, ±1 level
        of rounding; only what it takes is read and decoded.
        """
        header = reader.header
        self.check(header)
        wanted = Region(0, 0, header.width, header.height) if region is None else Region(*region)
        decoded, tile = wanted, covering(header, wanted)
        window = DEFAULT_WINDOW[seams] if smooth is None else smooth
        if window:  # smoothing reaches from a border to half a patch away from it, at most
            tile = grown(header, tile, 1)
            decoded = shown(header, tile)
        errors = reader.errors if reader.partial else None
        opacity = None
        if header.colour.has_alpha:
            opacity = alpha.decode(reader.alpha, header, errors, wanted.rows)
        pixels, lost = self.engine.decode(reader, decoded, errors, seams, stages, progress)
        for part in lost:
            place = shown(header, part)
            pixels[place.rows, place.columns] = GREY
        smooth_seams(pixels, header, tile, window, method)
        if region is not None:  # as copies, so that the rest need not be kept
            pixels = pixels[wanted.rows, wanted.columns].copy()
            opacity = None if opacity is None else opacity[:, wanted.columns].copy()
        return Picture(pixels, header.colour, opacity, header.depth, Metadata(**reader.metadata))

    def header(self, picture: Picture) -> Header:
        """The header of the file that ``picture`` will become, less the model's own parameters."""
        engine = self.engine
        return Header(
            width=picture.width,
            height=picture.height,
            patch=engine.patch,
            pad_top=engine.pad(picture.height),
            pad_left=engine.pad(picture.width),
            pad_mode=PadMode.EDGE,
            colour=picture.colour,
            depth=picture.depth,
            model=self.model,
            fingerprint=self.fingerprint,
            channels=engine.channels,
            side=engine.side,
            segment_rows=SEGMENT,
            segment_columns=SEGMENT,
        )

    def check(self, header: Header) -> None:
        """Raise CaeError if a file with this header was not made by this codec's model."""
        if header.model != self.model:
            raise ModelMismatch(f"made with {header.model}, not with {self.model}")
        if header.fingerprint != self.fingerprint:
            made, here = header.fingerprint.hex(), self.fingerprint.hex()
            raise ModelMismatch(
                f"made with other weights of {self.model} ({made}, not {here}); "
                "name their file with --weights"
            )
        engine = self.engine
        due = engine.patch, engine.channels, engine.side
        if (header.patch, header.channels, header.side) != due:
            raise Damaged(f"the header's patches are not those of {self.model}")
        engine.check(header)


def smooth_seams(
    pixels: NDArray[np.uint8], header: Header, tile: Tile, window: int, method: Method
) -> None:
    """Smooth the seams in a tile of a decoded picture (H, W, 3) in place, row by row of patches."""
    if window == 0:
        return
    place = shown(header, tile)
    inside = pixels[place.rows, place.columns]
    down = borders(len(inside), 0 if tile.row else header.pad_top, header.patch)
    across = borders(inside.shape[1], 0 if tile.column else header.pad_left, header.patch)
    row = 0
    for piece in smooth_strips(np.split(inside, down), across, window, method):
        inside[row : row + len(piece)] = piece
        row += len(piece)


@lru_cache(maxsize=8)
def codec_for(model: str | None = None, device: str = "auto", weights: str | None = None) -> Codec:
    """The codec for a model, loaded once a process."""
    return Codec(model, device, weights=weights)


def compress(
    image: ImageSource,
    *,
    model: str | None = None,
    device: str = "auto",
    weights: StrPath | None = None,
    quality: float | None = None,
    size: int | None = None,
    bpp: float | None = None,
    psnr: float | None = None,
    stages: int | None = None,
    effort: int | None = None,
    entropy: Entropy = "auto",
    metadata: Collection[str] = METADATA,
) -> bytes:
    """Compress ``image`` to the content of a .cae file.

    The model is loaded once a process. ``model``, ``device`` and ``weights`` are those of
    :class:`Codec`, the other arguments those of :meth:`Codec.compress`.
    """
    return codec_for(model, device, named(weights)).compress(
        image,
        quality=quality,
        size=size,
        bpp=bpp,
        psnr=psnr,
        stages=stages,
        effort=effort,
        entropy=entropy,
        metadata=metadata,
    )


def decompress(
    data: CaeSource,
    *,
    device: str = "auto",
    weights: StrPath | None = None,
    smooth: int | None = None,
    region: tuple[int, int, int, int] | None = None,
    max_pixels: int | None = MAX_PIXELS,
) -> Image.Image:
    """Decompress the .cae file ``data`` with the model that its header names.

    ``device`` and ``weights`` are those of :class:`Codec`, the other arguments those of
    :meth:`Codec.decompress`. ModelMismatch if the model is neither shipped nor in ``weights``.
    """
    with opened(data) as file:
        reader = Reader(file, max_pixels=max_pixels)
        codec = codec_for(model_of(reader.header, weights), device, named(weights))
        return picture_to_pil(codec.decompress_from(reader, smooth=smooth, region=region))


def named(weights: StrPath | None) -> str | None:
    """A path as what :func:`codec_for` remembers it by."""
    return None if weights is None else os.fspath(weights)
