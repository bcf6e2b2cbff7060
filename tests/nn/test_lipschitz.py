"""Lipschitz constants: bounds keep their side, and meet for linear maps; orthonormal layers never stretch."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn as nn
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from danlu.nn import Linear
from danlu.nn.coordinates import Sine
from danlu.nn.feed_forwards import ACTIVATIONS
from danlu.nn.lipschitz import SLOPES, convolution_bound, lower_bound, product, upper_bound
from danlu.nn.orthogonal import GroupSort, OrthogonalLinear, bjorck


def points(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, dtype=torch.float64) * 2 - 1


@pytest.mark.parametrize("name", [name for name in SLOPES if name != "sine"])
def test_slopes_are_the_greatest_of_the_activation(name: str) -> None:
    """On a grid of step 1e-4: none above, and the greatest within 1e-5."""
    x = torch.linspace(-8, 8, 160_001, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(ACTIVATIONS[name](x).sum(), x)
    assert SLOPES[name] - 1e-5 <= slope.abs().max() <= SLOPES[name]


def test_bounds_meet_for_a_linear_net() -> None:
    """One map, and several whose product is known: of orthonormal ones and one other."""
    one = nn.Sequential(Linear(5, 7)).double()
    found = lower_bound(one, points(2, 5), steps=100)
    torch.testing.assert_close(found, torch.full_like(found, upper_bound(one)), rtol=1e-6, atol=0)
    deep = nn.Sequential(OrthogonalLinear(5, 5), Linear(5, 5), OrthogonalLinear(5, 8), GroupSort()).double()
    found = lower_bound(deep, points(2, 5), steps=100)
    torch.testing.assert_close(found, torch.full_like(found, upper_bound(deep)), rtol=1e-6, atol=0)


NETS = {
    "siren": lambda: nn.Sequential(Sine(2, 16, first=True), Sine(16, 16), Linear(16, 3)),
    "relu": lambda: nn.Sequential(Linear(2, 16), nn.ReLU(), Linear(16, 16), nn.ReLU(), Linear(16, 3)),
    "gelu": lambda: nn.Sequential(Linear(2, 16), nn.GELU(), Linear(16, 16), nn.SiLU(), Linear(16, 3)),
    "sort": lambda: nn.Sequential(Linear(2, 16), GroupSort(4), Linear(16, 3), nn.Tanh()),
}


@pytest.mark.parametrize("name", NETS)
@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_lower_is_below_upper(name: str, seed: int) -> None:
    """And the lower one is the norm of the Jacobian, by SVD, once power iteration has converged."""
    torch.manual_seed(seed)
    net, x = NETS[name]().double(), points(6, 2)
    found = lower_bound(net, x, steps=60, seed=seed)
    exact = torch.linalg.matrix_norm(torch.func.vmap(torch.func.jacrev(net))(x), 2)
    assert (found <= exact * (1 + 1e-9)).all() and (found >= exact * 0.97).all()
    assert found.max() <= upper_bound(net)
    assert (lower_bound(net, x, steps=0) <= found * (1 + 1e-9)).all()


def test_a_module_without_a_constant_is_refused() -> None:
    with pytest.raises(ValueError, match="LayerNorm is not known to have a Lipschitz constant"):
        product([nn.Linear(2, 2), nn.LayerNorm(2)])


def dense(conv: nn.Conv2d, side: int) -> torch.Tensor:
    """The matrix of a convolution on images of side × side."""
    inputs = conv.in_channels * side * side
    units = torch.eye(inputs, dtype=torch.float64).view(inputs, conv.in_channels, side, side)
    return (conv(units) - conv(torch.zeros_like(units[:1]))).flatten(1).T


@pytest.mark.parametrize("mode", ["zeros", "circular"])
@pytest.mark.parametrize(("size", "stride"), [(1, 1), (3, 1), (3, 2), (5, 1)])
def test_a_convolution_as_an_operator(mode: str, size: int, stride: int) -> None:
    """Above the singular values of its whole matrix, and close for a large image; what a reshaped kernel
    gives may be far below. The bound is at most 1/cos(π(k − 1)/64) above the endless plane's norm."""
    torch.manual_seed(size)
    conv = nn.Conv2d(2, 3, size, stride, size // 2, padding_mode=mode).double()
    exact = torch.linalg.matrix_norm(dense(conv, 12), 2)
    bound = upper_bound(conv)
    assert exact <= bound * (1 + 1e-12)
    if stride == 1:
        assert bound <= exact * 1.15
    with torch.no_grad():
        conv.weight.fill_(1.0)  # all weights alike: √6·k², of the kernel as a matrix √6·k
    assert upper_bound(conv) == pytest.approx(math.sqrt(6) * size**2, rel=0.06)
    assert upper_bound(conv) >= math.sqrt(6) * size**2 * (1 - 1e-12)
    reshaped = torch.linalg.matrix_norm(conv.weight.detach().flatten(1), 2).item()
    assert reshaped == pytest.approx(math.sqrt(6) * size)


def test_the_bound_of_a_convolution_holds_between_the_frequencies_of_its_grid() -> None:
    """The greatest of a grid twelve times as fine is below; on the grid itself it may be above."""
    torch.manual_seed(4)
    for _ in range(20):
        weight = torch.randn(1, 1, 3, 3, dtype=torch.float64)
        fine = torch.fft.fft2(weight, s=(96, 96)).abs().max()
        assert fine <= convolution_bound(weight, 8)
    with pytest.raises(ValueError, match="too few for a kernel of 5 × 1"):
        convolution_bound(torch.ones(1, 1, 5, 1), 8)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**31), st.integers(0, 6))
