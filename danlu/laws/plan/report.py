"""A plan as one HTML page: the loss of other sizes for the same compute, and every line."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from danlu.draw import Chart, Table, page
from danlu.draw.page import Part
from danlu.files.numbers import SCALES
from danlu.laws.plan import Plan
from danlu.laws.plan.lines import SHARE, Line, ends
from danlu.laws.plan.optimum import SERVING
from danlu.laws.table import FLOPS_PER_PARAMETER_AND_TOKEN

AROUND, SAMPLES = 30.0, 121  # sizes are drawn from a thirtieth of the plan's to thirty times it, so many


def html(
    plan: Plan, sections: Sequence[tuple[str, Table]], warnings: Sequence[str], command: str | None
) -> str:
    """The page. ``sections``: the tables, by heading. ``command``: what starts the run."""
    law = f"{plan.basis.law.formula}, {plan.basis.source}"
    measured = [f"Measured: {plan.measured}."] if plan.measured else []
    parts: list[tuple[str, list[Part]]] = [
        ("", [law, *(f"Warning: {one}" for one in warnings), *measured, _sizes(plan)])
    ]
    parts += [(heading, [table]) for heading, table in sections]
    if command is not None:
        parts.append(("Train it", [command]))
    return page("A plan", parts)


def _sizes(plan: Plan) -> Chart:
    """The loss over the size at the plan's compute, with the interval of the loss and of the size."""
    size, compute = plan["parameters"], float(plan.run.flops)
    n = np.geomspace(size.value / AROUND, size.value * AROUND, SAMPLES)
    d = (compute / n - SERVING * plan.asked.served) / FLOPS_PER_PARAMETER_AND_TOKEN
    n, d = n[d > 0], d[d > 0]
    theta = plan.basis.theta if plan.asked.unique_tokens is None else plan.basis.repeating(plan.basis.theta)
    caption = f"Loss of models of other sizes, each trained with {compute:.3g} FLOP"
    caption += ", serving included." if plan.asked.served else "."
    if size.low is not None and size.high is not None:
        caption += (
            f" Grey: the size chosen, {size.value:.3g}, and its 95 %, {size.low:.3g} to {size.high:.3g}."
        )
    chart = Chart("parameters", "loss, nats/token", caption=caption, log_x=True)
    draws, said = plan.basis.draws, plan.basis.told(n, d) if plan.asked.unique_tokens is None else None
    if said is not None and np.isfinite(said.mean_low).any():
        known = np.isfinite(said.mean_low) & np.isfinite(said.mean_high)
        around = said.mean_low[known], said.mean_high[known]
        chart.band(n[known], *around, means="the 95 % interval of the loss", colour=1)
    elif draws is not None:
        draws = draws[:200] if plan.asked.unique_tokens is None else plan.basis.repeating(draws[:200])
        spread = plan.asking.loss(draws[:, None, :], n, d)
        low, high = zip(*(ends(column) for column in spread.T), strict=True)
        told = np.array([a is not None and b is not None for a, b in zip(low, high, strict=True)])
        low, high = np.array(low, float)[told], np.array(high, float)[told]
        chart.band(n[told], low, high, means="the 95 % interval of the loss", colour=1)
    chart.line(n, plan.asking.loss(np.broadcast_to(theta, (len(n), len(theta))), n, d), colour=0)
    for x, label in ((size.low, ""), (size.value, "the plan"), (size.high, "")):
        if x is not None:
            chart.rule(x=x, label=label)
    return chart


def rows(lines: Sequence[Line], source: str) -> list[tuple[str, ...]]:
    """Cells of lines: what, value, the interval, and by whom, if not by ``source``."""
    made: list[tuple[str, ...]] = []
    for line in lines:
        value, low, high = (None if one is None else number(one, line.unit) for one in line[2:5])
        interval = "" if low is None and high is None else f"{low or '…'} to {high or '∞'}"
        unit = f" {line.unit}" if line.unit not in ("", SHARE, "bytes") else ""
        made.append((line.name, f"{value}{unit}", interval, "" if line.source == source else line.source))
    return made


def number(value: float, unit: str = "") -> str:
    """Three to four digits: 9.06B, 2.141, 1e+22, 36; 3.4% more, 162 GB."""
    if unit == SHARE:
        return f"{value:.2g}× more" if value >= 10 else f"{value:.2%}"
    if unit == "bytes":
        return f"{value / 1e9:.3g} GB"
    if value == int(value) and value < 1e6:
        return f"{value:,.0f}"
    for suffix, scale in SCALES:
        if scale <= value < 1e15:
            return f"{value / scale:.3g}{suffix}"
    return f"{value:.4g}"
