"""A run keeps the code of its own parts: compared on a resume, never loaded by itself, told where missing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import danlu
from danlu import parts
from danlu.cli.main import app
from danlu.lab.reading.run import read_run
from danlu.parts import sources
from danlu.spec import DanluError, SpecError, resolve
from danlu.spec.families import FAMILIES
from danlu.spec.kept import lacking
from danlu.train import store
from danlu.train.load import load_run
from tests.train import small

MINE = '''
import torch
import danlu


@danlu.part("norm", "dyt", source="Zhu et al. 2025")
class DyT(torch.nn.Module):
    """y = gain · tanh(alpha x)."""

    def __init__(self, width: int, *, alpha: float = 0.5):
        super().__init__()
        self.gain = torch.nn.Parameter(torch.ones(width))
        self.alpha = alpha

    def forward(self, x):
        return self.gain * torch.tanh(self.alpha * x)
'''
RUN = ["model.norm=dyt", "train.steps=6", "train.checkpoint_every=3", "train.keep=9", "train.log_every=1"]


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(MINE)
    return tmp_path / "mine.py"


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return small.corpus(tmp_path)


def words(corpus: Path) -> list[str]:
    return [word for word in small.words(corpus, *RUN) if "norm.gain" not in word]


def half(run: Path, to: Path) -> Path:
    """The run as it was after three of its six steps."""
    import shutil

    shutil.copytree(run, to)
    shutil.rmtree(store.step_folder(to, 6))
    (to / "summary.json").unlink()
    return to


def test_a_run_keeps_the_file_and_its_digest(tmp_path: Path, mine: Path, corpus: Path) -> None:
    danlu.load(mine)
    small.go(resolve(words(corpus)), tmp_path / "run")
    (said,) = json.loads((tmp_path / "run" / "environment.json").read_text())["parts"]
    (origin,) = parts.used(resolve(words(corpus)))
    assert said == {
        "name": "mine.py", "file": str(mine), "digest": origin.origin.digest, "parts": ["norm dyt"],
        "copy": "parts/mine.py",
    }  # fmt: skip
    assert (tmp_path / "run" / "parts" / "mine.py").read_text() == MINE
    assert parts.own_files(resolve(words(corpus))).keys() == {str(mine)}


def test_a_run_is_by_other_code_once_the_file_is_edited(tmp_path: Path, mine: Path, corpus: Path) -> None:
    danlu.load(mine)
    small.go(resolve(words(corpus)), tmp_path / "run")
    small.run(corpus, tmp_path / "plain", "train.steps=1")
    found = [read_run(tmp_path / name).code for name in ("run", "plain")]
    mine.write_text(MINE.replace("y = gain", "y is gain") + "# a comment\n")
    found += [read_run(tmp_path / name).code for name in ("run", "plain")]
    mine.write_text(MINE.replace("0.5", "0.25"))
    found += [read_run(tmp_path / name).code for name in ("run", "plain")]
    assert found == ["same", "same", "same", "same", "other", "same"]


def test_a_run_without_own_parts_keeps_nothing(tmp_path: Path, mine: Path, corpus: Path) -> None:
    danlu.load(mine)
    small.run(corpus, tmp_path / "run", "train.steps=1")
    assert json.loads((tmp_path / "run" / "environment.json").read_text())["parts"] == []
    assert not (tmp_path / "run" / "parts").exists()


def test_resumed_it_is_the_same_run(tmp_path: Path, mine: Path, corpus: Path) -> None:
    """From the file, from a file that differs in comments, and from the run's own copy."""
    danlu.load(mine)
    small.go(resolve(words(corpus)), tmp_path / "whole")
    small.go(resolve(words(corpus)), half(tmp_path / "whole", tmp_path / "one"))
    small.assert_same(tmp_path / "one", tmp_path / "whole")
    mine.write_text(MINE.replace("y = gain", "y is gain") + "# a comment\n")
    danlu.load(mine)
    small.go(resolve(words(corpus)), half(tmp_path / "whole", tmp_path / "two"))
    small.assert_same(tmp_path / "two", tmp_path / "whole")
    for origin in sources.loaded():
        sources.forget(origin)
    danlu.load(half(tmp_path / "whole", tmp_path / "three") / "parts" / "mine.py")
    small.go(resolve(words(corpus)), tmp_path / "three")
    small.assert_same(tmp_path / "three", tmp_path / "whole")


