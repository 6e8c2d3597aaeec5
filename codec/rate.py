"""Rate control for the fixed-rate models: the best one whose file stays under a rate."""

import io
from collections.abc import Callable, Collection

from nncodec.formats.bits import Entropy
from nncodec.formats.errors import NncodecError
from nncodec.formats.images import Picture
from nncodec.weights import Entry, manifest

from .api import METADATA, Codec
from .models.cae import PATCH

# Entropy coding takes little off the bits of a photograph: a model with more than this many times
# the rate asked for is not tried, since its file would fit for empty images only.
HOPELESS = 4


def compress_under(
    picture: Picture,
    max_bpp: float,
    codec_for: Callable[[str], Codec],
    *,
    entropy: Entropy = "auto",
    metadata: Collection[str] = METADATA,
) -> tuple[bytes, str]:
    """Return the file with the best model that stays under ``max_bpp``, and the model's id.

    The rate is that of the whole file: bytes * 8 / pixels of the image. Models are tried from the
    best (by PSNR on the Kodak images) down. NncodecError if even the smallest file is too large.
    """
    height, width = picture.pixels.shape[:2]
    rates = []
    for entry in sorted(manifest().values(), key=quality, reverse=True):
        if nominal_bpp(entry) > HOPELESS * max_bpp:
            continue
        file = io.BytesIO()
        codec_for(entry.id).compress_to(picture, file, entropy=entropy, metadata=metadata)
        rates.append(len(file.getbuffer()) * 8 / (width * height))
        if rates[-1] <= max_bpp:
            return file.getvalue(), entry.id
    least = f"; the smallest file takes {min(rates):.4g}" if rates else ""
    raise NncodecError(f"no model stays under {max_bpp:g} bits per pixel{least}")


def nominal_bpp(entry: Entry) -> float:
    """Bits per pixel of a full patch, before entropy coding and container."""
    return entry.channels * entry.side**2 / PATCH**2


def quality(entry: Entry) -> float:
    """What orders the models; the rate stands in for a PSNR that was not measured."""
    return entry.kodak.get("psnr", nominal_bpp(entry))
