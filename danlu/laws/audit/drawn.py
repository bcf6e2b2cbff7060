"""The audit in a report: its sentences, residuals with the named rows marked, the fit with and without."""

from __future__ import annotations

import numpy as np

from danlu.draw import Chart, Table
from danlu.draw.page import Part
from danlu.draw.palette import MUTED
from danlu.laws.audit.whole import Audit, beside
from danlu.laws.base import Array
from danlu.laws.fit import residuals
from danlu.laws.table import COLUMNS

WIDTH, HEIGHT = 440, 280  # readable at the width of a paper's column
BORDER = 10.0  # standard deviations; rows further off are drawn there


def parts(audit: Audit) -> list[Part]:
    """What stands in a report before the parameters."""
    made: list[Part] = [f"Audit: {audit.dependence.text}."]
    made += [f"Audit: {one}." for one in audit.said]
    made.append(f"Audit: {audit.looked}.")
    if audit.group is not None:
        made.append(Table(beside(audit)))
    return [*made, *charts(audit)]


def charts(audit: Audit) -> list[Chart]:
    """Residuals over D/N and over C (over the law's first column, where these are absent)."""
    points = audit.fit.points.with_compute()
    over: dict[str, Array] = {}
    if {"n", "d"} <= points.keys():
        over["tokens per parameter, D/N"] = points["d"] / points["n"]
    if "c" in points:
        over["training compute, FLOP"] = points["c"]
    if not over:
        name = audit.fit.law.columns[0]
        over[COLUMNS.get(name, ("", name))[1]] = points[name]
    deviation = -_deviations(audit)
    return [_chart(audit, name, values, deviation) for name, values in over.items()]


def _deviations(audit: Audit) -> Array:
    if audit.group is not None:
        return audit.group.deviations
    r = residuals(audit.fit.law, audit.fit.vector, audit.fit.points)
    return r / max(1.4826 * float(np.median(np.abs(r))), 1e-12)


def _chart(audit: Audit, name: str, values: Array, deviation: Array) -> Chart:
    said = "Measured − predicted, in standard deviations of one row."
    shown, group = np.clip(deviation, -BORDER, BORDER), audit.group
    beyond = np.abs(deviation) > BORDER
    if beyond.any():
        said += f" Rows more than {BORDER:g} off are drawn at the border."
    if group is not None:
        said += " The law is that of the rows not named."
    positive = bool((values > 0).all())
    chart = Chart(name, "measured − predicted, SD", caption=said, log_x=positive, width=WIDTH, height=HEIGHT)
    off = np.zeros(len(values), bool)
    for rows, label, colour in [] if group is None else [
        (group.others, "off too", 0), (group.rows, "off together", 1),
    ]:  # fmt: skip
        if len(rows):
            off[rows] = True
            tips = [f"data row {row + 1}: {deviation[row]:+.1f} SD" for row in rows]
            chart.dots(values[rows], shown[rows], label, tips=tips, colour=colour)
    tips = [f"data row {row + 1}: {deviation[row]:+.1f} SD" for row in np.flatnonzero(~off)]
    chart.dots(values[~off], shown[~off], "" if group is None else "others", tips=tips,
               colour=0 if group is None else MUTED)  # fmt: skip
    return chart.rule(y=0)
