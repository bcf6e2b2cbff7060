"""Values of arms, effects of seeds, verdicts: plain numbers."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.lab.claims import verdict
from danlu.lab.claims.book import Rule
from danlu.lab.statistics import Interval
from tests.lab.claims.small import OVER, claim

NUMBERS = st.floats(-100, 100, width=32)
POINTS = [1e-3, 2e-3, 4e-3, 16e-3]


def over(of: str, **more: float) -> verdict.Claim:
    return claim(**(OVER | {"of": of} | more))


@pytest.mark.parametrize(
    ("rule", "interval", "said"),
    [
        (Rule(above=0), (0.1, 0.3), "holds"),
        (Rule(above=0), (-0.1, 0.3), "not shown"),
        (Rule(above=0), (-0.3, -0.1), "does not hold"),
        (Rule(above=0.2), (0.1, 0.3), "not shown"),
        (Rule(below=0), (-0.3, -0.1), "holds"),
        (Rule(below=0), (-0.3, 0.1), "not shown"),
        (Rule(below=0), (0.1, 0.3), "does not hold"),
        (Rule(within=(-1, 1)), (-0.9, 0.9), "holds"),
        (Rule(within=(-1, 1)), (-1.1, 0.9), "not shown"),
        (Rule(within=(-1, 1)), (-2, 2), "not shown"),
        (Rule(within=(-1, 1)), (1.1, 2), "does not hold"),
        (Rule(within=(-1, 1)), (-3, -2), "does not hold"),
    ],
)
def test_judge(rule: Rule, interval: tuple[float, float], said: str) -> None:
    assert verdict.judge(rule, Interval(sum(interval) / 2, *interval)) == said


@given(st.lists(NUMBERS, min_size=4, max_size=4), st.sampled_from(["best", "argbest", "range"]))
def test_where_higher_is_better_it_is_the_mirror_image(values: list[float], of: str) -> None:
    asked = over(of, **({"margin": 0.5} if of == "range" else {}))
    up = verdict.arm_value(asked, dict(zip(POINTS, values, strict=True)), -1)
    down = verdict.arm_value(asked, {point: -v for point, v in zip(POINTS, values, strict=True)})
    assert up == (-down if of == "best" else down)
    if of == "best":
        assert up == max(values)


@given(st.sampled_from([Rule(above=0), Rule(below=0), Rule(within=(-1, 1))]))
def test_without_a_finite_interval_nothing_is_shown(rule: Rule) -> None:
    assert verdict.judge(rule, Interval(math.nan, -math.inf, math.inf)) == "not shown"


@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1))
def test_the_effect_of_a_seed_is_the_weighted_sum(rows: list[tuple[float, float]]) -> None:
    less, more = zip(*rows, strict=True)
    found = verdict.effects(claim(), {"more": more, "less": less})
    assert found == [a - b for a, b in rows]


def test_log2_makes_ratios() -> None:
    found = verdict.effects(claim(scale="log2"), {"less": [8.0, 1.0, 0.0], "more": [2.0, 4.0, 1.0]})
    assert found[:2] == [2.0, -2.0] and math.isnan(found[2])


def test_what_is_made_of_an_arm() -> None:
    measured = dict(zip(POINTS, [3.0, 1.0, 2.0, 5.0], strict=True))
    assert verdict.arm_value(claim(), {None: 2.5}) == 2.5
    assert verdict.arm_value(over("best"), measured) == 1.0
    assert verdict.arm_value(over("drop"), measured) == 3.0 - 5.0
    assert math.isnan(verdict.arm_value(over("best"), measured | {POINTS[0]: math.nan}))


def test_range_is_what_lies_below_the_line() -> None:
    """Octaves 0, 1, 2, 4: at 1.5 the line is met a quarter of an octave left and half of one right of the
    second point."""
    measured = dict(zip(POINTS, [3.0, 1.0, 2.0, 5.0], strict=True))
    assert verdict.arm_value(over("range", margin=0.5), measured) == pytest.approx(0.25 + 0.5)
    assert verdict.arm_value(over("range", margin=9.0), measured) == pytest.approx(4.0)


@given(
    st.lists(st.integers(-8, 8), min_size=2, max_size=6, unique=True),
    st.lists(st.integers(0, 8), min_size=6, max_size=6),
    st.floats(0, 9),
)
def test_length_below_agrees_with_counting(xs: list[int], ys: list[int], level: float) -> None:
    x = sorted(map(float, xs))
    y = [float(value) for value in ys[: len(x)]]
    fine = np.concatenate([np.linspace(a, b, 1000, endpoint=False) + (b - a) / 2000 for a, b in pairwise(x)])
    widths = np.concatenate([np.full(1000, (b - a) / 1000) for a, b in pairwise(x)])
    counted = widths[np.interp(fine, x, y) <= level].sum()
    assert verdict.length_below(x, y, level) == pytest.approx(counted, abs=2e-3 * (x[-1] - x[0]))


@given(st.floats(0.1, 5), st.floats(-2, 2), NUMBERS)
def test_lowest_is_the_vertex_of_a_parabola(bend: float, middle: float, height: float) -> None:
    x = [-4.0, -1.0, 0.5, 3.0]
    found = verdict.lowest(x, [bend * (a - middle) ** 2 + height for a in x])
    lowest = min(x, key=lambda a: abs(a - middle))
    assert found == (pytest.approx(middle, abs=1e-4) if lowest in x[1:-1] else lowest)


def test_lowest_at_an_end_is_the_end() -> None:
    assert verdict.lowest([0.0, 1.0, 2.0], [3.0, 2.0, 1.0]) == 2.0
    assert verdict.lowest([0.0, 1.0, 2.0], [1.0, 1.0, 1.0]) == 0.0


@given(st.lists(NUMBERS, min_size=5, max_size=5))
def test_slope_agrees_with_numpy(y: list[float]) -> None:
    x = [0.0, 1.0, 2.0, 4.0, 7.0]
    assert verdict.slope(x, y) == pytest.approx(np.polyfit(x, y, 1)[0], abs=1e-6)


def test_the_slope_of_a_power_is_its_exponent() -> None:
    measured = {point: 5 * point**-0.75 for point in POINTS}
    assert verdict.arm_value(over("slope"), measured) == pytest.approx(-0.75)
    assert verdict.arm_value(over("argbest"), measured) == math.log2(POINTS[-1])
