"""Verdicts from pairs: intervals, several ideas at once, divergence."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from danlu.lab.statistics import anytime, evidence, paired
from danlu.lab.statistics.multiverse import differing
from danlu.lab.trial.findings import find, judge
from danlu.lab.why import why
from tests.lab.trial.cases import ACCURACY, BITS, pairs

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


def test_what_a_verdict_hangs_on_is_told() -> None:
    """Four pairs agree and one does not: without that one the four would show it. Six that agree: nothing."""
    about = {("+idea", "steps"): ABOUT}
    one_off = [-0.05, -0.05, -0.06, -0.05, 0.02]
    (found,) = find([pairs(one_off)], looking=False, about=about)
    assert found.verdict == "not shown" and len(found.readings) == 5
    without = paired(one_off[:4]), paired([*one_off[:3], one_off[4]])
    assert without[0].high < 0 < without[1].high
    assert differing(found.readings, found.verdict) == (
        "1 of 5 would say otherwise: better without the pair of seed 4"
    )
    (found,) = find([pairs([*BETTER, -0.05])], looking=False, about=about)
    assert len(found.readings) == 6 + 1 and differing(found.readings, found.verdict) == ""
    (found,) = find([pairs([*BETTER, -0.05])], looking=True, about=about)
    assert len(found.readings) == 6  # sign flips hold for a number of pairs that was set beforehand
    by = pairs(BETTER), pairs([-x for x in BETTER])
    other = replace(by[0], others={"in another unit": pairs([3 * x for x in BETTER]), "by the end": by[1]})
    (found,) = find([other], looking=False, about=about)
    assert found.readings[0] == ("by the end", "worse") and len(found.readings) == 1 + 5


def test_several_ideas_are_judged_by_holm_at_each_equality() -> None:
    clear, near, none = BETTER, [-0.05, -0.01, -0.03, -0.005, -0.03], [0.01, -0.02, 0.015, 0.001, -0.01]
    p = [stats.ttest_1samp(x, 0).pvalue for x in (clear, near, none)]
    assert p[1] < 0.05 < 2 * p[1]  # alone it would be shown
    asked = [pairs(x, name) for x, name in ((clear, "a"), (near, "b"), (none, "c"))]
    asked.append(pairs(near, "b", "time"))
    found = find(asked, looking=False, about={(one.idea, one.at): ABOUT for one in asked})
    assert [one.verdict for one in found] == ["better", "not shown", "not shown", "better"]
    np.testing.assert_allclose([one.p for one in found], [3 * p[0], 2 * p[1], p[2], p[1]], rtol=1e-6)
    # The interval is the one that the word comes from: at the level at which Holm's method tests each.
    for one, differences, factor in zip(found, (clear, near, none, near), (3, 2, 1, 1), strict=True):
        level = 1 - 0.05 / factor
        ends = stats.ttest_1samp(differences, 0).confidence_interval(level)
        np.testing.assert_allclose(one.interval[1:], ends, rtol=1e-6)
        assert one.level == pytest.approx(level)
        assert (one.verdict == "not shown") == (one.interval.low <= 0 <= one.interval.high)


@given(st.lists(st.lists(st.floats(-1, 1), min_size=3, max_size=5), min_size=1, max_size=4), st.booleans())
def test_a_word_and_its_interval_never_disagree(ideas: list[list[float]], looking: bool) -> None:
    asked = [pairs(differences, str(i)) for i, differences in enumerate(ideas)]
    for found in find(asked, looking, {(one.idea, one.at): ABOUT for one in asked}):
        low, high = found.interval[1:]
        assert (found.verdict == "not shown") == (low <= 0 <= high)
        if abs(found.p - 0.05) > 1e-9:
            assert (found.p < 0.05) == (found.verdict != "not shown")


@given(st.lists(st.floats(-1, 1), min_size=3, max_size=6))
def test_where_higher_is_better_the_verdict_is_the_other(differences: list[float]) -> None:
    other = {"better": "worse", "worse": "better", "not shown": "not shown"}
    lower, higher = (judge(pairs(differences, metric=m), 0.95, False) for m in (BITS, ACCURACY))
    assert higher == (other[lower[0]], lower[1])


def test_more_accuracy_is_better() -> None:
    asked = pairs([0.05, 0.04, 0.06, 0.05, 0.04], metric=ACCURACY)
    (found,) = find([asked], looking=False, about={("+idea", "steps"): ABOUT})
    assert found.verdict == "better" and found.interval.low > 0
    said = found.json()
    assert (said["metric"], said["better"]) == ("accuracy", "higher")


def test_what_is_not_known_of_the_ratio_widens_the_interval() -> None:
    """Clear at the measured ratio, and not at both ends of its interval."""
    sure = pairs(BETTER, at="time")
    assert judge(sure, 0.95, False)[0] == "better"
    unsure = replace(sure, doubt=(0.01, 0.04))
    verdict, interval = judge(unsure, 0.95, False)
    low = stats.ttest_1samp([x - 0.01 for x in BETTER], 0).confidence_interval(0.95).low
    high = stats.ttest_1samp([x + 0.04 for x in BETTER], 0).confidence_interval(0.95).high
    np.testing.assert_allclose(interval, [np.mean(BETTER), low, high], rtol=1e-6)
    assert verdict == "not shown" and high > 0
    larger = stats.ttest_1samp([x + 0.04 for x in BETTER], 0).pvalue
    assert unsure.p(looking=False) == pytest.approx(larger)
    assert replace(sure, doubt=(0.0, 0.06)).p(looking=False) == 1.0  # the mean may be on either side


def test_what_was_not_measured_has_no_verdict_and_no_part_in_holm() -> None:
    about = {(idea, "time"): ABOUT for idea in ("a", "b")}
    one, other = find([pairs(BETTER, "a", "time"), pairs([], "b", "time")], looking=False, about=about)
    assert other.verdict == "not measured" and other.json()["interval"] == [None, None]
    assert one.level == pytest.approx(0.95)


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
    assert judge(asked, 0.95, looking=False)[0] == verdict


def test_what_is_said_is_json_without_infinities() -> None:
    for differences in ([0.1], [math.nan, math.nan], [0.1, math.inf]):
        (found,) = find([pairs(differences)], looking=False, about={("+idea", "steps"): ABOUT})
        said = json.loads(json.dumps(found.json(), allow_nan=False))
        assert said["interval"] == [None, None] and said["seeds"] == len(differences)
        assert {
            "idea",
            "metric",
            "at",
            "verdict",
            "difference",
            "moved",
            "still",
            "loss_left",
            "pairs",
            "more_seeds",
        } <= said.keys()


def test_no_pair_moved_nothing() -> None:
    assert why([]).moved == []
