"""Sparsity of second derivatives, the step upwards, the gradient's noise."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from danlu.curvature import Hessian, ascent, noise_from_norms, noise_of, sparsity

DRAW = torch.Generator().manual_seed(0)


def zeros(activation: type[nn.Module], examples: int, *, of_loss: bool, whole: bool = False) -> float:
    """The share of exact zeros of an MLP 6-8-8-4, from a third of the columns, or from all."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(6, 8), activation(), nn.Linear(8, 8), activation(), nn.Linear(8, 4)
    ).double()
    x, y = torch.randn(examples, 6, dtype=torch.float64), torch.arange(examples) % 4

    def function() -> Tensor:
        z = model(x)
        return F.cross_entropy(z, y) if of_loss else z[:, 1].sum()

    parameters = list(model.parameters())
    product = Hessian(parameters, [function])
    sizes = [sum(p.numel() for p in layer.parameters()) for layer in model if isinstance(layer, nn.Linear)]
    groups = torch.arange(product.size).split(sizes)
    like = torch.zeros(product.size, dtype=torch.float64)
    draw = torch.Generator().manual_seed(1)
    found = sparsity(product, groups, like=like, columns=1000 if whole else 8, generator=draw)
    if whole:
        matrix = torch.stack([product(unit) for unit in torch.eye(product.size, dtype=torch.float64)])
        assert found.whole == pytest.approx(float((matrix == 0).double().mean()))
        corner = matrix[groups[-1]][:, groups[0]]
        assert found.pairs[2][0] == pytest.approx(float((corner == 0).double().mean()))
        inside = sum(float((matrix[g][:, g] == 0).double().sum()) for g in groups)
        assert found.same == pytest.approx(inside / sum(n * n for n in sizes))
    return found.whole


@pytest.mark.slow
def test_second_order_is_sparse_of_logits_not_of_the_loss() -> None:
    """Of one logit of a smooth network what other logits' weights multiply is zero; of a ReLU network what is
    off beside it, and every layer with itself; of the loss nothing, but where a ReLU is off."""
    assert zeros(nn.Tanh, 1, of_loss=False, whole=True) == pytest.approx(0.52, abs=0.01)
    assert zeros(nn.ReLU, 1, of_loss=False, whole=True) > 0.95
    assert 0.1 < zeros(nn.ReLU, 32, of_loss=True, whole=True) < 0.6


def test_structure_of_one_logit_and_density_of_the_loss() -> None:
    assert zeros(nn.GELU, 1, of_loss=False) == pytest.approx(0.52, abs=0.05)
    assert zeros(nn.GELU, 32, of_loss=True) == 0


def test_a_step_upwards() -> None:
    """Of a quadratic: ρ‖g‖ + ½ρ² gᵀHg/gᵀg, and the parameters are as before."""
    matrix = torch.diag(torch.tensor([3.0, 1.0, 0.5], dtype=torch.float64))
    w = torch.tensor([1.0, -2.0, 0.3], dtype=torch.float64, requires_grad=True)
    before = w.detach().clone()
    function = Hessian([w], [lambda: 0.5 * w @ matrix @ w])
    g = matrix @ before
    wanted = 0.1 * g.norm() + 0.5 * 0.01 * (g @ matrix @ g) / (g @ g)
    assert ascent(function, 0.1) == pytest.approx(float(wanted), rel=1e-12)
    assert torch.equal(w.detach(), before)
    flat = torch.zeros(2, requires_grad=True)
    assert ascent(Hessian([flat], [lambda: flat.square().sum()]), 0.1) == 0


def drawn(count: int, batch: int, true: Tensor, spread: Tensor) -> list[Tensor]:
    noise = torch.randn(count, len(true), dtype=torch.float64, generator=DRAW)
    return list(true + noise * (spread / batch).sqrt())


def test_the_noise_of_normal_gradients() -> None:
    """Unbiased |G|² and tr Σ, over 100 draws of 6 batches, within 5 standard errors; both ways."""
    true = torch.tensor([1.0, -0.5, 0.2], dtype=torch.float64)
    spread = torch.tensor([4.0, 1.0, 2.0], dtype=torch.float64)
    curve = torch.tensor([2.0, 5.0, 1.0], dtype=torch.float64)
    found, pairs = [], []
    for _ in range(100):
        batches = drawn(6, 4, true, spread)
        noise = noise_of(batches, 4)
        found.append((noise.squared, noise.trace))
        small = sum(float(g @ g) for g in batches) / 6
        mean = torch.stack(batches).mean(0)
        pairs.append(noise_from_norms(small, 4, float(mean @ mean), 24))
        assert pairs[-1].trace == pytest.approx(noise.trace) and pairs[-1].squared == pytest.approx(
            noise.squared
        )
    for column, wanted in zip(
        zip(*found, strict=True), (float(true @ true), float(spread.sum())), strict=True
    ):
        values = torch.tensor(column)
        assert abs(values.mean() - wanted) < 5 * values.std() / 100**0.5
    many = noise_of(drawn(1000, 4, true, spread), 4, lambda v: curve * v)
    assert many.scale == pytest.approx(float(spread.sum() / (true @ true)), rel=0.4)
    wanted = float((curve * spread).sum() / (curve * true * true).sum())
    assert many.curved == pytest.approx(wanted, rel=0.4)
    assert abs(many.scale - float(spread.sum() / (true @ true))) < 5 * many.error


def test_where_nothing_is_left_but_noise() -> None:
    g = torch.tensor([1.0, 0.0], dtype=torch.float64)
    assert math.isnan(noise_of([g, -g], 4).scale)
    with pytest.raises(ValueError, match="1 gradient has no spread; give two"):
        noise_of([g], 4)
