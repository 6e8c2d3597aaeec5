"""The format as a plugin of Pillow: ``Image.open("photo.cae")``, ``image.save("photo.cae")``.

Opening reads the header and what is before the data, and neither torch nor a network; both are
loaded, once a process, when the pixels are asked for.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import IO, TYPE_CHECKING, Any

from PIL import Image, ImageFile

from nncodec.formats.cae import SIGNATURE, Colour, Header, Reader
from nncodec.formats.chunks import write_all
from nncodec.formats.errors import ImageError, NncodecError
from nncodec.formats.stages import VARIABLE_RATE, Settings

from .rate import quality_of

if TYPE_CHECKING:
    from .api import Codec

MODES = {
    Colour.GREY: "L",
    Colour.GREY_ALPHA: "LA",
    Colour.RGB: "RGB",
    Colour.RGB_ALPHA: "RGBA",
}
EXIF_PREFIX = b"Exif\0\0"

# The quantisation step that is not seen in a reduced picture, in 8-bit levels for each time that it
# is smaller: on photographs at 4 to 16 times, what comes out has some 38 dB.
UNSEEN = 10

_loading = threading.Lock()
_process = os.getpid()


class CaeImageFile(ImageFile.ImageFile):
    """A .cae file, opened by Pillow; ``device`` is where it will be decoded."""

    format = "CAE"
    format_description = "nncodec image"
    _encoded = False  # the pixels are still to be decoded

    def __init__(
        self, fp: Any, filename: str | bytes | None = None, *, device: str = "cpu"
    ) -> None:
        self._device = device
        super().__init__(fp, filename)

    def _open(self) -> None:
        reader = self._reader(ImageFile.LOAD_TRUNCATED_IMAGES)
        self._header = header = reader.header
        self._size = header.width, header.height
        self._mode = MODES[header.colour]
        self._stages = header.planes
        self._encoded = True
        self.info["model"] = header.model
        if header.model in VARIABLE_RATE:
            with told_as(OSError):
                settings = Settings.of(header)
            self.info["quality"] = round(quality_of(settings.step), 1)
            self.info["stages"] = header.planes
        names = {"icc": "icc_profile", "exif": "exif", "xmp": "xmp"}
        for name, content in reader.metadata.items():
            self.info[names[name]] = EXIF_PREFIX + content if name == "exif" else content

    def _reader(self, partial: bool) -> Reader:
        if self.fp is None:
            raise ValueError("Operation on closed image")
        self.fp.seek(0)
        with told_as(OSError):  # how large an image may be, Pillow decides
            return Reader(self.fp, partial=partial)  # type: ignore[arg-type]  # IO[bytes] will do

    def draft(
        self, mode: str | None, size: tuple[int, int] | None
    ) -> tuple[str, tuple[int, int, float, float]] | None:
        """Decode so many of the first stages only as an image reduced to ``size`` needs.

        The image keeps its mode and size. Pillow calls this from ``thumbnail``.
        """
        if not self._encoded or size is None or self._header.model not in VARIABLE_RATE:
            return None
        scale = min(self.width / max(size[0], 1), self.height / max(size[1], 1))
        self._stages = stages_for(self._header, 2 * scale)  # as far as Pillow's thumbnails go on
        return self.mode, (0, 0, self.width, self.height)

    def load(self) -> Any:
        """Decode the pixels, if that is still to be done.

        OSError if the file is damaged, or was made with a model that is not here. With
        ``ImageFile.LOAD_TRUNCATED_IMAGES``, what is lost becomes grey.
        """
        if self._encoded:
            self.im = self._decoded().im
            self._encoded = False
            self.readonly = 0
            if self._exclusive_fp and self._close_exclusive_fp_after_loading and self.fp:
                self.fp.close()
            self.fp = None
        return super().load()

    def _decoded(self) -> Image.Image:
        reader = self._reader(ImageFile.LOAD_TRUNCATED_IMAGES)
        from nncodec.formats.images import to_pil

        from .engine import model_of

        with told_as(OSError):
            codec = loaded(model_of(reader.header), self._device)
            return to_pil(codec.decompress_from(reader, stages=self._stages))

    def verify(self) -> None:
        """Check all checksums and counts; the file is closed then. OSError if it is damaged."""
        reader = self._reader(partial=False)
        with told_as(OSError):
            for _ in reader.segments():
                pass
        super().verify()


def stages_for(header: Header, reduction: float) -> int:
    """How many of a file's first stages show in a picture reduced so many times, from 1 up."""
    stages = header.planes
    if header.model in VARIABLE_RATE:
        settings = Settings.of(header)
        step = settings.step_size * 2**settings.last
        while stages > 1 and step * 2 <= UNSEEN * reduction:
            stages -= 1
            step *= 2
    return stages


