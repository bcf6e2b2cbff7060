"""The real ladder that docs/ladder.md tells: its table is what was kept, and its errors follow from it."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path

import pytest

from tests.conftest import ROOT

KEPT = json.loads((ROOT / "bench" / "results" / "ladder.json").read_text())
UNITS = {"": 1.0, "k": 1e3, "M": 1e6}
NUMBER = re.compile(r"(\d+(?:\.\d+)?(?:e\d+)?) ?([kM]?)")


def told(page: Path) -> list[list[list[float]]]:
    """The rows of the table of runs: of each cell its numbers."""
    lines = page.read_text(encoding="utf-8").splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("| 14.4 k |"))
    rows = []
    for line in lines[first:]:
        if not line.startswith("|"):
            break
        cells = line.strip("|").split("|")
        rows.append([[float(a) * UNITS[unit] for a, unit in NUMBER.findall(cell)] for cell in cells])
    return rows


@pytest.mark.parametrize("page", ["docs/ladder.md", "docs/zh/ladder.md"])
def test_the_page_tells_what_was_kept(page: str) -> None:
    assert KEPT["command"] in (ROOT / page).read_text(encoding="utf-8")
    *rungs, target = told(ROOT / page)
    runs = [[[run["parameters"]], [run["tokens"]], [run["flops"]], run["loss"]] for run in KEPT["runs"]]
    held, aim = KEPT["held_out"], KEPT["target"]
    runs[-1][3] = [*runs[-1][3], held["value"], held["low"], held["high"]]
    assert rungs == [[pytest.approx(cell) for cell in run] for run in runs]
    said = (
        [aim["parameters"]],
        [aim["tokens"]],
        [aim["flops"]],
        [*aim["loss"], aim["value"], aim["low"], aim["high"]],
    )
    assert target == [pytest.approx(cell) for cell in said]


@pytest.mark.parametrize("page", ["docs/ladder.md", "docs/zh/ladder.md"])
def test_the_errors_that_are_told_follow(page: str) -> None:
    """To the digits that were kept, and both intervals hold what was measured, as is said."""
    text = (ROOT / page).read_text(encoding="utf-8")
    said = re.search(r"(\d\.\d) % (?:and|和) (\d\.\d) %", text)
    assert said is not None
    pairs = (KEPT["held_out"], KEPT["runs"][-1]["loss"]), (KEPT["target"], KEPT["target"]["loss"])
    for (one, losses), share in zip(pairs, said.groups(), strict=True):
        measured = sum(losses) / len(losses)
        assert one["low"] < measured < one["high"]
        assert 1 - one["value"] / measured == pytest.approx(float(share) / 100, abs=1e-3)


def test_the_command_bought_these_runs() -> None:
    """All runs stay within the budget, levels are a few times apart, and the FLOP are near 6·N·D, as of such
    small networks."""
    flops = [run["flops"] for run in KEPT["runs"]]
    seeds = {len(run["loss"]) for run in KEPT["runs"]}
    assert seeds == {3} and len(flops) == 5 and 3 * sum(flops) <= 2.5e13
    assert all(1.5 < larger / smaller < 10 for smaller, larger in pairwise(flops))
    for run in [*KEPT["runs"], KEPT["target"]]:
        assert 1 < run["flops"] / (6 * run["parameters"] * run["tokens"]) < 2
        assert run["tokens"] / run["parameters"] == pytest.approx(20, rel=0.1)
