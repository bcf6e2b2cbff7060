"""The door opens fast, its examples run, its page is true."""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import danlu
from tests.conftest import ROOT

EXAMPLES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in (ROOT / "danlu").rglob("*.py")
    if ">>> " in path.read_text(encoding="utf-8") and ROOT / "danlu" / "nn" not in path.parents
)  # those of danlu.nn are in tests/nn/test_examples.py


def python(code: str, folder: Path = ROOT) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=folder
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_nothing_is_loaded_before_it_is_used() -> None:
    first = python("import sys; before = set(sys.modules); import danlu; print(*set(sys.modules) - before)")
    assert {name for name in first.split() if name.startswith("danlu")} == {"danlu"}
    assert not {"pydantic", "numpy", "torch", "yaml"} & set(first.split())
    code = (
        "import sys, danlu; danlu.experiment('nano +swiglu', lr=1e-3); "
        "danlu.runs, danlu.run, danlu.sweep, danlu.ladder, danlu.try_ideas, danlu.part, danlu.load; "
        "print(callable(danlu.train), 'torch' in sys.modules, danlu.Callback.__name__)"
    )
    assert python(code) == "True False Callback\n"


def test_the_room_of_training_stays_a_room() -> None:
    """Whatever was imported first, it can be called and its files be reached."""
    code = "import danlu.train.folder, danlu.train.metrics as m; print(callable(danlu.train), m)"
    assert "True <module 'danlu.train.metrics'" in python(code)
    assert set(dir(danlu)) >= {
        "experiment",
        "train",
        "run",
        "runs",
        "try_ideas",
        "try_across_scale",
        "sweep",
        "ladder",
        "Callback",
    }
    assert set(dir(danlu)) >= {"part", "idea", "load", "testing"}
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        _ = danlu.trian


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = doctest.testmod(import_module(name))
    assert found.failed == 0 and found.attempted > 0


def test_there_are_examples() -> None:
    assert {"danlu.door.experiment", "danlu.door.run"} <= set(EXAMPLES)


@pytest.mark.slow
def test_the_page(tmp_path: Path) -> None:
    """Every block of docs/python.md, one program."""
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 6
    told = python("\n".join(blocks), tmp_path)
    assert "runs/first finished" in told and "optimizer.lr = 'fast' is not a number" in told
