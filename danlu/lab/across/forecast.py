"""What a study over sizes will run, counted before anything runs."""

from __future__ import annotations

from danlu.lab.across.rates import BESIDE, GRID
from danlu.lab.across.study import Question, asks, bounded, read
from danlu.lab.budget import SHORT
from danlu.lab.forecast import TO_MEASURE, Alike, Forecast, arms
from danlu.lab.trial.forecast import RATE
from danlu.lab.tuning import tunable

GATED = 2  # rungs that every idea runs; whether it goes on is seen after these


def forecast(question: Question) -> Forecast:
    """Of ``try_across``. Raises what that raises before anything runs."""
    baseline, variants, rungs = read(question)
    runs = []
    for rung in rungs:
        pairs = rung.pairs(question.seeds)
        sides = {"": rung.baseline, **{idea.name: rung.variant(idea.words) for idea in variants}}
        size = f"{rung.parameters:,} parameters"
        runs.append(Alike.of(question.on, f"{TO_MEASURE}, {size}", rung.baseline, SHORT, 1))
        for name, side in sides.items():
            arm = name or question.on
            least = 1 if rung.level < GATED or not question.gates else 0
            if tunable(side, GRID.field):
                few, most = (len(BESIDE), len(BESIDE)) if rung.level else GRID.trials
                runs.append(Alike.of(arm, f"{RATE}, {size}", side, rung.updates, least * few, most))
            runs.append(
                Alike.of(arm, f"pairs of runs, {size}", bounded(side), rung.updates, least * pairs, pairs)
            )
    return Forecast(
        asks=asks(question, [idea.name for idea in variants], baseline.objective.metrics[0]),
        arms=arms(question.on, baseline, {idea.name: variant for idea, variant in variants.items()}),
        runs=runs,
        seeds=range(baseline.train.seed, baseline.train.seed + question.seeds),
        notes=[
            "an idea that has no chance left ends before the largest sizes",
            "a size where the best rate is more than twice off is tuned anew, as the first one is",
        ],
    )
