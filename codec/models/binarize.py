"""Binarization: from a latent in [-1, 1] to bits, values -1 and +1.

Training binarizes stochastically (Williams 1992; Raiko et al. 2015; Toderici et al. 2015, section
3.1): b(e) = +1 with probability (1 + e) / 2, else -1, so that E[b(e)] = e, and the gradient of b
with respect to e is taken to be 1 ("straight through"). Inference takes the sign.
"""

import torch
from torch import Tensor


def binarize(latent: Tensor) -> Tensor:
    """Return the sign of ``latent`` (any shape) as -1.0 or +1.0; the sign of 0 is +1."""
    return torch.where(latent >= 0, 1.0, -1.0).to(latent.dtype)


def stochastic_binarize(latent: Tensor, noise: float = 1.0) -> Tensor:
    """Return random bits with mean ``latent``; the gradient passes straight through.

    ``latent`` has any shape and values in [-1, 1]. ``noise`` in [0, 1] narrows the uniform noise
    that the sign is taken of: 1 is the stochastic binarization of the paper, 0 is
    :func:`binarize`; training may anneal it from the one to the other.
    """
    uniform = torch.empty_like(latent).uniform_(-noise, noise)
    bits = binarize(latent.detach() + uniform)
    return latent + (bits - latent.detach())
