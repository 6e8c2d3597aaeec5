"""The networks: shapes, sizes and cost as published; binarization as in the paper."""

import pytest
import torch
from torch import nn

from nncodec.models.binarize import binarize, stochastic_binarize
from nncodec.models.cae import PATCH, SPECS, Cae

# Parameters, kMAC per pixel of the whole network and of the decoder alone.
PUBLISHED = {
    "cae_16x8x8_zero_pad_bin": (2_181_187, 96, 54, 0.0625),
    "cae_16x8x8_refl_pad_bin": (2_181_187, 96, 54, 0.0625),
    "cae_16x16x16_zero_pad_bin": (2_181_187, 139, 69, 0.25),
    "cae_32x32x32_zero_pad_bin": (2_241_859, 353, 277, 2.0),
}


def multiplications(network: Cae) -> dict[str, int]:
    """Multiply-accumulates for one patch, in the encoder and in the decoder."""
    count = {"e": 0, "d": 0}

    def note(name: str) -> object:
        def hook(layer: nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
            if isinstance(layer, nn.ConvTranspose2d):  # every input meets every weight
                places = inputs[0][0, 0].numel()
            else:
                places = output[0, 0].numel()
            count[name[0]] += places * layer.weight.numel()

        return hook

    for name, layer in network.named_modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            layer.register_forward_hook(note(name))
    with torch.inference_mode():
        network(torch.rand(1, 3, PATCH, PATCH))
    return count


@pytest.mark.parametrize("model", SPECS)
def test_size_and_cost_are_those_of_the_publication(model: str) -> None:
    parameters, total, decoder, bpp = PUBLISHED[model]
    network = Cae(SPECS[model])
    assert sum(p.numel() for p in network.parameters()) == parameters
    cost = multiplications(network)
    assert round((cost["e"] + cost["d"]) / PATCH**2 / 1000) == total
    assert round(cost["d"] / PATCH**2 / 1000) == decoder
    assert SPECS[model].bpp == bpp


@pytest.mark.parametrize("model", SPECS)
def test_shapes_and_ranges(model: str) -> None:
    torch.manual_seed(0)
    spec, network = SPECS[model], Cae(SPECS[model])
    with torch.inference_mode():
        bits = network.encode(torch.rand(2, 3, PATCH, PATCH))
        patches = network.decode(bits)
    assert bits.shape == (2, spec.channels, spec.side, spec.side)
    assert set(bits.unique().tolist()) == {-1.0, 1.0}
    assert patches.shape == (2, 3, PATCH, PATCH)
    assert patches.min() >= 0 and patches.max() <= 1


def test_keys_are_those_of_the_published_checkpoints() -> None:
    shapes = {
        k: tuple(v.shape) for k, v in Cae(SPECS["cae_16x8x8_zero_pad_bin"]).state_dict().items()
    }
    assert shapes["e_conv_1.1.weight"] == (64, 3, 5, 5)
    assert shapes["e_conv_2.1.bias"] == (128,)
    assert shapes["e_block_1.1.weight"] == shapes["e_block_3.4.weight"] == (128, 128, 3, 3)
    assert shapes["e_conv_3.1.weight"] == (16, 128, 5, 5)
    assert shapes["d_up_conv_1.0.weight"] == (64, 16, 3, 3)
    assert shapes["d_up_conv_1.3.weight"] == (64, 128, 2, 2)
    assert shapes["d_block_1.1.weight"] == shapes["d_block_3.4.weight"] == (128, 128, 3, 3)
    assert shapes["d_up_conv_2.0.weight"] == (32, 128, 3, 3)
    assert shapes["d_up_conv_2.3.weight"] == (32, 256, 2, 2)
    assert shapes["d_up_conv_3.0.weight"] == (16, 256, 3, 3)
    assert shapes["d_up_conv_3.3.weight"] == (16, 3, 2, 2)
    assert len(shapes) == 42
    large = Cae(SPECS["cae_32x32x32_zero_pad_bin"]).state_dict()
    assert large["e_conv_3.0.weight"].shape == (32, 128, 5, 5)
    assert large["d_up_conv_3.3.weight"].shape == (3, 16, 3, 3)


def reference(network: Cae, patches: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Latent and decoded patches by the table of the publication, every padding on its own."""
    f = nn.functional
    tensors = network.state_dict()
    side = network.spec.side
    mode = "constant" if network.spec.pad == "zeros" else "reflect"

    def pad(x: torch.Tensor, a: int, b: int) -> torch.Tensor:
        return f.pad(x, (a, b, a, b), mode=mode)

    def conv(x: torch.Tensor, name: str, stride: int = 1) -> torch.Tensor:
        return f.conv2d(x, tensors[f"{name}.weight"], tensors[f"{name}.bias"], stride)

    def up(x: torch.Tensor, name: str) -> torch.Tensor:
        return f.conv_transpose2d(x, tensors[f"{name}.weight"], tensors[f"{name}.bias"], 2)

    def leaky(x: torch.Tensor) -> torch.Tensor:
        return torch.where(x > 0, x, 0.01 * x)

    def res(x: torch.Tensor, name: str) -> torch.Tensor:
        hidden = leaky(conv(pad(x, 1, 1), f"{name}.1"))
        return x + conv(pad(hidden, 1, 1), f"{name}.4")

    x = leaky(conv(pad(patches, 1, 2), "e_conv_1.1", 2))
    x = leaky(conv(pad(x, 1, 2), "e_conv_2.1", 2))
    x = res(x, "e_block_1")
    if side == 8:
        x = f.max_pool2d(x, 2)
    x = res(res(x, "e_block_2"), "e_block_3")
    if side == 32:
        latent = conv(f.pad(x, (2, 2, 2, 2)), "e_conv_3.0").tanh()
    else:
        latent = conv(pad(x, 1, 2), "e_conv_3.1", 2).tanh()

    x = torch.where(latent >= 0, 1.0, -1.0)
    x = up(pad(leaky(conv(x, "d_up_conv_1.0")), 1, 1), "d_up_conv_1.3")
    x = res(x, "d_block_1")
    if side == 8:
        x = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
    x = res(res(x, "d_block_2"), "d_block_3")
    x = up(pad(leaky(conv(x, "d_up_conv_2.0")), 1, 1), "d_up_conv_2.3")
    x = leaky(conv(x, "d_up_conv_3.0"))
    if side == 32:
        x = conv(f.pad(x, (2, 2, 2, 2), mode="reflect"), "d_up_conv_3.3")
    else:
        x = up(pad(x, 1, 1), "d_up_conv_3.3")
    return latent, x.tanh().clamp(0, 1)


@pytest.mark.parametrize("model", SPECS)
def test_the_network_is_the_published_one_layer_by_layer(model: str) -> None:
    torch.manual_seed(1)
    network = Cae(SPECS[model])
    patches = torch.rand(1, 3, PATCH, PATCH)
    with torch.inference_mode():
        latent, decoded = reference(network, patches)
        assert torch.allclose(network.analyse(patches), latent, atol=1e-5)
        assert torch.allclose(network.decode(binarize(latent)), decoded, atol=1e-5)


@pytest.mark.parametrize("model", SPECS)
def test_the_blind_border_is_constant_and_no_wider(model: str) -> None:
    torch.manual_seed(2)
    network, border = Cae(SPECS[model]), SPECS[model].blind_border
    with torch.inference_mode():
        patches = network.synthesise(binarize(torch.randn(2, *network_bits(model))))
    differ = (patches[0] - patches[1]).abs().amax(0)  # (128, 128)
    if border:
        assert differ[:border].max() < 1e-6 and differ[:, -border:].max() < 1e-6
    assert differ[border : -border or None, border : -border or None].mean() > 1e-4
    assert differ[border, 16:-16].max() > 1e-6


def network_bits(model: str) -> tuple[int, int, int]:
    spec = SPECS[model]
    return spec.channels, spec.side, spec.side


def test_the_sign_of_zero_is_plus() -> None:
    assert binarize(torch.tensor([-0.5, -0.0, 0.0, 1e-9, 1.0])).tolist() == [-1, 1, 1, 1, 1]


def test_the_mean_of_stochastic_bits_is_the_latent() -> None:
    torch.manual_seed(3)
    latent = torch.linspace(-1, 1, 9)
    n = 40_000
    bits = stochastic_binarize(latent.expand(n, 9))
    assert set(bits.unique().tolist()) <= {-1.0, 1.0}
    # five standard errors of the mean of n values -1 or +1
    assert (bits.mean(0) - latent).abs().max() < 5 / n**0.5
    assert bits[:, 0].eq(-1).all() and bits[:, -1].eq(1).all()


def test_the_gradient_passes_straight_through() -> None:
    latent = torch.linspace(-0.9, 0.9, 7, requires_grad=True)
    weights = torch.arange(7.0)
    for noise in (1.0, 0.3, 0.0):
        latent.grad = None
        (stochastic_binarize(latent, noise) * weights).sum().backward()
        assert latent.grad is not None and torch.equal(latent.grad, weights)


def test_without_noise_stochastic_binarization_is_the_sign() -> None:
    latent = torch.randn(1000)
    assert torch.equal(stochastic_binarize(latent, 0.0), binarize(latent))
