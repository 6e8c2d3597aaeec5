"""What the encoder of a variable-rate model decides: the integers of a latent, and the filter."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nncodec.formats.cae import Header
from nncodec.formats.stages import Settings

from .entropy.digits import Latent
from .entropy.planes import PlaneModel
from .rate import Effort
from .refinement import refine
from .transform import Pixels, Progress
from .variable_transform import VariableTransform
from .variation import Variation

MANY = 48  # rounds of refining from which on each pixel tells how well a filter does ...
FEW = 1 << 17  # ... and of a picture of so many always
SAMPLED = 2  # else one of so many along each axis


class Decided(NamedTuple):
    """The integers (h, w, C) of a latent, and the settings of its file."""

    latent: Latent
    settings: Settings


def decide(
    transform: VariableTransform,
    planes: PlaneModel,
    latent: NDArray[np.float32],
    pixels: Pixels,
    header: Header,
    step: int,
    effort: Effort,
    progress: Progress | None = None,
) -> Decided:
    """What is best for a picture whose latent is (h, w, C), as far as an effort goes."""
    chosen = transform.quantise(latent, step)
    if effort.quick:
        return Decided(chosen, Settings(step))
    hasty = effort.rounds < MANY and header.width * header.height > FEW
    stride = SAMPLED if hasty else 1
    variation = Variation(transform, chosen, pixels, header, step, stride)
    if effort.rounds:
        chosen = refine(planes, latent, variation, effort.rounds, progress)
    return Decided(chosen, variation.settings)
