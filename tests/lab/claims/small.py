"""Claims and results without runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from danlu.lab.claims.book import read
from danlu.lab.claims.claim import Claim
from danlu.lab.claims.results import Result
from danlu.lab.queue import Job, Outcome

# The measure is one that the worker takes, so that no run's files are read.
WRITTEN: dict[str, Any] = {
    "statement": "Less is more",
    "source": "Mies 1947",
    "rows": ["A1"],
    "on": "nano train.steps=1",
    "arms": {"less": "model.layers=1", "more": ""},
    "measure": "increment",
    "contrast": {"less": 1, "more": -1},
    "unit": "bits per byte",
    "holds": {"below": 0},
    "margin": {"value": 0.5, "why": "half a bit"},
    "seeds": 3,
    "sd": 0.1,
    "premises": [{"name": "some layers", "arm": "more", "measure": "kurtosis", "rule": {"above": 0}}],
    "timeless": "it is arithmetic",
    "note": "a claim for tests",
}
OVER = {"over": {"optimizer.lr": "1e-3,2e-3,4e-3"}, "of": "drop"}


def claim(**changes: Any) -> Claim:
    """The claim of ``WRITTEN`` with some fields changed; None takes one away."""
    return read({key: value for key, value in (WRITTEN | changes).items() if value is not None}, "small")


def result(**changes: Any) -> Result:
    """A result of ``claim()``."""
    return Result(
        **{
            "name": "small",
            "claim": claim().model_dump(mode="json"),
            "verdict": "holds",
            "effect": (-0.5, -0.625, -0.375),
            "effects": [-0.5, -0.55, -0.45],
            "values": {"less": [2.5, 2.45, 2.55], "more": [3.0, 3.0, 3.0]},
            "measured": {},
            "seeds": 3,
            "runs": 6,
            "diverged": 0,
            "failed": [],
            "seconds": 12.0,
            "machine": {"cpu": "Abacus", "cores": 2, "devices": []},
            "versions": {"danlu": "1", "torch": "2", "python": "3"},
            "data": {"python-stdlib": "0123456789ab"},
            "date": "2026-11-22",
        }
        | changes
    )


class Runs:
    """A queue whose runs end at once, the last submitted first, with what ``measure`` says of them: a number
    for all measures and the metric, a mapping by measure, or the sentence that they failed with."""

    def __init__(self, measure: Any, diverged: bool = False) -> None:
        self.measure, self.diverged = measure, diverged
        self.runs = Path("nowhere") / "runs"
        self.jobs: list[Job] = []
        self.asked: list[Job] = []

    def submit(self, job: Job) -> None:
        self.jobs.append(job)
        self.asked.append(job)

    def next(self) -> Outcome:
        job = self.jobs.pop()
        found = self.measure(job.experiment)
        if isinstance(found, str):
            return Outcome(job, Path("nowhere"), None, error=found, diverged=self.diverged)
        if not isinstance(found, dict):
            found = dict.fromkeys((*job.measures, "metric"), found)
        summary = {"metric": {"value": found.get("metric")}, "steps": 1, "parameters": 1, "tokens": 64}
        return Outcome(job, Path("nowhere"), summary, {name: found[name] for name in job.measures})
