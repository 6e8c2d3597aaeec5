"""A closed-form start for the CAEs: a transform codec written into the network.

From random weights these networks need many hours to leave the noise. They need not start there: a
LeakyReLU lets a linear map through as a pair of opposite signs, v = (leaky(v) - leaky(-v)) / 1.01,
so the strided layers can carry principal components; two residual blocks can write a component's
sign and magnitude in binary, because a hidden layer gives any piecewise-linear function; and the
decoder is a chain of least-squares fits, each from the activations that the network really has to
the pixels at the next resolution. What is left over keeps its random weights for training to use.
"""

import torch
from torch import Tensor

from nncodec.models.cae import Cae

from .fitting import weights_of
from .start_decoder import fit_decoder
from .start_encoder import carry_components, write_bits


@torch.no_grad()
def closed_form_start(model: Cae, patches: Tensor) -> list[int]:
    """Write a transform codec into ``model``, fitted on ``patches`` (n, 3, 128, 128) in [0, 1].

    Some 500 patches suffice. Returns the bits that each principal component got.
    """
    for block in (model.e_block_1, model.e_block_2, model.e_block_3):
        weights_of(block, "4")[0].mul_(0.1)
    for block in (model.d_block_1, model.d_block_2, model.d_block_3):
        weights_of(block, "4")[0].mul_(0.1)
    carry_components(model, patches)
    quantizers = write_bits(model, patches)
    fit_decoder(model, patches, quantizers)
    return [q.bits for q in quantizers]
