"""Levels, weights, grids and EDM's preconditioning, against SciPy and against what they are for."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu.flows import (
    DataWeight,
    EDMWeight,
    Geometric,
    Karras,
    LogNormal,
    LogUniform,
    NoiseWeight,
    Preconditioning,
    gaussian,
)
from tests.flows.cases import normal, of, uniform

sigmas = st.floats(0.002, 80)


def test_laws_are_those_of_scipy():
    u = uniform(50)
    torch.testing.assert_close(
        LogNormal().level(u), torch.tensor(scipy.stats.lognorm(1.2, scale=math.exp(-1.2)).ppf(u))
    )
    torch.testing.assert_close(LogUniform().level(u), torch.tensor(scipy.stats.loguniform(0.002, 80).ppf(u)))


@settings(max_examples=30, deadline=None)
@given(steps=st.integers(1, 200), rho=st.floats(1, 20), low=st.floats(1e-4, 0.1), high=st.floats(0.5, 1e4))
def test_grids_fall_from_high_to_low_to_zero(steps, rho, low, high):
    for grid in (Karras(low, high, rho), Geometric(low, high)):
        levels = grid.levels(steps)
        assert levels.shape == (steps + 1,) and (levels.diff() < 0).all() and levels[-1] == 0
        assert levels[0].item() == pytest.approx(high)
        assert steps == 1 or levels[-2].item() == pytest.approx(low)


def test_karras_is_even_in_the_root():
    roots = Karras().levels(18)[:-1] ** (1 / 7)
    torch.testing.assert_close(roots.diff(), roots.diff().mean().expand(17))
    even = Karras(rho=1.0).levels(5)[:-1]
    torch.testing.assert_close(even, torch.linspace(80, 0.002, 5).double())


@settings(max_examples=30, deadline=None)
@given(sigma=sigmas, sd=st.floats(0.1, 2))
def test_edm_has_unit_loss(sigma, sd):
    """A network that answers 0 has expected weighted loss 1 per number, at every level, for data that are not
    normal too: two points ±σ_d with noise by Gauss–Hermite, which is exact here."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(5)
    weights = torch.tensor(weights / weights.sum())
    edm, now = Preconditioning(sd), of(sigma).expand(5)
    total = 0.0
    for sign in (-1, 1):
        data = torch.full((5, 1), sign * sd).double()
        x = data + sigma * torch.tensor(nodes)[:, None]
        denoised = edm.denoised(lambda x, _: torch.zeros_like(x), x, now)
        loss = EDMWeight(sd)(now) * (denoised - data).square()[:, 0]
        total += float(loss @ weights) / 2
        # the target of the network has mean square 1, its error is the weighted error of D
        torch.testing.assert_close(edm.target(data, x, now).square()[:, 0], loss)
    assert total == pytest.approx(1, rel=1e-6)


@settings(max_examples=30, deadline=None)
@given(sigma=sigmas, sd=st.floats(0.1, 2))
def test_zero_is_the_best_answer_for_a_gaussian(sigma, sd):
    x = normal(6, 2)
    exact = gaussian(torch.zeros(2).double(), torch.full((2,), sd).double()).denoiser(x, of(sigma).expand(6))
    torch.testing.assert_close(
        Preconditioning(sd).denoised(lambda x, _: torch.zeros_like(x), x, of(sigma).expand(6)), exact
    )


@settings(max_examples=30, deadline=None)
@given(sigma=sigmas, sd=st.floats(0.1, 2))
def test_coefficients_are_those_of_the_table(sigma, sd):
    skip, out, into, noise = Preconditioning(sd).coefficients(of(sigma))
    assert skip.item() == pytest.approx(sd**2 / (sigma**2 + sd**2))
    assert out.item() == pytest.approx(sigma * sd / math.sqrt(sigma**2 + sd**2))
    assert into.item() * math.hypot(sigma, sd) == pytest.approx(1)
    assert noise.item() == pytest.approx(math.log(sigma) / 4)
    assert EDMWeight(sd)(of(sigma)).item() == pytest.approx((sigma**2 + sd**2) / (sigma * sd) ** 2)


def test_weights_turn_one_error_into_another():
    """ε̂ = (x − D)/σ: its squared error is that of D by 1/σ²."""
    sigma, x, data, denoised = 0.3, normal(5, 2), normal(5, 2, seed=1), normal(5, 2, seed=2)
    apart = ((x - denoised) / sigma - (x - data) / sigma).square().sum(1)
    torch.testing.assert_close(NoiseWeight()(of(sigma)) * (denoised - data).square().sum(1), apart)
    assert DataWeight()(of(sigma)).item() == 1
