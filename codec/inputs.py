"""What the library takes as an image, and as a .cae file."""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nncodec.formats.files import StrPath
from nncodec.formats.images import Picture, from_array, from_pil, read_image

ImageSource = Image.Image | StrPath | BinaryIO | bytes | NDArray[np.uint8]
CaeSource = bytes | StrPath | BinaryIO


def to_picture(image: ImageSource) -> Picture:
    """Any image that the library takes, as a Picture. Raises ImageError."""
    if isinstance(image, Image.Image):
        return from_pil(image)
    if isinstance(image, np.ndarray):
        return from_array(image)
    return read_image(image)


@contextmanager
def opened(data: CaeSource) -> Iterator[BinaryIO]:
    """A binary stream over bytes or a path; a stream is passed on."""
    if isinstance(data, bytes | bytearray | memoryview):
        yield io.BytesIO(data)
    elif isinstance(data, str | os.PathLike):
        with open(data, "rb") as file:
            yield file
    else:
        yield data
