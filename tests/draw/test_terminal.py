"""Curves in a terminal."""

from __future__ import annotations

import math
import re
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from danlu.draw import text_chart

numbers = st.floats(allow_nan=True, allow_infinity=True) | st.none()


def drawing(chart: str) -> list[str]:
    """The rows between the axes."""
    return [
        line.split("┤" if "┤" in line else "│", 1)[1]
        for line in chart.splitlines()
        if "│" in line or "┤" in line
    ]


def test_a_diagonal_is_a_diagonal() -> None:
    rows = drawing(text_chart([("", [0, 1], [0, 1]), ("", [], [])], width=30, height=12))
    columns = [[k for k, letter in enumerate(row) if letter == "a"] for row in rows]
    assert columns[0][-1] == max(map(max, columns)) and columns[-1][0] == 0
    assert all(min(above) >= max(below) - 1 for above, below in pairwise(columns))
    assert sorted({k for row in columns for k in row}) == list(range(columns[0][-1] + 1))


def test_braille_dots() -> None:
    rows = drawing(text_chart([("one", [0, 1], [1, 1])], width=20, height=4))
    drawn = [row for row in rows if row]
    assert len(drawn) == 1 and len(set(drawn[0])) == 1  # a level line is one row of one letter …
    assert bin(ord(drawn[0][0]) - 0x2800).count("1") == 2  # … of two dots, one in each column


def test_several_curves_have_letters_or_colours() -> None:
    series = [("one", [1, 2], [1, 2]), ("two", [1, 2], [2, 1])]
    plain, coloured = text_chart(series), text_chart(series, colour=True)
    assert {"a", "b"} <= set("".join(drawing(plain))) and "\x1b" not in plain
    assert "a one" in plain and "b two" in plain
    assert set(re.findall(r"\x1b\[(\d+)m", coloured)) == {"34", "33", "0"}


def test_what_cannot_be_drawn_is_said() -> None:
    said = text_chart([("a", [1, 2, 3, 0], [1, math.nan, 3, 4])], log_x=True)
    assert said.splitlines()[-1].strip() == "2 left out: not finite or not above zero"
    assert "\x1b" not in text_chart([("\x1b[31mred", [1], [1])])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.tuples(numbers, numbers), max_size=5), max_size=3), st.booleans(), st.booleans())
def test_any_numbers_make_a_chart(curves: list[list[tuple[float, float]]], log: bool, colour: bool) -> None:
    series = [(f"c{k}", [x for x, _ in curve], [y for _, y in curve]) for k, curve in enumerate(curves)]
    chart = text_chart(series, height=6, log_x=log, log_y=log, colour=colour)
    assert len(drawing(chart)) == 6
