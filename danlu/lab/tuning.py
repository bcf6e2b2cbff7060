"""Each side of a comparison at its own best rate, found before anything is compared.

Points a factor apart around a side's own value, each with the tuning seeds, which no comparison uses; a
parabola through the costs against log₂ of the factor (``danlu.lab.statistics.optimum``); two points beyond
where the best is not inside, at most three times. All sides make the same number of trials: one that needs
no point beyond spends them beside its best. A side whose best is still not inside is untuned, and nothing
can be said of it. Borders: Choi et al. 2019 (arXiv:1910.05446), section 4; equal numbers of trials:
Sivaprasad et al. 2020 (arXiv:1910.11758).
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Annotated, Any, Protocol, TypeVar

from pydantic import Field

from danlu import spec
from danlu.lab.errors import LabError
from danlu.lab.queue import Job, Outcome
from danlu.lab.statistics.optimum import BEYOND, NEAR
from danlu.lab.statistics.search import EXTENSIONS, Search
from danlu.spec.base import PositiveInt, Spec

FIRST_SEED = 1_000_001  # far from those of any comparison
RATES = ("lr", "adamw_lr")  # of an optimizer; they are moved together

T = TypeVar("T")
# A procedure that asks for jobs and is given their outcomes in the same order, until it returns an answer.
Asks = Generator[Sequence[Job], Sequence[Outcome], T]


class Runner(Protocol):
    """A queue, or what stands before one."""

    def run(self, jobs: Iterable[Job]) -> list[Outcome]:
        """All of the jobs, in their order."""


class Grid(Spec):
    """What is tuned, and how.

    ``field``: a positive number of the experiment; ``optimizer.lr`` moves all rates of the optimizer
    together. ``points`` of it, ``factor`` apart, around the side's own value, each with ``seeds`` seeds.
    """

    field: str = "optimizer.lr"
    points: Annotated[PositiveInt, Field(ge=4, le=15)] = 5
    factor: Annotated[float, Field(gt=1, le=10)] = 2.0
    seeds: Annotated[PositiveInt, Field(le=10)] = 2

    @property
    def step(self) -> float:
        """Between two points, in octaves."""
        return math.log2(self.factor)

    @property
    def trials(self) -> tuple[int, int]:
        """Runs of a side, at least and, with all points beyond, at most."""
        least = self.points * self.seeds
        return least, least + BEYOND * EXTENSIONS * self.seeds


@dataclass(frozen=True)
class Tuned:
    """A side as it was tuned.

    ``experiment``: at its best, ``value`` of the field; the side's own where ``why`` says that it is untuned.
    ``low``, ``high``: the 95 % interval of the best value. ``curve``: the mean metric by value, NaN where a
    seed diverged. ``trials``: the runs that it took.
    """

    experiment: spec.Experiment
    field: str
    value: float
    low: float
    high: float
    curve: Mapping[float, float]
    trials: int
    why: str = ""

    @property
    def ok(self) -> bool:
        """Whether the best lies inside of what was tried."""
        return not self.why

    def json(self) -> dict[str, Any]:
        """All but the experiment, to six digits; no value for what diverged, no end where the interval has
        none."""
        return {
            "field": self.field,
            "value": self.value,
            "interval": [_finite(self.low), _finite(self.high)],
            "curve": {f"{value:g}": _finite(metric) for value, metric in self.curve.items()},
            "trials": self.trials,
            "why": self.why,
        }


def tune(queue: Runner, sides: Sequence[tuple[str, spec.Experiment]], grid: Grid = Grid()) -> list[Tuned]:
    """Each side, an experiment with the name of its runs, at its best. Raises ``LabError`` where a run fails
    (one that diverges does not), or where a side has no such field."""
    return carry_out(queue, tuning(sides, grid))


def carry_out(queue: Runner, procedure: Asks[T]) -> T:
    """What a procedure finds that asks for jobs again and again."""
    try:
        jobs = next(procedure)
        while True:
            jobs = procedure.send(queue.run(jobs))
    except StopIteration as end:
        found: T = end.value
        return found


def tuning(sides: Sequence[tuple[str, spec.Experiment]], grid: Grid = Grid()) -> Asks[list[Tuned]]:
    """``tune`` as a procedure, so that several can share a queue."""
    each = [_Side(name, experiment, grid) for name, experiment in sides]
    for extension in range(EXTENSIONS + 1):
        asked = [side.jobs() for side in each]
        outcomes = iter((yield [job for jobs in asked for job in jobs]))
        for side, jobs in zip(each, asked, strict=True):
            side.learn([next(outcomes) for _ in jobs])
        if extension == EXTENSIONS or all(side.inside for side in each):
            break
        for side in each:
            side.search.extend()
    return [side.result() for side in each]


def at(experiment: spec.Experiment, field: str, factor: float) -> spec.Experiment:
    """The experiment with ``field`` multiplied; with ``optimizer.lr`` the other rates of the optimizer are,
    too. Raises ``LabError`` where it is no positive number."""
    said = experiment.model_dump()
    *above, last = field.split(".")
    part: Any = said
    for name in above:
        part = part.get(name) if isinstance(part, dict) else None
    value = part.get(last) if isinstance(part, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        own = ": its rule sets its own rate" if last in RATES else ""
        raise LabError(
            f"{field} = {value} is no positive number, so that it cannot be tuned{own}; tune another field, "
            "or leave the tuning out"
        )
    if field == "optimizer.lr":
        _scale_rates(part, factor)
    else:
        part[last] = max(1, round(value * factor)) if isinstance(value, int) else value * factor
    return spec.validate(said)


def tunable(experiment: spec.Experiment, field: str) -> bool:
    """Whether ``at`` can move ``field``: the rate of a rule that sets its own it can not."""
    try:
        at(experiment, field, 1.0)
    except LabError:
        return False
    return True


def value_of(experiment: spec.Experiment, field: str) -> float:
    """The number that ``field`` is."""
    value: Any = experiment
    for name in field.split("."):
        value = getattr(value, name)
    return float(value)


def _scale_rates(optimizer: dict[str, Any], factor: float) -> None:
    """In place, those of a rule within it too."""
    for name in RATES:
        if optimizer.get(name) is not None:
            optimizer[name] *= factor
    if isinstance(optimizer.get("embeddings"), dict):
        _scale_rates(optimizer["embeddings"], factor)


class _Side:
    """One side on its way. x is log₂ of the factor on its own value."""

    def __init__(self, name: str, experiment: spec.Experiment, grid: Grid) -> None:
        self.name, self.experiment, self.grid = name, experiment, grid
        at(experiment, grid.field, 1.0)  # raises where there is nothing to tune
        metric = experiment.objective.metrics[0]
        self.sign = metric.sign
        self.search = Search(0.0, grid.points, grid.step, _near(metric.unit))

    def jobs(self) -> list[Job]:
        """The runs of the points that are asked for."""
        return [self._job(x, seed) for x in self.search.asked for seed in range(self.grid.seeds)]

    def _job(self, x: float, seed: int) -> Job:
        experiment = self._at(x)
        train = experiment.train.model_copy(update={"seed": FIRST_SEED + seed})
        return Job(experiment.model_copy(update={"train": train}), name=self.name)

    def _at(self, x: float) -> spec.Experiment:
        return at(self.experiment, self.grid.field, _factor(x))

    def learn(self, outcomes: Sequence[Outcome]) -> None:
        """Take in how those runs ended."""
        costs, n = [self.sign * outcome.metric for outcome in outcomes], self.grid.seeds
        self.search.learn([costs[i : i + n] for i in range(0, len(costs), n)])

    @property
    def inside(self) -> bool:
        return self.search.found.interior

    def result(self) -> Tuned:
        found, costs = self.search.found, self.search.costs
        own = value_of(self.experiment, self.grid.field)
        why = "" if self.inside else f"{self.name}: {self.grid.field} is untuned: {found.why}"
        best = found.x if self.inside else 0.0
        return Tuned(
            experiment=self._at(best),
            field=self.grid.field,
            value=own * _factor(best),
            low=own * 2**found.low,
            high=own * 2**found.high,
            curve={own * _factor(x): self.sign * fmean(losses) for x, losses in sorted(costs.items())},
            trials=sum(map(len, costs.values())),
            why=why,
        )


def _near(unit: str) -> float | None:
    """What is near the lowest cost: the same in bits and in nats. In another unit the curve says it."""
    if "bit" in unit:
        return NEAR
    return NEAR * math.log(2) if "nat" in unit else None


def _factor(x: float) -> float:
    """2^x to three digits: what a rate can claim."""
    return float(f"{2**x:.3g}")


def _finite(value: float) -> float | None:
    return float(f"{value:.6g}") if math.isfinite(value) else None
