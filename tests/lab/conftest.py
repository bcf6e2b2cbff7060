"""What tests of the lab share: its verbs, each by its own command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT


@pytest.fixture
def danlu(tmp_path: Path) -> Any:
    """Runs a verb with ``--json`` in the test's folder; what it printed, read."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}

    def run(*words: str) -> Any:
        command = [sys.executable, "-m", "danlu", *words, "--json"]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run
