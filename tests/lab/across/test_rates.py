"""Rates that follow from smaller rungs."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.lab.across.rates import Rated, _curvature, _line, _off
from danlu.lab.tuning import Tuned
from danlu.spec.words import resolve

NUMBERS = st.floats(-3, 3)


@given(NUMBERS, NUMBERS, NUMBERS)
def test_a_line_goes_through_points_on_it(a: float, b: float, x: float) -> None:
    points = [(at, a + b * at) for at in (0.0, 1.3, 2.7)]
    assert _line(points, x) == pytest.approx(a + b * x, abs=1e-9)


def test_through_one_point_it_is_level() -> None:
    assert _line([(1.0, 2.0)], 7.0) == 2.0


@given(st.floats(0.01, 1), st.floats(-2, 2))
def test_a_parabola_tells_how_far_its_lowest_point_is(c: float, best: float) -> None:
    low, high = (c * (x - best) ** 2 for x in (-1, 1))
    assert _off(low, high, c) == pytest.approx(best, abs=1e-6)


def test_a_curve_that_does_not_bend_is_as_far_off_as_can_be() -> None:
    assert _off(1.0, 2.0, 0.0) == -math.inf and _off(2.0, 1.0, -1.0) == math.inf
    assert _off(1.0, math.inf, 0.1) == 0.0  # the edge of stability is above
    assert _off(math.inf, 1.0, 0.1) == math.inf


@given(st.floats(0.01, 1), st.floats(-1.5, 1.5))
def test_the_curvature_is_that_of_the_points_around_the_best(c: float, best: float) -> None:
    experiment = resolve("nano")
    curve = {2.0**x: 1 + c * (x - best) ** 2 for x in (-2, -1, 0, 1, 2)}
    tuned = Tuned(experiment, "optimizer.lr", 1.0, 0.5, 2.0, curve, 10)
    rated = Rated(experiment, 1.0, tuned, 10)
    assert _curvature([(0.0, rated)]) == pytest.approx(c, rel=1e-6)
