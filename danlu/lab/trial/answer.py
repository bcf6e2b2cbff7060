"""What came out of a study of ideas. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby

from danlu.lab.study import Study
from danlu.lab.trial.findings import At, Finding
from danlu.lab.trial.question import Question
from danlu.lab.trial.sides import Runs, Side
from danlu.spec.metrics import Metric

EQUAL: dict[At, str] = {"steps": "steps", "flops": "FLOPs", "time": "active time"}


@dataclass(frozen=True)
class Answer:
    """The findings, idea by idea, and where they are kept. ``steps``: updates of the baseline's runs.
    ``sides``: baseline and variant, by idea and equality; ``runs`` has theirs. ``metrics``: of the
    objective, the first decides."""

    question: Question
    study: Study
    steps: int
    findings: tuple[Finding, ...]
    runs: Runs
    sides: Mapping[tuple[str, At], tuple[Side, Side]]
    metrics: tuple[Metric, ...]

    @property
    def metric(self) -> Metric:
        """By which the sides are compared."""
        return self.metrics[0]

    @property
    def by_idea(self) -> dict[str, list[Finding]]:
        """The findings on each idea."""
        return {idea: list(of) for idea, of in groupby(self.findings, lambda f: f.pairs.idea)}

    @property
    def what(self) -> str:
        """What the differences are of, in a line."""
        return (
            f"{self.question.on}, {self.steps:,} steps: held-out {self.metric.words}, variant − baseline; "
            f"{self.metric.better} is better"
        )