def test_bjorck_never_exceeds_one_however_few_the_steps(rows: int, columns: int, seed: int, steps: int):
    random = torch.Generator().manual_seed(seed)
    weight = torch.randn(rows, columns, generator=random, dtype=torch.float64)
    values = torch.linalg.svdvals(bjorck(weight, steps))
    assert values.max() <= 1 + 1e-12


@pytest.mark.parametrize("shape", [(16, 16), (8, 24), (24, 8)])
def test_bjorck_is_orthonormal_and_the_nearest(shape: tuple[int, int]) -> None:
    """Rows or columns to 1e-6; the polar factor UVᵀ, which is the orthonormal matrix nearest to it."""
    weight = torch.randn(shape, dtype=torch.float64)
    q = bjorck(weight, 40)
    gram = q @ q.T if shape[0] <= shape[1] else q.T @ q
    assert (gram - torch.eye(min(shape), dtype=torch.float64)).abs().max() < 1e-6
    u, _, v = torch.linalg.svd(weight, full_matrices=False)
    torch.testing.assert_close(q, u @ v, atol=1e-6, rtol=0)


def test_group_sort_sorts_within_groups() -> None:
    x = torch.tensor([[3.0, 1.0, 0.0, 2.0, -1.0, -2.0]])
    assert GroupSort(2)(x).tolist() == [[1, 3, 0, 2, -2, -1]]
    assert GroupSort(3)(x).tolist() == [[0, 1, 3, -2, -1, 2]]
    with pytest.raises(ValueError, match="group = 4 does not divide the 6 features"):
        GroupSort(4)(x)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), scale=st.floats(0.01, 100))
def test_an_orthonormal_net_is_1_lipschitz(seed: int, scale: float) -> None:
    """|f(x) − f(y)| ≤ |x − y| for any weights and any two points, far or near."""
    torch.manual_seed(seed)
    net = nn.Sequential(
        OrthogonalLinear(3, 8), GroupSort(), OrthogonalLinear(8, 8), GroupSort(4), OrthogonalLinear(8, 2)
    ).double()
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=scale)
    x, y = points(2, 64, 3) * scale
    y[:32] = x[:32] + 1e-3 * (y[:32] - x[:32])
    stretched = torch.linalg.vector_norm(net(x) - net(y), dim=1)
    assert (stretched <= torch.linalg.vector_norm(x - y, dim=1) * (1 + 1e-9)).all()
    assert upper_bound(net) <= 1 + 1e-9


def test_an_orthonormal_layer_counts_what_makes_its_matrix() -> None:
    for inputs, outputs in ((6, 4), (4, 6)):
        layer = OrthogonalLinear(inputs, outputs)
        with FlopCounterMode(display=False) as counter:
            layer(torch.randn(5, inputs))
        assert layer.flops(5) == counter.get_total_flops()
        torch.testing.assert_close(layer.matrix, layer.linear.weight, atol=1e-4, rtol=0)  # it starts as one
        assert layer.matrix.shape == (outputs, inputs)
        x = torch.randn(2, inputs)
        torch.testing.assert_close(layer(x), F.linear(x, layer.matrix, layer.linear.bias))
