"""Scatter: the balanced formula, the variances that made the points, too few points."""

from __future__ import annotations

import math

import numpy as np
import pytest

from danlu.laws import SQUARES, Points, fit, law
from danlu.laws.scatter import scatter

POWER = law("power")


def runs(generator, clusters=10, each=6, within=0.01, between=0.02, noise=None):
    """Points of a power law, each cluster at an x of its own, and shifted as a whole."""
    run = np.repeat(np.arange(clusters), each)
    x = np.geomspace(1e6, 1e9, clusters)[run]
    shift = between * generator.standard_normal(clusters)[run]
    e = shift + within * generator.standard_normal(len(run))
    return Points(x=x, run=run, loss=20 * x**-0.1 * np.exp(e))


def test_balanced_clusters_are_an_analysis_of_variance():
    found = fit(POWER, runs(np.random.default_rng(0)), loss=SQUARES)
    r = found.residuals.reshape(10, 6)
    inside = np.sum((r - r.mean(1, keepdims=True)) ** 2) / 50
    means = 6 * np.sum(r.mean(1) ** 2) / 8  # 10 levels about a line of two parameters
    known = scatter(found, "run")
    assert known.clusters == 10
    assert known.within == pytest.approx(math.sqrt(inside), rel=1e-6)
    assert known.between == pytest.approx(math.sqrt((means - inside) / 6), rel=1e-6)
    assert known.total == pytest.approx(math.hypot(known.within, known.between))


def test_both_variances_are_found_on_average():
    generator, kept = np.random.default_rng(1), np.arange(60) % 7 != 0  # clusters of 5 and 6
    found = [
        scatter(fit(POWER, runs(generator).take(kept), loss=SQUARES, starts=np.array([[20.0, 0.1]])), "run")
        for _ in range(100)
    ]
    # The relative error of a mean of 100 variances: of within √(2/40/100) = 2.2 %, of between some 6 %.
    assert np.mean([one.within**2 for one in found]) == pytest.approx(1e-4, rel=0.08)
    assert np.mean([one.between**2 for one in found]) == pytest.approx(4e-4, rel=0.21)


def test_points_of_their_own_have_one_scatter():
    found = fit(POWER, runs(np.random.default_rng(0)), loss=SQUARES)
    known = scatter(found)
    assert known.between == 0.0 and known.clusters == 60
    assert known.within == pytest.approx(math.sqrt(np.sum(found.residuals**2) / 58))


def test_too_few_points_tell_nothing():
    points = runs(np.random.default_rng(0))
    nothing = scatter(fit(POWER, points.take([0, 59]), loss=SQUARES))
    assert math.isnan(nothing.within) and math.isnan(nothing.total)
    two = scatter(fit(POWER, points.take(points["x"] < 3e6), loss=SQUARES), "run")
    assert math.isnan(two.between) and two.within == two.total > 0
