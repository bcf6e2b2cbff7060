"""Verdicts from pairs: intervals, several ideas at once, divergence."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy import stats

from danlu.lab.statistics import anytime, evidence, paired
from danlu.lab.trial.findings import find, judge
from danlu.lab.trial.moved import most_moved
from tests.lab.trial.cases import pairs

BETTER = [-0.05, -0.04, -0.06, -0.05, -0.04]
ABOUT = {"steps": (10, 10)}


def test_a_verdict_is_that_of_the_paired_interval() -> None:
    (found,) = find([pairs(BETTER)], looking=False, about={("+idea", "steps"): ABOUT})
    assert found.verdict == "better" and found.kind == "t" and found.more == 0
    np.testing.assert_allclose(found.interval, paired(BETTER), rtol=1e-9)
    (found,) = find([pairs([-x for x in BETTER])], looking=True, about={("+idea", "steps"): ABOUT})
    assert found.verdict == "worse" and found.kind == "anytime"
    np.testing.assert_allclose(found.interval, anytime([-x for x in BETTER]), rtol=1e-9)
    assert found.p == pytest.approx(1 / evidence(BETTER), rel=1e-6)


def test_several_ideas_are_judged_by_holm_at_each_equality() -> None:
    clear, near, none = BETTER, [-0.05, -0.01, -0.03, -0.005, -0.03], [0.01, -0.02, 0.015, 0.001, -0.01]
    p = [stats.ttest_1samp(x, 0).pvalue for x in (clear, near, none)]
    assert p[1] < 0.05 < 2 * p[1]  # alone it would be shown
    asked = [pairs(x, name) for x, name in ((clear, "a"), (near, "b"), (none, "c"))]
    asked.append(pairs(near, "b", "time"))
    found = find(asked, looking=False, about={(one.idea, one.at): ABOUT for one in asked})
    assert [one.verdict for one in found] == ["better", "not shown", "not shown", "better"]
    np.testing.assert_allclose([one.p for one in found], [3 * p[0], 2 * p[1], p[2], p[1]], rtol=1e-6)
    assert found[1].interval.high < 0  # each interval is its own


@pytest.mark.parametrize(
    ("differences", "verdict", "diverged"),
    [
        ([math.nan] * 3, "worse", (0, 3)),
        ([math.inf] * 3, "better", (3, 0)),
        ([math.nan], "not shown", (0, 1)),  # one run is no evidence
        ([*BETTER, math.nan], "not shown", (0, 1)),  # it cannot win by the seeds that it survived
        ([*(-x for x in BETTER), math.nan], "worse", (0, 1)),
        ([*BETTER, math.inf], "better", (1, 0)),
        ([*(-x for x in BETTER), math.inf], "not shown", (1, 0)),
        ([math.nan, math.inf], "not shown", (1, 1)),
    ],
)
def test_divergence_is_a_result(differences: list[float], verdict: str, diverged: tuple[int, int]) -> None:
    asked = pairs(differences)
    assert asked.diverged == diverged
    assert judge(asked, asked.p(looking=False), looking=False)[0] == verdict


def test_what_is_said_is_json_without_infinities() -> None:
    for differences in ([0.1], [math.nan, math.nan], [0.1, math.inf]):
        (found,) = find([pairs(differences)], looking=False, about={("+idea", "steps"): ABOUT})
        said = json.loads(json.dumps(found.said(), allow_nan=False))
        assert said["interval"] == [None, None] and said["seeds"] == len(differences)
        assert {
            "idea",
            "metric",
            "at",
            "verdict",
            "difference",
            "moved",
            "pairs",
            "more_seeds",
        } <= said.keys()


def test_no_pair_moved_nothing() -> None:
    assert most_moved([]) == []
