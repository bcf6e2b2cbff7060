"""A ladder from its words to its target: plan, run, fit, hold out, aim. The same command continues it."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from danlu.files.json import write_json
from danlu.files.write import write_atomically
from danlu.lab import evidence
from danlu.lab.budget import MEASURING, Budget, measure_pace
from danlu.lab.errors import LabError
from danlu.lab.ladder.law import Run, ends, fitted, held_out, points_of, several
from danlu.lab.ladder.plan import LEAST, Pace, Plan, Rung, make_plan, pace_of
from danlu.lab.ladder.shapes import Shapes
from danlu.lab.ladder.target import aim, check_reach, wanted
from danlu.lab.limits import RUNGS, within
from danlu.lab.measures import value
from danlu.lab.queue import Job, Outcome, Queue
from danlu.lab.statistics import Interval
from danlu.lab.study import STUDIES, Study
from danlu.spec.metrics import Metric, loss_of
from danlu.spec.words import in_full, resolve

if TYPE_CHECKING:
    from danlu.laws import Read

SAME = 1e-6  # relative; by so much proportions of metric and loss may differ
PLANNED = 8.0  # the pace is measured at the recipe's size and at this share of it

QueueOf = Callable[[Path], Queue]


@dataclass(frozen=True)
class Ladder:
    """What is asked: see ``danlu ladder --help``."""

    words: tuple[str, ...]
    budget: str = "300s"
    rungs: int = 4
    seeds: int = 1
    rates: str = "mup"
    design: str = "chinchilla"
    tokens_per_parameter: float = 20.0
    hold_out: int = 1
    target: str | None = None
    target_parameters: str | None = None
    far: bool = False

    @property
    def settings(self) -> dict[str, Any]:
        """What must be the same when it is gone on with: all that decides what is run."""
        return {
            "verb": "ladder", "words": list(self.words), "budget": self.budget, "rungs": self.rungs,
            "seeds": self.seeds, "rates": self.rates, "design": self.design,
            "tokens_per_parameter": self.tokens_per_parameter,
        }  # fmt: skip


def climb(
    ladder: Ladder,
    studies: Path = STUDIES,
    *,
    name: str | None = None,
    dry_run: bool = False,
    on_plan: Callable[[Plan], None] = lambda plan: None,
    queue_of: QueueOf = Queue,
) -> dict[str, Any]:
    """Carry out a ladder and return what came out, as it also stands in the study's ``result.json``.

    ``on_plan`` is given the plan before anything of it runs; a ``dry_run`` ends there. A budget in seconds is
    planned by the measured pace of two short runs. Raises LabError, SpecError or LawError.
    """
    ladder = replace(ladder, words=tuple(in_full(ladder.words)))
    aimed = wanted(ladder.target, ladder.target_parameters)
    within("--rungs", ladder.rungs, RUNGS, least=LEAST)
    if not 0 <= ladder.hold_out <= ladder.rungs - 2:
        raise LabError(
            f"hold-out = {ladder.hold_out} of {ladder.rungs} rungs; a law needs two of them at least: "
            f"allowed: 0 to {max(0, ladder.rungs - 2)}"
        )
    with ExitStack() as stack:

        @cache
        def queue() -> Queue:  # made when first asked for: a plan that runs nothing leaves nothing behind
            return stack.enter_context(queue_of(studies))

        plan, unique = _planned(ladder, queue)
        on_plan(plan)
        if not ladder.far:
            check_reach(plan, *aimed)
        said = {
            **ladder.settings, "flops": plan.flops, "seconds": plan.seconds,
            "rungs": [rung.json() for rung in plan.rungs],
        }  # fmt: skip
        if dry_run:
            return said | {"warnings": _repeats(plan, unique)}
        study = Study.open(studies, name or f"ladder-{' '.join(ladder.words)}", ladder.settings)
        with queue().alone(study.path):
            runs, warnings = _carried_out(plan, ladder, queue())
    warnings += _repeats(plan, unique)
    metrics = plan.shapes.experiment.objective.metrics
    metric, loss = metrics[0], loss_of(metrics)
    several(len({run.rung.level for run in runs}))
    from danlu.laws.files.runs import POINTS
    from danlu.laws.saved import FILE

    write_atomically(study.path / POINTS, points_csv(runs, metric).encode())
    got = points_of(study.path / POINTS, ladder.design)
    law = fitted(got, ladder.design)
    held = held_out(runs, got, ladder.design, ladder.hold_out)
    if any(one.inside is False for one in held):
        warnings.append("a held-out rung is outside its interval; the target may be further off")
    target = aim(plan, law, ladder.words, *aimed, _proportion(runs))
    if target.rung.tokens > unique:
        warnings.append(_repeated("the target", target.rung, unique))
    from danlu.lab.ladder.report import html

    file = law.file()
    write_json(study.path / FILE, file)
    read_off = [one for one in got.warnings if one.code != "small-sizes"]  # which here are as they are
    warnings += [str(one) for one in (*target.told.warnings, *read_off, *law.notes)]
    result = said | {
        "metric": metric.name, "unit": metric.unit, "better": metric.better,
        "loss": {"name": loss.name, "unit": loss.unit}, "counted": f"{plan.shapes.experiment.data.unit}s",
        "study": str(study.path), "points": str(study.path / POINTS), "fit": str(study.path / FILE),
        "runs": [
            {"level": run.rung.level, "seed": run.seed, "parameters": run.parameters, "tokens": run.tokens,
             "flops": run.flops, "loss": run.loss, "metric": run.metric, "run": run.folder}
            for run in runs
        ],
        "law": law.json(), "allocation": _allocation(got, ladder.design),
        "audit": file["audit"], "calibration": file["calibration"],
        "held_out": [one.json(loss.unit) for one in held], "target": target.json(),
        "warnings": list(dict.fromkeys(warnings)),
    }  # fmt: skip
    study.save(result)
    evidence.keep(study.path, [Path(run.folder) for run in runs])
    write_atomically(study.report, html(plan, runs, law, held, target, result).encode())
    return result


def _planned(ladder: Ladder, queue: Callable[[], Queue]) -> tuple[Plan, int]:
    """The plan, and how many tokens (images) there are to train on."""
    from danlu.data import Dataset, prepare

    experiment = resolve(list(ladder.words))
    budget = Budget.parse(ladder.budget)
    source = prepare(experiment.data)
    is_text = isinstance(source, Dataset)
    shapes = Shapes(experiment, source.tokenizer.vocabulary if is_text else None)
    plan = make_plan(
        shapes, budget, rungs=ladder.rungs, seeds=ladder.seeds, rates=ladder.rates, design=ladder.design,
        per_parameter=ladder.tokens_per_parameter,
        measured=lambda: _pace(shapes, queue()),
    )  # fmt: skip
    return plan, len(source.train) if is_text else len(source.train[0])


def _pace(shapes: Shapes, queue: Queue) -> Pace:
    """Measured at the recipe's size and at an eighth of it. A second ladder finds the same runs, and so makes
    the same plan."""
    large = shapes.recipe
    small = shapes.of_size(max(large.parameters / PLANNED, shapes.smallest().parameters))
    if small.flops >= large.flops:
        small, large = large, shapes.of_size(large.parameters * PLANNED)
    queue.say(f"{MEASURING} at two sizes")
    seconds = [measure_pace(queue, sized.experiment) for sized in (small, large)]
    return pace_of((small, large), seconds)


def _carried_out(plan: Plan, ladder: Ladder, queue: Queue) -> tuple[list[Run], list[str]]:
    """The runs that ended well, in the order of the plan, and a sentence for each that did not."""
    wanted = [(rung, seed) for rung in plan.rungs for seed in range(plan.seeds)]
    jobs = [
        Job(rung.seeded(seed), name=f"ladder-{ladder.words[0] if ladder.words else 'tiny'}")
        for rung, seed in wanted
    ]
    # The largest first: the others fill the time beside them.
    outcomes = queue.run(jobs[::-1])[::-1]
    runs, warnings = [], []
    for (rung, seed), outcome in zip(wanted, outcomes, strict=True):
        if outcome.summary is None:
            what = "diverged" if outcome.diverged else "failed"
            warnings.append(f"{outcome.folder} {what} and is left out: {outcome.error}")
        else:
            runs.append(_run(rung, seed, outcome))
    return runs, warnings


def _run(rung: Rung, seed: int, outcome: Outcome) -> Run:
    summary = outcome.summary
    assert summary is not None
    loss = value(outcome, loss_of(outcome.job.experiment.objective.metrics).name)
    return Run(
        rung, seed, float(summary["parameters"]), value(outcome, "tokens"), float(summary["flops"]),
        loss, value(outcome, "metric"), value(outcome, "last-weights") / loss, str(outcome.folder),
    )  # fmt: skip


def _proportion(runs: Sequence[Run]) -> float | None:
    """What a loss is multiplied by to have the metric, where that is the same for all runs, as of bits and
    nats of one text; None where the metric is of another kind."""
    found = [run.per_loss for run in runs]
    return fmean(found) if max(found) - min(found) <= SAME * abs(fmean(found)) else None


def _repeats(plan: Plan, unique: int) -> list[str]:
    """A warning where a rung sees its data more than once, since laws of fresh data don't know that."""
    longest = max(plan.rungs, key=lambda rung: rung.tokens)
    return [_repeated("the longest rung", longest, unique)] if longest.tokens > unique else []


