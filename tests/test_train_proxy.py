"""The rate that a transform is trained on: what it may know, and what it makes of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from nncodec.entropy.plane_network import chequer
from nncodec.entropy.pyramid import Pyramid, framed, lattices
from nncodec.train.proxy import CASES, Proxy, cases, logistic_bits, surroundings

CHANNELS = 12
HEIGHT, WIDTH = 18, 34  # beyond 16, where positions are predicted from nothing


@pytest.fixture
def proxy() -> Proxy:
    """One with random weights everywhere, to which channels 0, 2 and 5 are means."""
    torch.manual_seed(0)
    made = Proxy(CHANNELS)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    made.means[[0, 2, 5]] = 1
    return made


def test_chances_add_up_to_one() -> None:
    whole = torch.arange(-200.0, 201.0)
    for mean in (0.0, 0.3, -1.7):
        for scale in (0.02, 0.3, 5.0):
            chances = 2 ** -logistic_bits((whole - mean).double(), torch.tensor(scale).double())
            assert float(chances.sum()) == pytest.approx(1, abs=1e-6)
    assert logistic_bits(torch.tensor(1000.0), torch.tensor(0.01)).isfinite()


def test_lattices_are_those_of_the_files() -> None:
    case = cases(HEIGHT, WIDTH)
    first = (case == 0).nonzero().tolist()
    assert first == [[0, 0], [0, 16], [0, 32], [16, 0], [16, 16], [16, 32]]
    field = np.random.default_rng(0).integers(-500, 501, (HEIGHT, WIDTH, 1))
    with torch.autocast("cpu", torch.bfloat16):  # in which such sums would be rounded
        mean, variance = surroundings(torch.from_numpy(field).permute(2, 0, 1)[None].float(), case)
    frame, there = framed(field), framed(np.ones_like(field))
    compared = 0
    for lattice in lattices(HEIGHT, WIDTH):
        told, apart = lattice.means(frame, there, 1)
        places = lattice.places[1:3]
        assert np.array_equal(np.floor(mean[0, 0].numpy()[places] + 0.5), told[..., 0])
        spread = np.square(apart[..., 0, :]).mean(-1)  # from a rounded mean, and 0 beyond edges
        inside = (slice(1, -1), slice(1, -1))
        if lattice.spacing == 1:
            found = variance[0, 0].numpy()[places]
            assert np.allclose(found[inside], spread[inside], atol=0.3)
        compared += told.size
    assert compared == HEIGHT * WIDTH - len(first)


def test_nothing_is_told_by_what_comes_later(proxy: Proxy) -> None:
    """First one colour, then the other, then means, lattice after lattice."""
    noisy = torch.randn(2, CHANNELS, HEIGHT, WIDTH) * 3
    level = torch.tensor([-0.5, 1.5])
    hyper = torch.randn(2, 48, HEIGHT // 2, WIDTH // 2)
    means = proxy.means.bool()[:, None, None]
    case = cases(HEIGHT, WIDTH)
    for phase in range(2):
        second = torch.from_numpy(chequer(HEIGHT, WIDTH, phase))
        turns = [~means & ~second, ~means & second]
        turns += [means & (case == number) for number in range(CASES)]
        assert sum(turns).eq(1).all()

        def told(x: Tensor, phase: int = phase) -> Tensor:
            with torch.inference_mode():
                return torch.stack(proxy.foretold(x, level, hyper, phase))

        before = told(noisy)
        for turn, where in enumerate(turns):
            changed = told(noisy + 5 * where) != before
            later = sum(turns[turn + 1 :], torch.zeros_like(where))
            assert not (changed & ~later.bool()).any()
            # all that is told by others but the last lattice tells something
            assert changed.any() == (turn + 1 < len(turns))


def test_means_are_told_by_those_around(proxy: Proxy) -> None:
    """Without any other knowledge: as a pyramid without slopes."""
    for parameter in proxy.parameters():
        torch.nn.init.zeros_(parameter)
    latent = np.random.default_rng(1).integers(-40, 41, (HEIGHT, WIDTH, CHANNELS)).astype(np.int16)
    means = proxy.means.bool().numpy()
    plain = Pyramid(means, np.array([1], np.int16), np.zeros((2, 2, 3, 13), np.int16))
    left = plain.predicted(latent)
    values = torch.from_numpy(latent).permute(2, 0, 1)[None].float()
    hyper = torch.zeros(1, 48, HEIGHT // 2, WIDTH // 2)
    with torch.inference_mode():
        mean, _ = proxy.foretold(values, torch.zeros(1), hyper, 0)
    found = np.floor(mean[0].permute(1, 2, 0).numpy() + 0.5)
    assert np.array_equal(latent - found, left)


def test_bits_have_slopes(proxy: Proxy) -> None:
    noisy = (torch.randn(2, CHANNELS, 6, 8) * 3).requires_grad_()
    bits = proxy(noisy, torch.tensor([0.0, 1.0]))
    assert bits.shape == (2,) and bool((bits > 0).all())
    bits.sum().backward()  # type: ignore[no-untyped-call]
    assert noisy.grad is not None and bool(noisy.grad.isfinite().all())
    assert all(p.grad is not None and bool(p.grad.any()) for p in proxy.parameters())
