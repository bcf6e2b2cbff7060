"""A sweep from its words to its result."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from danlu.files.write import write_atomically
from danlu.lab import evidence
from danlu.lab.study import STUDIES, Study
from danlu.lab.sweep import halving as halves
from danlu.lab.sweep.analysis import border, isolation, study_variance
from danlu.lab.sweep.asked import ask
from danlu.lab.sweep.carry import Carrier, Queue
from danlu.lab.sweep.importance import importance
from danlu.lab.sweep.report import html
from danlu.lab.sweep.search import Proposals, search
from danlu.lab.sweep.space import Point, Space
from danlu.lab.sweep.trials import STATES, Record, Spent, Trial, best_of, longest, most_at_once
from danlu.lab.yardstick import why_apart
from danlu.spec.metrics import Metric


def sweep(
    words: Sequence[str],
    queue: Queue,
    *,
    studies: Path = STUDIES,
    name: str | None = None,
    seeds: int = 1,
    trials: int | None = None,
    sampler: str = "random",
    halving: bool = False,
    metric: str | None = None,
    at_once: int = 2,
    retry: bool = False,
) -> dict[str, Any]:
    """Carry out what the words ask for; returns the study's ``summary``, which is also in its folder.

    Without ``trials`` the whole grid, else so many points in all of ``sampler``. ``metric``: a measure of the
    lab; left out, the first metric of the objective. ``at_once``: runs at a time where one proposal waits
    for the results of others. Earlier trials of the study stand in the result where all of their runs are
    there; they are not made again. Raises ``LabError`` before anything runs where the words span nothing, a
    point is no experiment, or the folder holds a study of another space.
    """
    asked_for = ask(words, seeds=seeds, trials=trials, sampler=sampler, halving=halving, metric=metric)
    space, points, by = asked_for.space, asked_for.points, asked_for.by
    measured, rungs = asked_for.measured, asked_for.rungs
    carrier = Carrier(asked_for.experiments, queue, seeds=seeds, measure=measured, retry=retry)

    study = Study.open(studies, name or _name(space), _asked(space))
    with queue.alone(study.path):
        record = Record(study.path, space.names)
        accounting = None
        if halving:

            def carry(points: Sequence[Point], rung: halves.Rung) -> list[Trial]:
                return carrier.all(record.admit(points, by, None if rung is rungs[-1] else rung.steps))

            found = halves.halve(rungs, points, carry)
            accounting = halves.accounting(rungs, found, seeds)
            asked = [trial.entry for trials in found for trial in trials]
        elif by in ("grid", "random"):
            asked = record.admit(points, by)
        else:
            proposals = Proposals(space, sampler, study.path, measured.metric)
            under_way = -(-at_once // seeds)
            asked = search(proposals, trials or 0, under_way, lambda new: record.admit(new, by), carrier)
        numbers = {entry.number for entry in asked}
        shown = [entry for entry in record.entries if entry.number in numbers or carrier.ended(entry)]
        all_trials = carrier.all(shown)
        result = summary(space, all_trials, study, measured.metric, seeds) | {"halving": accounting}
        if left_out := len(record.entries) - len(shown):
            result["warnings"].append(_left_out(left_out, seeds))
        study.save(result)
        evidence.keep(study.path, [folder for trial in all_trials for folder in trial.folders])
        write_atomically(study.report, html(result, all_trials, space.fixed).encode())
    return result


def summary(
    space: Space, trials: Sequence[Trial], study: Study, metric: Metric, seeds: int
) -> dict[str, Any]:
    """What a study comes to, as plain values: ``metric``, ``unit`` and which direction is ``better``;
    ``trials`` from the best down, ``best``, ``border``, ``warnings`` (sentences),
    ``importance``, ``isolation`` by dimension, ``study_variance``, ``counts``, ``spent``. The best is of
    those that ran longest; what looks over the space looks at the largest set that ran equally long."""
    compared, best = most_at_once(trials), best_of(longest(trials))
    states = [trial.state for trial in trials]
    variance = study_variance([trial.cost for trial in compared])
    return {
        "study": str(study.path),
        "report": str(study.report),
        "metric": metric.name,
        "unit": metric.unit,
        "better": metric.better,
        "fields": space.names,
        "seeds": seeds,
        "trials": [trial.json() for trial in sorted(trials, key=_rank)],
        "best": best and best.json(),
        "border": [one.json() for one in border(best, trials, space.dimensions)] if best else [],
        "warnings": [f"{name} differs between the points: {why}" for name, why in _apart(space)],
        "importance": importance(compared, space.names).json(),
        "isolation": {field: isolation(compared, field) for field in space.names},
        "compared_at": compared[0].entry.steps if compared else None,
        "study_variance": variance and variance.json(),
        "counts": {state: states.count(state) for state in STATES},
        "spent": asdict(sum((trial.spent for trial in trials), Spent())),
    }


def _left_out(count: int, seeds: int) -> str:
    trials = "1 earlier trial of this study is" if count == 1 else f"{count} earlier trials of this study are"
    with_seeds = f" with {seeds} seeds" if seeds > 1 else ""
    return f"{trials} left out, not run by the code that is here{with_seeds}; ask for the points to run them"


def _apart(space: Space) -> list[tuple[str, str]]:
    """The dimensions along which values are not of the same thing, and why."""
    return [(name, why) for name in space.names if (why := why_apart(name)) is not None]


def _rank(trial: Trial) -> tuple[int, float, float]:
    """The finished first, of them the longest, of them the best."""
    return STATES.index(trial.state), -(trial.entry.steps or math.inf), trial.cost


def _name(space: Space) -> str:
    """The same for every grid over the same fields, so that grid and random trials share a study."""
    return " ".join(["sweep", *space.fixed, "over", *sorted(space.names)])


def _asked(space: Space) -> dict[str, Any]:
    return {"verb": "sweep", "words": space.fixed, "fields": sorted(space.names)}
