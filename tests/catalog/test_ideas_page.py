"""What ``docs/ideas.md`` shows is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from danlu.cli.main import app
from danlu.spec import catalog
from danlu.spec.errors import DanluError
from danlu.spec.words import split
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "ideas.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    found = re.findall(r"^```([a-z]*)\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
    return [text for kind, text in found if kind == language]


def said(command: str) -> str:
    """What ``danlu …`` prints; where it is refused, the sentence."""
    try:
        done = CliRunner().invoke(app, split(command)[1:], catch_exceptions=False, standalone_mode=False)
    except DanluError as error:
        return f"danlu: {error}\n"
    assert done.exception is None
    return done.stdout


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    own, *_ = blocks("yaml")
    name = re.match(r"# (\S+)\n", own)
    assert name
    (tmp_path / name[1]).write_text(own)
    return tmp_path


def test_what_is_shown_is_printed(here: Path) -> None:
    shown = re.findall(r"^\$ (danlu [^\n]*)\n((?:(?!\$ ).*\n)+)", "\n".join(blocks("")), flags=re.MULTILINE)
    assert len(shown) >= 3
    for command, output in shown:
        assert said(command) == f"{output.rstrip()}\n"


def test_commands_that_only_read_run(here: Path) -> None:
    commands = [
        line.partition("  #")[0].strip()
        for text in blocks("sh")
        for line in text.splitlines()
        if line.strip()
    ]
    read = [one for one in commands if one.split()[1] in ("ideas", "show")]
    assert len(read) >= 5
    for command in read:
        assert said(command) and not said(command).startswith("danlu: ")


@pytest.mark.slow
def test_the_own_idea_trains(here: Path) -> None:
    (command,) = [
        line for text in blocks("sh") for line in text.splitlines() if line.startswith("danlu train")
    ]
    said(f"{command} train.device=cpu")
    assert list(here.glob("runs/*/summary.json"))


def test_the_python_runs() -> None:
    (python,) = blocks("python")
    try:
        exec(python, {})
    finally:
        catalog.forget_idea("narrow")


def test_both_files_are_ideas(here: Path) -> None:
    for i, text in enumerate(blocks("yaml")):
        (here / f"{i}.yaml").write_text(text)
        assert catalog.idea(f"{i}.yaml").patch
