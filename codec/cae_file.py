"""A .cae file to look at, and to decode in parts: ``nncodec.open("photo.cae")``.

Opening reads the header and what is before the data, and neither torch nor a network; both are
loaded, once a process, when something is decoded.
"""

import io
from contextlib import AbstractContextManager, ExitStack
from functools import partial as bound
from typing import Any

from PIL import Image

from nncodec.formats.cae import Reader
from nncodec.formats.errors import CaeError
from nncodec.formats.files import StrPath
from nncodec.formats.images import MAX_PIXELS, to_pil
from nncodec.formats.stages import VARIABLE_RATE, Settings

from .inputs import CaeSource, opened
from .pillow import MODES
from .rate import quality_of


class CaeFile(AbstractContextManager["CaeFile"]):
    """An open .cae file; made by :func:`nncodec.open`, closed by ``with`` or :meth:`close`.

    ``size`` is (width, height) in pixels; ``mode`` that of the decoded image, L, LA, RGB or RGBA;
    ``model`` the id of the model that it was made with; ``stages`` in how many it is sent, from
    coarse to fine; ``metadata`` has those of "icc", "exif" and "xmp" that there are, as bytes;
    ``errors`` what was damaged, of a file opened with ``partial``, as far as has been read.
    """

    def __init__(
        self,
        source: CaeSource,
        *,
        device: str = "auto",
        weights: StrPath | None = None,
        partial: bool = False,
        max_pixels: int | None = MAX_PIXELS,
    ) -> None:
        with ExitStack() as stack:
            file = stack.enter_context(opened(source))
            self._file = file if file.seekable() else io.BytesIO(file.read())
            self._begin = self._file.tell()
            self._length = self._file.seek(0, io.SEEK_END) - self._begin
            self._read = bound(Reader, partial=partial, max_pixels=max_pixels)
            reader = self._reader()
            self._closing = stack.pop_all()
        self._device, self._weights = device, weights
        self._header = header = reader.header
        self.size: tuple[int, int] = (header.width, header.height)
        self.mode: str = MODES[header.colour]
        self.model: str = header.model
        self.stages: int = header.planes
        self.metadata: dict[str, bytes] = reader.metadata
        self.errors: list[CaeError] = reader.errors

    @property
    def info(self) -> dict[str, Any]:
        """More about the file, by name.

        "bytes" and "bpp", its size and bits per pixel; "depth", bits of the samples before it was
        made; "weights", the fingerprint of those that it was made with; "quality" from 0 to 100,
        "step", the quantisation step in 8-bit levels (both None if the model has one rate).
        """
        header, width, height = self._header, *self.size
        settings = Settings.of(header) if header.model in VARIABLE_RATE else None
        return {
            "bytes": self._length,
            "bpp": 8 * self._length / (width * height),
            "depth": header.depth,
            "weights": header.fingerprint.hex(),
            "quality": settings and round(quality_of(settings.step), 1),
            "step": settings and settings.step_size,
        }

    def decode(
        self,
        *,
        region: tuple[int, int, int, int] | None = None,
        stages: int | None = None,
        smooth: int | None = None,
    ) -> Image.Image:
        """Decode the picture, as often as is wanted, to an image of mode ``mode``.

        ``region`` is the part (x, y, width, height) that is wanted (None: all), in pixels; only
        what it takes is read and decoded. Of the stages the first ``stages`` are decoded (None:
        all), to the same picture at a lower quality. ``smooth`` is the window across the seams in
        pixels (None: the default, 0: off). Of a ``partial`` file, what is lost becomes grey.

        Raises CaeError if the file is damaged, ModelMismatch if its weights are not here, and
        NncodecError for a region that is not inside.
        """
        from .api import codec_for, named
        from .engine import model_of

        codec = codec_for(model_of(self._header, self._weights), self._device, named(self._weights))
        reader = self._reader()
        self.errors = reader.errors
        picture = codec.decompress_from(reader, region=region, stages=stages, smooth=smooth)
        return to_pil(picture)

    def close(self) -> None:
        """Close the file, if it was opened here: a stream that was given stays open."""
        self._closing.close()

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<CaeFile {self.size[0]}x{self.size[1]} {self.mode} {self.model}>"

    def _reader(self) -> Reader:
        self._file.seek(self._begin)
        return self._read(self._file)


def open(
    source: CaeSource,
    *,
    device: str = "auto",
    weights: StrPath | None = None,
    partial: bool = False,
    max_pixels: int | None = MAX_PIXELS,
) -> CaeFile:
    """Open the .cae file ``source``: a path, a file's content, or a binary stream.

    It will be decoded on ``device`` ("auto", "cpu", "cuda[:n]" or "mps") with the shipped weights
    that its header names, or those in the safetensors file ``weights``. With ``partial``, damage
    behind the header raises nothing: what is sound is decoded, the rest is told in ``errors``. Of
    more than ``max_pixels`` pixels (None: no limit) it is refused.

    Raises CaeError if it is no .cae file or cannot be read; OSError if a path cannot be opened.
    """
    return CaeFile(source, device=device, weights=weights, partial=partial, max_pixels=max_pixels)
