"""Own measures: read off a run's files or taken of what it trained; kept with the code that took them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import danlu
from danlu.lab.errors import LabError
from danlu.lab.measures import measure, of_run
from danlu.lab.queue import Job, Queue
from danlu.parts.measures import key
from danlu.spec import SpecError, resolve
from danlu.spec.objectives import BITS_PER_BYTE
from tests.train import small

TEXT = '''
import danlu


@danlu.part("measure", "late-loss")
class LateLoss:
    """Mean training loss of the last part of a run."""

    unit = "nats/token"

    def __init__(self, *, share: float = 0.5):
        self.share = share

    def __call__(self, record):
        losses = [row["loss"] for row in record.rows if "loss" in row]
        last = losses[-max(1, round(self.share * len(losses))):]
        return sum(last) / len(last)


@danlu.part("measure", "bits-per-byte-late")
def late(record):
    """Its name begins with that of the metric."""
    return 0.0


@danlu.part("measure", "largest")
def largest(trained):
    """The largest weight."""
    return max(float(p.abs().max()) for p in trained.run.model.parameters())
'''
METRICS = (BITS_PER_BYTE,)


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(TEXT)
    danlu.load(tmp_path / "mine.py")
    return tmp_path / "mine.py"


def test_they_are_measures_by_name(mine: Path) -> None:
    late, largest = measure("late-loss", METRICS), measure("largest", METRICS)
    assert (late.reads, late.metric.unit, late.metric.text) == (
        True, "nats/token", "Mean training loss of the last part of a run."
    )  # fmt: skip
    assert (largest.reads, largest.metric.better) == (False, "lower")
    assert measure("late-loss:0.25", METRICS).argument == {"share": 0.25}
    with pytest.raises(LabError, match=r"'late-loss:x' needs share = 'x' is not a number after 'late-loss:'"):
        measure("late-loss:x", METRICS)
    with pytest.raises(LabError, match=r"there is no measure 'late-los'; did you mean late-loss\?"):
        measure("late-los", METRICS)
    assert measure("bits-per-byte-late", METRICS).metric.text == "Its name begins with that of the metric."
    assert key("loss") == "loss" and key("late-loss:0.1").startswith("late-loss:0.1 by ")


def test_the_input_says_what_is_read() -> None:
    with pytest.raises(SpecError, match=r"odd: the input of a measure is called record .* or trained"):

        @danlu.part("measure", "odd")
        def odd(run: Any) -> float:
            return 0.0


def test_values_of_a_run(tmp_path: Path, mine: Path) -> None:
    small.run(small.corpus(tmp_path), tmp_path / "run", "train.steps=4", "train.log_every=1")
    found = of_run(tmp_path / "run", ["late-loss", "late-loss:1.0", "largest"])
    losses = small.losses(tmp_path / "run")
    assert found["late-loss"] == pytest.approx(sum(losses[-2:]) / 2)
    assert found["late-loss:1.0"] == pytest.approx(sum(losses) / 4)
    tensors = [t for name, t in small.left(tmp_path / "run")[0].items() if name.startswith("model/")]
    assert found["largest"] == pytest.approx(max(float(t.abs().max()) for t in tensors))


@pytest.mark.slow
def test_an_edited_measure_is_taken_again_of_the_same_run(tmp_path: Path, mine: Path) -> None:
    words = small.words(small.corpus(tmp_path), "train.steps=4")

    def outcome() -> Any:
        with Queue(tmp_path / "studies", show=False, workers=1) as queue:
            (found,) = queue.run([Job(resolve(words), ("largest", "weight-rms"))])
        assert found.error is None
        return found

    first, again = outcome(), outcome()
    assert first.measures == again.measures and again.tries == 0
    mine.write_text(TEXT.replace("return max(", "return 2 * max("))
    danlu.load(mine)
    second = outcome()
    assert second.folder == first.folder
    assert second.measures["largest"] == 2 * first.measures["largest"]
    assert second.measures["weight-rms"] == first.measures["weight-rms"]
    assert len(json.loads((first.folder / "measures.json").read_text())) == 3
