"""Which recipe makes what."""

from typing import Any

from nncodec.formats.errors import UnknownModel
from nncodec.models.bitplane import BITPLANE
from nncodec.models.cae import SPECS

from .bitplane import TransformRecipe
from .cae import CaeRecipe
from .context import ContextRecipe
from .loop import Recipe
from .pixel_filter import FilterRecipe
from .planes import PlanesRecipe
from .ways import WaysRecipe

FILTERS: dict[str, type[Recipe[Any]]] = {"filter": FilterRecipe, "ways": WaysRecipe}


def recipe_for(model: str, context: bool, finish: str | None = None) -> type[Recipe[Any]]:
    """The recipe of a model's network, of the context model of what that makes, or its filter's.

    ``finish`` is one of FILTERS, or None. Raises UnknownModel.
    """
    if finish and (context or model != BITPLANE):
        raise UnknownModel(f"only {BITPLANE} has a filter, which is trained after the --context")
    if finish:
        return FILTERS[finish]
    if model == BITPLANE:
        return PlanesRecipe if context else TransformRecipe
    if model in SPECS:
        return ContextRecipe if context else CaeRecipe
    raise UnknownModel(f"no network {model!r}; known are {', '.join([*SPECS, BITPLANE])}")
