"""nncodec: a neural image codec.

>>> import nncodec
>>> data = nncodec.compress("photo.png")      # the content of a .cae file
>>> image = nncodec.decompress(data)          # a Pillow image
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = [
    "CaeError",
    "Codec",
    "ImageError",
    "NncodecError",
    "compress",
    "decompress",
    "register_cae_opener",
]

if TYPE_CHECKING:
    from .api import Codec, compress, decompress
    from .formats.errors import CaeError, ImageError, NncodecError
    from .pillow import register_cae_opener

_HOMES = {
    "Codec": "api",
    "compress": "api",
    "decompress": "api",
    "register_cae_opener": "pillow",
}


def __getattr__(name: str) -> Any:
    """Import the public names when they are first used: torch takes its time."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    module = import_module(f"{__name__}.{_HOMES.get(name, 'formats.errors')}")
    return getattr(module, name)
