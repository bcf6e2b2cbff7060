"""docs/referee.md is right: what it tells one to type works, in order, and says what it says there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from danlu.lab.referee.plan import Plan
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "referee.md").read_text(encoding="utf-8")


BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.slow
def test_its_commands(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "danlu").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m danlu "$@"\n')
    (tmp_path / "bin" / "danlu").chmod(0o755)
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    script = "\n".join(["set -e", *(text for kind, text in BLOCKS if kind == "sh")])
    path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=os.environ | {"PATH": path, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    printed = [_without_numbers(line) for line in done.stdout.splitlines()]
    (shown,) = (text for kind, text in BLOCKS if not kind)
    for line in shown.splitlines():
        if not line.startswith("  compared "):  # in pairs or not: that follows from the seeds
            assert _without_numbers(line) in printed


def _without_numbers(line: str) -> str:
    """Seeds are drawn anew, and with them all numbers."""
    named = re.sub(r"-[0-9a-f]{8}/", "-#/", re.sub(" +", " ", line))
    return re.sub(r"[-+]?[0-9]+(\.[0-9]+)?(e[-+][0-9]+)?", "#", named)


def test_it_tells_every_field() -> None:
    table = PAGE[PAGE.index("## The file") : PAGE.index("## What it does")]
    assert set(re.findall(r"^\| `(\w+)` \|", table, flags=re.MULTILINE)) == set(Plan.model_fields)
