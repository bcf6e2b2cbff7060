"""A fit as one HTML page with its drawings in it (SVG): nothing is loaded, nothing runs."""

from __future__ import annotations

import numpy as np

from danlu.draw import Chart, Table, page
from danlu.draw.page import Part
from danlu.draw.palette import MUTED
from danlu.files.numbers import rounded
from danlu.laws.answer import Answer, size_of
from danlu.laws.audit.drawn import parts as audit_parts
from danlu.laws.base import Array
from danlu.laws.doubt import Draws
from danlu.laws.fit import Fit
from danlu.laws.formulas.chinchilla import CHINCHILLA, optimum
from danlu.laws.groups import Groups
from danlu.laws.held_out import rungs_of
from danlu.laws.table import COLUMNS, FLOPS_PER_PARAMETER_AND_TOKEN, Points

CURVES = 6  # at most so many in one drawing
WIDTH, HEIGHT = 440, 320  # at a paper's column of 84 mm letters of 12 pixels are 6.5 points
SAMPLES = 80  # points of a curve


def html(answer: Answer, source: str, language: str | None = None) -> str:
    """The page: formula, parameters with their intervals, warnings, drawings. ``source`` names the data."""
    return page(answer.fit.law.title, [("", parts(answer, source))], language)


def groups_html(groups: Groups, source: str) -> str:
    """The page of a law over groups: what each gains over the baseline, then each as in ``html``."""
    law = groups.law
    said = f"Shared by all: {', '.join(groups.shared)}." if groups.shared else "Each group is fitted alone."
    first: list[Part] = [law.formula, law.text, law.paper, said]
    together = [] if groups.together is None else groups.together.warnings
    first += [f"Warning: {warning}" for warning in (*groups.warnings, *together)]
    if rows := groups.gain_rows():
        first.append(Table(rows))
    sections = [
        (label, parts(one, f"{source}, {groups.column} {label}")) for label, one in groups.answers.items()
    ]
    return page(law.title, [("", first), *sections])


def parts(answer: Answer, source: str) -> list[Part]:
    """What the page of one fit holds."""
    found, law = answer.fit, answer.fit.law
    charts = [fitted(found, answer.draws), _isoflops(answer), _allocated(answer)]
    if answer.audit is None:
        charts.insert(2, _residuals(answer))
    held = answer.held
    facts = [
        f"{found.points.size} points of {source}",
        f"objective {found.objective:.7g} ({found.loss})",
        f"{found.agreeing_starts} of {found.starts} starts agree",
    ]
    if answer.draws is not None:
        facts.append(f"{len(answer.draws.theta)} resamples")
    if held is not None:
        facts.append(
            f"mean error {held.mean:.2%}, bias {held.bias:+.2%} "
            f"on {held.held.size} points of the largest {held.by}"
        )
    audited = [] if answer.audit is None else audit_parts(answer.audit)
    told = [] if answer.audit is None else answer.audit.said
    made: list[Part] = [law.formula, law.text, law.paper, *audited]
    made += [_parameters(answer), f"{'; '.join(facts)}."]
    made += [f"Warning: {warning}" for warning in answer.warnings if warning not in told]
    made += [chart for chart in charts if chart is not None]
    return made


def _parameters(answer: Answer) -> Table:
    rows = [("", "value", "95 % from", "to", "meaning")]
    for parameter in answer.fit.law.parameters:
        rows.append((parameter.name, *answer.cells(parameter.name), answer.meaning(parameter)))
    return Table(rows)


# The drawings; each is None where the law or the points have nothing to draw.


