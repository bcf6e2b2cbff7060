"""Categories and bits that are drawn: their laws against exact ones and those of torch.distributions."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats
from torch.distributions import Categorical, RelaxedBernoulli, RelaxedOneHotCategorical, kl_divergence

from danlu.nn.bottlenecks import Binary, Gumbel, concrete_log_density
from danlu.nn.bottlenecks.noise import gumbel, logistic

LOGITS = torch.tensor([0.3, -1.0, 1.2, 0.0])
RARE = 1e-4  # the level of every test here: a seed that fails it is one in ten thousand


def drawn(made, logits, rows, seed=5):
    z = logits.expand(rows, -1)
    return made(z, made.draw(z, torch.Generator().manual_seed(seed)))


def test_noise_is_gumbel_and_logistic():
    u = torch.rand(50_000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert stats.kstest(gumbel(u).numpy(), "gumbel_r").pvalue > RARE
    assert stats.kstest(logistic(u).numpy(), "logistic").pvalue > RARE


def test_noise_is_finite_to_its_ends():
    ends = torch.tensor([0.0, 1 - 2**-53], dtype=torch.float64)
    assert gumbel(ends)[0] == pytest.approx(54 * math.log(2))  # −ln 2⁻⁵⁴
    assert torch.cat((gumbel(ends), logistic(ends))).isfinite().all()
    short = torch.tensor([0.0, 1 - 2**-24])
    assert torch.cat((gumbel(short), logistic(short))).isfinite().all()


def test_a_draw_is_a_category():
    n = 100_000
    codes = drawn(Gumbel(groups=1, codes=4), LOGITS, n).codes
    counts = torch.bincount(codes.flatten(), minlength=4)
    assert stats.chisquare(counts, n * LOGITS.double().softmax(-1)).pvalue > RARE


def test_groups_are_drawn_independently():
    n = 40_000
    codes = drawn(Gumbel(groups=2, codes=2), torch.tensor([0.0, 1.0, 0.5, 0.0]), n).codes
    table = torch.bincount(codes[:, 0] * 2 + codes[:, 1], minlength=4).view(2, 2)
    assert stats.chi2_contingency(table).pvalue > RARE


def test_bits_have_their_probabilities():
    n = 100_000
    codes = drawn(Binary(size=4), LOGITS, n).codes
    for count, p in zip(codes.sum(0).tolist(), LOGITS.double().sigmoid().tolist(), strict=True):
        assert stats.binomtest(count, n, p).pvalue > RARE


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_hard_values_are_exact(dtype):
    """Zeros and ones to the last bit."""
    logits = LOGITS.detach().clone().to(dtype).requires_grad_()
    for made in (Gumbel(groups=1, codes=4), Gumbel(groups=1, codes=4, estimator="straight-through")):
        out = drawn(made, logits, 5000)
        assert torch.equal(out.value.detach(), made.look_up(out.codes).to(dtype))
    out = drawn(Binary(size=4), logits, 5000)
    assert set(out.value.detach().unique().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("tau", [0.3, 1.0, 2.5])
def test_gradients_by_estimator(tau):
    """Hard has the gradient of the relaxed vector of the same noise, straight-through that of π."""
    weights = torch.randn(6, 4, dtype=torch.float64)

    def gradient(estimator):
        logits = LOGITS.double().expand(6, -1).clone().requires_grad_()
        made = Gumbel(groups=1, codes=4, temperature=tau, estimator=estimator)
        value = made(logits, made.draw(logits, torch.Generator().manual_seed(2))).value
        return value, torch.autograd.grad((value * weights).sum(), logits)[0]

    soft, expected = gradient("soft")
    hard, got = gradient("hard")
    assert torch.equal(got, expected)
    assert torch.equal(hard.argmax(-1), soft.argmax(-1))
    pi = LOGITS.double().softmax(-1)
    torch.testing.assert_close(gradient("straight-through")[1], pi * (weights - (weights @ pi)[:, None]))


@pytest.mark.parametrize("tau", [0.2, 1.0, 3.0])
@pytest.mark.parametrize("n", [2, 4, 7])
def test_density_is_that_of_torch(tau, n):
    logits = torch.randn(n, dtype=torch.float64)
    x = torch.rand(30, n, dtype=torch.float64).add(0.05)
    x = x / x.sum(-1, keepdim=True)
    theirs = RelaxedOneHotCategorical(torch.tensor(tau, dtype=torch.float64), logits=logits).log_prob(x)
    torch.testing.assert_close(concrete_log_density(x.log(), logits, tau), theirs, rtol=1e-9, atol=1e-9)
    moved = concrete_log_density(x.log(), logits + 3, tau)  # logits are known up to a constant
    torch.testing.assert_close(moved, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("tau", [0.4, 1.0, 2.0])
def test_relaxed_vectors_have_the_density(tau):
    """Against draws of torch, coordinate by coordinate, and against 1 = E of the ratio of two densities."""
    n = 20_000
    soft = drawn(Gumbel(groups=1, codes=4, temperature=tau, estimator="soft"), LOGITS.double(), n).value
    torch.manual_seed(11)
    theirs = RelaxedOneHotCategorical(torch.tensor(tau, dtype=torch.float64), logits=LOGITS.double()).sample(
        (n,)
    )
    for k in range(4):
        assert stats.ks_2samp(soft[:, k].numpy(), theirs[:, k].numpy()).pvalue > RARE
    log_x = soft.clamp(min=1e-300).log()
    other = concrete_log_density(log_x, 0.8 * LOGITS.double(), tau)
    ratio = (other - concrete_log_density(log_x, LOGITS.double(), tau)).exp()
    assert abs(float(ratio.mean()) - 1) < 4 * float(ratio.std()) / math.sqrt(n)


def test_two_categories_are_a_bit():
    """x₁ of two relaxed categories has the law of the relaxed bit with the difference of logits, and
    P(x < c) = σ(τ·ln(c/(1 − c)) − logit) in closed form."""
    logit, tau, n = 0.7, 0.6, 20_000
    bit = drawn(Binary(size=1, temperature=tau, estimator="soft"), torch.tensor([logit]).double(), n).value
    two = drawn(
        Gumbel(groups=1, codes=2, temperature=tau, estimator="soft"), torch.tensor([0.0, logit]).double(), n
    ).value

    def below(c):
        return 1 / (1 + ((1 - c) / c) ** tau * math.exp(logit))

    for x in (bit[:, 0], two[:, 1]):
        assert stats.kstest(x.numpy(), below).pvalue > RARE
    theirs = RelaxedBernoulli(torch.tensor(tau), logits=torch.tensor(logit)).sample((n,))
    assert stats.kstest(theirs.double().numpy(), below).pvalue > RARE


def test_kl_is_that_of_the_categories():
    logits = torch.randn(9, 6, dtype=torch.float64)
    out = Gumbel(groups=2, codes=3, beta=0.7)(logits)
    q = Categorical(logits=logits.view(9, 2, 3))
    expected = kl_divergence(q, Categorical(logits=torch.zeros(9, 2, 3).double()))
    torch.testing.assert_close(out.kl, expected)
    torch.testing.assert_close(out.penalty, 0.7 * expected.sum(-1).mean())
    bits = Binary(size=6)(logits)
    both = torch.stack((logits, torch.zeros_like(logits)), -1)
    expected = kl_divergence(Categorical(logits=both), Categorical(logits=torch.zeros_like(both)))
    torch.testing.assert_close(bits.kl, expected)


def test_kl_of_categories_is_no_bound_for_relaxed_vectors():
    """KL of the relaxed vectors against that prior's: between the uniform and nearly sure categories, it is
    above KL of the categories, ≤ ln n (here by far more than four standard errors)."""
    logits, tau, n = torch.tensor([6.0, 0.0, 0.0, 0.0]).double(), 0.5, 20_000
    soft = drawn(Gumbel(groups=1, codes=4, temperature=tau, estimator="soft"), logits, n).value
    log_x = soft.clamp(min=1e-300).log()
    terms = concrete_log_density(log_x, logits, tau) - concrete_log_density(log_x, 0 * logits, tau)
    assert float(terms.mean()) - 4 * float(terms.std()) / math.sqrt(n) > math.log(4)


def test_without_noise_the_most_likely():
    made = Gumbel(groups=1, codes=4, estimator="soft", temperature=0.5)
    torch.testing.assert_close(made(LOGITS).value, (LOGITS / 0.5).softmax(-1))
    for tau in (2.0, torch.tensor(2.0)):
        torch.testing.assert_close(made(LOGITS, temperature=tau).value, (LOGITS / 2).softmax(-1))
    assert Binary(size=4)(LOGITS).codes.tolist() == [1, 0, 1, 0]
