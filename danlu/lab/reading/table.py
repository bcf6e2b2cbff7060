"""Runs as rows of text, and as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from danlu.files.json import finite
from danlu.files.numbers import duration, power, scientific
from danlu.lab.reading.groups import Group, differing, short_names, shown
from danlu.lab.reading.run import COUNTS, SEED, Run

if TYPE_CHECKING:
    from danlu.lab.statistics import Interval

Rows = list[tuple[str, ...]]  # the headings first

LONGEST = 32  # letters of a field's value
# Headings that are no fields, of these tables and of a comparison (danlu.lab.reading.report).
HEADS = ("run", "runs", "state", "code", "steps", "metric", "best", "time", "FLOPs")


def run_rows(runs: Sequence[Run], columns: Sequence[str] = ()) -> Rows:
    """A row a run: its folder, what it differs in from the others, how far it came; or the ``columns``."""
    if columns:
        names = short_names(columns, _fields(runs))
        return [
            ("run", *names.values()),
            *((run.name, *(_cell(run, name) for name in columns)) for run in runs),
        ]
    names = short_names(differing(runs), _fields(runs))
    head, code = _head(("run",), runs, names.values())
    return [head, *(
        (run.name, run.state, *(_code(run) for _ in code), _steps(run), _score(run.metric),
         _score(run.best), duration(run.seconds), *(_cell(run, name) for name in names))
        for run in runs
    )]  # fmt: skip


def group_rows(groups: Sequence[Group], columns: Sequence[str] = ()) -> Rows:
    """A row a group of runs that differ in their seed alone: means with half of their 95 % interval."""
    firsts = [group.first for group in groups]
    if columns:
        names = short_names(columns, _fields(firsts))
        return [
            ("runs", *names.values(), "n"),
            *(
                (group.first.name, *(_group_cell(group, name) for name in columns), str(len(group.counted)))
                for group in groups
            ),
        ]
    names = short_names([name for name in differing(firsts) if name != SEED], _fields(firsts))
    head, code = _head(("runs", "n"), firsts, names.values())
    return [head, *(
        (group.first.name, str(len(group.counted)), _states(group),
         *(_code(group.first) for _ in code), _steps(group.first),
         around(group.mean("metric")), around(group.mean("best")), duration(_value(group.mean("seconds"))),
         *(_cell(group.first, name) for name in names))
        for group in groups
    )]  # fmt: skip


def _head(
    first: tuple[str, ...], runs: Sequence[Run], names: Iterable[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The headings, and that of the code alone, where it has a column."""
    code = ("code",) if _tells(runs) else ()
    return (*first, "state", *code, "steps", _metric(runs), "best", "time", *names), code


def _code(run: Run) -> str:
    return "" if run.code == "same" else run.code


def _tells(runs: Sequence[Run]) -> bool:
    """Whether the code of these runs is worth a column: not where nothing is known of any."""
    return any(run.code != "same" for run in runs) and any(run.mark is not None for run in runs)


def run_json(run: Run) -> dict[str, Any]:
    """All that is known of a run; what is not finite is null."""
    facts = {name: getattr(run, name) for name in (*COUNTS, "loss", "best_step", "error")}
    facts[run.counted] = run.units
    about = {
        "run": run.name,
        "state": run.state,
        "code": run.code,
        "begun": run.begun,
        "metric": {
            "name": run.metric_name,
            "value": run.metric,
            "unit": run.unit,
            "better": run.better,
        },
        "scored_on": list(run.yardstick),
        "best": {"step": facts.pop("best_step"), "value": run.best},
        **facts,
        "measures": dict(run.measures),
        "experiment": run.fields,
    }
    told: dict[str, Any] = finite(about)
    return told


def group_json(group: Group) -> dict[str, Any]:
    """A group: its runs, how many seeds count, and the means with their 95 % intervals."""
    means = {name: group.mean(name) for name in ("metric", "best", "seconds")}
    about = {
        "runs": [run.name for run in group.runs],
        "n": len(group.counted),
        "states": group.states,
        "code": group.first.code,
        "scored_on": list(group.first.yardstick),
        **{name: None if mean is None else mean._asdict() for name, mean in means.items()},
        "experiment": {name: value for name, value in group.first.fields.items() if name != SEED},
    }
    told: dict[str, Any] = finite(about)
    return told


def said(value: Any) -> str:
    """A value as it can be typed after ``field=``: none, true, 6e-5."""
    match value:
        case None:
            return "none"
        case bool():
            return str(value).lower()
        case float() if not math.isfinite(value):
            return str(value)
        case float():
            tiny = value and not 1e-3 <= abs(value) < 1e15
            return power(scientific(value)) if tiny else f"{value:.15g}"
        case list() | dict():
            return json.dumps(value)
    return str(value)


def around(mean: Interval | None) -> str:
    """A mean ± half its interval."""
    if mean is None:
        return ""
    half = (mean.high - mean.low) / 2
    return f"{_score(mean.value)} ± {half:.4f}" if math.isfinite(half) else _score(mean.value)


def _fields(runs: Sequence[Run]) -> Iterable[str]:
    return dict.fromkeys(name for run in runs for name in run.fields)


def _cell(run: Run, name: str) -> str:
    value = shown(run, name)
    if value is None and name not in run.fields:
        return "–"
    if name in ("metric", "best", "loss", run.metric_name):
        return _score(value)
    written = duration(value) if name == "seconds" else said(value)
    return written if len(written) <= LONGEST else f"{written[: LONGEST - 1]}…"


def _group_cell(group: Group, name: str) -> str:
    mean = None if name in group.first.fields else group.mean(name)
    return _cell(group.first, name) if mean is None else around(mean)


def _metric(runs: Sequence[Run]) -> str:
    """The name of the metric, where it is the same in all."""
    names = {run.metric_name for run in runs if run.metric_name}
    return names.pop() if len(names) == 1 else "metric"


def headings(firsts: Sequence[Run]) -> list[str]:
    """What each of several lists of runs is scored on, from its first run: the metric, and what is not the
    same for all lists."""
    shared = set.intersection(*(set(run.yardstick) for run in firsts))
    found = []
    for run in firsts:
        metric, *others = run.yardstick
        corpus = run.fields.get("data.corpus") or run.fields.get("data.kind")
        words = [f"{metric} on {corpus}" if corpus else metric]
        found.append(", ".join([*words, *(word for word in others if word not in shared)]))
    return found


def _steps(run: Run) -> str:
    """Steps; of a run that has not finished, of how many."""
    of = run.fields.get("train.steps")
    return f"{run.steps or 0}/{of}" if of and run.state != "finished" else str(run.steps or 0)


def _score(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _states(group: Group) -> str:
    """finished; or how many are in each state."""
    states = group.states
    return (
        next(iter(states)) if len(states) == 1 else ", ".join(f"{n} {state}" for state, n in states.items())
    )


def _value(mean: Interval | None) -> float | None:
    return None if mean is None else mean.value
