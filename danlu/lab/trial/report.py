"""A study as a page: the table, the differences as dots, the learning curves of both sides. No torch here."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from danlu.draw import Chart, Table, page
from danlu.lab.configurations import in_pairs, links
from danlu.lab.reading.curves import read_curve
from danlu.lab.reading.differences import chart_of
from danlu.lab.statistics import mean_interval
from danlu.lab.trial.answer import EQUAL, Answer
from danlu.lab.trial.findings import Finding
from danlu.lab.trial.reasons import reasons
from danlu.lab.trial.sides import Side
from danlu.lab.trial.terminal import details, table
from danlu.lab.trial.words import answered
from danlu.spec.metrics import loss_of

LEAST = 3  # steps of a curve


def report(answer: Answer, language: str | None = None) -> str:
    """The page, self-contained HTML, in ``language``."""
    asked = answer.question
    title = f"Trial of {' and '.join(answer.by_idea)} on {asked.on}"
    run = [f for f in answer.findings if f.pairs.at == "steps" and f.pairs.seeds]
    gain = gain_over_updates(answer)
    sections: list[tuple[str, Sequence[str | Table | Chart]]] = [
        ("", [*answered(answer), f"{answer.what}.", Table([row[:-1] for row in table(answer)], names=(0,))]),
        ("Every pair", [differences(answer.findings)] if run else []),
        ("The difference over the updates", [gain] if gain else []),
        ("Learning curves", [chart for f in run for chart in _curves(answer, f)]),
        *((f"Why: {f.pairs.idea}", reasons(answer, f)) for f in run if f.why.moved or f.why.still),
        ("The best rates", list(_rates(answer))),
        ("What differs", [_differs(answer)] if run else []),
        ("Runs", [_runs(answer)] if run else []),
        ("Details", [line for line in details(answer) if line]),
    ]
    return page(title, [section for section in sections if section[1]], language)


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


def figure(answer: Answer) -> Chart:
    """The one for a paper: the difference over the updates; where nothing was measured on the way, every
    pair."""
    return gain_over_updates(answer) or differences(answer.findings)


def gain_over_updates(answer: Answer) -> Chart | None:
    """The paired differences at equal steps, of the metric if it was evaluated on the way, else of the
    training loss; None where there are none."""
    for name, said in ((answer.metric.name, _measured(answer)), ("loss", _training(answer))):
        pairs = {
            idea: [(read_curve(b, name), read_curve(v, name)) for b, v in _pairs(answer, idea).values()]
            for idea in _run(answer)
        }
        more = _apart(answer) if name == "loss" else ""
        if drawn := chart_of(pairs, "updates", said, answer.question.on, LEAST, more):
            return drawn
    return None


def _apart(answer: Answer) -> str:
    """Why what is drawn is not what the verdict is about."""
    return (
        f"The verdict is about held-out {answer.metric.words} at the end, which was measured at fewer than "
        f"{LEAST} steps; train.evaluate_every=N measures it on the way."
    )


def _training(answer: Answer) -> str:
    unit = loss_of(answer.metrics).unit
    return f"training loss, {unit}" if unit else "training loss"


def _measured(answer: Answer) -> str:
    metric = answer.metric
    return f"held-out {metric.words}{f', {metric.unit}' if metric.unit else ''}"


def _differs(answer: Answer) -> Table:
    """The fields in which the sides of each idea differ at equal steps: the idea's own, the best rates."""
    sides = {idea: answer.sides[idea, "steps"] for idea in _run(answer)}
    return in_pairs({idea: (before.experiment, after.experiment) for idea, (before, after) in sides.items()})


def _runs(answer: Answer) -> Table:
    """Both runs of each pair at equal steps, as links from the page."""
    pairs = (
        ((idea, seed), folders) for idea in _run(answer) for seed, folders in _pairs(answer, idea).items()
    )
    return links(answer.study.path, ("idea", "seed", "baseline", "variant"), pairs)


def _run(answer: Answer) -> list[str]:
    """The ideas of which there are pairs: of a void one there are none."""
    return [idea for idea in answer.by_idea if (idea, "steps") in answer.sides]


def _pairs(answer: Answer, idea: str) -> dict[int, tuple[Path, Path]]:
    """The folders of both sides at equal steps, by seed."""
    found = next(f for f in answer.by_idea[idea] if f.pairs.at == "steps")
    return answer.runs.pairs(*answer.sides[idea, "steps"], found.pairs.seeds)


def _curves(answer: Answer, finding: Finding) -> Iterator[Chart]:
    """Of both sides, the metric of the verdict first where it was measured on the way; then the training
    loss."""
    idea = finding.pairs.idea
    sides = dict(zip((answer.question.on, idea), answer.sides[idea, "steps"], strict=True))
    seeds = finding.pairs.seeds
    for name, said in ((answer.metric.name, _measured(answer)), ("loss", _training(answer))):
        curves = {label: _course(answer, side, seeds, name) for label, side in sides.items()}
        if name != "loss" and any(len(steps) < LEAST for steps, _ in curves.values()):
            continue
        log = name == "loss" or answer.metric.better == "lower"
        chart = Chart(
            "updates", said, log_y=log, title=f"{idea} at equal steps", caption="Means over seeds."
        )  # fmt: skip
        for label, (steps, means) in curves.items():
            chart.line(steps, [mean for mean, _, _ in means], label)
            if len(seeds) > 1:
                low, high = [low for _, low, _ in means], [high for *_, high in means]
                chart.band(steps, low, high, label, means="95 % intervals of the means, at each step alone")
        yield chart


def _rates(answer: Answer) -> Iterator[Chart]:
    """What was tried to find each side's rate, and where it was found."""
    for idea, found in answer.by_idea.items():
        tuned = found[0].tuned
        if not tuned:
            continue
        means = [mean for seen in tuned.values() for mean in seen["curve"].values() if mean is not None]
        chart = Chart(
            next(iter(tuned.values()))["field"],
            _measured(answer),
            log_x=True,
            log_y=answer.metric.better == "lower" and min(means, default=0.0) > 0,
            title=idea,
            caption="Means over the seeds that find the rates, which no pair uses. The vertical lines: the "
            "rate of each side, where it was found.",
        )
        for side, seen in tuned.items():
            rates = {float(rate): mean for rate, mean in seen["curve"].items() if mean is not None}
            chart.line(rates, rates.values(), side)
            chart.dots(rates, rates.values(), side)
            if not seen["why"]:
                chart.rule(x=seen["value"])
        yield chart


def _course(
    answer: Answer, side: Side, seeds: Sequence[int], name: str
) -> tuple[list[float], list[tuple[float, ...]]]:
    """The steps at which it was written down, and of each the mean over runs and its interval."""
    rows = [
        (step, value)
        for seed in seeds
        for step, value in read_curve(answer.runs.outcome(side, seed).folder, name)
        if math.isfinite(value)
    ]
    of_steps = groupby(sorted(rows), lambda row: row[0])
    by_step = {step: mean_interval([value for _, value in of]) for step, of in of_steps}
    return list(by_step), list(by_step.values())
