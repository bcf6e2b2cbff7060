"""Between rungs: chances against what then happens, gates that add no error, runs where they count."""

from __future__ import annotations

import math

import numpy as np
import pytest

from danlu.lab.errors import LabError
from danlu.lab.statistics.across import better, fit
from danlu.lab.statistics.ahead import FUTILE, Ahead, chance_of_better, pairs_at, ways

STEP = math.log(4)
X = [r * STEP for r in range(5)]
AT = 6 * STEP
NOISE = 2 * 0.0085**2 / np.array([5, 5, 4, 3, 3])  # of ln gain, as on track 3


def test_pairs_of_a_rung() -> None:
    """Of five as planned, and in its proportions for more; no rung has less than three, or than asked."""
    assert [pairs_at(level, 5) for level in range(6)] == [5, 5, 4, 3, 3, 3]
    for times in range(1, 5):
        assert [pairs_at(level, 5 * times) for level in range(4)] == [
            5 * times,
            5 * times,
            4 * times,
            3 * times,
        ]
    for asked in range(2, 40):
        found = [pairs_at(level, asked) for level in range(6)]
        assert found == sorted(found, reverse=True) and found[:2] == [asked, asked]
        assert all(n >= min(3, asked) and n >= 0.6 * asked for n in found)
        assert found[2] < 0.8 * asked + 1 and (found[3] < 0.6 * asked + 1 or found[3] == min(3, asked))


def test_with_no_rung_left_the_chance_is_the_verdict() -> None:
    random = np.random.default_rng(1)
    said = set()
    for _ in range(30):
        y = random.uniform(0, 0.05) + np.sqrt(NOISE) * random.normal(size=5)
        model = fit(X, y.tolist(), NOISE.tolist())
        chance = chance_of_better(model, [], AT)
        assert chance == better(model.predict(AT))
        said.add(chance)
    assert said == {0.0, 1.0}


@pytest.mark.slow
def test_a_chance_comes_true_as_often_as_it_says() -> None:
    """Ideas drawn as the prediction takes them to be, slopes N(0, .05²) and no τ, gains anything."""
    random = np.random.default_rng(2)
    chances, came = [], []
    for _ in range(300):
        line = random.uniform(-0.1, 0.1) + random.normal(0, 0.05) * np.array(X)
        y = line + np.sqrt(NOISE) * random.normal(size=5)
        early = fit(X[:3], y[:3].tolist(), [*NOISE[:3]])
        early = type(early)(early.x, early.y, early.v, early.beta, early.covariance, 0.0)
        rest = [Ahead(x, v) for x, v in zip(X[3:], NOISE[3:], strict=True)]
        chances.append(chance_of_better(early, rest, AT))
        came.append(better(fit(X, y.tolist(), NOISE.tolist()).predict(AT)))
    told, seen = np.array(chances), np.array(came)
    assert 0.2 < seen.mean() < 0.8
    assert abs((told - seen).mean()) <= 3.5 * math.sqrt((told * (1 - told)).mean() / len(told))
    assert seen[told > 0.9].mean() > 0.8 and seen[told < 0.1].mean() < 0.2


@pytest.mark.slow
def test_gates_add_no_false_verdict_and_spare_most_runs_of_null_ideas() -> None:
    random = np.random.default_rng(3)
    ended, false, passed, power = 0, 0, 0, 0
    studies = 150
    for gain in [0.0] * studies + [math.log(1.05)] * studies:
        y = gain + np.sqrt(NOISE) * random.normal(size=5)
        said = better(fit(X, y.tolist(), NOISE.tolist()).predict(AT))
        open_gates = True
        for k in (2, 3, 4):
            rest = [Ahead(x, v) for x, v in zip(X[k:], NOISE[k:], strict=True)]
            model = fit(X[:k], y[:k].tolist(), NOISE[:k].tolist())
            open_gates = open_gates and chance_of_better(model, rest, AT) >= FUTILE
        if gain:
            power, passed = power + said, passed + (said and open_gates)
        else:
            ended, false = ended + (not open_gates), false + (said and open_gates)
    assert false <= 0.05 * studies
    assert ended >= 0.8 * studies
    assert passed >= power - 0.05 * studies  # what it costs an idea that is worth it


def test_the_predicted_interval_is_the_one_that_comes() -> None:
    """Where the scatter stays what it is: gains on a line, so that τ² is 0 before and after."""
    y = [0.1 + 0.01 * r for r in range(5)]
    model = fit(X[:4], y[:4], NOISE[:4].tolist())
    before = model.predict(AT)
    rung, twice = sorted(ways(model, 85.0, AT, Ahead(X[4], float(NOISE[4]), 2.0)), key=lambda way: way.pairs)
    later = fit(X, y, NOISE.tolist()).predict(AT), fit(X[:4], y[:4], (NOISE[:4] / 2).tolist()).predict(AT)
    assert [(way.rungs, way.pairs, way.cost) for way in (rung, twice)] == [(5, 1, 2.0), (4, 2, 85.0)]
    for way, interval in zip((rung, twice), later, strict=True):
        assert way.half == pytest.approx(interval.high - interval.value)
        assert way.fall == pytest.approx((before.high - before.value - way.half) / way.cost)


@pytest.mark.parametrize(("cost", "first"), [(1e-3, 2), (1e3, 1)])
def test_what_narrows_most_per_cost_comes_first(cost: float, first: int) -> None:
    model = fit(X[:4], [0.05] * 4, NOISE[:4].tolist())
    assert ways(model, cost, AT, Ahead(X[4], float(NOISE[4]), 1.0))[0].pairs == first


def test_pairs_are_wasted_where_rungs_scatter() -> None:
    scattered = fit(X[:4], [0.2, -0.15, 0.1, -0.05], NOISE[:4].tolist())
    assert scattered.tau2 > np.median(NOISE)
    new = Ahead(X[4], float(NOISE[4]), cost=1.0)
    assert ways(scattered, 1e-9, AT, new)[0].rungs == 5  # as cheap as the pairs may be
    few = fit(X[:3], [0.1] * 3, NOISE[:3].tolist())
    assert ways(few, 1e-9, AT, Ahead(X[3], float(NOISE[3]), 1.0))[0].rungs == 4
    with pytest.raises(LabError, match="cost"):
        ways(scattered, 1.0, AT, Ahead(X[4], float(NOISE[4])))
