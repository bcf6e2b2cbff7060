"""A study as a page: the table, the differences as dots, the learning curves of both sides. No torch here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby

from danlu.draw import Chart, Table, page
from danlu.lab.statistics import mean_interval
from danlu.lab.trial.answer import EQUAL, Answer
from danlu.lab.trial.findings import Finding
from danlu.lab.trial.reasons import reasons
from danlu.lab.trial.sides import Side
from danlu.lab.trial.terminal import details, table
from danlu.lab.trial.words import answered
from danlu.spec.metrics import loss_of
from danlu.train.folder import RunFolder
from danlu.train.metrics import read


def report(answer: Answer) -> str:
    """The page, self-contained HTML."""
    asked = answer.question
    title = f"{' and '.join(answer.by_idea)} on {asked.on}"
    run = [f for f in answer.findings if f.pairs.at == "steps" and f.pairs.seeds]
    sections: list[tuple[str, Sequence[str | Table | Chart]]] = [
        ("", [*answered(answer), f"{answer.what}.", Table([row[:-1] for row in table(answer)])]),
        ("Every pair", [differences(answer.findings)]),
        ("Learning curves", [_curves(answer, f) for f in run]),
        *((f"Why: {f.pairs.idea}", reasons(answer, f)) for f in run if f.why.moved or f.why.still),
        ("Details", [line for line in details(answer) if line]),
    ]
    return page(title, sections)


def differences(findings: Sequence[Finding]) -> Chart:
    """Every pair as a dot, the mean and its interval above them; a row a finding."""
    metric = findings[0].pairs.metric
    names = [f"{f.pairs.idea}, {EQUAL[f.pairs.at]}" for f in findings]
    chart = Chart(
        f"variant − baseline, {metric.unit or metric.words}",
        y_names=names,
        height=90 + 34 * len(names),
        caption="A dot for each seed; the mean with its interval, from which the verdict comes, above them.",
    ).rule(x=0)
    for i, f in enumerate(findings):
        dots = f.pairs.differences
        tips = [f"seed {seed}: {x:+.4f}" for seed, x in dots.items()]
        chart.dots(dots.values(), [i - 0.1] * len(dots), "pairs", tips=tips)
        if math.isfinite(f.interval.low):
            chart.dots([f.interval.value], [i + 0.2], "mean", x_ends=[f.interval[1:]])
    return chart


def _curves(answer: Answer, finding: Finding) -> Chart:
    idea = finding.pairs.idea
    sides = dict(zip((answer.question.on, idea), answer.sides[idea, "steps"], strict=True))
    chart = Chart(
        "updates",
        f"training loss, {loss_of(answer.metrics).unit}",
        log_y=True,
        title=f"{idea} at equal steps",
        caption="Means over seeds.",
    )
    for label, side in sides.items():
        steps, means = _loss(answer, side, finding.pairs.seeds)
        chart.line(steps, [mean for mean, _, _ in means], label)
        if len(finding.pairs.seeds) > 1:
            low, high = [low for _, low, _ in means], [high for *_, high in means]
            chart.band(steps, low, high, label, means="95 % intervals of the means, at each step alone")
    return chart


def _loss(answer: Answer, side: Side, seeds: Sequence[int]) -> tuple[list[int], list[tuple[float, ...]]]:
    """The steps at which losses were written, and of each the mean over runs and its interval."""
    rows = [
        (row["step"], row["loss"])
        for seed in seeds
        for row in read(RunFolder(answer.runs.outcome(side, seed).folder).metrics)
        if math.isfinite(row.get("loss", math.nan))
    ]
    of_steps = groupby(sorted(rows), lambda row: row[0])
    by_step = {step: mean_interval([loss for _, loss in of]) for step, of in of_steps}
    return list(by_step), list(by_step.values())
