"""Bounds and information against enumeration, quadrature and a table."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Normal

from danlu.nn.bottlenecks import importance_bound, information, kl_categorical, kl_to_standard

# z ~ N(0, 1), x|z ~ N(z, 1), x = 1: ln p(x) = ln N(1; 0, 2), posterior N(½, ½)
EVIDENCE = float(Normal(0.0, math.sqrt(2)).log_prob(torch.tensor(1.0)))


@pytest.mark.parametrize(
    ("k", "expected"), [(1, -1.9189), (2, -1.653), (5, -1.557), (10, -1.535), (100, -1.518)]
)
def test_the_table_of_the_importance_bound(k, expected):
    """q is the prior, so that a weight is N(1; z, 1). 400,000 weights or 8,000 bounds; ±0.002 of the table,
    and three standard errors."""
    draw = torch.Generator().manual_seed(k)
    z = torch.randn(k, max(8000, 400_000 // k), generator=draw, dtype=torch.float64)
    bound = importance_bound(Normal(z, 1.0).log_prob(torch.tensor(1.0)))
    error = float(bound.std()) / math.sqrt(bound.numel())
    assert abs(float(bound.mean()) - expected) < 0.002 + 3 * error
    assert float(bound.mean()) < EVIDENCE + 3 * error


def test_with_the_exact_posterior_every_bound_is_the_evidence():
    z = 0.5 + math.sqrt(0.5) * torch.randn(7, 50, dtype=torch.float64)
    posterior = Normal(torch.tensor(0.5).double(), torch.tensor(0.5).double().sqrt())
    joint = Normal(0.0, 1.0).log_prob(z) + Normal(z, 1.0).log_prob(torch.tensor(1.0))
    for k in (1, 2, 7):
        bound = importance_bound((joint - posterior.log_prob(z))[:k])
        torch.testing.assert_close(bound, torch.full((50,), EVIDENCE).double(), rtol=0, atol=1e-6)


def discrete(seed=0, x=3, z=4):
    """p̃(x), p(z|x), q(z), q(x|z): logarithms, at random."""
    draw = torch.Generator().manual_seed(seed)
    tables = [(x,), (x, z), (z,), (z, x)]
    return [torch.randn(t, generator=draw, dtype=torch.float64).log_softmax(-1) for t in tables]


def test_the_joint_divergence_is_the_bound_and_the_entropy():
    """KL(p̃(x)p(z|x)‖q(z)q(x|z)) = −mean ELBO − H(p̃), and = E KL(p(z|x)‖q(z)) − E ln q(x|z)/p̃(x)."""
    px, encoder, prior, decoder = discrete()
    joint = px[:, None] + encoder
    whole = kl_categorical(joint.flatten(), (prior + decoder.T).flatten())
    # the ELBO of x by enumeration of z: the mean of the one-draw importance bound
    weights = prior + decoder.T - encoder
    elbo = (encoder.exp() * importance_bound(weights[None])).sum(-1)
    entropy = -(px.exp() * px).sum()
    torch.testing.assert_close(whole, -(px.exp() * elbo).sum() - entropy)
    rate = (px.exp() * kl_categorical(encoder, prior)).sum()
    fit = (joint.exp() * (decoder.T - px[:, None])).sum()
    torch.testing.assert_close(whole, rate - fit)


def test_the_rate_exceeds_the_information_by_the_divergence_of_the_marginal():
    """E KL(p(z|x)‖q(z)) = I(X; Z) + KL(p(z)‖q(z)): the variational bottleneck pays the last for nothing."""
    px, encoder, prior, _ = discrete(1)
    marginal = (px[:, None] + encoder).logsumexp(0)
    rate = (px.exp() * kl_categorical(encoder, prior)).sum()
    exact = (px.exp() * kl_categorical(encoder, marginal)).sum()
    torch.testing.assert_close(rate, exact + kl_categorical(marginal, prior))
    assert rate > exact > 0


def test_categories_that_cannot_be_add_nothing():
    log_p = torch.tensor([0.5, 0.5, 0.0]).log().requires_grad_()
    kl = kl_categorical(log_p, torch.tensor([0.25, 0.75, 0.0]).log())
    assert kl.item() == pytest.approx(0.5 * math.log(2) + 0.5 * math.log(2 / 3))
    (grad,) = torch.autograd.grad(kl, log_p)
    assert grad.isfinite().all()


def test_information_of_two_examples_by_quadrature():
    """One latent number, q = N(±1, ½²): I = ∫ Σ ½ q_i ln q_i/q̄, on a fine grid; and from 2,000
    examples of these two kinds."""
    mean, deviation = torch.tensor([[-1.0], [1.0]]).double(), 0.5
    grid = torch.linspace(-8, 8, 20_001, dtype=torch.float64)
    q = Normal(mean, deviation).log_prob(grid)
    marginal = q.logsumexp(0) - math.log(2)
    exact = float(torch.trapezoid(0.5 * (q.exp() * (q - marginal)).sum(0), grid))
    n = 2000
    means = mean.repeat(n // 2, 1)
    log_variance = torch.full_like(means, 2 * math.log(deviation))
    z = means + deviation * torch.randn(n, 1, dtype=torch.float64)
    found = information(means, log_variance, z, rows=700)
    terms = Normal(means, deviation).log_prob(z) - (Normal(mean.T, deviation).log_prob(z)).logsumexp(-1, True)
    error = float(terms.std()) / math.sqrt(n)
    assert abs(found.information - exact) < 4 * error
    assert found.rate == pytest.approx(float(kl_to_standard(means, log_variance).sum(-1).mean()))


def test_the_rate_is_information_and_aggregate():
    """Exactly, where each draw's ln q(z|x)/p(z) is its expectation; here within four standard errors."""
    n, size = 500, 3
    mean, log_variance = torch.randn(n, size).double(), -1 + 0.3 * torch.randn(n, size).double()
    z = mean + (0.5 * log_variance).exp() * torch.randn(n, size).double()
    found = information(mean, log_variance, z)
    terms = (Normal(mean, (0.5 * log_variance).exp()).log_prob(z) - Normal(0.0, 1.0).log_prob(z)).sum(-1)
    assert abs(found.information + found.aggregate - float(terms.mean())) < 1e-9
    assert abs(found.information + found.aggregate - found.rate) < 4 * float(terms.std()) / math.sqrt(n)


def test_information_has_a_cap_and_a_floor():
    """Far apart, n examples are told apart wholly: ln n; all alike: 0. Distances of 10⁵ deviations cost ten
    of float64's sixteen digits."""
    n = 64
    far = 1e3 * torch.arange(n, dtype=torch.float64)[:, None]
    zeros = torch.zeros_like(far)
    found = information(far, zeros, far + torch.randn(n, 1).double())
    assert found.information == pytest.approx(math.log(n), abs=1e-6)
    assert found.cap == math.log(n)
    assert information(zeros, zeros, torch.randn(n, 1)).information == pytest.approx(0, abs=1e-12)
    for seed in range(20):
        draw = torch.Generator().manual_seed(seed)
        mean = 10**seed**0.5 * torch.randn(n, 2, generator=draw).double()
        got = information(mean, torch.zeros_like(mean), mean + torch.randn(n, 2, generator=draw).double())
        assert got.information <= got.cap + 1e-9
