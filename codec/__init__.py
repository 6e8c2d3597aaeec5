"""nncodec: a neural image codec.

>>> import nncodec
>>> data = nncodec.compress("photo.png")      # the content of a .cae file
>>> image = nncodec.decompress(data)          # a Pillow image
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = [
    "CaeError",
    "CaeFile",
    "Codec",
    "ImageError",
    "Latents",
    "NncodecError",
    "compress",
    "decode_latents",
    "decompress",
    "encode_latents",
    "open",
    "register_cae_opener",
]

if TYPE_CHECKING:
    from .api import Codec, compress, decompress
    from .cae_file import CaeFile, open
    from .formats.errors import CaeError, ImageError, NncodecError
    from .latents import Latents, decode_latents, encode_latents
    from .pillow import register_cae_opener

_HOMES = {
    "CaeFile": "cae_file",
    "Codec": "api",
    "Latents": "latents",
    "compress": "api",
    "decode_latents": "latents",
    "decompress": "api",
    "encode_latents": "latents",
    "open": "cae_file",
    "register_cae_opener": "pillow",
}


def __getattr__(name: str) -> Any:
    """Import the public names when they are first used: torch takes its time."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    module = import_module(f"{__name__}.{_HOMES.get(name, 'formats.errors')}")
    return getattr(module, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
