"""docs/generation.md as it is written: its experiments, its programs, its options and numbers."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from danlu.cli.main import app
from danlu.data import alike
from danlu.spec import Arrays, Experiment, ImageFolder, resolve
from danlu.train.sample_files import _WRITERS
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "generation.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
COMMANDS = [
    shlex.split(line, comments=True)[1:]
    for kind, text in BLOCKS
    if kind == "sh"
    for line in text.splitlines()
]
TRAINING = [words for words in COMMANDS if words[0] == "train"]


def test_the_experiments_are_experiments() -> None:
    assert len(TRAINING) == 10
    for words in TRAINING:
        assert isinstance(resolve(words[1 : words.index("--run")]), Experiment)


def test_the_options_are_those_of_the_verb() -> None:
    verb = typer.main.get_command(app).commands["sample"]  # type: ignore[attr-defined]
    options = {name for parameter in verb.params for name in parameter.opts}
    table = set(re.findall(r"^\| `(--[a-z-]+)` \|", PAGE, flags=re.MULTILINE))
    text = {"--prompt", "--tokens", "--temperature", "--top-k", "--top-p", "--cache", "--chat"}
    assert table == {one for one in options if one.startswith("--")} - text - {
        "--step", "--force", "--json", "--with", "--help"
    }  # fmt: skip
    assert {word for words in COMMANDS for word in words if word.startswith("--")} <= options | {"--run"}
    assert {Path(words[-1]).suffix for words in COMMANDS if "--out" in words} <= set(_WRITERS)
    assert all(ending in PAGE for ending in _WRITERS)


def test_the_tables_of_fields_are_the_specifications() -> None:
    rows = re.findall(r"^\| `data\.(\w+)` \| `?([^|`]*)`? \| ", PAGE, flags=re.MULTILINE)
    fields = ImageFolder.model_fields
    found = {name: default.strip() for name, default in rows if name in fields and name != "file"}
    assert set(found) == set(fields) - {"kind"}
    assert {n: str(fields[n].default) for n in found if n != "folder"} == {
        n: default for n, default in found.items() if n != "folder"
    }
    assert {f"data.{name}" for name in Arrays.model_fields if name not in ("kind", "held_out")} <= set(
        re.findall(r"data\.\w+", PAGE)
    )


def test_the_numbers_of_near_identical_images() -> None:
    assert f"{alike.WIDE} × {alike.HIGH} pixels" in PAGE
    assert f"at most {alike.BITS} of its 64 bits" in PAGE and f"at most {alike.SHADES} of 255 shades" in PAGE


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_all_of_it_runs(tmp_path: Path) -> None:
    """As written, in its order; training is cut short."""
    pytest.importorskip("PIL")
    path = {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]), "DANLU_CACHE": str(tmp_path / "cache")}
    short = ["train.steps=3", "train.evaluate_every=3", "train.device=cpu", "train.precision=float32"]
    for kind, text in BLOCKS:
        if kind == "python":
            calls = [["-c", text]]
        else:
            calls = [["-m", "danlu", *shlex.split(line, comments=True)[1:]] for line in text.splitlines()]
        for call in calls:
            if "train" in call:
                judged = [] if "digits" in call else ["objective.samples=64"]
                call = [*call, *short, *judged]
            done = subprocess.run(
                [sys.executable, *call], cwd=tmp_path, env=os.environ | path, capture_output=True, text=True
            )
            assert done.returncode == 0, f"{call}: {done.stderr}"
    made = {file.name for file in tmp_path.iterdir() if file.is_file()}
    assert {words[-1] for words in COMMANDS if "--out" in words} | {"four.svg", "eight.npz"} == made
