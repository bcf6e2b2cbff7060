"""What a study of ideas will run is counted before it runs: exactly, but for what only runs can tell."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from danlu.lab.budget import bounded, flops
from danlu.lab.errors import LabError
from danlu.lab.forecast import TO_MEASURE, Forecast
from danlu.lab.trial import Question
from danlu.lab.trial.forecast import forecast
from danlu.lab.tuning import FIRST_SEED
from danlu.spec import resolve
from tests.lab.trial.cases import baseline
from tests.lab.trial.test_study import Lab


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    return Lab(tmp_path, monkeypatch)


def steps_of(found: Forecast) -> Counter[int]:
    """Runs at least, by their updates; that which measures the speed is left out, since a test makes none."""
    runs = [one for one in found.runs if one.what != TO_MEASURE]
    return Counter(one.steps or 0 for one in runs for _ in range(one.least))


@pytest.mark.parametrize("idea", ["swiglu", "optimizer.beta2=0.9"])  # an update costs more; as much
def test_what_runs_is_what_was_said(lab: Lab, idea: str) -> None:
    found = forecast(Question((idea,), lab.on, 2, None, None))
    answer = lab.ask(idea)
    assert lab.steps == steps_of(found)
    sides = {side for pair in answer.sides.values() for side in pair}
    ended = [answer.runs.outcome(side, seed).summary or {} for side in sides for seed in (0, 1)]
    ran = sum(float(summary["flops"]) for summary in ended)
    measuring = found.runs[0]
    assert found.flops is not None and measuring.flops is not None
    assert found.flops[0] - measuring.flops == pytest.approx(ran, rel=1e-12)


def test_at_most_are_those_of_equal_time_too(lab: Lab) -> None:
    found = forecast(Question(("swiglu",), lab.on, 2, None, None))
    lab.paces.append(2.0)
    lab.ask("swiglu")
    assert sum(lab.steps.values()) == found.counts[1] - 1


@pytest.mark.slow
def test_rates_are_found_in_as_many_runs_as_are_said(lab: Lab) -> None:
    found = forecast(Question(("swiglu",), lab.on, 2))
    lab.ask("swiglu", tune="lr")
    tuning = sum(job.experiment.train.seed >= FIRST_SEED for job in lab.started)
    said = [one for one in found.runs if one.what == "the best learning rate"]
    assert sum(one.least for one in said) <= tuning <= sum(one.most for one in said)


def test_runs_bounded_by_seconds_are_counted_and_timed(tmp_path: Path) -> None:
    on = baseline(tmp_path)
    found = forecast(Question(("swiglu",), on, 3, "60s", None))
    assert found.flops is None and found.counts == (1 + 6, 1 + 12)
    short = flops(bounded(resolve(on), 40)) * 1.15 / 1e12
    assert found.seconds(2, lambda: 1e12) == pytest.approx(((6 * 60 + short) / 2, (12 * 60 + short) / 2))


def test_what_cannot_be_asked_is_refused_as_in_a_study() -> None:
    with pytest.raises(LabError, match="--seeds = 0; allowed: 1 to 1,000"):
        forecast(Question(("swiglu",), "nano", 0))
    with pytest.raises(LabError, match="which an idea may not"):
        forecast(Question(("train.seed=3",), "nano"))
