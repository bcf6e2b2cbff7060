"""Grids: exact points, ends included; products in order; what is no grid is said to be none."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.lab.errors import LabError
from danlu.lab.grids import Dimension, dimension, expand, log_grid, number, points, written


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("1e-4..1e-1/1", [1e-4, 1e-3, 1e-2, 1e-1]),
        ("1e-2..1e-1/3", [1e-2, 2.15e-2, 4.64e-2, 1e-1]),
        ("1e-3..3e-1/2", [1e-3, 3.13e-3, 9.79e-3, 3.06e-2, 9.59e-2, 3e-1]),  # 4.95 intervals: five
        ("2,3,4", [2, 3, 4]),
        ("0, 1e-3..1e-1/1", [0, 1e-3, 1e-2, 1e-1]),
        ("adamw|lion", ["adamw", "lion"]),
        ("64..1024/4", [64, 111, 194, 338, 588, 1024]),
        ("64k,1.5M", [64_000, 1_500_000]),
        ("1e-3,0.001,2", [1e-3, 2]),
        ("none|512", ["none", 512]),
        ("[1,2],[3,4]", ["[1,2]", "[3,4]"]),
        ("{kind: a, b: 1}|'c|d'", ["{kind: a, b: 1}", "'c|d'"]),
        ("../texts/*.txt", ["../texts/*.txt"]),
    ],
)
def test_points(text: str, wanted: list[object]) -> None:
    assert points(text) == wanted


@given(low=st.floats(1e-8, 1e6), decades=st.floats(0.05, 9), per_decade=st.integers(1, 100))
def test_a_grid_holds_its_ends_and_is_even_in_the_logarithm(
    low: float, decades: float, per_decade: int
) -> None:
    high = low * 10**decades
    grid = log_grid(low, high, per_decade)
    assert grid[0] == low and grid[-1] == high
    assert grid == sorted(set(grid))
    intervals = math.log10(high / low) * per_decade
    assert len(grid) - 1 == max(1, round(intervals))
    step = math.log(high / low) / (len(grid) - 1)
    for i, value in enumerate(grid):  # rounded to three digits: half a percent at most
        assert abs(math.log(value / low) - i * step) <= 0.00501


@given(st.floats(1e-12, 1e12) | st.integers(-(10**9), 10**9))
def test_a_number_written_is_read_as_itself(value: float) -> None:
    assert number(written(value)) == value


def test_the_last_grid_turns_fastest_and_words_keep_their_order() -> None:
    words = ["nano", "optimizer.kind=adamw|lion", "train.steps=10", "optimizer.lr=1e-3,1e-2", "+glu|"]
    found = expand(words)
    assert found[:3] == [
        ["nano", "optimizer.kind=adamw", "train.steps=10", "optimizer.lr=1e-3", "+glu"],
        ["nano", "optimizer.kind=adamw", "train.steps=10", "optimizer.lr=1e-3"],
        ["nano", "optimizer.kind=adamw", "train.steps=10", "optimizer.lr=0.01", "+glu"],
    ]
    assert len(found) == 8 and found[4][1] == "optimizer.kind=lion"
    assert expand(["nano", "+glu"]) == [["nano", "+glu"]]


def test_a_choice_may_hold_several_words_or_none() -> None:
    found = dimension("+tiger  optimizer.lr=1e-4|+lion|")
    assert found is not None and found.values == ("+tiger optimizer.lr=1e-4", "+lion", "")
    assert [found.words(value) for value in found.values] == [["+tiger", "optimizer.lr=1e-4"], ["+lion"], []]
    assert dimension("|+glu") == Dimension("|+glu", ("", "+glu"))


@pytest.mark.parametrize(
    "word", ["nano", "+glu", "train.steps=10", "data.corpus=../a/*.txt", "optimizer.lr=1e-3"]
)
def test_plain_words_span_nothing(word: str) -> None:
    assert dimension(word) is None


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("1e-1..1e-4/3", "upwards from above 0"),
        ("0..1/3", "upwards from above 0"),
        ("1e-3..1e-1/0", "from 1 to 100"),
        ("1e-3..1e-1/101", "from 1 to 100"),
        ("1e-3..1e-1/2.5", "from 1 to 100"),
        ("1e-3..x/2", "LOW..HIGH/POINTS"),
        ("1e-3..1e-1", "1e-3..1e-1/3"),
        ("1,,2", "empty"),
        ("a||b", "empty"),
    ],
)
def test_what_is_no_grid_is_refused_with_what_to_write(text: str, wanted: str) -> None:
    with pytest.raises(LabError, match=wanted):
        points(text)


def test_a_range_is_a_dimension_but_no_grid() -> None:
    assert dimension("optimizer.lr=1e-4..1e-1") == Dimension("optimizer.lr", span=(1e-4, 1e-1))
    assert dimension("model.layers=2..8") == Dimension("model.layers", span=(2, 8), whole=True)
    with pytest.raises(LabError, match=r"optimizer\.lr=1e-4\.\.0\.1/3"):
        expand(["optimizer.lr=1e-4..1e-1"])
