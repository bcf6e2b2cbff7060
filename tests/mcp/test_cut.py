"""Answers are cut, and say by how much."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.lab.reading.curves import thinned
from danlu.mcp.cut import LONGEST, MOST, cut, page


def test_what_is_short_stays_as_it_is() -> None:
    value = {"a": [1, 2, {"b": "text"}], "c": None}
    assert cut(value) == (value, {})


def test_lists_and_texts_are_cut_where_they_stand() -> None:
    value = {"a": [{"b": list(range(MOST + 3))}, {"b": list(range(MOST + 4))}], "c": "x" * (LONGEST + 1)}
    short, left = cut(value)
    assert [len(one["b"]) for one in short["a"]] == [MOST, MOST] and len(short["c"]) == LONGEST
    assert left == {"a.b": 7, "c": 1}


@given(st.lists(st.integers(), max_size=300), st.integers(2, 60))
def test_a_thinned_curve_keeps_its_ends_and_its_order(points: list[int], most: int) -> None:
    numbered = list(enumerate(points))
    kept = thinned(numbered, most)
    assert len(kept) == min(len(points), most)
    assert kept == sorted(set(kept)) and set(kept) <= set(numbered)
    assert not points or (kept[0], kept[-1]) == (numbered[0], numbered[-1])


@pytest.mark.parametrize("size", [0, 1, 24, 25, 26, 100])
def test_pages_hold_everything_once(size: int) -> None:
    found: list[int] = []
    more = {"next": 0, "left_out": {"items": size}}
    while "next" in more:
        assert more["left_out"] == {"items": size - len(found)}
        shown, more = page(range(size), len(found), 25)
        found += shown
    assert found == list(range(size))
