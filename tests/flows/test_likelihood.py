"""Likelihoods against known densities and against SciPy's solver; the error of the estimated trace."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from danlu.flows import Gaussian, Linear, Normal, Trigonometric, divergence, gaussian, log_likelihood
from tests.flows.cases import MIXTURE, name, normal, of, signs

PRIOR = Normal().log_density
BACK = torch.linspace(1, 0, 41).double()


@pytest.mark.parametrize("path", [Linear(), Trigonometric()], ids=name)
def test_a_mixture_has_its_density(path):
    data = MIXTURE.means.repeat(4, 1) + 0.5 * normal(12, 2)
    found = log_likelihood(MIXTURE.velocity(path), data, BACK, PRIOR)
    torch.testing.assert_close(found.value, MIXTURE.log_density(data), rtol=0, atol=2e-4)
    assert found.error is None and found.evaluations == 160


def test_a_gaussian_has_its_density_and_map():
    m, s = of(0.3, -1.0), of(0.6, 2.0)
    data = m + s * normal(8, 2)
    found = log_likelihood(gaussian(m, s).velocity(Linear()), data, BACK, PRIOR)
    torch.testing.assert_close(found.value, gaussian(m, s).log_density(data), rtol=0, atol=1e-5)
    torch.testing.assert_close(found.prior, (data - m) / s, rtol=0, atol=1e-5)


def test_over_noise_levels_too():
    """Of a denoiser: (x − D)/σ from σ = .1 to 80. The kernel's law there is right but for the data's spread,
    some ‖x‖‖x₁‖/80²."""
    data = MIXTURE.means + 0.3 * normal(3, 2)
    levels = torch.logspace(-1, math.log10(80), 41).double()

    def slope(x, sigma):
        return (x - MIXTURE.denoiser(x, sigma)) / sigma[:, None]

    found = log_likelihood(slope, data, levels, lambda x: MIXTURE.log_density(x, 1.0, 80.0))
    torch.testing.assert_close(found.value, MIXTURE.log_density(data, 1.0, 0.1), rtol=0, atol=1e-4)
    by_kernel = Gaussian().log_density(found.prior, torch.zeros(3, 2).double(), 80.0)
    torch.testing.assert_close(by_kernel, MIXTURE.log_density(found.prior, 1.0, 80.0), rtol=0, atol=1e-2)


def test_against_scipy():
    """RK45 on (x, ∫∇·v) of one row, the divergence by hand: tr J = ∂v₁/∂x₁ + ∂v₂/∂x₂ by differences."""
    v, x1 = MIXTURE.velocity(Linear()), np.array([0.4, 0.9])

    def both(t, state):
        x, h = torch.tensor(state[:2])[None], 1e-5

        def at(y):
            return v(y, of(t))[0]

        trace = sum(
            (at(x + h * torch.eye(2).double()[i]) - at(x - h * torch.eye(2).double()[i]))[i] / (2 * h)
            for i in range(2)
        )
        return [*at(x).tolist(), trace.item()]

    solved = solve_ivp(both, (1, 0), [*x1, 0.0], method="RK45", rtol=1e-6, atol=1e-8)
    expected = PRIOR(torch.tensor(solved.y[:2, -1])[None]) + solved.y[2, -1]
    found = log_likelihood(v, torch.tensor(x1)[None], BACK, PRIOR)
    torch.testing.assert_close(found.value, expected, rtol=0, atol=1e-4)


def linear_field(matrix):
    return lambda x, t: x @ matrix.T


def test_the_trace_and_its_estimates():
    """Exact: tr J. By probes: each without bias, variance Σ_{i<j} (J_ij + J_ji)², from 20,000 of them."""
    matrix = normal(4, 4, seed=6)
    x, n = normal(1, 4), 20_000
    v, trace = divergence(linear_field(matrix), x, of(0.0))
    torch.testing.assert_close(v, x @ matrix.T)
    torch.testing.assert_close(trace, matrix.trace().reshape(1, 1))
    _, found = divergence(lambda x, t: x @ matrix.T, x.expand(n, 4), of(0.0), signs(1, n, 4))
    sums = (matrix + matrix.T).triu(1)
    variance = sums.square().sum()
    assert (found.mean() - matrix.trace()).abs() < 4 * (variance / n).sqrt()
    fourth = (found - matrix.trace()).pow(4).mean()
    assert (found.var() - variance).abs() < 4 * ((fourth - variance**2) / n).sqrt()


def test_a_diagonal_jacobian_has_no_variance():
    matrix = torch.diag(normal(5))
    _, found = divergence(linear_field(matrix), normal(3, 5), of(0.0), signs(7, 3, 5))
    torch.testing.assert_close(found, matrix.trace().expand(7, 3))


def test_probes_estimate_the_likelihood_and_say_how_well():
    """40 probes kept for the whole path: the mean within 4 of its own standard errors of the exact value."""
    data = MIXTURE.means[:2] + 0.3
    times = torch.linspace(1, 0, 5).double()
    v = MIXTURE.velocity(Linear())
    exact = log_likelihood(v, data, times, PRIOR)
    found = log_likelihood(v, data, times, PRIOR, signs(40, 2, 2))
    assert (found.error > 0).all() and (found.error < 0.2).all()
    assert ((found.value - exact.value).abs() < 4 * found.error).all()
    torch.testing.assert_close(found.prior, exact.prior)


def test_any_trailing_shape():
    v = MIXTURE.velocity(Linear())
    data = normal(3, 1, 2, 1)
    ours = log_likelihood(v, data, BACK[::4], PRIOR)
    flat = log_likelihood(v, data.reshape(3, 2), BACK[::4], PRIOR)
    torch.testing.assert_close(ours.value, flat.value)
    assert ours.prior.shape == data.shape
