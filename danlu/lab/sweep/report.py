"""A sweep drawn on one page: the search in its order, slices, isolation and contour plots, importance."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from danlu.draw import Chart, Table, page
from danlu.lab.configurations import beside, links
from danlu.lab.sweep.axis import Axis, best_by
from danlu.lab.sweep.space import said, value_said
from danlu.lab.sweep.trials import Trial, best_of, most_at_once
from danlu.spec import resolve

Parts = list[str | Table | Chart]
SHOWN = 200  # trials in the table


def html(
    result: dict[str, Any], trials: Sequence[Trial], fixed: Sequence[str] = (), language: str | None = None
) -> str:
    """The page of a result (``danlu.lab.sweep.run.summary``) and its trials; it holds all that it shows.
    ``fixed``: the words of the experiment without the dimensions, which the best is held against."""
    metric = f"{result['metric']} ({result['unit']})" if result["unit"] else str(result["metric"])
    compared = most_at_once(trials)
    at = f" All after {result['compared_at']} updates." if result["compared_at"] else ""
    axes = [Axis(compared, field) for field in result["fields"]]
    sections: list[tuple[str, Parts]] = [("", [*sentences(result), _history(trials, metric)])]
    sections += [(axis.name, [_slice(compared, axis, metric, at)]) for axis in axes]
    for a, b in itertools.combinations(axes, 2):
        sections.append((f"{a.name} × {b.name}", [_contour(compared, a, b, metric, at)]))
    importance = result["importance"]
    if shares := importance["shares"] | importance["pairs"]:
        bars = Chart("share", y_names=list(shares), height=100 + 26 * len(shares)).bars(shares.values())
        sections.append(("Importance", [bars, f"{importance['by']}.{at}"]))
    sections.append(("Trials", [trials_table(result)]))
    if best := result["best"]:
        sections.append(
            ("What differs", [beside(("as given", resolve(fixed)), [("best", resolve(best["words"]))])])
        )
    sections.append(("Runs", [_runs(result)]))
    return page(f"Sweep over {', '.join(result['fields'])}", sections, language)


def sentences(result: dict[str, Any]) -> list[str]:
    """What there is to say of a result."""
    counts = ", ".join(f"{number} {state}" for state, number in result["counts"].items() if number)
    spent = result["spent"]
    found = [
        f"Trials: {counts}. Spent: {spent['runs']} runs, {spent['updates']:,} updates, "
        f"{spent['flops']:.3g} FLOP, {spent['seconds']:.0f} active seconds."
    ]
    found += [f"Warning: {warning}." for warning in result["warnings"]]
    if best := result["best"]:
        command = shlex.join(["danlu", "train", *best["words"]])
        found.append(f"Best ({result['better']} is better): {best['value']:.4f}, {command}")
    found += [f"Warning: {border['sentence']}." for border in result["border"]]
    if variance := result["study_variance"]:
        found.append(f"Study variance: {variance['sentence']}.")
    return found


def _history(trials: Sequence[Trial], metric: str) -> Chart:
    """Every trial of full length in the order of asking, and the best so far."""
    whole = sorted((t for t in trials if t.entry.steps is None), key=lambda trial: trial.entry.number)
    chart = Chart("trial", metric, caption="Trials in the order in which they were asked for.")
    for by in dict.fromkeys(trial.entry.by for trial in whole):
        _dots(chart, [(trial.entry.number, trial) for trial in whole if trial.entry.by == by], by)
    finished = [trial for trial in whole if trial.state == "finished"]
    best = [best_of(finished[: i + 1]) for i in range(len(finished))]
    numbers = [trial.entry.number for trial in finished]
    return chart.line(numbers, [trial and trial.value for trial in best], "best so far")


def _slice(trials: Sequence[Trial], axis: Axis, metric: str, at: str) -> Chart:
    """Every trial over one dimension, and the best over the others: slice and isolation plot."""
    chart = Chart(
        axis.name,
        metric,
        log_x=axis.log,
        x_names=() if axis.numeric else axis.labels,
        caption=f"Every trial, and the line of the best over the other dimensions.{at}",
    )
    _dots(chart, [(axis.place(trial), trial) for trial in trials], "trial")
    best = sorted(best_by(trials, axis).items())
    return chart.line([axis.centres[part] for (part,), _ in best], [t.value for _, t in best], "best")


def _contour(trials: Sequence[Trial], a: Axis, b: Axis, metric: str, at: str) -> Chart:
    """The best over the other dimensions of each pair of values."""
    chart = Chart(
        a.name,
        b.name,
        log_x=a.log,
        log_y=b.log,
        x_names=() if a.numeric else a.labels,
        y_names=() if b.numeric else b.labels,
        caption=f"The best over the other dimensions; empty where nothing was tried or all diverged.{at}",
    )
    best = best_by(trials, a, b)
    columns, rows = range(len(a.labels)), range(len(b.labels))
    values = [[t.value if (t := best.get((i, j))) else None for i in columns] for j in rows]
    chart.cells(a.centres, b.centres, values, metric)
    if a.parted or b.parted:
        chart.dots([a.place(trial) for trial in trials], [b.place(trial) for trial in trials], colour=0)
    return chart


def _dots(chart: Chart, placed: Sequence[tuple[float, Trial]], label: str) -> None:
    """The trials as dots; those that diverged as bad as the worst."""
    known = [(x, trial) for x, trial in placed if trial.value is not None]
    tips = [f"#{trial.entry.number} {said(trial.entry.point)}: {trial.value:.4f}" for _, trial in known]
    chart.dots([x for x, _ in known], [trial.value for _, trial in known], label, tips=tips)
    lost = [(x, trial) for x, trial in placed if trial.state == "diverged"]
    if lost and known:
        worst = max((trial for _, trial in known), key=lambda trial: trial.cost).value
        tips = [f"#{trial.entry.number} {said(trial.entry.point)}: diverged" for _, trial in lost]
        chart.dots([x for x, _ in lost], [worst] * len(lost), "diverged, drawn as the worst", tips=tips)


def _runs(result: dict[str, Any]) -> Table:
    """The runs of the trials in the table, as links from the page: a row for each."""
    shown = result["trials"][:SHOWN]
    runs = (((f"#{trial['number']}",), [place]) for trial in shown for place in trial["folders"])
    return links(Path(result["study"]), ("trial", "run"), runs)


def trials_table(result: dict[str, Any]) -> Table:
    """The trials from the best down, ``SHOWN`` at most."""
    rows: list[list[object]] = [["", *result["fields"], result["metric"], "by", "updates"]]
    for trial in result["trials"][:SHOWN]:
        value = trial["state"] if trial["value"] is None else f"{trial['value']:.4f}"
        values = [trial["point"][field] for field in result["fields"]]
        point = [value_said(v) if isinstance(v, str) else f"{v:g}" for v in values]
        rows.append([f"#{trial['number']}", *point, value, trial["by"], trial["updates"]])
    return Table(rows)
