"""What docs/objectives.md shows works as it stands there."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from danlu import objectives
from danlu.spec import Experiment, resolve
from tests.conftest import ROOT
from tests.objectives.fakes import BYTES

PAGE = (ROOT / "docs" / "objectives.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^danlu (train .*?) *(?:#.*)?$", PAGE, flags=re.MULTILINE)
PYTHON = re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("command", [line for line in COMMANDS if "--" not in line])
def test_the_experiments_are_experiments(command: str) -> None:
    assert isinstance(resolve(command.split()[1:]), Experiment)


def test_every_kind_has_its_model() -> None:
    table = PAGE[: PAGE.index("## Images")]
    found = re.findall(r"^\| `([\w-]+)` \| `([\w-]+)` \|", table, flags=re.MULTILINE)
    assert [kind for kind, _ in found] == [
        "causal",
        "prefix",
        "masked",
        "masked-diffusion",
        "bigram-backcopy",
        "spans",
        "classify",
    ]
    for kind, model in found:
        base = "digits" if kind == "classify" else "tiny"
        assert resolve([base, f"objective={kind}", f"model.kind={model}"]).objective.kind == kind


def test_the_metrics_are_those_of_the_table() -> None:
    row = r"^\| (?:on text|`[\w-]+`)? *\| `(\w+)` \| ([^|]*?) ?\| (\w+) \|$"
    rows = re.findall(row, PAGE, flags=re.MULTILINE)
    found = [
        (m.name, m.unit, m.better)
        for recipe in ("tiny", "mdlm", "bigram-backcopy", "digits")
        for m in resolve([recipe]).objective.metrics
    ]
    assert rows == found


def test_the_table_of_members_is_the_interface() -> None:
    start = PAGE.index("## An objective of your own")
    rows = re.findall(r"^\| (`.*?) \|", PAGE[start:], flags=re.MULTILINE)
    names = {name for row in rows for name in re.findall(r"`(\w+)", row)}
    own = {name for name in vars(objectives.Objective) if not name.startswith("_")}
    serve = {"lengths", "record", "flops", "beside", "about", "along", "inputs_of", "stackable"}  # by default
    assert names == own - serve


def test_the_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    codes = [text for text in PYTHON if not text.startswith("# ")]
    assert len(codes) == 2
    (tmp_path / "runs" / "first").mkdir(parents=True)
    BYTES.save(tmp_path / "runs" / "first" / "tokenizer.json")
    monkeypatch.chdir(tmp_path)
    for code in codes:
        exec(compile(code, "docs/objectives.md", "exec"), {})


@pytest.mark.slow
def test_the_own_objective_trains_and_is_right(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    (code,) = [text for text in PYTHON if text.startswith("# agree.py\n")]
    (tmp_path / "agree.py").write_text(code)
    (command,) = [line for line in COMMANDS if "agree" in line]
    check = "import danlu; danlu.load('agree.py'); danlu.testing.check_part('objective agree')"
    for words in (["-m", "danlu", *shlex.split(command)], ["-c", check]):
        path = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(
            [sys.executable, *words], cwd=tmp_path, env=path, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
