"""What a sweep will run is what it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from danlu.lab.budget import bounded, flops
from danlu.lab.sweep.asked import ask, forecast
from danlu.spec import resolve
from tests.lab.sweep.test_sweep import GRID, WAYS, run


@pytest.mark.parametrize("way", WAYS)
def test_as_many_runs_as_are_said(tmp_path: Path, way: str) -> None:
    words, asked = WAYS[way]
    settings: dict[str, Any] = {name: value for name, value in asked.items() if name != "at_once"}
    found = forecast(ask(words, **settings))
    assert found.counts == (run(tmp_path, words, **asked)[1],) * 2


def test_flops_are_those_of_the_dearest_point() -> None:
    found = forecast(ask(GRID, seeds=2))
    dear = flops(bounded(resolve("nano model.layers=3"), 30))
    assert found.flops == pytest.approx((20 * dear, 20 * dear))
