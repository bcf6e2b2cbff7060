"""Variances that are smoothed over rungs: unbiased, and known as well as they say."""

from __future__ import annotations

import math

import numpy as np
from scipy import stats

from danlu.lab.statistics.noise import smooth

X = np.arange(5) * math.log(4)
SEEDS = (5, 5, 4, 3, 3)
SPREAD = 0.02 * 0.7 ** np.arange(5)


def test_smoothed_variances_are_right_and_their_freedom_makes_t_intervals_cover() -> None:
    random = np.random.default_rng(1)
    studies, told, covered = 2000, [], 0
    for _ in range(studies):
        values = [random.normal(0, s, n) for s, n in zip(SPREAD, SEEDS, strict=True)]
        found = smooth(X.tolist(), [list(v) for v in values])
        told.append([one.variance for one in found])
        for v, one in zip(values, found, strict=True):
            covered += abs(v.mean()) <= stats.t.ppf(0.975, one.df) * math.sqrt(one.variance / len(v))
    np.testing.assert_allclose(
        np.mean(told, axis=0), SPREAD**2, rtol=0.1
    )  # ln s² of 3 runs is far from normal
    # Five rungs of a study share the line, so these are fewer than 10,000 independent cases.
    assert abs(covered / (5 * studies) - 0.95) <= 0.01


def test_they_are_known_better_than_each_alone() -> None:
    values = [list(np.random.default_rng(2).normal(0, s, n)) for s, n in zip(SPREAD, SEEDS, strict=True)]
    found = smooth(X.tolist(), values)
    assert all(one.df > n - 1 for one, n in zip(found, SEEDS, strict=True))


def test_what_few_runs_say() -> None:
    assert all(one.variance == math.inf for one in smooth([0.0, 1.0], [[1.0], [2.0]]))
    level = smooth([0.0, 1.0], [[1.0, 3.0], [2.0]])  # one rung lends its variance to the other
    assert level[0] == level[1] and math.isfinite(level[0].variance)
    assert [one.variance for one in smooth([0.0, 1.0], [[1.0, 1.0], [2.0, 2.0]])] == [0, 0]
