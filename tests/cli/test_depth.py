"""The verb ``depth``, and its page docs/depth.md."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from danlu.cli.main import app
from danlu.cli.schemas import SCHEMAS
from danlu.files.errors import DanluError
from danlu.files.json import misfit
from danlu.spec import catalog, resolve
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "depth.md").read_text(encoding="utf-8")
SMALL = [
    "depth",
    "nano",
    "model.norm.gain=false",
    "model.width=16",
    "data.context=8",
    "train.batch=2",
    "--layers",
    "1,2",
]

TAKING = ("--layers", "--idea", "--html", "--update")  # options with a value


def said(*words: str) -> Any:
    return CliRunner().invoke(app, words, catch_exceptions=False, standalone_mode=False)


def test_table_page_and_json(tmp_path: Path) -> None:
    file = tmp_path / "depth.html"
    done = said(*SMALL, "--idea", "no-residual", "--step", "10", "--html", str(file))
    lines = done.stdout.splitlines()
    assert re.match(r"as it is +1 +\S+ ", lines[3]) and any(line.startswith("no-residual") for line in lines)
    assert "! as it is, 2 layers: half of the step makes" in done.stdout and "as it is     unknown" in lines
    page = file.read_text()
    assert page.count("<svg") == 5 and "no-residual" in page and "Warning: as it is" in page
    found = json.loads(said(*SMALL, "--json").stdout)
    assert misfit(found, SCHEMAS["depth"].shape) == ""
    (arm,) = found["arms"]
    assert [one["linear"] for one in arm["depths"]] == [True, True] and isinstance(arm["slope"], float)


def test_an_idea_may_have_its_plus_and_may_be_words() -> None:
    ideas = ("no-residual", "+no-residual", "model.residual=none model.init.branch=same")
    arms = [json.loads(said(*SMALL, "--json", "--idea", idea).stdout)["arms"][1] for idea in ideas]
    assert [arm["name"] for arm in arms] == [*["no-residual"] * 2, ideas[-1]]
    assert arms[0]["depths"] == arms[1]["depths"] == arms[2]["depths"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--layers", "4,x"], "--layers = '4,x'; allowed: numbers with commas"),
        (["--layers", "4,4"], "two or more different numbers"),
        (["--layers", "0,4"], "from 1 to 10,000"),
        (["--step", "nan"], "--step = nan; allowed: a number above 0"),
        (["--update", "adam"], "--update = 'adam'; allowed: sign, gradient"),
        (["--idea", "deepnrm"], "did you mean +deepnorm"),
    ],
)
def test_wrong_input_is_told(words: list[str], sentence: str) -> None:
    with pytest.raises(DanluError, match=re.escape(sentence)):
        said("depth", "nano", *words)


def test_the_commands_of_the_page() -> None:
    commands = re.findall(r"^(danlu depth .*?) *(?:#.*)?$", PAGE, flags=re.MULTILINE)
    assert len(commands) >= 3
    for command in commands:
        words = shlex.split(command)[2:]
        assert resolve([word for i, word in enumerate(words) if not _option(words, i)])
    ideas = re.findall(r"^\| `([a-z-]+)` \| .*N\(", PAGE, flags=re.MULTILINE)
    assert len(ideas) == 5 and set(ideas) <= set(catalog.names("ideas"))


def _option(words: list[str], i: int) -> bool:
    return words[i].startswith("--") or (
        i > 0 and words[i - 1] in ("--layers", "--idea", "--html", "--update")
    )


@pytest.mark.slow
def test_why_residual() -> None:
    """The experiment of the page: with gain 1 the change grows at least as the depth; with 1/N the output is
    gone; with a residual the output stays and the change grows as the root. A factor of 1.5 for the draw."""
    (program,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    scope: dict[str, Any] = {}
    exec(program, scope)
    found = scope["found"]
    sizes = {name: [found[name, n][0] for n in (4, 16, 64)] for name, _ in found}
    changes = {name: [found[name, n][1] for n in (4, 16, 64)] for name, _ in found}
    plain, small, residual = "no residual, gain 1", "no residual, gain 1/N", "residual, gain 1/√N"
    assert changes[plain][2] / changes[plain][0] > 16 / 1.5 and 1 / 4 < sizes[plain][2] < 4
    assert sizes[small][2] < 1e-100 and sizes[small][1] < 1e-15
    assert 4 / 1.5 < changes[residual][2] / changes[residual][0] < 4 * 1.5
    assert all(1 < size < 2.718**0.5 * 1.2 for size in sizes[residual])
