"""The rungs of a ladder: sizes geometric in compute, what each reads, its rate, and what all of it costs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from danlu.lab.budget import Budget, bounded
from danlu.lab.errors import LabError
from danlu.lab.ladder.rates import Rated, rated
from danlu.lab.ladder.shapes import Shapes, Sized
from danlu.lab.limits import RUNGS, SEEDS, within
from danlu.spec.errors import did_you_mean
from danlu.spec.experiment import Experiment

GROWTH = 3.0  # in compute, from rung to rung
SIZES = (0.25, 0.5, 1.0, 2.0, 4.0)  # of an IsoFLOP profile, times the size in its middle
LEAST = 3  # levels: fewer leave nothing to hold out
DESIGNS = ("chinchilla", "isoflop")


@dataclass(frozen=True)
class Pace:
    """Seconds of an update: a fixed part, and one that grows with its FLOPs."""

    fixed: float
    per_flop: float

    def of(self, sized: Sized) -> float:
        """Of an update of this model."""
        return self.fixed + self.per_flop * sized.flops_per_update


@dataclass(frozen=True)
class Rung:
    """One size for one number of tokens. ``level``: of compute, 0 the least. ``flops``: of the whole run."""

    level: int
    sized: Sized
    experiment: Experiment
    steps: int
    tokens: int
    flops: float

    @property
    def rate(self) -> float | None:
        """The peak learning rate; None where the rule makes its own."""
        return self.experiment.optimizer.lr

    def seeded(self, seed: int) -> Experiment:
        """The experiment with a further seed."""
        return self.experiment.seeded(self.experiment.train.seed + seed)

    def json(self) -> dict[str, Any]:
        """Plain values."""
        sized = self.sized
        return {
            "level": self.level, "layers": sized.layers, "width": sized.width,
            "parameters": sized.parameters, "tokens": self.tokens, "steps": self.steps, "flops": self.flops,
            "lr": self.rate, "base_width": self.experiment.network.base_width,
        }  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """The rungs, smallest compute first, each to be run with ``seeds`` seeds."""

    shapes: Shapes
    rungs: tuple[Rung, ...]
    seeds: int
    design: str
    per_parameter: float
    rate_of: Rated
    pace: Pace | None = None

    @property
    def flops(self) -> float:
        """Of all runs."""
        return self.seeds * sum(rung.flops for rung in self.rungs)

    @property
    def seconds(self) -> float | None:
        """Active seconds of all runs' updates, where the pace was measured."""
        if self.pace is None:
            return None
        return self.seeds * sum(rung.steps * self.pace.of(rung.sized) for rung in self.rungs)

    @property
    def levels(self) -> int:
        """How many amounts of compute there are."""
        return 1 + max(rung.level for rung in self.rungs)


def make_rung(level: int, sized: Sized, tokens: float, rate_of: Rated) -> Rung:
    """``sized`` for ``tokens``, rounded down to whole updates, but one at least."""
    from danlu.train.plan import Plan as Course

    experiment = rate_of(sized, tokens)
    train, context = experiment.train, experiment.data.size
    course = Course(
        train.model_copy(update={"steps": None, "tokens": round(tokens), "seconds": None}), context
    )
    steps = max(1, math.floor(course.steps_at(tokens) + 1e-9))
    experiment = bounded(experiment, steps, evaluate_every=None, checkpoint_every=None)
    read = round(Course(experiment.train, context).tokens_at(steps))
    return Rung(level, sized, experiment, steps, read, float(sized.flops) * read)


