"""The first minutes: ``danlu`` alone, ``danlu doctor``, ``danlu tour``."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from danlu.cli import start, tour
from danlu.cli.main import app
from danlu.files.errors import DanluError
from danlu.files.json import write_json
from danlu.lab.trial.kept import FILE

GROUP: Any = typer.main.get_command(app)


def named(words: list[str]) -> None:
    """The words are a verb and options that it has."""
    verb, *rest = words
    GROUP.commands[verb].make_context(verb, rest, resilient_parsing=False)


@pytest.mark.parametrize("command", [command for command, _ in (*start.FIRST, *start.LATER)])
def test_what_danlu_alone_names_can_be_typed(command: str) -> None:
    named(shlex.split(command)[1:])


def test_what_is_here_decides_what_comes_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    said = CliRunner().invoke(app, []).stdout
    assert "nothing here yet" in said and "danlu tour" in said and "danlu --help" in said
    (tmp_path / "studies" / "runs" / "one").mkdir(parents=True)
    said = CliRunner().invoke(app, []).stdout
    assert "1 run here" in said and "danlu runs" in said and "danlu tour" not in said


@pytest.mark.parametrize("step", tour.STEPS, ids=lambda step: step.title)
def test_the_steps_of_the_tour_can_be_typed(step: tour.Step) -> None:
    named(shlex.split(step.words))


@pytest.fixture
def carried_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[list[str]]:
    """What the tour would carry out; of it, the first leaves what a trial leaves."""
    done: list[list[str]] = []

    class Ends:
        def __init__(self, command: list[str], cwd: Path, **more: Any) -> None:
            self.code = run(command, cwd)

        def __enter__(self) -> Ends:
            return self

        def __exit__(self, *_: object) -> None: ...

        def wait(self) -> int:
            return self.code

    def run(command: list[str], cwd: Path) -> int:
        done.append(command[3:])
        trial = Path(cwd) / "studies" / "try-one"
        if len(done) == 1:
            trial.mkdir(parents=True)
            run = {"seed": 0, "baseline": "base-1", "variant": "base-+qk-norm-1"}
            about = {"idea": "+qk-norm", "at": "steps", "metric": "loss", "unit": "", "better": "lower"}
            write_json(trial / FILE, [about | {"runs": [run]}])
        return 3 if command[3] == "ladder" else 0

    monkeypatch.setattr(subprocess, "Popen", Ends)
    return done


def test_the_tour_looks_into_the_first_pair_and_ends_where_a_step_fails(
    carried_out: list[list[str]], tmp_path: Path
) -> None:
    done = CliRunner().invoke(app, ["tour", "--folder", str(tmp_path / "tour")])
    assert done.exit_code == 3 and "goes on with it" in done.stderr
    assert [words[0] for words in carried_out] == ["try", "inspect", "try", "ladder"]
    assert carried_out[1][1:] == ["studies/runs/base-+qk-norm-1", "studies/runs/base-1"]
    assert "── 4 of 5" in done.stdout and "── 5 of 5" not in done.stdout


@pytest.mark.parametrize(
    ("typed", "there", "not_there"),
    [
        ("danlu tr", "train", "runs"),
        ("danlu train na", "nano", "tiny"),
        ("danlu train nano +qk-n", "+qk-norm", "+lion"),
        ("danlu try lion+qk-n", "lion+qk-norm", "lion+lion"),
        ("danlu try lion --on ti", "tiny", "nano"),
        ("danlu prove cosine", "cosine-beats-constant", "relu-is-worse"),
        ("danlu ideas swi", "swiglu", "lion"),
    ],
)
def test_a_shell_completes_names(typed: str, there: str, not_there: str) -> None:
    """As bash asks: the words so far, and the place of the last."""
    asked = {"_DANLU_COMPLETE": "complete_bash", "COMP_WORDS": typed}
    asked["COMP_CWORD"] = str(len(typed.split()) - 1)
    done = subprocess.run(
        [sys.executable, "-m", "danlu"], env=os.environ | asked, capture_output=True, text=True, check=True
    )
    said = done.stdout.split()
    assert there in said and not_there not in said


def test_a_language_is_chosen_by_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DANLU_LANG", "en")
    said = {
        lang: CliRunner().invoke(app, ["--lang", lang, "ideas", "swiglu"]).stdout for lang in ("en", "zh")
    }
    assert re.search("[\u4e00-\u9fff]", said["zh"]) and not re.search("[\u4e00-\u9fff]", said["en"])
    with pytest.raises(DanluError, match="DANLU_LANG = 'fr' is no language of danlu; allowed: zh, en"):
        CliRunner().invoke(app, ["--lang", "fr", "ideas"], catch_exceptions=False)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_is_told_how_to_ask(shell: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "danlu"], env=os.environ | {"_DANLU_COMPLETE": f"source_{shell}"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert f"_DANLU_COMPLETE=complete_{shell}" in done.stdout
