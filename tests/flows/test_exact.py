"""Exact cases against distributions of PyTorch, derivatives, quadrature, and each other."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.distributions as laws
from scipy.integrate import quad

from danlu.flows import Euler, Linear, Mixture, RungeKutta, gaussian, reflow, straightness
from tests.flows.cases import MIXTURE, PATHS, name, normal, of, uniform

SDS = (0.5, 1.0, 2.0)


def reference(alpha: float, s: float) -> laws.MixtureSameFamily:
    """The mixture of x = α x₁ + s ε."""
    scale = (alpha**2 * MIXTURE.sds**2 + s**2).sqrt()
    parts = laws.Independent(laws.Normal(alpha * MIXTURE.means, scale), 1)
    return laws.MixtureSameFamily(laws.Categorical(MIXTURE.weights), parts)


@pytest.mark.parametrize(("alpha", "s"), [(1.0, 0.0), (0.3, 0.9), (1.0, 5.0)])
def test_density_and_score(alpha, s):
    x = normal(20, 2).requires_grad_()
    log = reference(alpha, s).log_prob(x)
    (score,) = torch.autograd.grad(log.sum(), x)
    torch.testing.assert_close(MIXTURE.log_density(x, alpha, s), log)
    torch.testing.assert_close(MIXTURE.score(x, alpha, s), score)
    if s > 0:  # Tweedie
        torch.testing.assert_close(MIXTURE.denoised(x, alpha, s), (x + s**2 * score) / alpha)


def test_denoised_and_its_spread_by_quadrature():
    one = Mixture(of(0.6, 0.4), of(1.0, -2.0)[:, None], of(0.5, 0.8)[:, None])
    alpha, s, x = 0.7, 0.6, 0.3

    def moment(k: int) -> float:
        def joint(y: float) -> float:
            log = one.log_density(of(y)[None]).item() - (x - alpha * y) ** 2 / (2 * s**2)
            return y**k * math.exp(log)

        return quad(joint, -8, 8, epsabs=1e-13, limit=200)[0]

    mean = moment(1) / moment(0)
    at = of(x)[None]
    assert one.denoised(at, alpha, s).item() == pytest.approx(mean, abs=1e-9)
    assert one.spread(at, alpha, s).item() == pytest.approx(moment(2) / moment(0) - mean**2, abs=1e-9)


def test_any_trailing_shape():
    x = normal(7, 1, 2, 1)
    assert MIXTURE.denoised(x, 0.5, 0.5).shape == x.shape == MIXTURE.score(x, 0.5, 0.5).shape
    torch.testing.assert_close(
        MIXTURE.denoised(x, 0.5, 0.5).reshape(7, 2), MIXTURE.denoised(x.reshape(7, 2), 0.5, 0.5)
    )


def test_samples_have_the_moments():
    n = 20_000
    x = MIXTURE.sample(uniform(n), normal(n, 2))
    mean = MIXTURE.weights @ MIXTURE.means
    second = MIXTURE.weights @ (MIXTURE.means**2 + MIXTURE.sds**2)
    for power, expected in ((1, mean), (2, second)):
        error = (x**power).std(0) / math.sqrt(n)
        assert (((x**power).mean(0) - expected).abs() < 4 * error).all()


@pytest.mark.parametrize("path", PATHS, ids=name)
def test_continuity(path):
    """∂p/∂t + ∇·(v p) = 0 for a mixture, by automatic differentiation."""
    v = MIXTURE.velocity(path)
    x, t = normal(12, 2).requires_grad_(), (0.05 + 0.9 * uniform(12)).requires_grad_()
    alpha, s, _, _ = path.total(t)
    density = MIXTURE.log_density(x, alpha, s).exp()
    (by_t,) = torch.autograd.grad(density.sum(), t, retain_graph=True)
    flux = v(x, t) * density[:, None]
    flows = sum(torch.autograd.grad(flux[:, i].sum(), x, retain_graph=True)[0][:, i] for i in range(2))
    torch.testing.assert_close(by_t + flows, torch.zeros(12).double(), rtol=0, atol=1e-10)


@pytest.mark.parametrize("s", SDS)
def test_gaussian_on_the_linear_path(s):
    """v = m + (ts² − (1 − t))/V (x − tm), V = (1 − t)² + t²s²; paths tm + √V x₀; the map m + s x₀."""
    m, x0 = 1.3, normal(9, 1)
    v = gaussian(of(m), of(s)).velocity(Linear())
    t = of(0.0, 0.2, 0.7, 1.0)
    for now in t:
        variance = (1 - now) ** 2 + now**2 * s**2
        expected = m + (now * s**2 - (1 - now)) / variance * (x0 - now * m)
        torch.testing.assert_close(v(x0, now.expand(9)), expected)
    times = [i / 40 for i in range(41)]
    passed = [x0, *RungeKutta().along(lambda x, t: v(x, of(t).expand(9)), x0, times)]
    for i in (8, 28, 40):
        now = times[i]
        expected = now * m + x0 * math.sqrt((1 - now) ** 2 + now**2 * s**2)
        torch.testing.assert_close(passed[i], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("s", SDS)
def test_least_loss_of_flow_matching_is_half_pi_s(s):
    """πs/2: .785, 1.571, 3.142. The spread of a Gaussian is the same at every x."""
    nodes, weights = np.polynomial.legendre.leggauss(100)
    t = torch.tensor((nodes + 1) / 2)
    loss = gaussian(of(0.4), of(s)).least_loss(Linear(), normal(100, 1), t)
    assert float(loss @ torch.tensor(weights / 2)) == pytest.approx(math.pi * s / 2, rel=1e-10)


@pytest.mark.parametrize("path", PATHS, ids=name)
def test_least_loss_is_the_error_of_the_velocity(path):
    """On drawn pairs: mean ‖target − v‖² against the closed form, within four standard errors."""
    n = 20_000
    data, noise, between = (
        MIXTURE.sample(uniform(n), normal(n, 2)),
        normal(n, 2, seed=3),
        normal(n, 2, seed=4),
    )
    t = 0.1 + 0.8 * uniform(n, seed=5)
    x = path.at(noise, data, t, between)
    error = (path.target(noise, data, t, between) - MIXTURE.velocity(path)(x, t)).square().sum(1)
    apart = error - MIXTURE.least_loss(path, x, t)
    assert apart.mean().abs() < 4 * apart.std() / math.sqrt(n)


def hermite(f) -> float:
    """E f(x₀) for x₀ ~ N(0, 1) and f a polynomial of degree up to 5: (n, 1) → (n,)."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(3)
    return float(f(torch.tensor(nodes)[:, None]) @ torch.tensor(weights)) / math.sqrt(2 * math.pi)


