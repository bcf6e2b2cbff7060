"""What a study takes, counted before it starts: runs and FLOPs. Refuses what danlu would refuse."""

from __future__ import annotations

from dataclasses import dataclass
from functools import singledispatch

from danlu.lab.forecast import Forecast
from danlu.mcp.inside import Refused, check_values
from danlu.mcp.questions import AcrossScale, Asked, Ladder, Laws, Sweep, Try


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
    from danlu.lab.trial.forecast import forecast
    from danlu.lab.trial.study import read

    tune = None if question.tune == "none" else question.tune
    asked = trial.Question(
        question.ideas, question.on, question.seeds, question.budget, tune, question.stop_early
    )
    _, baseline, variants, _ = read(asked)
    for experiment in (baseline, *variants.values()):
        check_values(experiment.model_dump(mode="json"))
    return _of(forecast(asked))


@price.register
def _(question: AcrossScale) -> Price:
    from danlu.lab.across import Question
    from danlu.lab.across.forecast import forecast
    from danlu.lab.trial.arms import read_sides

    asked = Question(question.ideas, question.on, question.rungs, question.seeds)
    baseline, variants = read_sides(asked.on, asked.ideas)
    for experiment in (baseline, *variants.values()):
        check_values(experiment.model_dump(mode="json"))
    return _of(forecast(asked))


@price.register
def _(question: Sweep) -> Price:
    from danlu.lab.sweep.asked import COUNTED, ask, forecast
    from danlu.lab.sweep.space import Space

    space = Space.read(question.experiment)
    if "train.seed" in space.names:
        raise Refused(
            "train.seed is a dimension of the space, and the best of several seeds is luck; give seeds = 3"
        )
    if question.trials is None and space.size == float("inf"):
        raise Refused("the space has ranges, and so no end; say how many trials")
    for point in space.corners()[:COUNTED]:
        check_values(space.experiment(point).model_dump(mode="json"))
    asked = ask(
        question.experiment, seeds=question.seeds, trials=question.trials, sampler=question.sampler,
        halving=question.halving, metric=question.metric,
    )  # fmt: skip
    return _of(forecast(asked))


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


def _of(forecast: Forecast) -> Price:
    """The most that it may come to."""
    if forecast.flops is None:
        return Price(
            forecast.counts[1], None,
            "its runs are bounded by seconds; give budget in steps, tokens or FLOPs",
        )  # fmt: skip
    return Price(forecast.counts[1], forecast.flops[1])
