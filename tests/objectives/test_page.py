"""What docs/objectives.md shows works as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from danlu.spec import Experiment, resolve
from tests.conftest import ROOT
from tests.objectives.fakes import BYTES

PAGE = (ROOT / "docs" / "objectives.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("words", re.findall(r"^danlu train (.*?) *(?:#.*)?$", PAGE, flags=re.MULTILINE))
def test_the_experiments_are_experiments(words: str) -> None:
    assert isinstance(resolve(words.split()), Experiment)


def test_every_kind_has_its_model() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `([\w-]+)` \|", PAGE, flags=re.MULTILINE)
    assert [kind for kind, _ in rows] == ["causal", "prefix", "masked", "spans"]
    for kind, model in rows:
        assert resolve(["tiny", f"objective={kind}", f"model.kind={model}"]).objective.kind == kind


def test_the_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
    (tmp_path / "runs" / "first").mkdir(parents=True)
    BYTES.save(tmp_path / "runs" / "first" / "tokenizer.json")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "docs/objectives.md", "exec"), {})