def fitted(found: Fit, draws: Draws | None = None) -> Chart | None:
    """Points and curves over the law's last column, a colour for each of some values of its first."""
    law, points = found.law, found.points
    if len(law.columns) > 2:
        return None
    over, target = law.columns[-1], law.target
    chart = chart_of(over, axis(target), "Points, and the law through them.", log_y=law.space == "log")
    x = samples(points[over])
    if len(law.columns) == 1:
        if draws is not None:
            ends = draws.predict({over: x})
            chart.band(x, ends.low, ends.high, means="the 95 % interval of the law", colour=1)
        chart.line(x, found.predict({over: x}), colour=0)
        chart.dots(points[over], points[target], colour=0)
    else:
        first = law.columns[0]
        chart.dots(points[over], points[target], colour=MUTED)
        for colour, value, group in _groups(points, first):
            chart.line(x, found.predict({first: np.full_like(x, value), over: x}), colour=colour)
            chart.dots(group[over], group[target], _of(first, value), colour=colour)
    return chart


def _isoflops(answer: Answer) -> Chart | None:
    law, points = answer.fit.law, answer.fit.points.with_compute()
    if law.name != CHINCHILLA.name or "c" not in points:
        return None
    chart = chart_of("n", axis("loss"), "At equal compute: points, and what the law says at C = 6·N·D.")
    for colour, budget, group in _groups(points, "c"):
        n = np.geomspace(group["n"].min() / 2, group["n"].max() * 2, SAMPLES)
        d = budget / (FLOPS_PER_PARAMETER_AND_TOKEN * n)
        chart.line(n, answer.fit.predict({"n": n, "d": d}), colour=colour)
        chart.dots(group["n"], group["loss"], f"{budget:.2g} FLOP", colour=colour)
    return chart


def _residuals(answer: Answer) -> Chart:
    found = answer.fit
    over = size_of(found.points) or found.law.columns[0]
    said = "ln predicted − ln measured" if found.law.space == "log" else "predicted − measured"
    chart = chart_of(over, said, "Residuals of the fit.", log_y=False)
    return chart.rule(y=0).dots(found.points[over], found.residuals)


def _allocated(answer: Answer) -> Chart | None:
    if not answer.allocation or "c" not in answer.fit.points.with_compute():
        return None
    points = answer.fit.points.with_compute()
    c = np.geomspace(points["c"].min(), points["c"].max() * 100, SAMPLES)
    caption = "The best size for each budget, and the points."
    chart = chart_of("c", axis("n"), caption)
    if answer.draws is not None:
        ends = answer.draws.of(lambda theta: optimum(theta[..., None, :], c)[0])
        chart.band(c, ends.low, ends.high, means="the 95 % interval of the best size", colour=1)
    chart.dots(points["c"], points["n"], colour=MUTED)
    return chart.line(c, optimum(answer.fit.vector, c)[0], colour=1)


def chart_of(over: str, y: str, caption: str, log_y: bool = True) -> Chart:
    """An empty chart over a column, of the width of a paper's."""
    return Chart(axis(over), y, caption=caption, log_x=True, log_y=log_y, width=WIDTH, height=HEIGHT)


def axis(name: str) -> str:
    """What stands along the axis of a column."""
    unit, meaning = COLUMNS.get(name, ("", ""))
    return f"{meaning or name}{f', {unit}' if unit and name != 'n' else ''}"


def _of(name: str, value: float) -> str:
    """A column's value as a legend has it: 140M parameters."""
    what = {"n": "parameters", "d": "tokens"}.get(name)
    return f"{name} {value:.3g}" if what is None else f"{rounded(value)} {what}"


def samples(x: Array) -> Array:
    """Values over the range of a column, at which a curve is drawn."""
    return np.geomspace(x.min(), x.max(), SAMPLES)


def _groups(points: Points, column: str) -> list[tuple[int, float, Points]]:
    """Rungs of a column from the smallest to the largest, the one with most points in each part of the range:
    colour, value, points."""
    rung = rungs_of(points[column])
    count = np.bincount(rung)
    place = np.bincount(rung, np.log(points[column])) / count
    edges = np.linspace(place.min(), place.max(), CURVES + 1)[1:-1]
    part = np.searchsorted(edges, place)
    chosen = [max(np.flatnonzero(part == one), key=lambda i: count[i]) for one in np.unique(part)]
    return [
        (colour, float(np.exp(place[one])), points.take(rung == one)) for colour, one in enumerate(chosen)
    ]
