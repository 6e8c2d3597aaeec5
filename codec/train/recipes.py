"""Which recipe makes what."""

from typing import Any

from nncodec.formats.errors import UnknownModel
from nncodec.models.bitplane import BITPLANE
from nncodec.models.cae import SPECS

from .bitplane import TransformRecipe
from .cae import CaeRecipe
from .context import ContextRecipe
from .loop import Recipe
from .planes import PlanesRecipe


def recipe_for(model: str, context: bool) -> type[Recipe[Any]]:
    """The recipe of a model's network, or of the context model of what that makes.

    Raises UnknownModel.
    """
    if model == BITPLANE:
        return PlanesRecipe if context else TransformRecipe
    if model in SPECS:
        return ContextRecipe if context else CaeRecipe
    raise UnknownModel(f"no network {model!r}; known are {', '.join([*SPECS, BITPLANE])}")
