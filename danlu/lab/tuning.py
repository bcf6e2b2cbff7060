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
from dataclasses import dataclass, field
from statistics import fmean
from typing import Annotated, Any, Protocol, TypeVar

from pydantic import Field

from danlu import spec
from danlu.lab.errors import LabError
from danlu.lab.queue import Job, Outcome
from danlu.lab.statistics.optimum import BEYOND, NEAR, Optimum, locate
from danlu.spec.base import PositiveInt, Spec

FIRST_SEED = 1_000_001  # far from those of any comparison
EXTENSIONS = 3  # times that points are added
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
    searches = [_Search(name, experiment, grid) for name, experiment in sides]
    for extension in range(EXTENSIONS + 1):
        asked = [search.jobs() for search in searches]
        outcomes = iter((yield [job for jobs in asked for job in jobs]))
        for search, jobs in zip(searches, asked, strict=True):
            search.learn([next(outcomes) for _ in jobs])
        if extension == EXTENSIONS or all(search.inside for search in searches):
            break
        for search in searches:
            search.extend()
    return [search.result() for search in searches]


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


@dataclass
class _Search:
    """One side on its way. Costs are by x, log₂ of the factor, and seed; NaN where a run diverged."""

    name: str
    experiment: spec.Experiment
    grid: Grid
    costs: dict[float, list[float]] = field(default_factory=dict)
    found: Optimum | None = None

    def __post_init__(self) -> None:
        middle = (self.grid.points - 1) // 2
        self.asked = [(place - middle) * self.grid.step for place in range(self.grid.points)]
        self.sign = self.experiment.objective.metrics[0].sign
        at(self.experiment, self.grid.field, 1.0)  # raises where there is nothing to tune

    def jobs(self) -> list[Job]:
        """The runs of the points that are asked for."""
        return [self._job(x, seed) for x in self.asked for seed in range(self.grid.seeds)]

    def _job(self, x: float, seed: int) -> Job:
        experiment = self._at(x)
        train = experiment.train.model_copy(update={"seed": FIRST_SEED + seed})
        return Job(experiment.model_copy(update={"train": train}), name=self.name)

    def _at(self, x: float) -> spec.Experiment:
        return at(self.experiment, self.grid.field, _factor(x))

    def learn(self, outcomes: Sequence[Outcome]) -> None:
        """Take in how those runs ended."""
        costs = [self.sign * outcome.metric for outcome in outcomes]
        for place, x in enumerate(self.asked):
            self.costs[x] = costs[place * self.grid.seeds : (place + 1) * self.grid.seeds]
        bits = "bit" in self.experiment.objective.metrics[0].unit
        self.found = locate(self.costs, near=NEAR * (1 if bits else math.log(2)))

    @property
    def inside(self) -> bool:
        return self.found is not None and self.found.interior

    def extend(self) -> None:
        """Ask for the points that are missing; where none is, for points beside the best."""
        assert self.found is not None
        self.asked = list(self.found.further if not self.inside else self._beside(self.found.x))

    def _beside(self, best: float) -> list[float]:
        """The nearest places that were not tried, half a step apart; closer ones where these are used up."""
        low, high = min(self.costs), max(self.costs)
        apart, free = self.grid.step, list[float]()
        while len(free) < BEYOND:
            apart /= 2
            places = (low + apart * i for i in range(round((high - low) / apart) + 1))
            free = [x for x in places if all(abs(x - tried) > apart / 2 for tried in self.costs)]
        return sorted(sorted(free, key=lambda x: abs(x - best))[:BEYOND])

    def result(self) -> Tuned:
        assert self.found is not None
        own = value_of(self.experiment, self.grid.field)
        curve = {own * _factor(x): self.sign * fmean(costs) for x, costs in sorted(self.costs.items())}
        why = "" if self.inside else f"{self.name}: {self.grid.field} is untuned: {self.found.why}"
        best = self.found.x if self.inside else 0.0
        return Tuned(
            experiment=self._at(best),
            field=self.grid.field,
            value=own * _factor(best),
            low=own * 2**self.found.low,
            high=own * 2**self.found.high,
            curve=curve,
            trials=sum(map(len, self.costs.values())),
            why=why,
        )


def _factor(x: float) -> float:
    """2^x to three digits: what a rate can claim."""
    return float(f"{2**x:.3g}")


def _finite(value: float) -> float | None:
    return float(f"{value:.6g}") if math.isfinite(value) else None