def make_plan(
    shapes: Shapes,
    budget: Budget,
    *,
    rungs: int = 4,
    seeds: int = 1,
    rates: str = "mup",
    design: str = "chinchilla",
    per_parameter: float = 20.0,
    measured: Callable[[], Pace] | None = None,
) -> Plan:
    """The largest ladder of ``rungs`` levels, each ``GROWTH`` times the compute of the one below as near as
    whole heads and layers permit, whose runs together stay within ``budget``, in FLOP, or in seconds by the
    pace that is then ``measured``, when all else is known to be right.

    ``chinchilla``: one size a level, reading ``per_parameter`` tokens for each parameter. ``isoflop``: five
    sizes a level at equal compute, about the one that the other design takes.
    Raises LabError where the budget does not reach so far, or cannot be counted.
    """
    _check(rungs, seeds, design, per_parameter)
    if budget.unit not in ("flop", "seconds") or (budget.unit == "seconds" and measured is None):
        raise LabError(f"budget = {budget}; of a ladder it is in FLOP or seconds, such as 1e15flop or 600s")
    recipe = shapes.recipe
    tokens = _tokens_of(recipe.experiment) or per_parameter * recipe.parameters
    rate_of = rated(rates, recipe, tokens)
    pace = measured() if measured is not None and budget.unit == "seconds" else None

    def compute(sized: Sized) -> float:
        return sized.flops * per_parameter * sized.parameters

    def asked(top: float) -> list[tuple[int, Sized, float]]:
        """Level, shape and tokens of each rung."""
        made = []
        for level in range(rungs):
            wanted = top / GROWTH ** (rungs - 1 - level)
            middle = shapes.nearest(compute, wanted)
            made += [(level, *one) for one in _level(shapes, middle, wanted, design, per_parameter)]
        return made

    def cost(top: float) -> float:
        return seeds * sum(_cost(sized, tokens, budget, pace) for _, sized, tokens in asked(top))

    least = compute(shapes.smallest()) * GROWTH ** (rungs - 1)
    if cost(least) > budget.amount:
        unit = "s" if budget.unit == "seconds" else " FLOP"
        raise LabError(
            f"budget = {budget}: {rungs} rungs of this shape take {cost(least):.3g}{unit} at least; "
            "give more, or take fewer rungs or seeds, or fewer tokens for each parameter"
        )
    top = _largest(cost, budget.amount, least)
    made = (make_rung(level, sized, tokens, rate_of) for level, sized, tokens in asked(top))
    plan = Plan(shapes, tuple(made), seeds, design, per_parameter, rate_of, pace)
    _distinct(plan)
    return plan


def _cost(sized: Sized, tokens: float, budget: Budget, pace: Pace | None) -> float:
    """Of a run, in the budget's unit."""
    flops = sized.flops * tokens
    if budget.unit == "flop" or pace is None:
        return flops
    return flops / sized.flops_per_update * pace.of(sized)


def _level(
    shapes: Shapes, middle: Sized, wanted: float, design: str, per_parameter: float
) -> Iterator[tuple[Sized, float]]:
    """The shapes of a level, and what each reads."""
    if design == "chinchilla":
        yield middle, per_parameter * middle.parameters
        return
    sizes = [shapes.of_size(share * middle.parameters) for share in SIZES]
    for sized in dict.fromkeys(sizes):
        yield sized, wanted / sized.flops


def _largest(cost: Callable[[float], float], amount: float, least: float) -> float:
    """The largest top whose cost is within the amount, by doubling and halving."""
    low, high = least, 2 * least
    while cost(high) <= amount:
        low, high = high, 2 * high
    for _ in range(12):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if cost(middle) <= amount else (low, middle)
    return low


def _distinct(plan: Plan) -> None:
    """Raises LabError where two rungs are one, which only a coarse shape brings about."""
    seen: dict[tuple[int, int, int], int] = {}
    for rung in plan.rungs:
        key = (rung.sized.layers, rung.sized.width, rung.steps)
        if key in seen:
            raise LabError(
                f"levels {seen[key] + 1} and {rung.level + 1} would be one run, {key[0]} layers of "
                f"{key[1]}: widths are whole heads; give a larger budget, or a recipe with smaller heads"
            )
        seen[key] = rung.level


def _check(rungs: int, seeds: int, design: str, per_parameter: float) -> None:
    within("--rungs", rungs, RUNGS, least=LEAST)
    within("--seeds", seeds, SEEDS)
    if design not in DESIGNS:
        hint = did_you_mean(design, DESIGNS) or ";"
        raise LabError(f"design = {design!r}{hint} allowed: {' or '.join(DESIGNS)}")
    if not 0 < per_parameter < math.inf:
        raise LabError(f"tokens-per-parameter = {per_parameter:g}; allowed: above zero, such as 20")


def _tokens_of(experiment: Experiment) -> float | None:
    """The tokens of the recipe's own run; None where seconds bound it."""
    from danlu.spec.shrink import tokens_of

    return tokens_of(experiment)


def pace_of(sizes: Sequence[Sized], seconds: Sequence[float]) -> Pace:
    """The pace through two measured updates, a smaller and a larger one; neither part is below zero."""
    (small, large), (fast, slow) = (sized.flops_per_update for sized in sizes), seconds
    per_flop = max(0.0, (slow - fast) / (large - small))
    return Pace(max(0.0, fast - per_flop * small), per_flop) if per_flop else Pace(max(seconds), 0.0)
