"""Budgets as they are written, the updates that they pay for, and FLOPs known before a run."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu.lab import budget
from danlu.lab.budget import Budget, bounded, flops, flops_per_token, measure_pace
from danlu.lab.errors import LabError
from danlu.spec import resolve
from tests.lab.trial.cases import InProcess
from tests.train import small


@pytest.mark.parametrize(
    ("text", "amount", "unit"),
    [
        ("60s", 60, "seconds"), ("2 min", 120, "seconds"), ("0.5h", 1800, "seconds"), ("2M", 2e6, "tokens"),
        ("1.5G tokens", 1.5e9, "tokens"), ("1e13flop", 1e13, "flop"), ("3 TFLOP", 3e12, "flop"),
        ("500 steps", 500, "steps"), ("2k steps", 2000, "steps"), (" 7 ", 7, "tokens"),
    ],
)  # fmt: skip
def test_written(text: str, amount: float, unit: str) -> None:
    assert Budget.parse(text) == Budget(amount, unit)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["", "M", "0s", "-3s", "5 parsecs", "1e999", "60s 2M", "nan", "1e-3 steps"])
def test_refused(text: str) -> None:
    with pytest.raises(LabError, match=r"budget = .* is not an amount such as 60s"):
        Budget.parse(text)


def test_a_recipes_own_bound() -> None:
    assert Budget.of(resolve("nano train.steps=200")) == Budget(200, "steps")
    assert Budget.of(resolve("tiny train.seconds=50")) == Budget(50, "seconds")
    # 16 sequences of 64 tokens an update: 2,000 tokens are not whole updates, so one more is begun.
    assert Budget.of(resolve("nano train.batch=16 train.tokens=2000")) == Budget(2, "steps")


@given(st.integers(1, 10**6))
@settings(max_examples=50)
def test_steps_that_tokens_seconds_and_steps_pay_for(steps: int) -> None:
    nano = resolve("nano train.batch=16")
    tokens = steps * nano.train.batch * nano.data.context
    assert Budget(tokens, "tokens").steps(nano) == steps == Budget(steps, "steps").steps(nano)
    assert Budget(steps * 0.02, "seconds").steps(nano, 0.02) == steps
    assert Budget(tokens, "tokens").steps(resolve("nano train.batch=32")) == max(1, round(steps / 2))
    with pytest.raises(LabError, match="needs a measured speed"):
        Budget(60, "seconds").steps(nano)


def test_a_growing_batch_reads_its_tokens_in_more_updates() -> None:
    ramp = resolve(["nano", "train.batch=16", "train.ramp=[{batch: 8, until: 8k tokens}]", "train.tokens=1M"])
    # 8,000 tokens at 8·64 a step: 15.6 steps, so 16 of 512 tokens; then 8,192 more at 1,024.
    assert Budget(16 * 512 + 8 * 1024, "tokens").steps(ramp) == 24


def test_flops_are_those_of_the_run(tmp_path: Path) -> None:
    words = small.words(small.corpus(tmp_path), "train.evaluate_tokens=200", "data.tokenizer=characters")
    experiment = bounded(resolve(words), 3)
    summary = small.go(experiment, tmp_path / "run")
    assert flops(experiment) == summary["flops"]
    assert flops(experiment) == flops_per_token(experiment) * summary["tokens"]
    assert Budget(flops(experiment), "flop").steps(resolve(words)) == 3


def test_bounded_by_steps_alone() -> None:
    found = bounded(resolve("tiny train.seconds=50"), 7, log_every=3).train
    assert (found.steps, found.tokens, found.seconds, found.compile, found.log_every) == (
        7,
        None,
        None,
        False,
        3,
    )


def test_pace_is_measured_between_two_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "SHORT", 4)
    monkeypatch.setattr(budget, "WARM", 2)
    queue = InProcess(tmp_path / "studies")
    experiment = resolve(small.words(small.corpus(tmp_path)))
    pace = measure_pace(queue, experiment)  # type: ignore[arg-type]
    (job,) = queue.started
    assert job.experiment.train.steps == 4
    seconds = {row["step"]: row["seconds"] for row in queue.rows(job) if "loss" in row}
    assert pace == (seconds[4] - seconds[2]) / 2 > 0
    assert measure_pace(queue, experiment) == pace and len(queue.started) == 1  # type: ignore[arg-type]
