"""Borders with their direction, isolation, and the chance in the best."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.lab.grids import dimension
from danlu.lab.sweep.analysis import border, finite, isolation, study_variance
from danlu.lab.sweep.trials import best_of, longest, most_at_once
from tests.lab.sweep.fake import trial

COSTS = st.lists(st.floats(-10, 10), min_size=4, max_size=9)


@pytest.mark.parametrize(
    ("word", "best", "wanted"),
    [
        ("lr=1e-3..1e-1/1", "1e-3", "lower"),
        ("lr=1e-3..1e-1/1", "0.01", None),
        ("lr=1e-3..1e-1/1", "0.1", "upper"),
        ("lr=1e-3..1e-1", "0.09", "upper"),  # 97.7 % of the way
        ("lr=1e-3..1e-1", "0.07", None),  # 92.3 %
        ("lr=1e-3..1e-1", "1.1e-3", "lower"),
        ("drop=0,0.1,0.2", "0", "lower"),
        ("drop=0,0.1,0.2", "0.1", None),
        ("decay=0,0.001,0.01,0.1", "0.001", None),  # 1 % of the way, and no end of the list
        ("decay=0,0.001,0.01,0.1", "0", "lower"),
        ("decay=0,0.001,0.01,0.1", "0.1", "upper"),
        ("steps=1,99,100", "99", None),
        ("kind=adamw|lion", "adamw", None),
    ],
)
def test_the_border_and_its_direction(word: str, best: str, wanted: str | None) -> None:
    spans = dimension(word)
    assert spans is not None
    tried = dict.fromkeys([*spans.values, best])
    trials = [
        trial(n, {spans.name: value}, 0.0 if value == best else 1.0) for n, value in enumerate(tried, 1)
    ]
    found = border(best_of(trials) or trials[0], trials, [spans])
    assert [one.end for one in found] == ([wanted] if wanted else [])
    if wanted:
        way = {"upper": "upwards", "lower": "downwards"}[wanted]
        assert (
            found[0].sentence
            == f"the best lies at the {wanted} end of {spans.name} ({float(best):g}): extend it {way}"
        )


def test_beyond_the_best_something_diverged_so_it_is_no_border() -> None:
    spans = dimension("lr=0.01,0.1,1")
    assert spans is not None
    trials = [trial(1, {"lr": "0.01"}, 2.0), trial(2, {"lr": "0.1"}, 1.0), trial(3, {"lr": "1"}, math.inf)]
    assert border(trials[1], trials, [spans]) == []


def test_isolation_is_the_best_over_the_others() -> None:
    costs = {("1", "x"): 3.0, ("1", "y"): 2.0, ("10", "x"): math.inf, ("10", "y"): 5.0, ("2", "x"): math.nan}
    trials = [trial(n, {"a": a, "b": b}, cost) for n, ((a, b), cost) in enumerate(costs.items(), 1)]
    rows = isolation(trials, "a")
    assert [(row["value"], row["best"], row["number"], row["trials"], row["diverged"]) for row in rows] == [
        (1.0, 2.0, 2, 2, 0), (2.0, None, None, 1, 0), (10.0, 5.0, 4, 2, 1)
    ]  # fmt: skip
    assert [row["value"] for row in isolation(trials, "b")] == ["x", "y"]


@given(st.lists(st.floats(1e-5, 1e2), min_size=13, max_size=40, unique=True))
def test_many_values_are_told_in_parts_that_hold_every_trial_once(values: list[float]) -> None:
    trials = [trial(n, {"a": repr(value)}, value) for n, value in enumerate(values, 1)]
    rows = isolation(trials, "a")
    assert len(rows) == 8 and sum(row["trials"] for row in rows) == len(values)
    assert min(row["best"] for row in rows if row["best"] is not None) == min(values) == rows[0]["best"]


@given(COSTS)
def test_the_chance_in_the_best_is_that_of_all_divisions(costs: list[float]) -> None:
    n, gaps = len(costs), []
    for half in itertools.combinations(range(n), n // 2):
        other = set(range(n)) - set(half)
        gaps.append(abs(min(costs[i] for i in half) - min(costs[i] for i in other)))
    found = study_variance(costs)
    assert found is not None and found.trials == n
    assert found.mean == pytest.approx(sum(gaps) / len(gaps), abs=1e-9)
    within = sum(gap <= found.high + 1e-9 for gap in gaps) / len(gaps)
    below = sum(gap < found.high - 1e-9 for gap in gaps) / len(gaps)
    assert within >= 0.95 - 1e-9 > below - 2e-9


def test_what_is_not_finite_counts_as_the_worst_and_what_is_not_known_not_at_all() -> None:
    assert finite([1.0, math.inf, 3.0, math.nan]) == [1.0, 3.0, 3.0]
    assert finite([math.inf, math.nan]) == []
    assert study_variance([1.0, 2.0, 3.0]) is None and study_variance([math.inf] * 5) is None


def test_only_what_ran_equally_long_is_compared() -> None:
    rungs = [trial(n, {"a": str(n)}, float(n), steps=10) for n in range(1, 4)]
    whole = trial(4, {"a": "1"}, 9.0)
    assert most_at_once([*rungs, whole]) == rungs and longest([*rungs, whole]) == [whole]
    assert longest(rungs) == rungs
