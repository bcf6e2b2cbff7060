"""Straight-through and rotation by their definitions, and their corner cases."""

from __future__ import annotations

import pytest
import torch

from danlu.nn.bottlenecks import rotated, straight_through


def pairs(rows=40, size=5):
    z, value = torch.randn(2, rows, size, dtype=torch.float64)
    return z.requires_grad_(), value


def matrix(z, value):
    """λR as it is written in the paper."""
    u, v = z / z.norm(), value / value.norm()
    w = (u + v) / (u + v).norm()
    eye = torch.eye(len(z), dtype=z.dtype)
    return value.norm() / z.norm() * (eye - 2 * torch.outer(w, w) + 2 * torch.outer(v, u))


@pytest.mark.parametrize("estimator", [straight_through, rotated])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_value_is_exact(estimator, dtype):
    """Where z + (value − z) would be rounded: the two differ in size by 10⁴."""
    z = (1e4 * torch.randn(200, 3)).to(dtype).requires_grad_()
    value = torch.randn(200, 3).to(dtype)
    assert torch.equal(estimator(value, z), value)


def test_straight_through_passes_the_gradient_unchanged():
    z, value = pairs()
    grad = torch.randn_like(value)
    assert torch.equal(torch.autograd.grad(straight_through(value, z), z, grad)[0], grad)


def test_rotation_is_its_matrix():
    z, value = pairs()
    grad = torch.randn_like(value)
    (got,) = torch.autograd.grad(rotated(value, z), z, grad)
    for row in range(len(z)):
        scaled = matrix(z[row].detach(), value[row])
        torch.testing.assert_close(got[row], scaled.T @ grad[row], rtol=1e-10, atol=1e-12)
        turn = scaled / (value[row].norm() / z[row].detach().norm())
        torch.testing.assert_close(turn @ turn.T, torch.eye(5).double(), rtol=0, atol=1e-12)
        direction = turn @ z[row].detach() / z[row].detach().norm()
        torch.testing.assert_close(direction, value[row] / value[row].norm(), rtol=0, atol=1e-12)


def test_rotation_keeps_angles_and_scales_lengths():
    z, value = pairs()
    grad = torch.randn_like(value)
    (got,) = torch.autograd.grad(rotated(value, z), z, grad)
    scale = value.norm(dim=-1) / z.detach().norm(dim=-1)
    torch.testing.assert_close(got.norm(dim=-1), scale * grad.norm(dim=-1))
    here = torch.cosine_similarity(got, z.detach(), dim=-1)
    torch.testing.assert_close(here, torch.cosine_similarity(grad, value, dim=-1))


def test_rotation_where_it_has_no_direction():
    z = torch.tensor([[0.0, 0.0], [1.0, 2.0]], requires_grad=True)
    value = torch.tensor([[1.0, 1.0], [0.0, 0.0]])
    grad = torch.tensor([[3.0, 4.0], [5.0, 6.0]])
    got = torch.autograd.grad(rotated(value, z), z, grad)[0]
    assert torch.equal(got, grad)


def test_rotation_of_opposite_vectors_is_a_reflection():
    """R = I − 2ẑẑᵀ: it turns z to −z, and leaves what is across z alone."""
    z = torch.tensor([[2.0, 0.0, 0.0]], requires_grad=True)
    value = torch.tensor([[-1.0, 0.0, 0.0]])
    (got,) = torch.autograd.grad(rotated(value, z), z, torch.tensor([[3.0, 4.0, 5.0]]))
    torch.testing.assert_close(got, torch.tensor([[-1.5, 2.0, 2.5]]))


def test_equal_vectors_are_not_turned():
    z, _ = pairs()
    grad = torch.randn_like(z)
    torch.testing.assert_close(torch.autograd.grad(rotated(z.detach(), z), z, grad)[0], grad)