def accept(prefix: bytes) -> bool:
    return prefix.startswith(SIGNATURE)


def save(image: Image.Image, fp: IO[bytes], filename: str | bytes) -> None:
    """Write ``image`` as a .cae file, with the options that Pillow passes on.

    These are ``model``, ``device``, ``stages``, ``effort``, ``entropy`` and at most one of
    ``quality``, ``size``, ``bpp`` and ``psnr``, as for :func:`nncodec.compress`; and as in Pillow's
    own formats, ``icc_profile`` (by default that of the image), ``exif`` and ``xmp`` (by default
    none). Raises OSError for a mode that cannot be written, ValueError for options that cannot be
    met.
    """
    from nncodec.formats.images import Metadata, from_pil

    from .rate import MEASURES, Target

    options = image.encoderinfo
    exif = options.get("exif")
    if isinstance(exif, Image.Exif):
        exif = exif.tobytes()
    with told_as(ValueError), told_as(OSError, ImageError):
        target = Target(**{name: options.get(name) for name in (*MEASURES, "stages")})
        codec = loaded(options.get("model"), options.get("device", "cpu"))
        picture = from_pil(image)
        metadata = Metadata(
            icc=options.get("icc_profile", picture.metadata.icc) or None,
            exif=(exif or b"").removeprefix(EXIF_PREFIX) or None,
            xmp=options.get("xmp") or None,
        )
        data = codec.compress_picture(
            replace(picture, metadata=metadata),
            target,
            effort=options.get("effort"),
            entropy=options.get("entropy", "auto"),
        )
    write_all(fp, data)  # type: ignore[arg-type]  # IO[bytes] will do


def loaded(model: str | None, device: str) -> "Codec":
    """The codec for a model, loaded once a process, however many threads ask for it.

    A process that was forked computes with one thread: the others of OpenMP did not come along, and
    it would wait for them without end.
    """
    import torch

    from .api import codec_for

    with _loading:
        if os.getpid() != _process:
            torch.set_num_threads(1)
        return codec_for(model, device)


@contextmanager
def told_as(kind: type[Exception], caught: type[NncodecError] = NncodecError) -> Iterator[None]:
    """Raise what Pillow's users expect in place of our own errors, with the same line of text."""
    try:
        yield
    except caught as error:
        advice = "ImageFile.LOAD_TRUNCATED_IMAGES = True loads what is left"
        raise kind(str(error).replace("try --partial", advice)) from error


def register_cae_opener(device: str = "cpu") -> None:
    """Teach Pillow to open and to save .cae files; those it opens are decoded on ``device``.

    The CPU is the default since images are often loaded by many processes at once, which would each
    take memory on a GPU, and cannot use it at all if they were forked.
    """
    Image.register_open(CaeImageFile.format, partial(CaeImageFile, device=device), accept)
    Image.register_save(CaeImageFile.format, save)
    Image.register_extension(CaeImageFile.format, ".cae")
    Image.register_mime(CaeImageFile.format, "image/x-cae")
