"""Paths: their derivatives, their ends, and the formulas of the papers they come from."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from danlu.flows import VE, VP, Bridge, Interpolant, Linear, Lipman, Smoothed, SubVP, Trigonometric
from tests.flows.cases import NOISY, PATHS, PLAIN, name, normal, of

times = st.floats(0.002, 0.998)


@pytest.mark.parametrize("path", PATHS, ids=name)
@settings(max_examples=25, deadline=None)
@given(t=times)
def test_rates_are_the_derivatives_of_scales(path, t):
    now = of(t).requires_grad_()
    for scale, rate in zip(path.scales(now), path.rates(now), strict=True):
        expected = torch.zeros_like(now)
        if scale.requires_grad:
            (expected,) = torch.autograd.grad(scale.sum(), now, retain_graph=True)
        torch.testing.assert_close(rate, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("path", PLAIN, ids=name)
@settings(max_examples=50, deadline=None)
@given(t=times)
def test_a_plain_path_is_known_by_its_ratio(path, t):
    alpha, sigma, gamma = path.scales(of(t))
    torch.testing.assert_close(path.time(sigma / alpha), of(t), rtol=0, atol=1e-9)
    assert gamma.item() == 0


@pytest.mark.parametrize("path", PATHS, ids=name)
def test_noise_falls_against_data_all_the_way(path):
    alpha, s, _, _ = path.total(torch.linspace(0.001, 0.999, 200, dtype=torch.float64))
    if not path.noisy:
        assert ((s / alpha).diff() < 0).all()
    assert (alpha.diff() >= 0).all() and (s > 0).all()


@pytest.mark.parametrize("path", [Linear(), Trigonometric(), *NOISY[1:]], ids=name)
def test_ends_are_noise_and_data(path):
    x0, x1, z = (normal(5, 2, 3, seed=i) for i in range(3))
    slack = 20 * max(path.ends) ** 0.5 + 1e-12
    torch.testing.assert_close(path.at(x0, x1, torch.zeros(5).double(), z), x0, rtol=0, atol=slack)
    torch.testing.assert_close(path.at(x0, x1, torch.ones(5).double(), z), x1, rtol=0, atol=slack)


def test_lipman_ends_at_data_with_its_noise():
    x0, x1, one = normal(4, 3), normal(4, 3, seed=1), torch.ones(4).double()
    torch.testing.assert_close(Lipman(sigma=0.2).at(x0, x1, one), x1 + 0.2 * x0)


@settings(max_examples=25, deadline=None)
@given(t=times, sigma=st.floats(0.05, 2))
def test_targets_are_those_of_the_papers(t, sigma):
    """Tong et al. 2023, eqs. 15 and 21; Lipman et al. 2023, eq. 21."""
    x0, x1, z, now = normal(2, 3), normal(2, 3, seed=1), normal(2, 3, seed=2), of(t, t)
    torch.testing.assert_close(Linear().target(x0, x1, now), x1 - x0)
    torch.testing.assert_close(Smoothed(sigma=sigma).target(x0, x1, now, z), x1 - x0)
    bridge, lipman = Bridge(sigma=sigma), Lipman(sigma=sigma / 3)
    mean = (1 - t) * x0 + t * x1
    expected = (1 - 2 * t) / (2 * t * (1 - t)) * (bridge.at(x0, x1, now, z) - mean) + x1 - x0
    torch.testing.assert_close(bridge.target(x0, x1, now, z), expected)
    left = 1 - lipman.sigma
    expected = (x1 - left * lipman.at(x0, x1, now)) / (1 - left * t)
    torch.testing.assert_close(lipman.target(x0, x1, now), expected)


@pytest.mark.parametrize(
    ("path", "x", "target"),
    [
        (Linear(), 1.5, 2.0),
        (Smoothed(sigma=0.2), 1.9, 2.0),  # 2 noise
        (Lipman(sigma=0.1), 1.525, 2.1),  # ¾ + 1 − .9/4; 3 − .9
        (Bridge(sigma=0.8), 1.5 + 0.4 * math.sqrt(3), 2 + 1.6 / math.sqrt(3)),  # sd .2√3; ½/(2·3/16) of .4√3
        (Trigonometric(), 2.0719298, 3.7525626),  # cos, sin of π/8 are .9238795, .3826834
    ],
    ids=lambda value: name(value) if hasattr(value, "scales") else "",
)
def test_paths_by_hand(path, x, target):
    """From 1 to 3 with noise 2 at t = ¼: by the formulas of torchcfm's matchers, whose source was read."""
    noise, data, t, between = (
        torch.ones(1, 1).double(),
        3 * torch.ones(1, 1).double(),
        of(0.25),
        2 * torch.ones(1, 1),
    )
    between = between.double() if path.noisy else None
    assert path.at(noise, data, t, between).item() == pytest.approx(x, abs=1e-6)
    assert path.target(noise, data, t, between).item() == pytest.approx(target, abs=1e-6)


def test_a_bridge_is_an_interpolant():
    t = torch.linspace(0.01, 0.99, 9).double()
    bridge, interpolant = Bridge(sigma=0.8), Interpolant(scale=0.8)
    for ours, other in zip(
        bridge.scales(t) + bridge.rates(t), interpolant.scales(t) + interpolant.rates(t), strict=True
    ):
        torch.testing.assert_close(ours, other)


@pytest.mark.parametrize("t", [0.0, 0.3, 0.9])
def test_vp_is_its_sde(t):
    """dx = −½βx ds + √β dw: α = exp(−½∫β) and σ² = 1 − α² solve dσ²/ds = −βσ² + β (Song et al. 2021)."""
    whole, _ = quad(lambda s: 0.1 + s * 19.9, 0, 1 - t)
    alpha, sigma, _ = VP().scales(of(t))
    assert alpha.item() == pytest.approx(math.exp(-whole / 2), rel=1e-12)
    assert sigma.item() == pytest.approx(math.sqrt(1 - math.exp(-whole)), rel=1e-12)
    # in EDM's variables, Karras et al. 2022, table 1
    s = 1 - t
    assert (sigma / alpha).item() == pytest.approx(
        math.sqrt(math.exp(19.9 / 2 * s**2 + 0.1 * s) - 1), rel=1e-12
    )
    # sub-VP: the standard deviation, not the variance, is 1 − α²
    assert SubVP().scales(of(t)).sigma.item() == pytest.approx(1 - math.exp(-whole), rel=1e-12)


def test_ve_grows_by_its_diffusion():
    """dσ²/ds = g² with g = σ√(2 ln(high/low))."""
    t = of(0.0, 0.4, 1.0)
    sigma = VE().scales(t).sigma
    torch.testing.assert_close(sigma[[0, 2]], of(50.0, 0.01))
    g2 = sigma.square() * 2 * math.log(50 / 0.01)
    torch.testing.assert_close(-2 * sigma * VE().rates(t).sigma, g2)


@pytest.mark.parametrize("path", [p for p in PATHS if max(p.ends) > 0], ids=name)
def test_derivatives_are_finite_inside(path):
    t = path.inside(of(0.0, 1.0))
    assert all(rate.isfinite().all() for rate in path.rates(t))


def test_a_noisy_path_wants_its_noise():
    with pytest.raises(ValueError, match="Bridge is noisy between its ends; give `between`"):
        Bridge().at(normal(2, 2), normal(2, 2), of(0.5, 0.5))


def test_times_of_a_wrong_shape_are_refused():
    with pytest.raises(ValueError, match=r"shape \(4, 1\) for x of shape \(4, 2\); allowed"):
        Linear().at(normal(4, 2), normal(4, 2), torch.zeros(4, 1).double())