def _repeated(what: str, rung: Rung, unique: int) -> str:
    unit, times = rung.experiment.data.unit, f"{rung.tokens / unique:.2g} times"
    return f"{what} sees the {unique:,} {unit}s that there are {times}; the law knows only fresh ones"


def _allocation(got: Read, design: str) -> dict[str, Any] | None:
    """The exponents of the best size and data in compute, by IsoFLOP profiles."""
    if design != "isoflop":
        return None
    from danlu.laws import LawError, isoflop

    try:
        found = isoflop(got.points.with_columns(c=got.points["x" if "x" in got.points else "c"]))
    except LawError as error:
        return {"why": str(error)}
    a, b = (ends(Interval(one.value, one.low, one.high)) for one in (found.a, found.b))
    return {"a": a, "b": b, "refused": found.refused, "warnings": found.warnings}


def points_csv(runs: Sequence[Run], metric: Metric) -> str:
    """The points as ``danlu laws fit`` reads them."""
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(["n", "d", "c", "loss", "steps", "lr", "level", "seed", metric.name, "run"])
    for run in runs:
        rung = run.rung
        table.writerow([
            f"{run.parameters:.0f}", f"{run.tokens:.0f}", repr(run.flops), repr(run.loss), rung.steps,
            rung.rate, rung.level, run.seed, repr(run.metric), run.folder,
        ])  # fmt: skip
    return out.getvalue()
