"""Gradients of an expectation: exact by enumeration, their biases in closed form, and by draws."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from danlu.nn.bottlenecks import Binary, Gumbel, exact_gradient, leave_one_out, straight_through_moments

LOGITS = torch.tensor([0.4, -0.9, 1.1, 0.0], dtype=torch.float64)
VALUES = torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=torch.float64)
SOLVED = torch.linspace(-60, 60, 240_001, dtype=torch.float64)  # of integrals over logistic noise


def linear(b):
    return b @ VALUES


def curved(b):
    return (b @ VALUES).square() + b.pow(3) @ VALUES


@pytest.mark.parametrize("n", [2, 3, 4])
def test_the_exact_gradient_is_that_of_autograd(n):
    logits = LOGITS[:n].clone().requires_grad_()
    (expected,) = torch.autograd.grad(logits.softmax(-1) @ VALUES[:n], logits)
    torch.testing.assert_close(exact_gradient(LOGITS[:n], VALUES[:n]), expected)


@pytest.mark.parametrize("draws", [2, 3, 4])
def test_leave_one_out_is_unbiased(draws):
    """Exactly: the estimate of each of 3^K outcomes by its probability. And its value is the mean of f."""
    logits = LOGITS[:3].clone().requires_grad_()
    log_pi = logits.log_softmax(-1)
    total = torch.zeros(3).double()
    for outcome in itertools.product(range(3), repeat=draws):
        z = torch.tensor(outcome)
        surrogate = leave_one_out(log_pi[z], VALUES[z])
        assert float(surrogate.detach()) == pytest.approx(float(VALUES[z].mean()))
        (grad,) = torch.autograd.grad(surrogate, logits, retain_graph=True)
        total += log_pi[z].sum().detach().exp() * grad
    torch.testing.assert_close(total, exact_gradient(LOGITS[:3], VALUES[:3]))


def test_leave_one_out_has_less_variance_than_without_baseline():
    """Both unbiased; f = 5 + …, whose mean the baseline takes away. 20,000 pairs of draws."""
    z = torch.multinomial(LOGITS.softmax(-1), 40_000, replacement=True).view(2, -1)
    rows = LOGITS.expand(20_000, -1).clone().requires_grad_()
    log_p = rows.log_softmax(-1)[torch.arange(20_000), z]
    f = 5 + VALUES[z]
    (ours,) = torch.autograd.grad(leave_one_out(log_p, f).sum(), rows, retain_graph=True)
    (plain,) = torch.autograd.grad((log_p * f).mean(0).sum(), rows)
    exact = exact_gradient(LOGITS, VALUES)
    for got in (ours, plain):
        assert ((got.mean(0) - exact).abs() < 4 * got.std(0) / math.sqrt(len(got))).all()
    assert ours.var(0).sum() < 0.5 * plain.var(0).sum()


def test_leave_one_out_lets_the_values_learn_too():
    weight = torch.tensor(2.0, requires_grad=True)
    log_p = torch.zeros(3, requires_grad=True)
    surrogate = leave_one_out(log_p, weight * torch.tensor([1.0, 2.0, 6.0]))
    assert torch.autograd.grad(surrogate, weight)[0] == 3


def test_leave_one_out_needs_others():
    with pytest.raises(ValueError, match="draws = 1"):
        leave_one_out(torch.zeros(1), torch.zeros(1))


def by_draws(made, logits, f, rows, seed=3):
    """Estimates of ∂/∂logit E f, one a row."""
    z = logits.expand(rows, -1).clone().requires_grad_()
    value = made(z, made.draw(z, torch.Generator().manual_seed(seed))).value
    return torch.autograd.grad(f(value).sum(), z)[0]


@pytest.mark.parametrize("n", [2, 3, 4])
@pytest.mark.parametrize("f", [linear, curved])
def test_straight_through_has_the_moments_that_are_stated(n, f):
    """By 40,000 draws: the mean within four standard errors, the variance within a tenth."""
    g = lambda b: f(torch.nn.functional.pad(b, (0, 4 - n)))  # noqa: E731
    moments = straight_through_moments(LOGITS[:n], g)
    made = Gumbel(groups=1, codes=n, estimator="straight-through")
    got = by_draws(made, LOGITS[:n], g, 40_000)
    error = moments.variance.sqrt() / 200
    assert ((got.mean(0) - moments.mean).abs() <= 4 * error + 1e-12).all()
    torch.testing.assert_close(got.var(0), moments.variance, rtol=0.1, atol=1e-12)
    if f is linear:
        assert moments.bias.abs().max() < 1e-12
    else:
        assert moments.bias.abs().max() > 0.1


@pytest.mark.parametrize("c", [-0.3, 0.0, 0.45, 2.0])
@pytest.mark.parametrize("logit", [-1.5, 0.0, 0.8])
def test_the_bias_of_a_square(c, logit):
    """(2p − 1)·dp/dθ, whatever c: of two categories (θ the second logit), and of a bit."""
    theta = torch.tensor(logit, dtype=torch.float64)
    p = theta.sigmoid()
    stated = (2 * p - 1) * p * (1 - p)
    two = straight_through_moments(torch.stack((0 * theta, theta)), lambda b: (b[:, 1] - c).square())
    torch.testing.assert_close(two.bias[1], stated)
    mean = torch.zeros(()).double()
    for outcome, chance in ((1.0, p), (0.0, 1 - p)):
        mean = mean + chance * 2 * (outcome - c) * p * (1 - p)
    exact = p * (1 - p) * ((1 - c) ** 2 - c**2)
    torch.testing.assert_close(mean - exact, stated)
    got = by_draws(
        Binary(size=1, estimator="straight-through"), theta[None], lambda b: (b - c).square(), 20_000
    )
    assert abs(float(got.mean() - exact - stated)) <= 4 * float(got.std()) / math.sqrt(20_000) + 1e-12


def mean_relaxed_bit(logit):
    """E σ(l + L) of a relaxed bit at τ = 1 with logistic L: r(r − 1 − ln r)/(r − 1)², r = eˡ."""
    r = logit.exp()
    return r * (r - 1 - logit) / (r - 1).square()


@pytest.mark.parametrize("logit", [-2.0, 0.5, 1.7])
def test_the_mean_of_a_relaxed_bit_is_not_its_probability(logit):
    theta = torch.tensor(logit, dtype=torch.float64, requires_grad=True)
    stated = mean_relaxed_bit(theta)
    (slope,) = torch.autograd.grad(stated, theta)
    stated, theta = stated.detach(), theta.detach()
    made = Binary(size=1, estimator="soft")
    z = theta.expand(40_000, 1)
    value = made(z, made.draw(z, torch.Generator().manual_seed(1))).value
    assert abs(float(value.mean() - stated)) < 4 * float(value.std()) / 200
    assert abs(float(stated) - float(theta.sigmoid())) > 0.02
    # linear f: soft and hard have one gradient, whose mean is the slope of that mean and not p(1 − p)
    for estimator in ("soft", "hard"):
        got = by_draws(Binary(size=1, estimator=estimator), theta[None], lambda b: b[:, 0], 40_000)
        assert abs(float(got.mean() - slope)) < 4 * float(got.std()) / 200
    assert abs(float(slope) - float(theta.sigmoid() * (-theta).sigmoid())) > 0.004


@pytest.mark.parametrize("tau", [0.3, 1.0, 2.0])
@pytest.mark.parametrize("estimator", ["soft", "hard"])
def test_relaxed_bits_by_quadrature(tau, estimator):
    """f(b) = (b − c)². Soft: the gradient of E f(relaxed), unbiased for that. Hard: E 2(b − c)·dσ/dθ."""
    theta, c = torch.tensor(0.6, dtype=torch.float64), 0.45
    density = SOLVED.sigmoid() * (-SOLVED).sigmoid()
    soft = ((theta + SOLVED) / tau).sigmoid()
    value = soft if estimator == "soft" else (theta + SOLVED > 0).double()
    exact = torch.trapezoid(density * 2 * (value - c) * soft * (1 - soft) / tau, SOLVED)
    made = Binary(size=1, temperature=tau, estimator=estimator)
    got = by_draws(made, theta[None], lambda b: (b - c).square(), 40_000)
    assert abs(float(got.mean() - exact)) < 4 * float(got.std()) / 200


def test_the_variance_grows_as_the_temperature_falls():
    """Of the relaxed gradient; of ∂σ(x/τ)/∂x = σ(1 − σ)/τ it is of the order of 1/τ, since a share ∝ τ of
    draws have a gradient ∝ 1/τ."""
    variances = [
        float(by_draws(Binary(size=1, temperature=tau), LOGITS[:1], lambda b: b[:, 0], 40_000).var())
        for tau in (0.2, 0.1, 0.05)
    ]
    for above, below in itertools.pairwise(variances):
        assert 1.6 < below / above < 2.4
