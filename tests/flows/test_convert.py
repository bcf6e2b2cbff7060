"""Denoised data, noise, score and velocity: one gives the rest, at the ends too; DDIM is Euler."""

from __future__ import annotations

from itertools import permutations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu.flows import VP, Euler, Linear, Trigonometric, convert, denoiser_of, velocity_of
from danlu.flows.exact import gaussian
from tests.flows.cases import MIXTURE, PATHS, PLAIN, name, normal, of

KINDS = ("denoised", "noise", "score", "velocity")


def regression(path, t, m, s, x):
    """All four for data N(m, s²) by the regression of jointly normal numbers: E[y|x] = Ey + Cov(y, x)/Var(x)
    (x − Ex), from the path's six scales alone."""
    (a, b, c), (da, db, dc) = path.scales(t), path.rates(t)
    variance = a**2 * s**2 + b**2 + c**2
    apart = (x - a * m) / variance
    total = (b**2 + c**2).sqrt()
    return {
        "denoised": m + a * s**2 * apart,
        "noise": total * apart,
        "score": -apart,
        "velocity": da * m + (da * a * s**2 + db * b + dc * c) * apart,
    }


@pytest.mark.parametrize("path", PATHS, ids=name)
@settings(max_examples=20, deadline=None)
@given(t=st.floats(0.01, 0.99), m=st.floats(-2, 2), s=st.floats(0.1, 3))
def test_each_of_four_gives_the_rest(path, t, m, s):
    now, x = of(t), normal(1, 3)
    known = regression(path, now, m, s, x)
    for a, b in permutations(KINDS, 2):
        torch.testing.assert_close(
            convert(path, x, now, known[a], of=a, to=b), known[b], rtol=1e-6, atol=1e-6
        )


@pytest.mark.parametrize("path", PATHS, ids=name)
def test_the_exact_fields_agree_with_regression(path):
    m, s, t = of(0.7, -0.4), of(0.5, 2.0), of(0.35)
    data, x = gaussian(m, s), normal(6, 2)
    alpha, total, _, _ = path.total(t)
    known = regression(path, t, m, s, x)
    torch.testing.assert_close(data.velocity(path)(x, t.expand(6)), known["velocity"])
    torch.testing.assert_close(data.denoised(x, alpha.item(), total.item()), known["denoised"])
    torch.testing.assert_close(data.score(x, alpha.item(), total.item()), known["score"])


@pytest.mark.parametrize("path", PATHS, ids=name)
def test_all_is_finite_at_the_ends(path):
    x, value, t = normal(2, 3), normal(2, 3, seed=1), of(0.0, 1.0)
    for a, b in permutations(KINDS, 2):
        assert convert(path, x, t, value, of=a, to=b).isfinite().all(), (a, b)


def test_the_linear_path_divides_by_nothing():
    """D = x + (1 − t) v and ε̂ = x − t v, at t = 0 and 1 too."""
    x, v, t = normal(3, 4), normal(3, 4, seed=1), of(0.0, 0.3, 1.0)
    left = t[:, None]
    torch.testing.assert_close(convert(Linear(), x, t, v, of="velocity", to="denoised"), x + (1 - left) * v)
    torch.testing.assert_close(convert(Linear(), x, t, v, of="velocity", to="noise"), x - left * v)


@pytest.mark.parametrize("path", PLAIN, ids=name)
def test_a_denoiser_and_a_velocity_stand_for_each_other(path):
    t = of(0.1, 0.5, 0.8)
    x = normal(3, 2)
    torch.testing.assert_close(
        velocity_of(path, MIXTURE.denoiser)(x, t), MIXTURE.velocity(path)(x, t), rtol=1e-7, atol=1e-8
    )
    alpha, sigma, _ = path.scales(t)
    y = x / alpha[:, None]
    torch.testing.assert_close(
        denoiser_of(path, MIXTURE.velocity(path))(y, sigma / alpha),
        MIXTURE.denoiser(y, sigma / alpha),
        rtol=1e-7,
        atol=1e-8,
    )


def test_ddim_is_euler():
    """On the linear path a step of Euler in t is one in σ/α for x/α at the same times; on others not."""
    times = torch.linspace(0.1, 0.95, 12).double()
    for path, same in ((Linear(), True), (Trigonometric(), False), (VP(), False)):
        alpha, sigma, _ = path.scales(times)
        x = normal(5, 2)
        by_time = Euler().flow(MIXTURE.velocity(path), x, times).x
        by_level = Euler().sample(MIXTURE.denoiser, x / alpha[0], sigma / alpha).x * alpha[-1]
        assert torch.allclose(by_time, by_level, rtol=0, atol=1e-10) == same


def test_ddim_is_the_formula_of_its_paper():
    """x' = α' D + σ' ε̂ (Song, Meng & Ermon 2021, eq. 12 with η = 0)."""
    path, t = VP(), of(0.2, 0.5)
    (a, b), (s, u) = path.scales(t).alpha, path.scales(t).sigma
    x = normal(4, 2)
    denoised = MIXTURE.denoised(x, a.item(), s.item())
    expected = b * denoised + u * (x - a * denoised) / s
    ours = Euler().sample(MIXTURE.denoiser, x / a, torch.stack([s / a, u / b])).x * b
    torch.testing.assert_close(ours, expected)
