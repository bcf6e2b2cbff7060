"""A ladder drawn: the runs, the law through them, what was held out, the target."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from danlu.draw import Chart, Table, page
from danlu.lab.configurations import beside, links
from danlu.lab.ladder.law import HeldOut, LadderLaw, Run
from danlu.lab.ladder.plan import Plan
from danlu.lab.ladder.target import Target
from danlu.laws.audit.drawn import parts as audit_parts
from danlu.laws.beyond import word

SAMPLES = 60  # points of a curve


def html(
    plan: Plan,
    runs: Sequence[Run],
    law: LadderLaw,
    held: Sequence[HeldOut],
    target: Target,
    result: dict[str, Any],
    language: str | None = None,
) -> str:
    """The page, which loads nothing."""
    draw = _profiles if plan.design == "isoflop" else _line
    unit = result["loss"]["unit"]
    said = [f"{one.rung.sized.parameters:,} parameters: {one.sentence(unit)}" for one in held]
    audit, calibration = law.answer.audit, law.answer.calibration
    by = word(calibration.by, law.saved.columns) if calibration else ""
    measured = [f"Measured: {band.said(by)}." for band in calibration.bands] if calibration else []
    heads = "parameters", result["counted"], "FLOP", "seed", result["loss"]["name"], result["metric"], "run"
    rows: list[tuple[Sequence[object], Sequence[Path | str]]] = []
    for run in runs:
        size = f"{run.parameters:,.0f}", f"{run.tokens:,.0f}", f"{run.flops:.3g}"
        rows.append(((*size, str(run.seed), f"{run.loss:.4f}", f"{run.metric:.4f}"), [run.folder]))
    return page(
        f"Ladder of {' '.join(result['words']) or 'tiny'}",
        [
            ("", [draw(runs, law, held, target, f"{result['loss']['name']}, {unit}")]),
            ("Held out", said or ["nothing was held out: nothing tests the law"]),
            ("Target", [_of(target, result), target.command]),
            (
                "Law",
                [
                    law.fit.law.formula,
                    Table([("", "value"), *((k, f"{v:.6g}") for k, v in law.fit.theta.items())]),
                ],
            ),
            ("Audit", [] if audit is None else audit_parts(audit)),
            ("Extrapolation", measured or ["Measured: no fit to smaller rungs has enough of them."]),
            ("To mind", [f"Warning: {one}" for one in result["warnings"]]),
            ("What differs", [_differs(plan, target)]),
            ("Runs", [links(Path(result["study"]), heads, rows)]),
        ],
        language,
    )


def _differs(plan: Plan, target: Target) -> Table:
    """The fields in which the rungs and the target differ from the recipe."""
    rungs = [(f"{rung.sized.parameters:,} parameters", rung.experiment) for rung in plan.rungs]
    return beside(("as given", plan.shapes.experiment), [*rungs, ("target", target.rung.experiment)])


def _of(target: Target, result: dict[str, Any]) -> str:
    known = [(f"{target.loss.value:.4f} {result['loss']['unit']}", target.loss)]
    if target.metric is not None:
        known.append((f"{target.metric.value:.4f} {result['unit']}", target.metric))
    expected = ", ".join(f"{value} ({_ends(ends.low, ends.high)})" for value, ends in known)
    return (
        f"{target.rung.sized.parameters:,} parameters, {target.rung.tokens:,} {result['counted']}, "
        f"{target.rung.flops:.3g} FLOP: {expected}"
    )


def _ends(low: float, high: float) -> str:
    return f"{low:.4f} to {high:.4f}" if math.isfinite(high) else "no interval: nothing tests the law"


def _line(runs: Sequence[Run], law: LadderLaw, held: Sequence[HeldOut], target: Target, loss: str) -> Chart:
    """Loss over compute."""
    chart = Chart(
        "training FLOP", loss, log_x=True, log_y=True,
        caption="Runs, the law of all of them, and what a law of the others said of those held out.",
    )  # fmt: skip
    first, last = math.log(min(run.flops for run in runs)), math.log(target.rung.flops)
    x = [math.exp(first + (last - first) * i / (SAMPLES - 1)) for i in range(SAMPLES)]
    curve = [law.at(0, 0, flops) for flops in x]
    chart.line(x, [one.value for one in curve], "law")
    if law.intervals != "none":
        low, high = [one.low for one in curve], [one.high for one in curve]
        chart.band(x, low, high, "law", means="the 95 % interval of the law")
    chart.dots([run.flops for run in runs], [run.loss for run in runs], "runs")
    if held:
        ends = [(one.predicted.low, one.predicted.high) for one in held]
        chart.dots(
            [one.rung.flops for one in held],
            [one.predicted.value for one in held],
            "predicted, held out",
            y_ends=ends,
        )
    chart.dots(
        [target.rung.flops], [target.loss.value], "target", y_ends=[(target.loss.low, target.loss.high)]
    )
    return chart


def _profiles(
    runs: Sequence[Run], law: LadderLaw, held: Sequence[HeldOut], target: Target, loss: str
) -> Chart:
    """Loss over size, a curve for each level of compute."""
    chart = Chart(
        "parameters", loss, log_x=True, log_y=True,
        caption="At equal compute: runs, and the law through all of them.",
    )  # fmt: skip
    for level in sorted({run.rung.level for run in runs}):
        group = sorted((run for run in runs if run.rung.level == level), key=lambda run: run.parameters)
        label = f"{group[0].flops:.2g} FLOP"
        chart.dots([run.parameters for run in group], [run.loss for run in group], label)
        values = [law.value(run.parameters, run.tokens, run.flops) for run in group]
        chart.line([run.parameters for run in group], values, label)
    if held:
        chart.dots(
            [one.rung.sized.parameters for one in held],
            [one.predicted.value for one in held],
            "predicted, held out",
            y_ends=[(one.predicted.low, one.predicted.high) for one in held],
        )
    chart.dots(
        [target.rung.sized.parameters], [target.loss.value], "target",
        y_ends=[(target.loss.low, target.loss.high)],
    )  # fmt: skip
    return chart
