"""What docs/coordinates.md shows is so."""

from __future__ import annotations

import json
import re

import pytest

from danlu.spec import Experiment, resolve
from danlu.spec.words import split
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "coordinates.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^danlu train (.*?) *(?:#.*)?$", PAGE, flags=re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_experiments_are_experiments(command: str) -> None:
    assert isinstance(resolve(split(command.partition(" --run")[0])), Experiment)


def test_the_table_is_the_result() -> None:
    """Row by row, in the order of the benchmark, whose last row is the recipe's."""
    rows = json.loads((ROOT / "bench" / "results" / "coordinates.json").read_text())["rows"][:-1]
    start = PAGE.index("## A good fit is no good picture")
    shown = re.findall(r"^\| [^|]*\| ([\d.]*) ?\| ([\d.]+) \|", PAGE[start:], flags=re.MULTILINE)
    assert shown == [(f"{row['seen']:.1f}" if "seen" in row else "", f"{row['unseen']:.1f}") for row in rows]


def test_the_metrics_are_those_of_the_objective() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\w*) ?\| (higher|lower) \|", PAGE, flags=re.MULTILINE)
    assert rows == [(m.name, m.unit, m.better) for m in resolve(["siren-photograph"]).objective.metrics]
