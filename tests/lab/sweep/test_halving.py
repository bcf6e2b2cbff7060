"""Successive halving: rungs, promotion, and an accounting that adds up."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.lab.errors import LabError
from danlu.lab.sweep.halving import ETA, Rung, accounting, halve, plan
from danlu.lab.sweep.space import Point
from danlu.lab.sweep.trials import Trial
from tests.lab.sweep.fake import trial


def test_rungs_by_hand() -> None:
    assert plan(27, 300) == [Rung(11, 27), Rung(33, 9), Rung(100, 3), Rung(300, 1)]
    assert plan(10, 30) == [Rung(3, 10), Rung(10, 3), Rung(30, 1)]
    assert plan(100, 5) == [Rung(2, 100), Rung(5, 33)]


@given(points=st.integers(3, 500), steps=st.integers(3, 10_000))
def test_rungs_end_at_full_length_and_none_costs_more_than_the_first_by_rounding(
    points: int, steps: int
) -> None:
    rungs = plan(points, steps)
    assert rungs[0].points == points and rungs[-1].steps == steps
    for low, high in itertools.pairwise(rungs):
        assert high.points == low.points // ETA >= 1 and low.steps >= 1
        assert abs(high.steps - ETA * low.steps) <= ETA  # each rounded to a whole number
    assert rungs[-1].points < ETA or rungs[0].steps < 2 * ETA  # no further rung was possible


@pytest.mark.parametrize(("points", "steps"), [(2, 300), (30, 2), (1, 1)])
def test_too_little_to_halve(points: int, steps: int) -> None:
    with pytest.raises(LabError, match="nothing to halve"):
        plan(points, steps)


@given(
    st.lists(st.floats(0, 9) | st.just(math.inf) | st.just(math.nan), min_size=3, max_size=60),
    st.integers(3, 900),
)
def test_the_accounting_is_the_sum_of_what_was_carried_out(costs: list[float], steps: int) -> None:
    carried: list[tuple[int, int]] = []

    def carry(points: Sequence[Point], rung: Rung) -> list[Trial]:
        carried.extend((rung.steps, int(point["a"])) for point in points)
        return [trial(0, point, costs[int(point["a"])], steps=rung.steps) for point in points]

    rungs = plan(len(costs), steps)
    found = halve(rungs, [{"a": str(i)} for i in range(len(costs))], carry)
    said = accounting(rungs, found, seeds=2)
    assert (
        said["updates"] == 2 * sum(steps for steps, _ in carried) == sum(r["updates"] for r in said["rungs"])
    )
    assert said["whole"] == 2 * steps * len(costs)
    best = min(filter(math.isfinite, costs), default=None)
    if best is not None and len(found) == len(rungs):
        assert min(t.cost for t in found[-1] if t.state == "finished") == best
    for rung in found[1:]:
        assert all(t.state == "finished" for t in rung)
