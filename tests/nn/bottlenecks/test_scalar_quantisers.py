"""FSQ's levels and LFQ's entropies against their definitions."""

from __future__ import annotations

import math

import pytest
import torch

from danlu.nn.bottlenecks import FSQ, LFQ
from danlu.nn.bottlenecks.lfq import entropy_of_each, entropy_of_mean


@pytest.mark.parametrize(
    ("level", "values"),
    [
        (3, [-1, 0, 1]), (5, [-1, -0.5, 0, 0.5, 1]), (8, [-1, -0.75, -0.5, -0.25, 0, 0.25, 0.5, 0.75]),
        (4, [-1, -0.5, 0, 0.5]), (7, [-1, -2 / 3, -1 / 3, 0, 1 / 3, 2 / 3, 1]),
    ],
)  # fmt: skip
def test_levels(level, values):
    """All are reached, in order, with as wide a cell as tanh gives; odd ones are symmetric."""
    made = FSQ(levels=(level,))
    z = torch.linspace(-9, 9, 20_001, dtype=torch.float64)[:, None]
    out = made(z)
    assert out.value.unique().tolist() == pytest.approx(values)
    assert torch.equal(out.codes[:, 0].unique(), torch.arange(level))
    assert (out.value[1:] >= out.value[:-1]).all()
    assert made(torch.zeros(1, 1)).value == 0
    if level % 2:
        torch.testing.assert_close(out.value, -out.value.flip(0))


def test_the_borders_are_where_the_formula_has_them():
    """tanh(z + s)h − o = k + ½ at z = atanh((k + ½ + o)/h) − s; a step on either side of it."""
    for level in (3, 4, 5, 8):
        half, offset = (level - 1) * 1.001 / 2, 0.5 * (level % 2 == 0)
        shift = math.atanh(offset / half)
        for k in range(-(level // 2), level - level // 2 - 1):
            border = math.atanh((k + 0.5 + offset) / half) - shift
            pair = torch.tensor([[border - 1e-9], [border + 1e-9]], dtype=torch.float64)
            assert FSQ(levels=(level,))(pair).codes.flatten().tolist() == [
                k + level // 2,
                k + level // 2 + 1,
            ]


def test_every_code_is_one_vector():
    made = FSQ(levels=(4, 3, 5))
    codes = torch.arange(made.codes)[:, None]
    vectors = made.look_up(codes)
    assert len(vectors.unique(dim=0)) == made.codes == 60
    assert vectors[1, 0] == -0.5  # the first digit is the lowest
    half, offset = torch.tensor([3, 2, 4]) * 1.001 / 2, torch.tensor([0.5, 0, 0])
    z = torch.atanh((vectors * torch.tensor([2, 1, 2]) + offset) / half) - torch.atanh(offset / half)
    assert torch.equal(made(z).codes, codes)


def test_the_gradient_is_that_of_tanh():
    z = torch.randn(9, 2, dtype=torch.float64, requires_grad=True)
    made = FSQ(levels=(5, 8))
    (grad,) = torch.autograd.grad(made(z).value.sum(), z)
    half, offset = torch.tensor([4, 7]).double() * 1.001 / 2, torch.tensor([0, 0.5]).double()
    slope = 1 - torch.tanh(z + torch.atanh(offset / half)).square()
    torch.testing.assert_close(grad, slope * half / torch.tensor([2, 4]))


def table(z, temperature):
    """The softmax over all 2^size codes of −‖z − code‖²/temperature; the first bit the highest."""
    size = z.shape[-1]
    bits = torch.arange(2**size)[:, None] >> torch.arange(size - 1, -1, -1) & 1
    codes = 2 * bits.double() - 1
    return (-(z[:, None] - codes).square().sum(-1) / temperature).softmax(-1)


@pytest.mark.parametrize("temperature", [0.5, 3.0])
def test_entropies_are_those_of_the_table(temperature):
    z = torch.randn(20, 5, dtype=torch.float64)
    p = table(z, temperature)
    torch.testing.assert_close(entropy_of_each(z, temperature), torch.special.entr(p).sum(-1))
    whole = torch.special.entr(p.mean(0)).sum()
    torch.testing.assert_close(entropy_of_mean(z, temperature, 5), whole)
    first, second = table(z[:, :3], temperature).mean(0), table(z[:, 3:], temperature).mean(0)
    parts = torch.special.entr(first).sum() + torch.special.entr(second).sum()
    torch.testing.assert_close(entropy_of_mean(z, temperature, 3), parts)
    assert whole <= parts <= entropy_of_mean(z, temperature, 1) <= 5 * math.log(2) + 1e-12


def test_the_penalty_is_its_formula():
    z = torch.randn(20, 4, dtype=torch.float64)
    made = LFQ(size=4, entropy=0.3, diversity=0.7, temperature=0.8, commitment=0.2)
    p = table(z, 0.8)
    each, mean = torch.special.entr(p).sum(-1).mean(), torch.special.entr(p.mean(0)).sum()
    near = (z.abs() - 1).square().sum(-1).mean()
    torch.testing.assert_close(made(z).penalty, 0.3 * (each - 0.7 * mean) + 0.2 * near)


def test_the_penalty_is_least_for_sure_and_varied_codes():
    """−γ·size·ln 2 where all codes are used alike, each for sure; 0 where all vectors have one."""
    made = LFQ(size=3, commitment=0.0, entropy=1.0)
    every = made.look_up(torch.arange(8)[:, None])
    assert made(every).penalty.item() == pytest.approx(-3 * math.log(2), abs=1e-5)
    assert made(every[:1].expand(8, -1)).penalty.item() == pytest.approx(0, abs=1e-6)


def test_gradients_are_finite_where_probabilities_vanish():
    """At the default temperature most of 1,024 codes have a mean probability of 0."""
    z = torch.randn(16, 10, requires_grad=True)
    (grad,) = torch.autograd.grad(LFQ()(z).penalty, z)
    assert grad.isfinite().all()


def test_the_value_is_the_sign_and_its_gradient_passes():
    z = torch.tensor([[0.3, -2.0, 0.0]], requires_grad=True)
    out = LFQ(size=3)(z)
    assert out.value.tolist() == [[1.0, -1.0, -1.0]]
    assert out.codes.tolist() == [[4]]
    assert torch.autograd.grad(out.value.sum(), z)[0].tolist() == [[1.0, 1.0, 1.0]]
    assert LFQ(size=62)(torch.ones(1, 62)).codes.item() == 2**62 - 1
