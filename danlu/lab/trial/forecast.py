"""What a study of ideas will run, counted before anything runs."""

from __future__ import annotations

from danlu.lab.budget import Budget
from danlu.lab.forecast import Alike, Forecast, arms
from danlu.lab.trial.lengths import at_equal_flops
from danlu.lab.trial.question import Question
from danlu.lab.trial.sides import Side
from danlu.lab.trial.study import FIRST_LOOK, read
from danlu.lab.trial.words import asks
from danlu.lab.tuning import Grid, tunable
from danlu.spec import Experiment

RATE = "the best learning rate"
PAIRS = "pairs at equal steps"
AT_FLOPS, AT_TIME = "pairs at equal FLOPs", "pairs at equal time"


def forecast(question: Question) -> Forecast:
    """Of ``try_ideas``. Raises what that raises before anything runs."""
    question, baseline, variants, _ = read(question)
    budget = Budget.parse(question.budget) if question.budget else Budget.of(baseline)
    bounded = budget.unit == "seconds"  # then updates are known when the speed is
    steps = 0 if bounded else budget.steps(baseline)
    sides = {question.on: baseline, **{idea.name: variant for idea, variant in variants.items()}}
    runs = [Alike.measuring(question.on, baseline)]

    def alike(arm: str, what: str, experiment: Experiment, least: int, most: int, steps: int) -> None:
        if bounded:
            runs.append(Alike(arm, what, least, most, seconds=budget.amount))
        else:
            runs.append(Alike.of(arm, what, experiment, steps, least, most))

    grid = Grid()
    for name, side in sides.items() if question.tune else ():
        if tunable(side, grid.field):
            alike(name, RATE, side, *grid.trials, steps)
    first = min(FIRST_LOOK, question.seeds) if question.stop_early else question.seeds
    for name, side in sides.items():
        alike(name, PAIRS, side, first, question.seeds, steps)
    base = None if bounded else Side.of(question.on, baseline, steps)
    for name, side in list(sides.items())[1:]:
        variant = None if base is None else Side.of(name, side, steps)
        at = variant if base is None or variant is None else at_equal_flops(variant, base).side
        if at is None or at.steps != steps:
            least = 0 if at is None else first
            alike(name, AT_FLOPS, side, least, question.seeds, steps if at is None else at.steps)
        alike(name, AT_TIME, side, 0, question.seeds, steps)
    return Forecast(
        asks=asks(question, list(variants), baseline.objective.metrics[0]),
        arms=arms(question.on, baseline, {idea.name: variant for idea, variant in variants.items()}),
        runs=runs,
        seeds=range(baseline.train.seed, baseline.train.seed + question.seeds),
        notes=[
            "runs at equal time come where an update of the idea takes more or less time, which is measured"
        ],
    )
