"""Latents for research: batches of pictures to what a model makes of them, and back.

No file is made, but the numbers are those of a file. Gradients are off.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nncodec.formats.cae import Header, Tile
from nncodec.formats.errors import ImageError, NncodecError
from nncodec.formats.files import StrPath
from nncodec.formats.images import Picture
from nncodec.formats.stages import LARGEST_FACTOR, MAX_STEP, Settings, within_bounds

from .api import Codec, codec_for, named
from .decisions import Decided, decide
from .entropy.digits import LARGEST
from .fixed import FixedRate
from .models.pixel_filter import WAYS
from .patches import assemble
from .rate import DEFAULT_QUALITY, Effort, Target, effort_of, step_of
from .transform import Pixels
from .variable import VariableRate
from .variable_transform import latent_size, middles


@dataclass(frozen=True)
class Latents:
    """The latents of a batch of pictures, and what it takes to decode them.

    ``values`` (n, C, h, w) are int8, each -1 or 1, for a model of one rate, with (h, w) those of
    the padded grid of patches; for a variable-rate model int16, the signed multiples of the
    quantisation step, each below 2^12, one for every 16 x 16 pixels that hold any of the picture.
    ``size`` is (H, W) of the pictures, ``model`` the model's id. ``step`` is the step code, from 0
    to 2047, of a step of 2^(step / 128) 8-bit levels; None for a model of one rate. ``factors`` say
    for each picture how its filter of decoded pixels varies, up to 63 in magnitude; if there are
    none, no filter does.

    To decode other values, use ``dataclasses.replace(latents, values=...)``.
    """

    values: Tensor
    size: tuple[int, int]
    model: str
    step: int | None = None
    factors: tuple[tuple[int, ...], ...] = ()


def encode_latents(
    images: Tensor,
    *,
    model: str | None = None,
    device: str = "auto",
    weights: StrPath | None = None,
    quality: float | None = None,
    effort: int | None = None,
) -> Latents:
    """The latents of ``images`` (n, 3, H, W), RGB in [0, 1], floats of any dtype on any device.

    They are rounded to 8-bit levels first, as pictures are, and the values are those of the files
    that :func:`nncodec.compress` makes with the same options: ``model``, ``device`` and ``weights``
    are those of :class:`nncodec.Codec`, ``quality`` and ``effort`` (variable-rate models only)
    those of :meth:`nncodec.Codec.compress`. The result is on the device of ``images``.

    Raises ImageError for another shape, dtype or range, NncodecError for what the model cannot do.
    """
    codec = codec_for(model, device, named(weights))
    engine = codec.engine
    pictures = ((pixels, codec.header(Picture(pixels))) for pixels in levels(images))
    step: int | None = None
    factors: tuple[tuple[int, ...], ...] = ()
    if isinstance(engine, VariableRate):
        Target(quality)  # raises for what is none
        step = step_of(DEFAULT_QUALITY if quality is None else quality)
        chosen = effort_of(effort)
        found = [decided(engine, *picture, step, chosen) for picture in pictures]
        values = stacked(latent for latent, _ in found)
        factors = tuple(settings.factors for _, settings in found)
    elif quality is not None or effort is not None:
        raise NncodecError(f"{codec.model} has one rate and one effort")
    else:
        values = stacked(signs(engine, *picture) for picture in pictures)
    size = (images.shape[2], images.shape[3])
    return Latents(values.to(images.device), size, codec.model, step, factors)


def decode_latents(
    latents: Latents, *, device: str = "auto", weights: StrPath | None = None
) -> Tensor:
    """The pictures (n, 3, H, W) of ``latents``, float32 in [0, 1], whole 8-bit levels.

    They are those that :func:`nncodec.decompress` makes of files with these values, ±1 level;
    ``device`` and ``weights`` are those of :class:`nncodec.Codec`. The values may be of any dtype.
    The result is on their device.

    Raises NncodecError for values of another shape or range than :class:`Latents` says.
    """
    codec = codec_for(latents.model, device, named(weights))
    height, width = latents.size
    nothing = np.broadcast_to(np.uint8(0), (height, width, 3))
    header = codec.header(Picture(nothing))
    values = checked(latents, codec, header)
    settings: Sequence[Settings | None] = [None] * len(values)
    if latents.step is not None:
        factors = latents.factors or ((),) * len(values)
        settings = [Settings(latents.step, factors=each) for each in factors]
    decode = partial(decoded, codec.engine, header)
    pictures = stacked(map(decode, values, settings))
    return pictures.to(latents.values.device).float() / 255


def levels(images: Tensor) -> Iterable[Pixels]:
    """The 8-bit levels (H, W, 3) of each image. ImageError unless they are as they must be."""
    if images.ndim != 4 or images.shape[1] != 3 or 0 in images.shape:
        raise ImageError(f"images have the shape (n, 3, H, W), not {tuple(images.shape)}")
    if not images.is_floating_point():
        raise ImageError(f"images are floats in [0, 1], not {images.dtype}")
    least, most = map(float, images.detach().aminmax())
    if not (least >= 0 and most <= 1):  # nor if they are no numbers
        raise ImageError(f"images are in [0, 1], not in [{least:g}, {most:g}]")
    for image in images.detach():
        rounded = (image.float() * 255).round().to(torch.uint8)
        yield rounded.permute(1, 2, 0).contiguous().cpu().numpy()


def decided(
    engine: VariableRate, pixels: Pixels, header: Header, step: int, effort: Effort
) -> Decided:
    """The integers (h, w, C) of a picture and its settings for a step code."""
    latent = engine.transform.analyse(pixels, header, quick=effort.quick)
    return decide(engine.transform, engine.planes, latent, pixels, header, step, effort)


def signs(engine: FixedRate, pixels: Pixels, header: Header) -> NDArray[np.int8]:
    """The ±1 values (h, w, C) of a picture, segment by segment as for a file."""
    rows, columns = header.grid
    side = header.side
    latent = np.empty((rows * side, columns * side, header.channels), np.int8)
    for index in range(header.n_segments):
        tile = header.segment_patches(index)
        found = engine.transform.analyse(pixels, header, tile)
        y, x = tile.row * side, tile.column * side
        latent[y : y + len(found), x : x + found.shape[1]] = np.where(found, 1, -1)
    return latent


def checked(latents: Latents, codec: Codec, header: Header) -> NDArray[np.int32]:
    """The values (n, h, w, C). NncodecError unless they are as the model's must be."""
    rows, columns = header.grid
    fixed_size = rows * header.side, columns * header.side
    size = latent_size(header) if codec.variable else fixed_size
    values, due = latents.values.detach(), (header.channels, *size)
    if values.ndim != 4 or values.shape[1:] != due or not len(values):
        raise NncodecError(
            f"values of {header.model} for {header.height} x {header.width} pixels have the shape"
            f" (n, {due[0]}, {due[1]}, {due[2]}), not {tuple(values.shape)}"
        )
    whole = values.to(torch.int32)
    if codec.variable:
        sound = bool((whole == values).all()) and int(whole.abs().max()) <= LARGEST
        if not sound:
            raise NncodecError(f"values of {header.model} are integers up to {LARGEST}")
        if latents.step is None or not 0 <= latents.step < MAX_STEP:
            raise NncodecError(f"a step code is from 0 to {MAX_STEP - 1}, not {latents.step}")
        if len(latents.factors) not in (0, len(whole)):
            raise NncodecError(f"{len(whole)} pictures have not {len(latents.factors)} filters")
        if not all(len(each) <= WAYS and within_bounds(each) for each in latents.factors):
            raise NncodecError(
                f"a filter has up to {WAYS} factors up to {LARGEST_FACTOR}, the last one not 0"
            )
    elif not bool((values.abs() == 1).all()):
        raise NncodecError(f"values of {header.model} are -1 or 1")
    return whole.permute(0, 2, 3, 1).contiguous().cpu().numpy()


def decoded(
    engine: FixedRate | VariableRate,
    header: Header,
    values: NDArray[np.int32],
    settings: Settings | None,
) -> Pixels:
    """The picture (H, W, 3) of values (h, w, C)."""
    whole = Tile(0, 0, *header.grid)
    if isinstance(engine, VariableRate):
        assert settings is not None
        return engine.pixels(middles(values.astype(np.int16), 0), header, whole, settings)
    paint = partial(engine.transform.synthesise, np.packbits(values > 0, axis=2), header)
    return assemble(header, whole, engine.transform.tile_side, paint)


def stacked(pictures: Iterable[NDArray[np.generic]]) -> Tensor:
    """Arrays (h, w, c) as one tensor (n, c, h, w)."""
    return torch.from_numpy(np.stack(list(pictures))).permute(0, 3, 1, 2).contiguous()
