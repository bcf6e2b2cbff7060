"""Networks of (x, t, condition): what they refuse, derivatives in them, and that they learn a field."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from torch.func import jacrev, jvp

from danlu.data.points import Points
from danlu.spec import fields
from danlu.spec import points as sets
from tests.models.others import build


def test_a_class_matters_and_none_is_the_row_without() -> None:
    net = build(fields.PointMLP(width=16), (2,), 3)
    torch.nn.init.normal_(net.blocks[0].modulate.generator.weight)
    x, t = torch.randn(2, 2), torch.tensor(0.3)
    none = net(x, t)
    torch.testing.assert_close(net(x, t, torch.tensor([-1, -1])), none)
    assert not torch.allclose(net(x, t, torch.tensor([0, 2])), none)
    assert torch.allclose(net(x, t), net(x, torch.full((2,), 0.3)))


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="multiples of 4, and images are 8 × 6"):
        build(fields.UNet(), (1, 8, 6))
    with pytest.raises(ValueError, match=r"is for images .*, and the data has \(2,\)"):
        fields.UNet().check_shape((2,))
    with pytest.raises(ValueError, match="patch = 3 does not divide height and width"):
        build(fields.FieldPatches(patch=3), (1, 8, 6))
    with pytest.raises(ValidationError, match=r"heads = 4 does not divide width = 6"):
        fields.FieldPatches(width=6)
    with pytest.raises(ValidationError, match="groups = 5 does not divide width = 32"):
        fields.UNet(groups=5)


@pytest.mark.parametrize(
    "spec",
    [
        fields.PointMLP(width=16),
        fields.UNet(width=8, groups=2),
        fields.FieldPatches(width=8, mixer=fields.Attention(heads=2)),
    ],
    ids=lambda spec: spec.kind,
)
def test_both_ways_of_differentiating_agree(spec: fields.PointMLP | fields.UNet) -> None:
    """The divergence of a likelihood is taken forwards or backwards."""
    torch.manual_seed(0)
    shape = (1, 4, 4)
    net = build(spec, shape).double()
    net.compute = torch.float64
    for parameter in net.parameters():  # nothing is 0
        torch.nn.init.normal_(parameter, std=0.3)
    x, v, t = torch.randn(2, 1, *shape, dtype=torch.float64), torch.randn(1, *shape).double(), 0.5
    x = x[0]

    def f(x: torch.Tensor) -> torch.Tensor:
        return net(x, torch.tensor(t, dtype=torch.float64))

    _, forwards = jvp(f, (x,), (v,))
    backwards = jacrev(f)(x).reshape(16, 16) @ v.flatten()
    torch.testing.assert_close(forwards.flatten(), backwards)


def test_patches_with_shut_gates_read_pixels_where_they_are() -> None:
    """At the start every block is the identity. With a readout that undoes the embedding of a width as large
    as a patch has pixels, and no norm, an image comes back as it was: cut and put together alike."""
    net = build(fields.FieldPatches(width=12, layers=2, patch=2, mixer=fields.Attention(heads=2)), (3, 4, 6))
    eye = torch.eye(12)
    net.embedding.weight.data.copy_(eye), net.readout.weight.data.copy_(eye)
    torch.nn.init.zeros_(net.position.weight)
    net.norm.forward = lambda x, condition: x
    x = torch.randn(2, 3, 4, 6)
    assert torch.equal(net(x, torch.tensor(0.5)), x)


def test_a_unet_sees_far_and_hands_over() -> None:
    """Every output minds every input, although blocks see 3 × 3 pixels; with all blocks and scales below the
    first cut off, what is handed over still reaches the output."""
    torch.manual_seed(0)
    net = build(fields.UNet(width=8, groups=2, init=fields.Init(branch="same")), (1, 8, 8))
    x = torch.randn(1, 1, 8, 8, requires_grad=True)
    (grad,) = torch.autograd.grad(net(x, torch.tensor(0.1))[0, 0, 0, 0], x)
    assert grad.abs().min() > 0
    for conv in [*net.shrink, *net.grow]:
        torch.nn.init.zeros_(conv.weight)
    with torch.no_grad():
        assert not torch.allclose(net(x, torch.tensor(0.1)), net(2 * x, torch.tensor(0.1)))


@pytest.mark.slow
def test_a_point_mlp_learns_the_field_of_eight_gaussians() -> None:
    """Flow matching, 800 updates of 256: at most .15 above the least possible loss, of E[x₁ − x₀ | x], which
    is known for a mixture; a constant field is 16 and more above it."""
    torch.manual_seed(0)
    points, net = Points(sets.EightGaussians()), build(fields.PointMLP(), (2,))
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 800)

    def example(x1: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        x0, t = torch.randn_like(x1), torch.rand(len(x1), 1)
        return (1 - t) * x0 + t * x1, t, x1 - x0

    for step in range(800):
        x, t, target = example(torch.from_numpy(points.rows(0, step, 0, 0, 256)[0]))
        loss = F.mse_loss(net(x, t[:, 0]), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    x, t, target = example(torch.from_numpy(points.fresh(0, 20_000)[0]))
    angles = torch.arange(8) * math.pi / 4
    centres = 4 * torch.stack([angles.cos(), angles.sin()], -1)
    variance = (0.3 * t) ** 2 + (1 - t) ** 2
    weights = (-(x[:, None] - t[..., None] * centres).square().sum(-1) / (2 * variance)).softmax(-1)
    means = centres + (t * 0.09 / variance)[..., None] * (x[:, None] - t[..., None] * centres)
    data = (weights[..., None] * means).sum(1)
    best = (data - x) / (1 - t)
    with torch.no_grad():
        excess = (net(x, t[:, 0]) - target).square().sum(-1) - (best - target).square().sum(-1)
    assert excess.mean() <= 0.15
