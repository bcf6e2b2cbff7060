"""What is read off a run's summary and metrics, from files written by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.lab.errors import LabError
from danlu.lab.measures import of_run, value
from danlu.lab.measures.record import first_reached
from danlu.spec import resolve
from danlu.spec.replay import to_yaml
from danlu.train.errors import RunError

SUMMARY = {
    "metric": {"name": "bits_per_byte", "value": 2.0}, "best": {"step": 20, "value": 1.5}, "steps": 40,
    "tokens": 4000, "flops": 8e6, "parameters": 7,
    "active_seconds": {"startup": 1.0, "data": 2.0, "train": 3.0, "optimizer": 5.0, "evaluation": 0.5},
}  # fmt: skip
ROWS = [
    {"step": 10, "tokens": 500, "loss": 4.0},
    {"step": 10, "tokens": 500, "bits_per_byte": 3.0, "held_out_loss": 2.9},
    {"step": 20, "tokens": 1500, "loss": 1.9},
    {"step": 20, "tokens": 1500, "inside": {"update/a": 0.5, "update/b": 0.1, "kurtosis/a": 9.0}},
    {"step": 20, "tokens": 1500, "bits_per_byte": 2.0, "bits_per_byte_average": 1.5, "held_out_loss": 1.7},
    {"step": 38, "tokens": 3800, "loss": 1.0, "lost_updates": 0.25},
    {"step": 40, "tokens": 4000, "loss": 2.0, "lost_updates": 0.75},
    {"step": 40, "tokens": 4000, "bits_per_byte": 2.5, "bits_per_byte_average": 2.0, "held_out_loss": 1.9},
]  # fmt: skip


def run(folder: Path, rows: list[dict[str, Any]], **changes: Any) -> Path:
    (folder / "experiment.yaml").touch()
    (folder / "summary.json").write_text(json.dumps(SUMMARY | changes))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("metric", 2.0), ("bits_per_byte", 2.0), ("best", 1.5), ("last-weights", 2.5),
        ("held_out_loss", 1.9), ("loss", 1.5), ("gap", 0.4), ("seconds", 11.5),
        ("seconds-per-step", 0.25), ("flops", 8e6), ("parameters", 7), ("tokens", 4000),
        ("steps", 40), ("lost-updates", 0.5), ("spikes", 0), ("update-to-weight", 0.3),
        ("inside:kurtosis/a", 9.0), ("bits_per_byte@step:10", 3.0), ("bits_per_byte@step:20", 1.5),
        ("steps-to:3", 10), ("steps-to:1.5", 20), ("steps-to:2.25", math.sqrt(10 * 20)),
        ("steps-to:1", math.inf), ("tokens-to:2.25", math.sqrt(500 * 1500)), ("flops-to:3", 1e6),
        ("flops-to:0", math.inf),
    ],
)  # fmt: skip
def test_read(tmp_path: Path, name: str, expected: float) -> None:
    assert of_run(run(tmp_path, ROWS), [name]) == {name: pytest.approx(expected, rel=1e-12)}


ACCURACY = [
    {"step": 10, "tokens": 100, "accuracy": 0.25, "cross_entropy": 2.0},
    {"step": 40, "tokens": 400, "accuracy": 0.75, "accuracy_average": 0.5, "cross_entropy": 1.0, "loss": 1.5},
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("metric", 0.5), ("accuracy", 0.5), ("cross_entropy", 1.0), ("best", 0.5), ("last-weights", 0.75),
        ("accuracy@step:10", 0.25), ("steps-to:0.25", 10), ("steps-to:0.375", math.sqrt(10 * 40)),
        ("steps-to:0.6", math.inf), ("gap", -0.5),
    ],
)  # fmt: skip
def test_read_where_higher_is_better(tmp_path: Path, name: str, expected: float) -> None:
    about = {"unit": "", "better": "higher"}
    loss = {"value": 1.0, "unit": "nats/image", "better": "lower"}
    folder = run(
        tmp_path, ACCURACY,
        metric={"name": "accuracy", "value": 0.5, **about}, best={"step": 40, "value": 0.5},
        metrics={"accuracy": {"value": 0.5, **about}, "cross_entropy": loss},
    )  # fmt: skip
    assert of_run(folder, [name]) == {name: pytest.approx(expected, rel=1e-12)}


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("bits_per_byte@step:11", "at 10, 20, 40, not at step 11"),
        ("inside:kurtosis/b", "there are update/a, update/b, kurtosis/a"),
    ],
)
def test_what_a_run_has_not(tmp_path: Path, name: str, says: str) -> None:
    with pytest.raises(LabError, match=says):
        of_run(run(tmp_path, ROWS), [name])


def test_without_looks_inside(tmp_path: Path) -> None:
    for name in ("update-to-weight", "inside:stream/blocks.0"):
        with pytest.raises(LabError, match=r"train\.internals_every"):
            of_run(run(tmp_path, ROWS[:3]), [name])


def test_how_far_below_the_frequency_of_tokens(tmp_path: Path) -> None:
    regime = {"tokens_per_parameter": None, "updates": 40, "warmup": 0.0, "whole_schedule": True}
    folder = run(tmp_path, ROWS, regime=regime | {"bits_below_chance": 0.75})
    assert of_run(folder, ["bits-below-unigram"]) == {"bits-below-unigram": 0.75}
    for said in ({}, {"regime": regime | {"bits_below_chance": None}}):
        with pytest.raises(LabError, match="token frequencies alone"):
            of_run(run(tmp_path, ROWS, **said), ["bits-below-unigram"])


def test_the_share_that_was_clipped(tmp_path: Path) -> None:
    rows = [
        {"step": i, "tokens": i, "loss": 1.0, "grad_norm": norm} for i, norm in enumerate((0.5, 2, 1, 1.5))
    ]
    (tmp_path / "experiment.yaml").write_text(to_yaml(resolve("nano train.clip=1.0")))
    assert of_run(run(tmp_path, rows), ["share-clipped"]) == {"share-clipped": 0.5}
    (tmp_path / "experiment.yaml").write_text(to_yaml(resolve("nano train.clip=0")))
    with pytest.raises(LabError, match=r"clips no gradient: set train\.clip"):
        of_run(tmp_path, ["share-clipped"])


def test_what_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="not a run's folder: it is empty"):
        of_run(tmp_path, ["best"])


def test_a_spike_is_six_deviations_above_what_was_before(tmp_path: Path) -> None:
    quiet = [math.exp(0.1), math.exp(-0.1)] * 8  # of ln L the median is 0 and the median distance .1
    limit = 6 * (1.4826 * 0.1 + 1e-3)
    for last, expected in ((limit + 1e-6, 1), (limit - 1e-6, 0), (-9.0, 0)):
        rows = [{"step": i + 1, "loss": x} for i, x in enumerate([*quiet, math.exp(last)])]
        assert of_run(run(tmp_path, rows), ["spikes"]) == {"spikes": expected}


@given(st.lists(st.floats(0.5, 8), min_size=1, max_size=9), st.floats(0.5, 8))
def test_the_first_step_at_or_below(scores: list[float], bits: float) -> None:
    """By numpy's interpolation, on the scores so far as they fell to the first that is low enough."""
    steps = [10 * (i + 1) for i in range(len(scores))]
    found = first_reached(zip(steps, scores, strict=True), bits)
    low = next((i for i, score in enumerate(scores) if score <= bits), None)
    if low is None:
        assert found == math.inf
    elif low == 0:
        assert found == 10
    else:
        between = np.interp(bits, [scores[low], scores[low - 1]], np.log([steps[low], steps[low - 1]]))
        assert found == pytest.approx(math.exp(between), rel=1e-9)
        assert steps[low - 1] <= found * (1 + 1e-12) and found <= steps[low] * (1 + 1e-12)


def test_a_value_of_an_ended_job(tmp_path: Path) -> None:
    folder = run(tmp_path, ROWS)
    job = SimpleNamespace(experiment=resolve(["nano"]))
    ended = SimpleNamespace(job=job, folder=folder, summary=SUMMARY, measures={"kurtosis": 0.5})
    assert value(ended, "best") == 1.5 and value(ended, "kurtosis") == 0.5
    with pytest.raises(LabError, match="was not measured for max-logit"):
        value(ended, "max-logit")
    diverged = SimpleNamespace(job=job, folder=tmp_path / "nowhere", summary=None, measures={}, diverged=True)
    assert math.isnan(value(diverged, "best")) and math.isnan(value(diverged, "kurtosis"))
    with pytest.raises(LabError, match="there is no measure"):
        value(diverged, "kurtosys")
