"""An answer as a page that holds everything it shows."""

from __future__ import annotations

import math
from collections.abc import Sequence

from danlu.draw import Chart, Table, page
from danlu.lab.referee.answer import Answer
from danlu.lab.referee.findings import Finding
from danlu.lab.referee.terminal import asked, details, table


def report(answer: Answer, language: str | None = None) -> str:
    """The page, self-contained HTML, in ``language`` (None: the one of who asks)."""
    if not answer.findings:
        title = f"No verdict on {answer.question.file.name}"
        return page(title, [("", [*details(answer)])], language)
    plan, stats = answer.question.plan, answer.question.stats
    title = f"{' and '.join(answer.question.ideas)} against {plan.baseline}"
    scaled = [finding for finding in answer.findings if finding.gains]
    changes = [f"{idea}: {line}" for idea in answer.question.ideas for line in stats[idea].splitlines()]
    sections: list[tuple[str, Sequence[str | Table | Chart]]] = [
        ("", [f"{asked(answer)}.", Table(table(answer), names=(0,))]),
        ("Every pair", [differences(answer)]),
        *([("Gain against compute", [_gains(finding) for finding in scaled])] if scaled else []),
        ("Details", [*details(answer)]),
        ("What was run", [plan.run, *changes]),
    ]
    return page(title, sections, language)


def differences(answer: Answer) -> Chart:
    """Every pair as a dot, the mean and its interval above them; a row an idea."""
    plan, findings = answer.question.plan, answer.findings
    chart = Chart(
        f"idea − {plan.baseline}, {plan.metric.name}",
        y_names=[finding.idea for finding in findings],
        height=90 + 34 * len(findings),
        caption="A dot for each pair; the mean with its interval above them.",
    ).rule(x=0)
    for i, finding in enumerate(findings):
        dots = finding.sides.differences
        chart.dots(dots, [i - 0.1] * len(dots), "pairs", tips=[f"{x:+.4g}" for x in dots])
        if math.isfinite(finding.interval.low):
            chart.dots([finding.interval.value], [i + 0.2], "mean", x_ends=[finding.interval[1:]])
    return chart


def _gains(finding: Finding) -> Chart:
    known = [one for one in finding.gains if not one["why"]]
    counted = finding.gains[0]["counted in"]
    return (
        Chart(
            f"compute of the baseline, {counted}",
            "compute-equivalent gain",
            log_x=True,
            log_y=True,
            title=finding.idea,
            caption="How many times its compute the baseline needs to be as good, with 95 % intervals.",
        )
        .dots(
            [one["compute"] for one in known],
            [one["gain"] for one in known],
            finding.idea,
            y_ends=[(one["low"], one["high"]) for one in known],
            tips=[f"{one['rung']}: {one['gain']:.3g}×" for one in known],
        )
        .rule(y=1.0)
    )
