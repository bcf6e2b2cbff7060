"""docs/agents.md: its tables name what there is, its questions can be asked, its program runs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from danlu.cli.main import app
from danlu.mcp.questions import QUESTION
from danlu.mcp.tools import TOOLS
from tests.conftest import LIMIT, ROOT

PAGE = (ROOT / "docs" / "agents.md").read_text(encoding="utf-8")


def test_its_tables_name_every_tool_and_every_option() -> None:
    tools = PAGE[PAGE.index("## The tools") : PAGE.index("A question has a `kind`")]
    assert re.findall(r"^\| `(\w+)` \|", tools, flags=re.MULTILINE) == [tool.name for tool in TOOLS]
    said = re.findall(r"^\| `(--[\w-]+)[^`]*` \|", PAGE, flags=re.MULTILINE)
    verb = typer.main.get_command(app).commands["mcp"]  # type: ignore[attr-defined]
    assert said == [one.opts[0] for one in verb.params]


def test_its_questions_can_be_asked() -> None:
    rows = re.findall(r"^\| `([\w-]+)` \| .* \| `(\{.*\})` \|$", PAGE, flags=re.MULTILINE)
    kinds = {one["properties"]["kind"]["const"] for one in QUESTION.json_schema()["$defs"].values()}
    assert {kind for kind, _ in rows} == kinds
    for kind, example in rows:
        assert QUESTION.validate_python(json.loads(example)).model_dump()["kind"] == kind


@pytest.mark.slow
def test_its_program_runs(tmp_path: Path) -> None:
    pytest.importorskip("mcp")
    (program,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    here = f'command={sys.executable!r}, args=["-P", "-m", "danlu", "mcp"'
    program = program.replace('command="danlu", args=["mcp"', here).replace(
        '"."]', '"."], env={**os.environ}'
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", f"import os\n{program}"], cwd=tmp_path, capture_output=True, text=True,
        timeout=LIMIT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    tools, ideas, refused = done.stdout.splitlines()
    assert "'start'" in tools and ideas.count("norm") >= 3
    assert refused.startswith("True train.seed=3 sets train.seed")
