"""Chinchilla's law: Epoch's 240 points, the optima that the paper predicts, the best division of compute."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from danlu.laws import ABSOLUTE, HUBER, SQUARES, Points, fit, objective, refit, solve
from danlu.laws.formulas.chinchilla import CHINCHILLA, allocation, optimum, optimum_of_size

# Besiroglu et al. 2024, fitted to the 240 points again with L-BFGS and a tight tolerance: (E, A, B, α, β).
HUBER_OPTIMUM = (1.81722, 477.826, 2143.42, 0.34731, 0.36717)
ABSOLUTE_OPTIMUM = (1.81686, 482.006, 2085.434, 0.34781, 0.36585)


def test_epochs_points_by_hubers_loss(epoch):
    found = fit(CHINCHILLA, epoch, loss=HUBER)
    assert epoch.size == 240
    assert found.objective <= 1.018275e-3
    np.testing.assert_allclose(found.vector, HUBER_OPTIMUM, rtol=1e-5)
    assert found.converged and found.gradient_norm < 1e-9 and not found.warnings
    assert found.agreeing_starts > found.starts / 2
    # The objective is the sum that the paper's formula says, of the parameters as they are reported.
    r = np.abs(np.log(found.predict(epoch) / epoch["loss"]))
    assert found.objective == pytest.approx(np.where(r < 1e-3, r**2 / 2, 1e-3 * (r - 5e-4)).sum(), rel=1e-12)


def test_epochs_points_by_absolute_deviations(epoch):
    found = fit(CHINCHILLA, epoch, loss=ABSOLUTE)
    assert found.objective == pytest.approx(1.12949465, abs=1e-8)
    np.testing.assert_allclose(found.vector, ABSOLUTE_OPTIMUM, rtol=1.5e-5)  # to the digits given
    assert np.sum(np.abs(found.residuals) < 1e-12) == 5  # a corner: as many points exactly met as parameters
    assert found.converged and found.agreeing_starts > found.starts / 2


def test_the_two_optima_are_not_one_another(epoch):
    theta = np.array([HUBER_OPTIMUM, ABSOLUTE_OPTIMUM])
    by_huber, by_absolute = objective(CHINCHILLA, theta, epoch), objective(CHINCHILLA, theta, epoch, ABSOLUTE)
    assert by_huber[0] < by_huber[1] - 1e-7
    assert by_absolute[1] < by_absolute[0] - 1e-6


def test_hoffmanns_values_on_epochs_points(epoch):
    # Besiroglu et al. 2024, recomputed: what Hoffmann's unrounded values leave on the same 240 points.
    found = objective(CHINCHILLA, CHINCHILLA.theta("hoffmann"), epoch)
    assert found == pytest.approx(1.2311627e-3, rel=1e-7)


@pytest.mark.parametrize("loss", [HUBER, SQUARES], ids=str)
def test_no_other_minimiser_comes_lower(epoch, loss):
    found = fit(CHINCHILLA, epoch, loss=loss)

    def value(u):
        return objective(CHINCHILLA, CHINCHILLA.natural(u), epoch, loss) * 1e3

    start = CHINCHILLA.inner(found.vector * np.array([1.01, 0.9, 1.1, 1.01, 0.99]))
    rival = minimize(
        value, start, method="Nelder-Mead", options={"maxiter": 4000, "xatol": 1e-10, "fatol": 1e-14}
    )
    assert found.objective <= rival.fun / 1e3 * (1 + 1e-9)


def test_resamples_are_fits_of_the_points_drawn(epoch):
    counts = np.random.default_rng(0).multinomial(240, np.full(240, 1 / 240), size=4).astype(float)
    together = refit(fit(CHINCHILLA, epoch), weights=counts)
    assert together.converged.all()
    for row, weights in enumerate(counts):
        drawn = epoch.take(np.repeat(np.arange(240), weights.astype(int)))
        alone = fit(CHINCHILLA, drawn)
        assert together.objective[row] == pytest.approx(alone.objective, rel=1e-9)
        np.testing.assert_allclose(together.theta[row], alone.vector, rtol=1e-6)


def test_resamples_may_have_targets_of_their_own(epoch):
    truth = fit(CHINCHILLA, epoch)
    others = np.array([[1.75, 500.0, 1900.0, 0.35, 0.36], [1.9, 400.0, 2500.0, 0.33, 0.38]])
    found = refit(truth, targets=CHINCHILLA.predict(others, epoch))
    np.testing.assert_allclose(found.theta, others, rtol=1e-6)


def test_what_is_fixed_stays(epoch):
    found = fit(CHINCHILLA, epoch, fixed={"α": 0.35, "E": 1.8})
    assert found.theta["α"] == 0.35 and found.theta["E"] == 1.8 and found.converged
    # A profile: each problem of a batch holds its own value.
    values = np.array([0.33, 0.36])
    start = np.tile(found.vector, (2, 1))
    start[:, 3] = values
    profile = solve(CHINCHILLA, epoch, epoch["loss"], start, free=np.array([True, True, True, False, True]))
    np.testing.assert_array_equal(profile.theta[:, 3], values)
    assert profile.converged.all() and (profile.objective > 1.018274e-3).all()


# Hoffmann et al. 2022, arXiv:2203.15556, table A3, approach 3: parameters, FLOP, tokens. FLOP of 175B are
# corrected: the table prints 1.26e24, which 6 N D contradicts.
PREDICTED = [
    (400e6, 2.21e19, 9.2e9),
    (1e9, 1.62e20, 27.1e9),
    (10e9, 2.46e22, 410.1e9),
    (67e9, 1.71e24, 4.1e12),
    (175e9, 1.26e25, 12.0e12),
    (280e9, 3.52e25, 20.1e12),
    (520e9, 1.36e26, 43.5e12),
    (1e12, 5.65e26, 94.1e12),
    (10e12, 8.55e28, 1425.5e12),
]


def test_the_papers_predicted_optima():
    # The table is no exact consequence of the parameters: its rows lie on a line of slope d ln D/d ln N
    # = 1.179 (seven of nine to half a per cent), while the parameters' α/β is 1.190. They meet it to a fifth,
    # no nearer; the rounded parameters miss it by half to more than twice.
    size, flops, tokens = np.array(PREDICTED).T
    found_flops, found_tokens = optimum_of_size(CHINCHILLA.theta("hoffmann"), size)
    np.testing.assert_allclose(found_flops, flops, rtol=0.2)
    np.testing.assert_allclose(found_tokens, tokens, rtol=0.2)
    slope = np.polyfit(np.log(size), np.log(tokens), 1)[0]
    assert np.polyfit(np.log(size), np.log(found_tokens), 1)[0] == pytest.approx(slope, abs=0.012)
    rounded, _ = optimum_of_size(CHINCHILLA.theta("hoffmann-rounded"), size)
    assert (rounded > 1.5 * flops).all()


thetas = st.tuples(
    st.floats(0.5, 3), st.floats(50, 5e3), st.floats(50, 5e3), st.floats(0.15, 0.6), st.floats(0.15, 0.6)
).map(np.array)


@given(theta=thetas, flops=st.floats(1e17, 1e27))
def test_the_closed_form_is_the_lowest_loss_of_a_budget(theta, flops):
    n, d = optimum(theta, flops)
    assert 6 * n * d == pytest.approx(flops, rel=1e-9)
    around = n * np.exp(np.linspace(-0.2, 0.2, 5))
    losses = CHINCHILLA.predict(theta, Points(n=around, d=flops / 6 / around))
    assert losses.argmin() == 2
    # There the model's term and the data's are in the ratio β/α (their derivatives to ln N balance).
    _, A, B, alpha, beta = theta
    assert A / n**alpha * alpha == pytest.approx(B / d**beta * beta, rel=1e-9)
    back, tokens = optimum_of_size(theta, n)
    assert back == pytest.approx(flops, rel=1e-9) and tokens == pytest.approx(d, rel=1e-9)


def test_exponents_of_the_division():
    # Besiroglu et al. 2024, section 3: a = β/(α+β) = 0.512; Hoffmann et al. 2022, table 2: 0.46 and 0.54.
    theta = np.stack([CHINCHILLA.theta("besiroglu"), CHINCHILLA.theta("hoffmann")])
    _, a, b = allocation(theta)
    np.testing.assert_allclose(a, [0.513, 0.457], atol=6e-4)
    np.testing.assert_allclose(a + b, 1)
