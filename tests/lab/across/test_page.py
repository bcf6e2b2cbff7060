"""docs/across-scale.md is right: its Python runs, its options are there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

from danlu.cli.main import app
from danlu.lab.across.rungs import Rung
from danlu.spec.words import resolve
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "across-scale.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_its_python(tmp_path: Path) -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=None, capture_output=True, text=True, check=True
    )
    assert "(early)" in done.stdout or "void" in done.stdout


def test_its_options_and_numbers() -> None:
    command = typer.main.get_command(app).commands["try"]  # type: ignore[attr-defined]
    options = {name for parameter in command.params for name in parameter.opts}
    assert (
        set(re.findall(r"(?<!\S)--[a-z-]+", re.sub("python -m bench[^`]*", "", PAGE).replace("`", " ")))
        <= options
    )
    bed = resolve("bed")
    *most, last = (str(Rung(level, bed, 1, 1, 1, 1.0).pairs()) for level in range(4))
    assert f"{', '.join(most)} and {last} pairs" in PAGE
