"""A short run of the cases of ``python -m tests.fuzz``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import LIMIT
from tests.fuzz import case
from tests.fuzz.world import build

SEED = 20261128


@pytest.mark.parametrize(
    "numbers", [range(20), pytest.param(range(20, 150), marks=pytest.mark.slow)], ids=["first", "more"]
)
def test_hostile_files_and_words(numbers: range, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DANLU_CACHE", str(tmp_path / "cache"))
    # None of these cases works for long, and none is stopped for being slow on a busy machine.
    monkeypatch.setattr(case, "PATIENCE", LIMIT / 2)
    monkeypatch.setattr(case, "LIMIT", LIMIT)
    build(tmp_path / "world")
    cases = [case.carry_out(number, SEED, tmp_path / "world", tmp_path / "case") for number in numbers]
    assert [str(one) for one in cases if one.problems] == []
    assert {one.code for one in cases} >= {0, 2}  # some succeed, some are refused
