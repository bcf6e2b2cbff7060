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


def growing(generator, slope, points=80):
    """Points of a power law whose noise grows as x^slope, 1 % in the middle."""
    x = np.geomspace(1e6, 1e9, points)
    noise = 0.01 * (x / 10**7.5) ** slope * generator.standard_normal(points)
    return Points(x=x, loss=20 * x**-0.1 * np.exp(noise))


def spread_of(points, by=None):
    return scatter(fit(POWER, points, loss=SQUARES, starts=np.array([[20.0, 0.1]])), by)


@pytest.mark.parametrize("slope", [0.25, -0.25])
def test_the_scatter_follows_the_size(slope):
    generator = np.random.default_rng(2)
    found = [spread_of(growing(generator, slope)) for _ in range(40)]
    # ln |noise| has the variance π²/8: of 80 points the slope's error is .06, of the mean of 40 slopes .01. A
    # sixteenth, 1/F, is taken away as chance's, more by the floor of ln |residual| and where none is told.
    slopes = [0.0 if one.trend is None else one.trend.slope for one in found]
    assert 0.65 < np.mean(slopes) / slope < 1.03
    one = next(one.trend for one in found if one.trend is not None)
    x = np.geomspace(1e6, 1e9, 80)
    times = (x / one.at) ** one.slope
    assert np.mean(times**2) == pytest.approx(1) and times.max() == pytest.approx(one.most)
    far = one.times({"x": np.array([1e5, 1e10])})
    assert sorted(far) == pytest.approx([1, one.most])  # no more than among the points, and never less than 1
    end = np.mean([s.total * (1 if s.trend is None else s.trend.most) for s in found])
    assert end == pytest.approx(0.01 * 10 ** (1.5 * abs(slope)), rel=0.25)


def test_an_even_scatter_seldom_has_a_trend():
    generator = np.random.default_rng(3)
    alone = [spread_of(growing(generator, 0)).trend is not None for _ in range(300)]
    # At a level of 1 %: more than 9 of 300 has a chance of .1 %.
    assert sum(alone) <= 9
    shared = [spread_of(runs(generator, 20, 6), "run").trend is not None for _ in range(200)]
    assert sum(shared) <= 7


def test_too_few_points_tell_nothing():
    points = runs(np.random.default_rng(0))
    nothing = scatter(fit(POWER, points.take([0, 59]), loss=SQUARES))
    assert math.isnan(nothing.within) and math.isnan(nothing.total)
    two = scatter(fit(POWER, points.take(points["x"] < 3e6), loss=SQUARES), "run")
    assert math.isnan(two.between) and two.within == two.total > 0
