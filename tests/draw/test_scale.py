"""Places and ticks of axes."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from danlu.draw.scale import Names, Scale, linear_ticks, log_ticks, short

numbers = st.floats(allow_nan=True, allow_infinity=True)
finite = st.floats(-1e12, 1e12)


@pytest.mark.parametrize(
    ("low", "high", "about", "labels"),
    [
        (0, 1, 5, "0 0.2 0.4 0.6 0.8 1.0"),
        (0, 0.3, 3, "0 0.1 0.2 0.3"),
        (-0.05, 0.11, 4, "-0.05 0 0.05 0.10"),
        (995, 1005, 5, "996 998 1000 1002 1004"),
        (0, 3e6, 3, "0 1e6 2e6 3e6"),
        (0, 2e-5, 4, "0 5e-6 1e-5 1.5e-5 2e-5"),
    ],
)
def test_linear_ticks(low: float, high: float, about: int, labels: str) -> None:
    assert " ".join(tick.label for tick in linear_ticks(low, high, about)) == labels


@pytest.mark.parametrize(
    ("low", "high", "about", "values"),
    [
        (0, 3, 6, [1, 10, 100, 1000]),
        (0, 1, 6, [1, 2, 5, 10]),
        (-4, 8, 7, [1e-4, 1e-2, 1, 1e2, 1e4, 1e6, 1e8]),
        (math.log10(20), math.log10(40), 4, [20, 25, 30, 35, 40]),
    ],
)
def test_log_ticks(low: float, high: float, about: int, values: list[float]) -> None:
    assert [tick.value for tick in log_ticks(low, high, about)] == values


@given(finite, finite, st.integers(2, 12))
def test_linear_ticks_are_even_round_and_say_their_value(low: float, high: float, about: int) -> None:
    low, high = sorted((low, high))
    assume(high - low > 1e-6 * max(1e-6, abs(low), abs(high)))
    ticks = linear_ticks(low, high, about)
    values = [tick.value for tick in ticks]
    slack = 1e-6 * (high - low)
    assert all(low - slack <= value <= high + slack for value in values)
    assert about / 2.5 - 1 <= len(values) <= about + 1  # a step is at most 2.5 times the one asked for
    assert all(float(tick.label) == tick.value for tick in ticks)
    steps = [b - a for a, b in pairwise(values)]
    assert all(step == pytest.approx(steps[0], rel=1e-5) for step in steps)


@given(st.floats(-300, 300), st.floats(0.01, 600), st.integers(2, 12))
def test_log_ticks_lie_within(low: float, span: float, about: int) -> None:
    high = min(low + span, 300.0)
    assume(high > low + 0.005)
    values = [tick.value for tick in log_ticks(low, high, about)]
    assert all(low - 1e-6 <= math.log10(value) <= high + 1e-6 for value in values)
    assert values == sorted(set(values)) and len(values) <= 2 * about + 1


@given(st.lists(numbers, max_size=8), st.booleans())
def test_any_values_make_a_scale(values: list[float], log: bool) -> None:
    scale = Scale(values, 10, 110, log=log)
    for value in values:
        place = scale.at(value)
        drawable = 1e-300 <= value <= 1e300 if log else abs(value) <= 1e300
        assert (10 <= place <= 110) if drawable else math.isnan(place)
    assert all(math.isfinite(scale.at(tick.value)) for tick in scale.ticks())


def test_places_are_linear_or_geometric() -> None:
    assert [Scale([0, 4], 0, 100, room=0).at(v) for v in (0, 1, 4)] == [0, 25, 100]
    assert [Scale([1, 100], 100, 0, log=True, room=0).at(v) for v in (1, 10, 100)] == [100, 50, 0]
    assert [Names(["a", "b"], 0, 100).at(i) for i in (0, 1)] == [25, 75]


def test_short() -> None:
    said = [short(v) for v in (0, 0.5, 1e-4, 123456, 2e6, -1.25e-7, math.nan)]
    assert said == ["0", "0.5", "1e-4", "123456", "2e6", "-1.25e-7", "nan"]