@pytest.mark.parametrize("s", SDS)
def test_straightness_of_a_gaussian(s):
    """(2 − π/2) s: along a path x₁ − x₀ − v is linear in x₀."""
    v = gaussian(of(0.4), of(s)).velocity(Linear())
    assert hermite(lambda x0: straightness(v, x0, 60)) == pytest.approx((2 - math.pi / 2) * s, abs=1e-5)


@pytest.mark.parametrize("s", SDS)
def test_after_reflow_one_step_is_exact(s):
    """Pairs (x₀, m + s x₀): the target is a function of x_t, so that loss and straightness are 0."""
    m, x0 = 0.4, normal(50, 1)
    v = gaussian(of(m), of(s)).velocity(Linear())
    noise, data = reflow(v, x0, torch.linspace(0, 1, 41).double(), RungeKutta())
    torch.testing.assert_close(data, m + s * noise, rtol=0, atol=1e-5)

    def reflowed(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return m + (s - 1) * (x - t[:, None] * m) / (1 - t[:, None] + t[:, None] * s)

    t = uniform(50)
    error = Linear().target(noise, data, t) - reflowed(Linear().at(noise, data, t), t)
    assert error.square().mean() < 1e-9
    assert straightness(reflowed, x0, 20).abs().max() < 1e-9
    torch.testing.assert_close(Euler().flow(reflowed, x0, of(0.0, 1.0)).x, data, rtol=0, atol=1e-5)


def test_what_does_not_belong_together_is_refused():
    with pytest.raises(ValueError, match=r"weights \(2,\), means \(3, 2\)"):
        Mixture(of(0.5, 0.5), torch.zeros(3, 2), torch.ones(3, 2))
    with pytest.raises(ValueError, match="steps = 3; allowed: an even number"):
        straightness(MIXTURE.velocity(Linear()), normal(2, 2), 3)
