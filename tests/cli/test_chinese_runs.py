"""What is told in Chinese of a run, while it trains and after: no English sentence is left."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from danlu.cli.main import app
from danlu.cli.progress import Progress
from danlu.draw.phrases import chinese
from danlu.spec import resolve
from danlu.spikes import causes, changes
from danlu.spikes.trace import Moment
from tests.chinese import left, numbers, texts
from tests.train import small

FAST = ["optimizer=adamw", "optimizer.lr=1e-2", "schedule=constant", "train.log_every=1", "train.steps=20"]
# Kinds of cause, as docs/spikes.md names them; parts of the network; the format of a vocabulary.
NAMES = (*causes.CURES, "blocks.0.feed_forward", "Gauss-Newton", "AdamW")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chinese")
    small.run(small.corpus(folder), folder / "run", *FAST, "train.checkpoint_every=5")
    return folder / "run"


def told(words: str) -> list[str]:
    """Lines of both streams, but for what a model wrote and rows of data."""
    with small.quick():
        done = CliRunner().invoke(app, shlex.split(words), catch_exceptions=False)
    assert done.exit_code == 0
    return [re.sub(r"'.*'$", "", line) for line in done.output.splitlines() if not line.startswith("  │")]


@pytest.fixture
def zh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DANLU_LANG", "zh")


@pytest.mark.parametrize(
    "verb", ["spikes", "spikes --at 18", pytest.param("curvature --sparsity", marks=pytest.mark.slow)]
)
def test_a_verb_says_no_english(run: Path, verb: str, tmp_path: Path, zh: None) -> None:
    page = tmp_path / "page.html"
    verb, *options = verb.split()
    said = told(" ".join([verb, str(run), *options, "--html", str(page)]))
    assert len(said) > 1 and left(said, NAMES) == []
    drawn = [re.sub(r"'.*'$", "", text) for text in texts(page.read_text(encoding="utf-8"))]
    assert left(drawn, (*NAMES, run.name)) == []


def test_what_a_profile_says(run: Path, tmp_path: Path, zh: None) -> None:
    page = tmp_path / "page.html"
    said = told(f"profile {run / 'experiment.yaml'} --steps 1 --html {page}")
    start = next(i for i, line in enumerate(said) if "最耗时" in line)  # operators have PyTorch's names
    assert left(said[: start + 1], NAMES) == []
    assert left(texts(page.read_text(encoding="utf-8")), (*NAMES, run.name)) == []


def test_what_is_told_while_a_run_trains(run: Path, tmp_path: Path, zh: None) -> None:
    words = shlex.join(small.words(run.parent / "corpus.jsonl", *FAST, "train.evaluate_every=10"))
    first = told(f"train {words} --run {tmp_path / 'run'}")
    again = told(f"train {words} --run {tmp_path / 'run'}")
    assert any(line.endswith("%") or "第 1 步" in line for line in first) and "已完成" in again[0]
    assert left([*first, *again], NAMES) == []


def test_a_line_has_the_numbers_of_the_english(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    metric = resolve("digits").objective.metrics[0]
    said = {}
    for language in ("en", "zh"):
        monkeypatch.setenv("DANLU_LANG", language)
        one = Progress(metric, "image")
        row = {"step": 7, "images": 64, "loss": 2.5, "accuracy": 0.25, "seconds": 1.0}
        one.row(row, 0.5, 0.125)
        one.message("resuming after step 7")
        said[language] = capsys.readouterr().err
    assert said["en"].splitlines()[-1] == "resuming after step 7"
    assert numbers(said["zh"]) == numbers(said["en"]) and left(said["zh"].splitlines()) == []


def test_each_cure_and_change_has_its_chinese() -> None:
    experiment = resolve("tiny optimizer.beta2=0.99 train.precision=bfloat16")
    found = changes.possible(experiment, "bfloat16", [Moment(1, 1.0, 1.0), Moment(2, 1.0, 1.0)])
    said = [*map(chinese, causes.CURES.values()), *map(chinese, found)]
    assert left(said, ("beta2", "clip", "+qk-norm", "+z-loss", "+embedding-norm")) == []
