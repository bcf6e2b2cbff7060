"""What a study takes, counted before it starts: runs and FLOPs. Refuses what danlu would refuse."""

from __future__ import annotations

from dataclasses import dataclass
from functools import singledispatch

from danlu import spec
from danlu.mcp.inside import Refused, check_values
from danlu.mcp.questions import AcrossScale, Asked, Ladder, Laws, Sweep, Try

CORNERS = 8  # points of a space that are counted; the dearest stands for all


@dataclass(frozen=True)
class Price:
    """``runs`` and ``flops`` at most, as far as is known beforehand; None where it is not, and ``why``."""

    runs: int | None
    flops: float | None
    why: str = ""


@singledispatch
def price(question: Asked) -> Price:
    """Of a question. Raises ``DanluError`` with the sentence of the command line where it cannot be asked."""
    return Price(None, None, "what a program of yours computes is not known")


@price.register
def _(question: Laws) -> Price:
    return Price(0, 0.0)


@price.register
def _(question: Try) -> Price:
    from danlu.lab import trial
    from danlu.lab.budget import SHORT, Budget, bounded, flops
    from danlu.lab.statistics.optimum import BEYOND
    from danlu.lab.statistics.search import EXTENSIONS
    from danlu.lab.trial.arms import is_of_rates, read_sides
    from danlu.lab.tuning import Grid

    tune = None if question.tune == "none" else question.tune
    asked = trial.Question(
        question.ideas, question.on, question.seeds, question.budget, tune, question.stop_early
    )
    asked.check()
    baseline, variants = read_sides(asked.on, asked.ideas)
    for experiment in (baseline, *variants.values()):
        check_values(experiment.model_dump(mode="json"))
    budget = Budget.parse(asked.budget) if asked.budget else Budget.of(baseline)
    grid = Grid()
    of_rates = all(is_of_rates(baseline, variant) for variant in variants.values())
    rates = 0 if of_rates or not tune else (grid.points + BEYOND * EXTENSIONS) * grid.seeds
    each = rates + question.seeds
    # one that measures the speed; two further lengths of an idea, of equal FLOPs and of equal time
    runs = 1 + each + len(variants) * (each + 2 * question.seeds)
    if budget.unit == "seconds":
        return Price(runs, None, "its runs are bounded by seconds; give budget in steps, tokens or FLOPs")
    steps = budget.steps(baseline)
    one, *others = (flops(bounded(experiment, steps)) for experiment in (baseline, *variants.values()))
    of_ideas = sum((each + question.seeds) * other + question.seeds * one for other in others)
    return Price(runs, flops(bounded(baseline, SHORT)) + each * one + of_ideas)


@price.register
def _(question: AcrossScale) -> Price:
    from danlu.lab.across import Question
    from danlu.lab.across.rates import BESIDE
    from danlu.lab.across.rungs import rungs
    from danlu.lab.budget import SHORT, bounded, flops
    from danlu.lab.statistics.optimum import BEYOND
    from danlu.lab.statistics.search import EXTENSIONS
    from danlu.lab.trial.arms import not_of_rates, read_sides
    from danlu.lab.tuning import Grid

    asked = Question(question.ideas, question.on, question.rungs, question.seeds)
    baseline, variants = read_sides(asked.on, asked.ideas)
    for experiment in (baseline, *variants.values()):
        check_values(experiment.model_dump(mode="json"))
    not_of_rates(baseline, variants)
    grid, sides, runs, total = Grid(), 1 + len(variants), 0, 0.0
    cost = [flops(bounded(one, SHORT)) for one in (baseline, *variants.values())]
    ratio = max(cost) / cost[0]
    for rung in rungs(baseline, question.rungs):
        rates = len(BESIDE) if rung.level else (grid.points + BEYOND * EXTENSIONS) * grid.seeds
        count = sides * (rates + rung.pairs(question.seeds))
        runs += 1 + count  # one that measures the pace
        total += flops(bounded(rung.baseline, SHORT)) + count * ratio * rung.flops
    return Price(runs, total)


@price.register
def _(question: Sweep) -> Price:
    from itertools import islice

    from danlu.lab.budget import flops
    from danlu.lab.sweep.space import Space

    space = Space.read(question.experiment)
    if "train.seed" in space.names:
        raise Refused(
            "train.seed is a dimension of the space, and the best of several seeds is luck; give seeds = 3"
        )
    points = question.trials or space.size
    if points == float("inf"):
        raise Refused("the space has ranges, and so no end; say how many trials")
    corners = list(islice(space.corners(), CORNERS))
    experiments = [space.experiment(point) for point in corners]
    for experiment in experiments:
        check_values(experiment.model_dump(mode="json"))
    runs = int(points) * question.seeds
    return Price(runs, runs * max(map(flops, map(_in_steps, experiments))))


@price.register
def _(question: Ladder) -> Price:
    from danlu.lab import ladder
    from danlu.lab.budget import Budget
    from danlu.spec.words import resolve

    check_values(resolve(list(question.experiment)).model_dump(mode="json"))
    if Budget.parse(question.budget).unit == "seconds":
        raise Refused("the budget of a ladder is in FLOPs here, such as 1e13flop")
    asked = ladder.Ladder(
        question.experiment, budget=question.budget, rungs=question.rungs, seeds=question.seeds,
        rates=question.rates, design=question.design, tokens_per_parameter=question.tokens_per_parameter,
        hold_out=question.hold_out, target=question.target, target_parameters=question.target_parameters,
    )  # fmt: skip
    plan = ladder.climb(asked, dry_run=True)
    return Price(len(plan["rungs"]) * question.seeds, float(plan["flops"]))


def _in_steps(experiment: spec.Experiment) -> spec.Experiment:
    """Bounded by updates, as what is counted must be."""
    from danlu.lab.budget import Budget, bounded

    return bounded(experiment, Budget.of(experiment).steps(experiment))
