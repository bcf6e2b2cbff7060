"""Entropy and likelihood meet at the optimum; Pythagoras holds for all weights."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu.maxent import Problem, divergence, duality, entropy, fit, linear, log_probabilities, of_counts
from tests.maxent.cases import problem


def counted(seed: int) -> Problem:
    generator = np.random.default_rng(seed)
    features = linear(generator.normal(size=(7, 2)), range(3))  # signed values are no matter here
    return of_counts(features, generator.integers(1, 9, size=(7, 3)))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), size=st.floats(0.01, 5))
def test_pythagoras(seed: int, size: float) -> None:
    here = counted(seed)
    assert here.joint is not None
    observed = here.joint / here.mass[:, None]
    best = fit(here, tolerance=1e-13).found.p
    weights = size * np.random.default_rng(seed + 1).normal(size=len(here.targets))
    other = np.exp(log_probabilities(here.features, weights))
    whole = divergence(here.mass, observed, other)
    parts = divergence(here.mass, observed, best) + divergence(here.mass, best, other)
    assert whole == pytest.approx(parts, rel=1e-9, abs=1e-11)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_loss_and_entropy_differ_by_the_constraints_for_all_weights(seed: int) -> None:
    here = counted(seed)
    weights = np.random.default_rng(seed).normal(size=len(here.targets))
    sides = duality(here, weights)
    assert sides.nll - sides.entropy == pytest.approx(sides.slack, abs=1e-12)


@pytest.mark.parametrize("method", ["gis", "iis", "lbfgs"])
def test_at_the_optimum_entropy_is_the_loss(method: str) -> None:
    here = problem(0, rows=150, columns=3)
    found = fit(here, method, tolerance=1e-11)
    sides = duality(here, found.weights)
    assert sides.residual <= 1e-11
    assert sides.entropy == pytest.approx(sides.nll, abs=1e-9)
    # The joint entropies, with p̃(x), as well.
    joint = here.mass[:, None] * found.found.p
    assert here.joint is not None
    cross = -np.sum(here.joint * np.log(joint))
    assert -np.sum(joint * np.log(joint)) == pytest.approx(cross, abs=1e-9)


def test_no_distribution_with_these_moments_has_more_entropy() -> None:
    """A step away from p* that keeps every constraint and Σ_y p = 1 costs entropy."""
    here = counted(11)
    best = fit(here, tolerance=1e-13).found.p
    top = entropy(here.mass, best)
    rows, classes = best.shape
    moments = here.features.matrix().toarray() * np.repeat(here.mass, classes)[:, None]
    sums = np.repeat(np.eye(rows), classes, axis=0)
    kept = np.column_stack([moments, sums])
    _, sizes, turned = np.linalg.svd(kept.T)
    null = turned[(sizes > 1e-10).sum() :]
    assert len(null) == rows * (classes - 1) - 6  # 9 features, of which a shift over classes takes 3
    for direction in null:
        step = 0.2 * best.min() / np.abs(direction).max() * direction.reshape(rows, classes)
        assert entropy(here.mass, best + step) < top and entropy(here.mass, best - step) < top


def test_divergence_of_what_cannot_be_is_infinite() -> None:
    mass, p, q = np.ones(1), np.array([[0.5, 0.5]]), np.array([[1.0, 0.0]])
    assert divergence(mass, p, q) == np.inf and divergence(mass, q, p) == pytest.approx(np.log(2))