def test_another_part_of_the_same_name_does_not_go_on(tmp_path: Path, mine: Path, corpus: Path) -> None:
    danlu.load(mine)
    small.go(resolve(words(corpus)), tmp_path / "whole")
    run = half(tmp_path / "whole", tmp_path / "run")
    mine.write_text(MINE.replace("torch.tanh", "torch.sin"))
    danlu.load(mine)
    with pytest.raises(
        SpecError, match=r"was begun with another norm dyt: mine.py has changed since then; bring the "
    ):
        small.go(resolve(words(corpus)), run)
    assert store.list_steps(run) == [3]


def test_a_model_by_another_part_of_the_same_name_is_told(tmp_path: Path, mine: Path, corpus: Path) -> None:
    danlu.load(mine)
    run = tmp_path / "run"
    small.go(resolve(words(corpus)), run)
    assert load_run(run).warning == ""
    mine.write_text(MINE.replace("y = gain", "y is gain"))
    danlu.load(mine)
    assert load_run(run).warning == ""
    mine.write_text(MINE.replace("torch.tanh", "torch.sin"))
    danlu.load(mine)
    assert load_run(run).warning == (
        f"{run} was trained with another norm dyt: mine.py has changed since then; "
        f"--with {run / 'parts' / 'mine.py'} has the old one"
    )
    with pytest.warns(UserWarning, match="was trained with another norm dyt"):
        danlu.run(run).model()
    told = CliRunner().invoke(app, ["sample", str(run), "--tokens", "3"])
    assert told.exit_code == 0 and f"warning: {run} was trained with another norm dyt" in told.stderr
    for origin in sources.loaded():
        sources.forget(origin)
    danlu.load(run / "parts" / "mine.py")
    assert load_run(run).warning == ""


def test_files_of_one_name_are_kept_apart(tmp_path: Path) -> None:
    text = "import danlu\n@danlu.part('activation', '{}')\ndef f(x, *, a: float = 1.0):\n    return x\n"
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.py").write_text(text.format(folder))
        danlu.load(tmp_path / folder / "mine.py")
    experiment = resolve(
        [
            "nano",
            "model.feed_forward.activation=one",
            "model.pattern=[{feed_forward: {kind: mlp, activation: two}}]",
        ]
    )
    record = parts.keep(experiment, tmp_path / "run")
    copies = [tmp_path / "run" / entry["copy"] for entry in record]
    assert len(set(copies)) == 2
    assert {copy.read_text() for copy in copies} == {text.format("one"), text.format("two")}


def test_packed_and_unpacked_it_is_the_same_code(tmp_path: Path, mine: Path) -> None:
    """As it was run, whatever the file says now; and of another process's parts nothing is left."""
    danlu.load(mine)
    experiment = resolve("nano model.norm=dyt")
    packed = json.loads(json.dumps(parts.pack(experiment)))
    mine.unlink()
    for origin in sources.loaded():
        sources.forget(origin)
    other = tmp_path / "other.py"
    other.write_text(MINE.replace('"dyt"', '"other"'))
    danlu.load(other)
    parts.unpack(packed)
    assert type(experiment).model_validate_json(experiment.model_dump_json()) == resolve(
        "nano model.norm=dyt"
    )
    assert parts.digests(resolve("nano model.norm=dyt")) == parts.digests(experiment)
    with pytest.raises(SpecError, match="'other' is not rms"):
        resolve("nano model.norm=other")


