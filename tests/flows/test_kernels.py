"""Isotropic noise: laws against SciPy, exact denoisers, the field that all share, and where flows end."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq

from danlu.flows import (
    Gaussian,
    Geometric,
    Heun,
    Isotropic,
    Poisson,
    RungeKutta,
    StudentT,
    Tanh,
    pfgm_official,
)
from danlu.flows.kernels import log_sphere
from danlu.flows.shapes import length
from tests.flows.cases import KERNELS, name, normal, of, uniform

POINTS = torch.tensor([[1.0, 0.2], [-0.8, 0.9], [0.1, -1.1]], dtype=torch.float64)
MASSES = of(0.5, 0.3, 0.2)
LEAST_P = 1e-3  # of tests with a fixed seed: they fail if the law is wrong, and never by chance


@pytest.mark.parametrize("kernel", KERNELS, ids=name)
@settings(max_examples=25, deadline=None)
@given(r=st.floats(0.05, 6), d=st.integers(1, 40))
def test_density_is_the_slope_of_the_distribution(kernel, r, d):
    """ψ' = S r^(d−1) Ψ, by central differences."""
    h = 1e-4 * r
    slope = (kernel.cdf(of(r + h), d) - kernel.cdf(of(r - h), d)) / (2 * h)
    density = (kernel.log_psi(of(r), d) + log_sphere(d) + (d - 1) * math.log(r)).exp()
    torch.testing.assert_close(slope, density, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("kernel", KERNELS, ids=name)
@pytest.mark.parametrize("d", [1, 2, 10])
def test_noise_has_its_law(kernel, d):
    """The radius by a KS test; the direction is uniform: its square in one dimension has mean 1/d."""
    n = 4000
    noise = kernel.noise(normal(n, d), uniform(n))
    r = length(noise)
    assert scipy.stats.kstest(r.numpy(), lambda q: kernel.cdf(torch.as_tensor(q), d).numpy()).pvalue > LEAST_P
    share = (noise[:, 0] / r).square()
    assert abs(share.mean() - 1 / d) < 4 * share.std() / math.sqrt(n) + 1e-12


@pytest.mark.parametrize(("extra", "d"), [(1.0, 3), (3.5, 2), (64.0, 5)])
def test_pfgm_is_student_t(extra, d):
    """Density and samples against scipy's multivariate t with ``extra`` degrees of freedom."""
    kernel, sigma, n = StudentT(extra=extra), 0.7, 4000
    law = scipy.stats.multivariate_t(loc=np.zeros(d), shape=sigma**2 * np.eye(d), df=extra, seed=5)
    x = 3 * normal(20, d)
    torch.testing.assert_close(
        kernel.log_density(x, torch.zeros_like(x), sigma), torch.tensor(law.logpdf(x.numpy()))
    )
    ours = sigma * kernel.noise(normal(n, d), uniform(n))
    theirs = law.rvs(n)
    assert scipy.stats.ks_2samp(length(ours).numpy(), np.linalg.norm(theirs, axis=1)).pvalue > LEAST_P
    for i in range(d):
        assert scipy.stats.kstest(ours[:, i].numpy() / sigma, scipy.stats.t(extra).cdf).pvalue > LEAST_P


def test_pfgm_radius_by_the_beta_law():
    """R = r √(b/(1 − b)), b ~ Beta(d/2, D/2), r = σ√D (Xu et al. 2023)."""
    d, extra, n = 4, 6.0, 4000
    r = length(StudentT(extra=extra).noise(normal(n, d), uniform(n)))
    b = r**2 / (r**2 + extra)
    assert scipy.stats.kstest(b.numpy(), scipy.stats.beta(d / 2, extra / 2).cdf).pvalue > LEAST_P


def test_limits_of_the_extra_dimensions():
    x, origin = normal(10, 3), torch.zeros(10, 3).double()
    many = StudentT(extra=1e7)
    expected = torch.distributions.MultivariateNormal(origin, 0.25 * torch.eye(3).double()).log_prob(x)
    torch.testing.assert_close(Gaussian().log_density(x, origin, 0.5), expected)
    torch.testing.assert_close(many.log_density(x, origin, 0.5), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(many.noise(x, uniform(10)), x, rtol=2e-3, atol=0)
    one = StudentT(extra=1.0).log_density(x, origin, 0.5)
    torch.testing.assert_close(Poisson().log_density(x, origin, 0.5), one)


def test_uniform_zero_is_no_infinity():
    for kernel in KERNELS:
        assert kernel.noise(normal(2, 3), of(0.0, 1.0)).isfinite().all(), kernel


def test_pfgm_as_its_authors_draw_it():
    """noise/z is Cauchy's, so that ‖·‖²/d is F's with 1 degree; z spans the scales of the authors."""
    n, d = 4000, 3
    noise, z = pfgm_official(normal(n, d), normal(n, seed=3), normal(n, d, seed=4), uniform(n))
    r = length(noise) / z
    assert scipy.stats.kstest(r.numpy() ** 2 / d, scipy.stats.f(d, 1).cdf).pvalue > LEAST_P
    assert 0.01 < z.median() < 0.01 * 1.03**291


@pytest.mark.parametrize("kernel", KERNELS, ids=name)
def test_denoised_is_the_weighted_mean(kernel):
    x, sigma = normal(6, 2), 0.6
    near = torch.stack([kernel.log_density(x, p.expand_as(x), sigma) for p in POINTS], 1).exp() * MASSES
    expected = (near / near.sum(1, keepdim=True)) @ POINTS
    torch.testing.assert_close(kernel.denoised(x, sigma, POINTS, MASSES), expected)
    per_row = kernel.denoised(x, torch.full((6,), sigma).double(), POINTS, MASSES)
    torch.testing.assert_close(per_row, expected)


def test_the_poisson_field_in_one_more_dimension():
    """(x − D)/z = E_x/E_z with E = Σ m (x − x_i, z)/(‖x − x_i‖² + z²)^((d+1)/2)."""
    x, z = normal(7, 2), 0.4
    apart = x[:, None] - POINTS
    charge = MASSES / (apart.square().sum(2) + z**2) ** 1.5
    by_field = (charge[..., None] * apart).sum(1) / (charge * z).sum(1, keepdim=True)
    torch.testing.assert_close((x - Poisson().denoised(x, z, POINTS, MASSES)) / z, by_field)


@pytest.mark.parametrize("kernel", KERNELS, ids=name)
def test_nothing_is_lost_at_extreme_levels(kernel):
    """The nearest point at small levels, float32 and high dimension too; on a point, that point."""
    points = 5 * normal(40, 64).float()
    x = points[:5] + 1e-3 * normal(5, 64, seed=3).float()
    torch.testing.assert_close(kernel.denoised(x, 1e-5, points), points[:5], rtol=0, atol=1e-4)
    assert kernel.denoised(1e6 * x, 1e6, points).isfinite().all()
    torch.testing.assert_close(kernel.denoised(points, 1e-3, points), points, rtol=0, atol=1e-4)


@pytest.mark.parametrize("kernel", [Gaussian(), Tanh()], ids=name)
@settings(max_examples=20, deadline=None)
@given(t=st.floats(0.1, 3), d=st.integers(1, 5), seed=st.integers(0, 99))
def test_central_identity(kernel, t, d, seed):
    """Su's field −(ψ_t/ψ_r)(x − x₀)/r of ψ(r/t), by automatic differentiation, is (x − x₀)/t."""
    origin = normal(4, d, seed=seed + 100)
    x = origin + t * normal(4, d, seed=seed)  # far out in units of t both slopes of ψ are below the numbers
    field = Isotropic(lambda r, t: kernel.cdf(r / t, d)).field(x, origin, of(t).expand(4))
    torch.testing.assert_close(field, (x - origin) / t, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("kernel", KERNELS, ids=name)
def test_one_dimension_conserves_the_distribution(kernel):
    """F_σ(x) = Σ mass · P(x_i + σε ≤ x) stays the same on every path, with exact fields, to 8 digits. A
    density may have a kink at each point, which steps do not see: each path is cut where it crosses a point,
    at the level where F_σ(point) is the path's own F."""
    points, high, low, steps = of(-1.0, 0.3, 2.0)[:, None], 30.0, 0.2, 200

    def distribution(x, sigma):
        away = (x - points.T) / sigma
        return ((1 + away.sign() * kernel.cdf(away.abs(), 1)) / 2) @ MASSES

    def apart(sigma, point, own):
        return float(distribution(point, sigma) - own)

    x = torch.linspace(-70, 70, 41).double()[:, None]
    before = distribution(x, high)
    coarse = np.geomspace(high, low, 200)
    at_points = torch.stack([distribution(points, sigma) for sigma in coarse])
    cuts = []
    for own in before:
        cuts.append([high, low])
        for point, values in zip(points, at_points.T, strict=True):
            for (a, b), (start, end) in zip(pairwise(values - own), pairwise(coarse), strict=True):
                if a * b < 0:
                    cuts[-1].append(brentq(apart, start, end, args=(point, own), xtol=1e-14))
    most = max(map(len, cuts))
    assert most > 3  # some paths cross two points
    levels = torch.tensor([sorted(row + [low] * (most - len(row)), reverse=True) for row in cuts]).double()
    for start, end in pairwise(levels.T):  # by a share of ln σ, each path from its cut to its next

        def slope(x, share, start=start, end=end):
            sigma = start * (end / start) ** share
            return (end / start).log()[:, None] * (x - kernel.denoised(x, sigma, points, MASSES))

        for state in RungeKutta().along(slope, x, torch.linspace(0, 1, steps + 1).tolist()):
            x = state
    torch.testing.assert_close(distribution(x, low), before, rtol=0, atol=1e-8)


@pytest.mark.parametrize("kernel", [Gaussian(), Poisson(), StudentT(extra=3.5), *KERNELS[3:]], ids=name)
def test_all_kernels_reach_the_masses(kernel):
    """Exact fields in two dimensions, three points of mass .5, .3, .2, 250 steps of Heun from level 60: what
    arrives at each is its mass within 4 standard errors and .015, that the start at 60 is off by. Of the
    Cauchy law a few begin too far out to arrive."""
    n = 1000
    x = 60 * kernel.noise(normal(n, 2), uniform(n))
    x = x + MASSES @ POINTS
    levels = Geometric(low=1e-3, high=60.0).levels(250)
    found = Heun().sample(lambda x, s: kernel.denoised(x, s, POINTS, MASSES), x, levels).x
    nearest = torch.cdist(found, POINTS)
    arrived = nearest.amin(1) < 0.05
    assert arrived.double().mean() > 0.95
    share = torch.bincount(nearest[arrived].argmin(1), minlength=3) / arrived.sum()
    assert ((share - MASSES).abs() < 4 * (MASSES * (1 - MASSES) / n).sqrt() + 0.015).all(), share
