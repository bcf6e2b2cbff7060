"""Maps: colours are places between the least and the greatest, and several maps may share them."""

from __future__ import annotations

import math
import re

from danlu.draw.maps import by_name, over
from danlu.draw.palette import viridis


def fills(svg: str) -> dict[str, str]:
    """What is said of each cell, and its colour."""
    return {tip: fill for fill, tip in re.findall(r'fill="(#\w+)"><title>([^<]*)</title>', svg)}


def test_maps_beside_one_another_have_one_scale() -> None:
    here = {"a": {1.0: 2.0, 2.0: 4.0}, "b": {1.0: 3.0}}
    there = {"a": {1.0: 10.0}, "b": {1.0: 0.0}}
    alone = fills(over(here, x="step", label="s").svg())
    assert alone == {
        "a, step 1: 2": viridis(0), "a, step 2: 4": viridis(1), "b, step 1: 3": viridis(0.5)
    }  # fmt: skip
    both = fills(over(here, x="step", label="s", beside=[there]).svg())
    assert both["a, step 1: 2"] == viridis(0.2) and both["a, step 2: 4"] == viridis(0.4)
    by_log = fills(over(here, x="step", label="s", log=True).svg())
    assert by_log["b, step 1: 3"] == viridis(math.log(1.5) / math.log(2))
    assert fills(over(here, x="step", label="s", log=True, beside=[there]).svg()) == both  # zero has no log


def test_columns_have_scales_of_their_own() -> None:
    grid = {
        "a": {"x": 1.0, "y": 100.0},
        "b": {"x": 3.0, "y": 1.0},
        "c": {"x": 2.0, "y": 10.0},
        "d": {"y": 1.0},
    }
    found = fills(by_name(grid, ["x", "y"], log=[False, True], heads=["X", "Y"]).svg())
    assert found["a, X: 1"] == found["b, Y: 1"] == viridis(0)
    assert found["c, X: 2"] == found["c, Y: 10"] == viridis(0.5)
    assert "d, X: none" not in found
    wider = fills(by_name(grid, ["x"], log=[False], heads=["X"], beside=[{"a": {"x": 5.0}}]).svg())
    assert wider["b, X: 3"] == viridis(0.5)
