"""How much a run may spend, as a person writes it, and how many updates that is; what a run costs in FLOPs.

Runs that are compared must have the same length, whatever else the machine does, so every budget becomes a
number of updates before anything runs. Seconds become updates by the measured speed of a short run.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from danlu import spec
from danlu.files.numbers import SUFFIXES
from danlu.lab.errors import LabError
from danlu.spec.base import MOST

if TYPE_CHECKING:
    from danlu.lab.queue import Queue

Unit = Literal["steps", "tokens", "flop", "seconds"]

ROWS = 10  # of statistics of a network's insides in a run
_WRITTEN = re.compile(r"([0-9]+(?:\.[0-9]*)?(?:[eE]\+?[0-9]+)?)\s*([kKMBGT]?)\s*([a-zA-Z]*)")
_UNITS: dict[str, tuple[Unit, float]] = {
    "": ("tokens", 1), "token": ("tokens", 1), "tokens": ("tokens", 1),
    "step": ("steps", 1), "steps": ("steps", 1), "flop": ("flop", 1), "flops": ("flop", 1),
    "s": ("seconds", 1), "min": ("seconds", 60), "h": ("seconds", 3600),
}  # fmt: skip
SHORT, WARM = 40, 10  # updates of the run that measures the speed, and those of it that don't count
MEASURING = f"measuring how long an update takes, by a short run of {SHORT} updates"


@dataclass(frozen=True)
class Budget:
    """What one run may spend: updates, tokens, FLOPs, or active seconds of updates."""

    amount: float
    unit: Unit

    @classmethod
    def parse(cls, text: str) -> Budget:
        """``60s`` (also ``min``, ``h``), ``2M`` (tokens), ``1e13flop``, ``500 steps``.
        Raises ``LabError``."""
        match = _WRITTEN.fullmatch(text.strip())
        number, suffix, name = match.groups() if match else ("0", "", "")
        unit, scale = _UNITS.get(name.lower(), ("tokens", 0))
        amount = float(number) * SUFFIXES.get(suffix.lower(), 1) * scale
        if not 0 < amount < float("inf"):
            raise LabError(
                f"budget = {text!r} is not an amount such as 60s, 5min, 2M (tokens), 1e13flop or '500 steps'"
            )
        return cls(amount, unit)

    @classmethod
    def of(cls, experiment: spec.Experiment) -> Budget:
        """The bound of the experiment itself; of several, steps, then tokens."""
        train = experiment.train
        if train.seconds is not None and train.steps is None and train.tokens is None:
            return cls(train.seconds, "seconds")
        from danlu.train.plan import updates_of

        cut = experiment.model_copy(update={"train": train.model_copy(update={"seconds": None})})
        return cls(updates_of(cut) or 1, "steps")

    def steps(self, experiment: spec.Experiment, seconds_per_step: float | None = None) -> int:
        """The updates of ``experiment`` that the budget pays for, to the nearest, at least one. One in
        seconds needs ``seconds_per_step``, as ``measure_pace`` finds it; raises ``LabError`` without it."""
        match self.unit:
            case "steps":
                steps = self.amount
            case "tokens":
                steps = _steps_of(experiment, self.amount)
            case "flop":
                steps = _steps_of(experiment, self.amount / flops_per_token(experiment))
            case "seconds":
                if seconds_per_step is None:
                    raise LabError(f"a budget of {self.amount:g} s needs a measured speed; measure it first")
                steps = self.amount / seconds_per_step
        if not steps <= MOST:
            raise LabError(f"a budget of {self} is {steps:.3g} updates; allowed: {MOST:.0e} at most")
        return max(1, round(steps))

    def __str__(self) -> str:
        return f"{self.amount:g} {'s' if self.unit == 'seconds' else self.unit}"


def bounded(experiment: spec.Experiment, steps: int, **train: object) -> spec.Experiment:
    """``experiment`` for so many updates and nothing else that ends it, in eager mode: a compiler's seconds
    would blur what is compared. ``train``: further settings of the run."""
    said = experiment.model_dump()
    said["train"] |= {"steps": steps, "tokens": None, "seconds": None, "compile": False, **train}
    return spec.validate(said)


def looked_into(experiment: spec.Experiment) -> spec.Experiment:
    """``experiment`` with ``ROWS`` looks inside the network in its updates, unless it says how many. All runs
    of the lab are so, that equal ones are one run whatever they are asked for."""
    train = experiment.train
    if train.internals_every is not None or train.steps is None:
        return experiment
    every = max(1, train.steps // ROWS)
    return experiment.model_copy(update={"train": train.model_copy(update={"internals_every": every})})


def flops_per_token(experiment: spec.Experiment) -> int:
    """FLOPs of forward and backward for one token of text, as a run counts them, before anything runs.
    Prepares the data where it is not prepared yet, for the tokenizer's size."""
    from danlu import data
    from danlu.train.assemble import outline, training_flops
    from danlu.train.teacher import sketch

    objective, model, *_ = outline(experiment, data.prepare(experiment.data))
    sketch(experiment, objective)
    return int(training_flops(objective, model) // objective.size)


def flops(experiment: spec.Experiment) -> float:
    """FLOPs of the whole run, which updates bound."""
    from danlu.train.plan import Plan

    assert experiment.train.steps is not None
    tokens = Plan(experiment.train, experiment.data.size).tokens_at(experiment.train.steps)
    return flops_per_token(experiment) * tokens


def measure_pace(queue: Queue, experiment: spec.Experiment, name: str = "pace") -> float:
    """Active seconds of an update, from a short run through the queue. Raises ``LabError`` if it fails."""
    from danlu.lab.queue import Job
    from danlu.train.folder import RunFolder
    from danlu.train.metrics import read

    short = bounded(experiment, SHORT, log_every=WARM, evaluate_every=None, evaluate_tokens=1024)
    (outcome,) = queue.run([Job(short, name=name)])
    if outcome.summary is None:
        raise LabError(f"the run that measures the speed failed, so no budget in seconds: {outcome.error}")
    rows = {row["step"]: row["seconds"] for row in read(RunFolder(outcome.folder).metrics) if "loss" in row}
    return float(rows[SHORT] - rows[WARM]) / (SHORT - WARM)


def _steps_of(experiment: spec.Experiment, tokens: float) -> float:
    from danlu.train.plan import Plan

    bound = {"steps": None, "tokens": max(1, round(tokens)), "seconds": None}
    return Plan(experiment.train.model_copy(update=bound), experiment.data.size).steps_at(tokens)
