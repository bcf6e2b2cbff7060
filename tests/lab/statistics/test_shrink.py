"""Winners that are shrunken are what they seem on the average; raw ones are not."""

from __future__ import annotations

import math

import numpy as np
import pytest

from danlu.lab.statistics.shrink import FEWEST, USUAL, shrink, spread_of_ideas


def best_of(ideas: int, labs: int, usual: bool) -> tuple[float, float]:
    """By how much the best of so many ideas seems better than it is, shrunken and raw, in standard errors of
    each; by the spread that ideas have (``usual``) or by the one that the ideas of each lab show."""
    random = np.random.default_rng(1)
    raw, shrunken = [], []
    for _ in range(labs):
        truth, errors = random.normal(0, USUAL, ideas), random.uniform(0.02, 0.06, ideas)
        y = truth + errors * random.normal(size=ideas)
        spread = USUAL if usual else spread_of_ideas(list(zip(y, errors, strict=True)))
        found = [shrink(value, error, spread) for value, error in zip(y, errors, strict=True)]
        best, lucky = int(np.argmax([one.value for one in found])), int(np.argmax(y))
        if found[best].error:
            shrunken.append((found[best].value - truth[best]) / found[best].error)
        raw.append((y[lucky] - truth[lucky]) / errors[lucky])
    return float(np.mean(shrunken)), float(np.mean(raw))


@pytest.mark.parametrize("ideas", [5, 30])
def test_the_best_of_many_is_what_it_seems_once_it_is_shrunken(ideas: int) -> None:
    labs = 1500
    shrunken, raw = best_of(ideas, labs, usual=True)
    assert abs(shrunken) <= 3.5 / math.sqrt(labs) and raw >= 0.5


def test_by_a_spread_that_is_estimated_it_is_rather_too_modest() -> None:
    """τ itself is on the average too small (its square is not), and a lab that shows none says 0."""
    shrunken, raw = best_of(30, 1500, usual=False)
    assert -0.3 <= shrunken <= 0.05 and raw >= 0.5


def test_it_is_the_posterior_of_normal_ideas() -> None:
    """By weights: the mean of two normal pieces of information, the idea's and that of its kind."""
    found = shrink(0.1, 0.04, 0.05)
    precision = 1 / 0.04**2 + 1 / 0.05**2
    assert found.value == pytest.approx((0.1 / 0.04**2) / precision)
    assert found.error == pytest.approx(precision**-0.5)
    assert shrink(0.1, 0.04, 0.0) == (0.0, 0.0) and shrink(0.1, 0.0, 0.05) == (0.1, 0.0)
    assert shrink(math.nan, math.inf, 0.05) == (0.0, 0.05)


def test_the_spread_of_ideas() -> None:
    random = np.random.default_rng(2)
    truth = random.normal(0, 0.08, 4000)
    gains = [(t + 0.05 * random.normal(), 0.05) for t in truth]
    assert spread_of_ideas(gains) == pytest.approx(0.08, rel=0.05)
    assert spread_of_ideas(gains[: FEWEST - 1]) == USUAL
    assert spread_of_ideas([(0.01, 0.05)] * FEWEST) == 0.0  # less than their errors make of nothing
    assert spread_of_ideas([*gains[: FEWEST - 1], (math.nan, math.inf)]) == USUAL
