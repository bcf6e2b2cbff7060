"""What a study costs: the runs that are planned, and what was spent. No torch here."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from danlu.files.numbers import in_words, power
from danlu.lab.errors import LabError
from danlu.lab.forecast import AROUND
from danlu.lab.queue import Outcome
from danlu.lab.trial.question import Question
from danlu.lab.trial.timing import TIMING
from danlu.lab.tuning import FIRST_SEED, Grid

YEAR = 365 * 86400  # seconds


@dataclass(frozen=True)
class Cost:
    """``runs``, ``tuning`` of which found the rates; the ``seconds`` that they took of a core (or a GPU), and
    their ``flops``. A run that diverged counts as a run, not in the other two."""

    runs: int
    tuning: int
    seconds: float
    flops: float

    @classmethod
    def of(cls, outcomes: Iterable[Outcome]) -> Cost:
        """Of these runs."""
        ended = list(outcomes)
        summaries = [outcome.summary for outcome in ended if outcome.summary is not None]
        return cls(
            runs=len(ended),
            tuning=sum(outcome.job.experiment.train.seed >= FIRST_SEED for outcome in ended),
            seconds=sum(sum(summary["active_seconds"].values()) for summary in summaries),
            flops=sum(summary.get("flops") or 0.0 for summary in summaries),
        )

    @property
    def words(self) -> str:
        """In a line."""
        rates = f", {self.tuning} of them to find the rates" if self.tuning else ""
        flops = power(f"{self.flops:.2g}")
        return f"{self.runs} runs{rates}; they took {in_words(self.seconds)} together, {flops} FLOPs"

    def json(self) -> dict[str, Any]:
        """Its fields."""
        return asdict(self)


def planned(question: Question) -> tuple[int, int, int]:
    """Runs that find the rates, runs of pairs, and further ones at most, where an update of an idea costs
    more or less than the baseline's."""
    sides, grid = 1 + len(question.ideas), Grid()
    tuning = sides * grid.trials[0] if question.tune else 0
    return tuning, sides * question.seeds, 2 * len(question.ideas) * question.seeds


def about(question: Question, steps: int, pace: float, workers: int) -> str:
    """How long it takes, if nothing else runs: ``pace`` is in seconds of an update. Half of the runs that
    may be needed are counted. Raises ``LabError`` for more than a year: that is a slip in the budget."""
    tuning, pairs, further = planned(question)
    seconds = math.ceil((tuning + pairs + further / 2) / workers) * steps * pace * AROUND
    said = on_cores(seconds + TIMING * len(question.ideas), workers)
    if seconds > YEAR:
        raise LabError(
            f"--budget {question.budget} takes {said}; a number alone is of tokens (or 1e13flop, 60s)"
        )
    return said


def on_cores(seconds: float, workers: int) -> str:
    """How long it takes, in words."""
    time = in_words(max(10, round(seconds, -1)))
    return f"about {time} on {workers} core{'s' * (workers > 1)}, as fast as they are now"