def test_what_was_typed_in_goes_with_its_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    """A notebook's cell is its file; what has no text cannot be sent."""
    import linecache

    cell = (
        "import danlu\n@danlu.part('activation', 'typed')\ndef f(x, *, a: float = 3.0):\n    return a * x\n"
    )
    monkeypatch.setitem(linecache.cache, "<cell 1>", (len(cell), None, cell.splitlines(True), "<cell 1>"))
    exec(compile(cell, "<cell 1>", "exec"), {"__name__": "__main__"})
    experiment = resolve("nano model.feed_forward.activation=typed")
    packed = parts.pack(experiment)
    exec(compile(cell.replace("'typed'", "'mute'"), "<nowhere>", "exec"), {"__name__": "__main__"})
    with pytest.raises(
        SpecError, match="the activation mute was typed into this session, which no other process"
    ):
        parts.pack(resolve("nano model.feed_forward.activation=mute"))
    parts.unpack(packed)
    assert parts.digests(resolve("nano model.feed_forward.activation=typed")) == parts.digests(experiment)


def test_parts_of_two_cells_go_together(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import linecache

    for kind in ("one", "two"):
        cell = f"import danlu\n@danlu.part('activation', '{kind}')\ndef f(x):\n    return x\n"
        monkeypatch.setitem(
            linecache.cache, f"<{kind}>", (len(cell), None, cell.splitlines(True), f"<{kind}>")
        )
        exec(compile(cell, f"<{kind}>", "exec"), {"__name__": "__main__"})
    layers = "model.pattern=[{feed_forward: {kind: mlp, activation: two}}, {}]"
    experiment = resolve(["nano", "model.feed_forward.activation=one", layers])
    packed = parts.pack(experiment)
    assert len(packed) == 2 and len({entry["copy"] for entry in parts.keep(experiment, tmp_path)}) == 2
    sources.restore(({family: {} for family in FAMILIES.values()}, {}, {}))
    parts.unpack(packed)
    assert set(FAMILIES["activation"].own) == {"one", "two"}


@pytest.mark.parametrize(
    "record",
    [3, [3], [{}], [{"name": "m", "file": None, "digest": "", "parts": [3], "copy": None}], {"a": 1}],
)
def test_a_record_that_is_none_is_refused_in_a_sentence(tmp_path: Path, corpus: Path, record: object) -> None:
    small.run(corpus, tmp_path / "run", "train.steps=2")
    path = tmp_path / "run" / "environment.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"parts": record}))
    with pytest.raises(DanluError, match=r"environment\.json.*parts"):
        small.run(corpus, tmp_path / "run", "train.steps=2")
    assert resolve([str(tmp_path / "run")]).train.steps == 2
    assert lacking(tmp_path / "run") == ""


# ---------------------------------------------------------------- as a person meets it


def cli(folder: Path, *given: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "danlu", *given],
        cwd=folder,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )


@pytest.mark.slow
def test_without_its_file_a_run_is_read_and_told(tmp_path: Path, mine: Path, corpus: Path) -> None:
    given = words(corpus)
    for name in ("one", "two"):
        done = cli(
            tmp_path,
            "train",
            *given,
            f"train.seed={len(name) + (name == 'two')}",
            "--run",
            name,
            "--with",
            "mine.py",
        )
        assert done.returncode == 0, done.stderr
    for verb in (["runs", "."], ["compare", "one", "two"]):
        done = cli(tmp_path, *verb)
        assert done.returncode == 0, done.stderr
        assert "one" in done.stdout and "two" in done.stdout
    file = f"--with {mine}, or --with one/parts/mine.py, the copy that it kept"
    sentence = f"danlu: one has the norm dyt of mine.py: give {file}\n"
    for verb in (["sample", "one"], ["show", "one"], ["train", *given, "train.seed=3", "--run", "one"]):
        done = cli(tmp_path, *verb)
        assert (done.returncode, done.stderr) == (2, sentence)
    done = cli(tmp_path, "sample", "one", "--tokens", "8", "--with", "one/parts/mine.py")
    assert done.returncode == 0, done.stderr
