"""What only reads: ideas, experiments, runs, comparisons, the ledger. Short, by pages. No torch here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from danlu.lab import ledger as book
from danlu.mcp.cut import MOST, page
from danlu.mcp.inside import check_places, check_values, check_words

RUN = (
    "run",
    "state",
    "code",
    "metric",
    "scored_on",
    "best",
    "steps",
    "seconds",
    "flops",
    "parameters",
    "loss",
)
ENTRY = (
    "id",
    "date",
    "idea",
    "claim",
    "on",
    "at",
    "verdict",
    "effect",
    "interval",
    "unit",
    "seeds",
    "decision",
)


def ideas(words: str, offset: int, limit: int) -> dict[str, Any]:
    """Ideas of the catalog in which all of the words stand, short; one that is named exactly, whole."""
    from danlu.spec import catalog

    every = catalog.ideas()
    for one in every:
        if one.name == words.removeprefix("+"):
            return {"idea": _whole(one)}
    sought = words.lower().split()
    found = [
        one
        for one in every
        if all(word in f"{one.name} {one.family} {one.statement}".lower() for word in sought)
    ]
    shown, more = page(found, offset, limit)
    short = [{"name": one.name, "family": one.family, "statement": one.statement} for one in shown]
    return {"ideas": short, **more}


def _whole(idea: Any) -> dict[str, Any]:
    from dataclasses import asdict

    said: dict[str, Any] = asdict(idea)
    return said


def show(experiment: Sequence[str], idea: str | None) -> dict[str, Any]:
    """Every field of an experiment; with an idea what it changes there, and from what."""
    from danlu.spec.book import changes
    from danlu.spec.words import resolve

    check_words([*experiment, *([idea] if idea else [])])
    found = resolve(list(experiment)).model_dump(mode="json")
    check_values(found)
    if idea is None:
        return {"experiment": found}
    import shlex

    changed = changes(shlex.join(experiment), idea.removeprefix("+"))
    return {
        "idea": idea,
        "changes": [{k: v for k, v in one._asdict().items() if v is not None} for one in changed],
    }


def runs(where: Sequence[str], sort: str | None, offset: int, limit: int) -> dict[str, Any]:
    """Runs, short, newest first or by ``sort``."""
    from danlu.lab.reading import table
    from danlu.lab.reading.index import USUAL, read_runs
    from danlu.lab.reading.selection import ranked_by, select

    there = [Path(name) for name in USUAL if Path(name).is_dir()]
    found = select(read_runs(there), where)
    if sort is not None:
        found = [run for some in ranked_by(found, sort, found) for run in some]
    shown, more = page(found, offset, limit)
    rows = []
    for run in shown:
        said = table.run_json(run)
        rows.append({key: said[key] for key in RUN} | {"quoted": {"error": said["error"]}})
    return {"runs": rows, **more}


def run(folder: str, metric: str | None, x: str) -> dict[str, Any]:
    """One run: its fields, and a curve of what it measured."""
    from danlu.lab.reading import table
    from danlu.lab.reading.curves import check_axis, metrics_in, read_curve, thinned
    from danlu.lab.reading.run import read_run
    from danlu.train.folder import RunFolder

    check_places(folder)
    check_axis(x)
    RunFolder(folder).check()
    found = read_run(Path(folder))
    said = table.run_json(found)
    name = metric or found.metric_name or "loss"
    curve = read_curve(Path(folder), name, x, found.counted)
    points = thinned(curve, MOST)
    return {
        **{key: said[key] for key in (*RUN, "measures", "experiment")},
        "curve": {"metric": name, "x": x, "points": points},
        "left_out": {"points": len(curve) - len(points)} if len(points) < len(curve) else {},
        "metrics": metrics_in(Path(folder)),
        "quoted": {"error": said["error"]},
    }


def compare(sides: Sequence[str], metric: str | None) -> dict[str, Any]:
    """Sides at equal steps, time, FLOPs and tokens. A difference without an interval is no effect and is left
    out, which is said."""
    from danlu.lab.reading import comparison, report

    for side in sides:
        check_words([side])
    said = report.to_json(comparison.compare(list(sides), metric))
    single = 0
    for meeting in said["meetings"]:
        kept = [one for one in meeting["differences"] if one["low"] is not None and one["high"] is not None]
        single += len(meeting["differences"]) - len(kept)
        meeting["differences"] = kept
    if single:
        said["notes"] = [
            *said["notes"],
            "a difference of single runs is no effect; compare pairs of several seeds",
        ]
        said["left_out"] = {"differences without an interval": single}
    return said


def ledger(view: str, words: str, offset: int, limit: int) -> dict[str, Any]:
    """The newest verdicts, one entry whole, what is like some words, what is due, or the judgement of all."""
    from danlu.lab.ledger.newest import current
    from danlu.mcp.verdicts import entry_of

    entries = book.read()
    control = book.control(entries)
    match view:
        case "judge":
            return {"judgement": book.judge(entries).json()}
        case "show":
            return {"entry": entry_of(entries, words).written(), "control": control.get(words)}
        case "search":
            from danlu.lab.trial.before import before

            found = [{"how": one.how} | _short(one.entry, control) for one in before(entries, words)]
        case "due":
            from danlu.lab.revisit import due, now

            found = [
                {"id": one.entry.id, "reasons": list(one.reasons)}
                for one in due(entries, now(), "this installation")
            ]
        case _:
            found = [_short(one, control) for one in reversed(current(entries))]
    shown, more = page(found, offset, limit)
    return {"entries": shown, "asked": len(entries), **more}


def _short(entry: book.Entry, control: Any) -> dict[str, Any]:
    said = entry.written()
    early = list(entry.regime.early) if entry.regime is not None else []
    return {key: said[key] for key in ENTRY if key in said} | {
        "early": early,
        "control": control.get(entry.id),
    }
