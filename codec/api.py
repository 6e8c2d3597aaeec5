"""The library: pictures to .cae files and back, with one loaded model."""

import io
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nncodec import weights as shipped
from nncodec.formats import alpha, bits
from nncodec.formats.bits import Entropy
from nncodec.formats.cae import Header, PadMode, Reader, Tile, Writer
from nncodec.formats.errors import CaeError, Damaged, DamagedChunk, ModelMismatch
from nncodec.formats.images import MAX_PIXELS, Metadata, Picture, from_array, from_pil, read_image
from nncodec.formats.images import to_pil as picture_to_pil

from .checkpoint import StrPath, load_model
from .models.cae import PATCH
from .patches import cut, even_pad, put, split, stitch
from .seams import DEFAULT_METHOD, DEFAULT_WINDOW, Method, borders, smooth_strips
from .transform import Progress, Transform, pick_device

ImageSource = Image.Image | StrPath | BinaryIO | bytes | NDArray[np.uint8]
Seams = Literal["joint", "alone"]  # patches decoded with the bits around them, or without

SEGMENT = 8  # patches along a side of a segment: what is coded, lost or found together
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
        where = pick_device(device)
        self.model, network, self.fingerprint = load_model(model, weights)
        self.transform = Transform(network, where, batch_size)

    def compress(
        self,
        image: ImageSource,
        *,
        entropy: Entropy = "auto",
        metadata: Collection[str] = METADATA,
    ) -> bytes:
        """Compress an image (Pillow image, path, file, bytes, or uint8 (H, W[, 3 or 4])).

        ``entropy`` is "raw", "zstd" or "auto", the smaller of both for each segment; ``metadata``
        names what is kept of "exif", "icc" and "xmp". Raises ImageError.
        """
        file = io.BytesIO()
        self.compress_to(to_picture(image), file, entropy=entropy, metadata=metadata)
        return file.getvalue()

    def compress_to(
        self,
        picture: Picture,
        file: BinaryIO,
        *,
        entropy: Entropy = "auto",
        metadata: Collection[str] = METADATA,
        progress: Progress | None = None,
    ) -> None:
        """Compress ``picture`` to a binary stream that need not seek."""
        header = self.header(picture)
        writer = Writer(file, header)
        for name in sorted(metadata):
            content = getattr(picture.metadata, name)
            if content is not None:
                writer.metadata(name, content)
        if picture.alpha is not None:
            for coding, payload in alpha.encode(picture.alpha, header):
                writer.alpha(coding, payload)
        for index in range(header.n_segments):
            tile = header.segment_patches(index)
            latent = self.transform.analyse(picture.pixels, header, tile, progress)
            packed = bits.pack(cut(latent, header.side))
            writer.segment(*bits.encode(packed, entropy))
        writer.close()

    def decompress(
        self,
        data: bytes | StrPath | BinaryIO,
        *,
        smooth: int | None = None,
        max_pixels: int | None = MAX_PIXELS,
    ) -> Image.Image:
        """Decompress a file's content, or the file at a path, to an L, LA, RGB or RGBA image.

        ``smooth`` is the window across the seams in pixels (None: the default, 0: off). Raises
        CaeError; ModelMismatch if the file was made with other weights.
        """
        with opened(data) as file:
            reader = Reader(file, max_pixels=max_pixels)
            return picture_to_pil(self.decompress_from(reader, smooth=smooth))

    def decompress_from(
        self,
        reader: Reader,
        *,
        smooth: int | None = None,
        method: Method = DEFAULT_METHOD,
        seams: Seams = "joint",
        progress: Progress | None = None,
    ) -> Picture:
        """Decompress what ``reader`` reads.

        With ``seams`` "joint" every patch is decoded with the bits around it, and there are none;
        "alone" decodes each for itself, as these networks were published. Across the
        borders a window of ``smooth`` pixels is smoothed (None: the default, which is 0 for
        "joint"). If the reader is ``partial``, what is lost becomes grey (alpha: opaque) and its
        ``errors`` tell what that is.
        """
        header = reader.header
        self.check(header)
        errors = reader.errors if reader.partial else None
        opacity = alpha.decode(reader.alpha, header, errors) if header.colour.has_alpha else None
        latent, lost = read_latent(reader, errors)
        pixels = np.zeros((header.height, header.width, 3), np.uint8)
        transform = self.transform
        synthesise = transform.synthesise if seams == "joint" else transform.synthesise_alone
        for tile in split(Tile(0, 0, *header.grid), transform.tile_side):
            put(pixels, header, tile, synthesise(latent, header, tile))
            if progress:
                progress(tile.rows * tile.columns)
        for tile in lost:
            put(pixels, header, tile, blank(tile))
        window = DEFAULT_WINDOW[seams] if smooth is None else smooth
        smooth_seams(pixels, header, window, method)
        return Picture(pixels, header.colour, opacity, header.depth, Metadata(**reader.metadata))

    def header(self, picture: Picture) -> Header:
        """The header of the file that ``picture`` will become."""
        spec = self.transform.spec
        return Header(
            width=picture.width,
            height=picture.height,
            patch=PATCH,
            pad_top=even_pad(picture.height, PATCH),
            pad_left=even_pad(picture.width, PATCH),
            pad_mode=PadMode.EDGE,
            colour=picture.colour,
            depth=picture.depth,
            model=self.model,
            fingerprint=self.fingerprint,
            channels=spec.channels,
            side=spec.side,
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
        spec = self.transform.spec
        if (header.patch, header.channels, header.side) != (PATCH, spec.channels, spec.side):
            raise Damaged(f"the header's patches are not those of {self.model}")
        if header.planes != 1 or header.params:
            raise Damaged(f"the header has parameters that {self.model} does not know")


def read_latent(
    reader: Reader, errors: list[CaeError] | None
) -> tuple[NDArray[np.uint8], list[Tile]]:
    """The latent of the whole picture, eight channels in a byte, (h, w, C / 8).

    With a list of ``errors``, what is damaged is noted there; the tiles without bits come second.
    """
    header = reader.header
    rows, columns = header.grid
    side = header.side
    latent = np.zeros((rows * side, columns * side, -(-header.channels // 8)), np.uint8)
    lost = {index: header.segment_patches(index) for index in range(header.n_segments)}
    for segment in reader.segments():
        tile = header.segment_patches(segment.index)
        try:
            found = bits.unpack_segment(segment, header)
        except DamagedChunk as error:
            if errors is None:
                raise
            errors.append(error)
            continue
        packed = np.packbits(stitch(found, tile.rows, tile.columns) > 0, axis=2)
        y, x = tile.row * side, tile.column * side
        latent[y : y + packed.shape[0], x : x + packed.shape[1]] = packed
        del lost[segment.index]
    return latent, list(lost.values())


def blank(tile: Tile) -> NDArray[np.uint8]:
    return np.full((tile.rows * PATCH, tile.columns * PATCH, 3), GREY, np.uint8)


def smooth_seams(pixels: NDArray[np.uint8], header: Header, window: int, method: Method) -> None:
    """Smooth the seams of a decoded picture (H, W, 3) in place, row of patches by row."""
    if window == 0:
        return
    rows = borders(header.height, header.pad_top, header.patch)
    columns = borders(header.width, header.pad_left, header.patch)
    row = 0
    for piece in smooth_strips(np.split(pixels, rows), columns, window, method):
        pixels[row : row + len(piece)] = piece
        row += len(piece)


def to_picture(image: ImageSource) -> Picture:
    """Any image that the library takes, as a Picture. Raises ImageError."""
    if isinstance(image, Image.Image):
        return from_pil(image)
    if isinstance(image, np.ndarray):
        return from_array(image)
    return read_image(image)


@contextmanager
def opened(data: bytes | StrPath | BinaryIO) -> Iterator[BinaryIO]:
    """A binary stream over bytes or a path; a stream is passed on."""
    if isinstance(data, bytes | bytearray | memoryview):
        yield io.BytesIO(data)
    elif isinstance(data, str | os.PathLike):
        with open(data, "rb") as file:
            yield file
    else:
        yield data


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
    entropy: Entropy = "auto",
    metadata: Collection[str] = METADATA,
) -> bytes:
    """Compress an image to the content of a .cae file; see :meth:`Codec.compress`."""
    codec = codec_for(model, device, named(weights))
    return codec.compress(image, entropy=entropy, metadata=metadata)


def decompress(
    data: bytes | StrPath | BinaryIO,
    *,
    device: str = "auto",
    weights: StrPath | None = None,
    smooth: int | None = None,
    max_pixels: int | None = MAX_PIXELS,
) -> Image.Image:
    """Decompress a .cae file with the model that its header names; see :meth:`Codec.decompress`."""
    with opened(data) as file:
        reader = Reader(file, max_pixels=max_pixels)
        codec = codec_for(model_of(reader.header, weights), device, named(weights))
        return picture_to_pil(codec.decompress_from(reader, smooth=smooth))


def named(weights: StrPath | None) -> str | None:
    """A path as what :func:`codec_for` remembers it by."""
    return None if weights is None else os.fspath(weights)


def model_of(header: Header, weights: StrPath | None = None) -> str:
    """The id of the model to decode with. Raises ModelMismatch if it is not at hand."""
    if weights is None and header.model not in shipped.manifest():
        raise ModelMismatch(f"made with {header.model}, which is not shipped; use --weights FILE")
    return header.model
