"""Encoder/decoder pairs: shapes of codes, what is refused, and what a linear pair can do."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from danlu.spec import pairs
from danlu.spec.bottlenecks import FSQ, VQ, Gaussian, Plain
from tests.models.others import build

IMAGES = (3, 8, 8)


@pytest.mark.parametrize(
    ("spec", "shape", "places"),
    [
        (pairs.VectorPair(), (5,), ()),
        (pairs.VectorPair(layers=0), (5, 2), ()),
        (pairs.VectorPair(places=4), (5,), (4,)),
        (pairs.ImagePair(), IMAGES, ()),
        (pairs.ImagePair(flat=False), IMAGES, (4, 4)),
        (pairs.ImagePair(flat=False, scales=(1,)), IMAGES, (8, 8)),
    ],
)
@pytest.mark.parametrize("between", [Gaussian(size=3), VQ(size=3, codes=5), FSQ(levels=(5, 4, 3))])
def test_shapes(spec: pairs.ImagePair, shape: tuple[int, ...], places: tuple[int, ...], between) -> None:
    """The bottleneck says how many numbers a vector has; noise is that of each row's key."""
    x, keys = torch.randn(2, *shape), torch.tensor([5, 9])
    net = build(spec, shape, between)
    passed = net(x, keys)
    assert net.code_shape == (*places, 3)
    assert passed.encoded.shape == (2, *places, net.bottleneck.takes)
    assert passed.bottled.value.shape == (2, *net.code_shape)
    assert passed.decoded.shape == x.shape and passed.nats.shape == (2,)
    torch.testing.assert_close(net(code=passed.bottled.value), passed.decoded)
    torch.testing.assert_close(net(x[1:], keys[1:]).decoded, passed.decoded[1:])


def test_nats_are_those_of_the_decoders_noise() -> None:
    net = build(pairs.VectorPair(), (5,), Plain(size=2), 0.3)
    x = torch.randn(4, 5)
    passed = net(x)
    expected = torch.distributions.Normal(passed.decoded, 0.3).log_prob(x).sum(1)
    torch.testing.assert_close(passed.nats, -expected)


def test_a_grid_keeps_places() -> None:
    """At one scale with one block, three 3 × 3 maps, the code of a place minds pixels up to 3 away; others
    only by way of the norms, which are over the whole image."""
    net = build(pairs.ImagePair(flat=False, scales=(1,)), IMAGES, Plain(size=8))
    x = torch.randn(1, *IMAGES, requires_grad=True)
    (grad,) = torch.autograd.grad(net.encode(x)[0, 0, 0].sum(), x)
    near, far = grad[0, :, :4, :4].abs().mean(), grad[0, :, 4:, 4:].abs().mean()
    assert near > 10 * far


def test_a_linear_pair_is_two_matrices() -> None:
    net = build(pairs.VectorPair(layers=0), (4,), Plain(size=2))
    x = torch.randn(3, 4)
    expected = x @ net.code.weight.T @ net.readout.weight.T  # biases are 0 at the start
    torch.testing.assert_close(net(x).decoded, expected)


@pytest.mark.slow
def test_a_trained_linear_pair_loses_what_principal_components_lose() -> None:
    """Baldi & Hornik 1989: the least squared error is the sum of the eigenvalues that the code leaves out."""
    torch.manual_seed(0)
    scales = torch.tensor([2.0, 1.5, 1.0, 0.5, 0.3])
    data = torch.randn(512, 5) * scales @ torch.linalg.qr(torch.randn(5, 5))[0]
    data = data - data.mean(0)
    net = build(pairs.VectorPair(layers=0), (5,), Plain(size=2))
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    for _ in range(1500):
        loss = (net(data).decoded - data).square().sum(-1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    values = torch.linalg.eigvalsh(data.T @ data / len(data))
    assert loss.item() == pytest.approx(values[:3].sum().item(), rel=1e-3)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="multiples of 2, and images are 7 × 8"):
        build(pairs.ImagePair(), (1, 7, 8))
    with pytest.raises(ValidationError, match="groups = 7 does not divide width = 32"):
        pairs.ImagePair(groups=7)
