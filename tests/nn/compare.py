"""Comparing a norm with PyTorch's."""

from __future__ import annotations

import torch


def value_and_gradients(f, *inputs):
    """f's value and the gradients of its inputs for one random, fixed output gradient."""
    inputs = [x.detach().clone().requires_grad_() for x in inputs]
    y = f(*inputs)
    weight = torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return [y.detach(), *torch.autograd.grad(y, inputs, weight.to(y.dtype))]


def assert_same(got, expected, **tolerance):
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b, **tolerance)


def randomised(norm):
    for p in norm.parameters():
        torch.nn.init.normal_(p)
    return norm


def as_torchs(ours, theirs):
    """Both in float64 with the same random a and b."""
    ours, theirs = randomised(ours).double(), theirs.double()
    if ours.gain is not None:
        theirs.weight.data.copy_(ours.gain)
    if ours.bias is not None:
        theirs.bias.data.copy_(ours.bias)
    return ours, theirs


def assert_same_to_torch(ours, theirs, layout, x):
    got = value_and_gradients(ours, x)
    assert_same(got, value_and_gradients(layout(theirs), x), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(got[0], layout(theirs)(x), rtol=1e-12, atol=1e-12)
