"""A fit as one HTML page with its drawings in it (SVG): nothing is loaded, nothing runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

import numpy as np

from danlu.laws.answer import Answer, size_of
from danlu.laws.base import Array
from danlu.laws.chinchilla import CHINCHILLA, optimum
from danlu.laws.doubt import rungs_of
from danlu.laws.table import COLUMNS, FLOPS_PER_PARAMETER_AND_TOKEN, Points

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 560, 360, 70, 20, 14, 50
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # Okabe and Ito
GREY = "#777777"
CURVES = 6  # at most so many in one drawing
SAMPLES = 80  # points of a curve

STYLE = """body{font:16px/1.5 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#222}
table{border-collapse:collapse}td,th{padding:.1em 1em .1em 0;text-align:left}figure{margin:2em 0}
svg{max-width:100%;height:auto;background:#fff}figcaption,.note{color:#555}"""


def html(answer: Answer, source: str) -> str:
    """The page: formula, parameters with their intervals, warnings, drawings. ``source`` names the data."""
    found = answer.fit
    figures = [_fitted(answer), _isoflops(answer), _residuals(answer), _allocated(answer)]
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
    return "\n".join([
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
        f"<title>{escape(found.law.title)}</title><style>{STYLE}</style></head><body>",
        f"<h1>{escape(found.law.title)}</h1>",
        f"<p>{escape(found.law.formula)}<br>{escape(found.law.text)}<br>",
        f'<span class="note">{escape(found.law.paper)}</span></p>',
        _parameters(answer),
        f"<p>{escape('; '.join(facts))}.</p>",
        *(f"<p><b>Warning:</b> {escape(warning)}</p>" for warning in answer.warnings),
        *(figure for figure in figures if figure),
        "</body></html>\n",
    ])  # fmt: skip


def _parameters(answer: Answer) -> str:
    rows = [("", "value", "95 % from", "to", "meaning")]
    for parameter in answer.fit.law.parameters:
        ends = answer.intervals.get(parameter.name)
        interval = ("", "") if ends is None else (f"{ends.low:.4g}", f"{ends.high:.4g}")
        value = f"{answer.fit.theta[parameter.name]:.6g}"
        rows.append((parameter.name, value, *interval, parameter.meaning))
    cells = ("".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows)
    return f"<table>{''.join(f'<tr>{row}</tr>' for row in cells)}</table>"


# The drawings; each is empty where the law or the points have nothing to draw.


def _fitted(answer: Answer) -> str:
    """Points and curves over the law's last column, a colour for each of some values of its first."""
    law, points = answer.fit.law, answer.fit.points
    if len(law.columns) > 2:
        return ""
    over, target = law.columns[-1], law.target
    drawing = Drawing(_axis(over), _axis(target), log_y=law.space == "log")
    x = _samples(points[over])
    if len(law.columns) == 1:
        if answer.draws is not None:
            ends = answer.draws.predict({over: x})
            drawing.band(x, ends.low, ends.high)
        drawing.line(x, answer.fit.predict({over: x}), COLOURS[0])
        drawing.dots(points[over], points[target], COLOURS[0])
    else:
        first = law.columns[0]
        drawing.dots(points[over], points[target], GREY)
        for colour, value, group in _groups(points, first):
            drawing.line(x, answer.fit.predict({first: np.full_like(x, value), over: x}), colour)
            drawing.dots(group[over], group[target], colour, f"{first} {value:.3g}")
    return drawing.figure("Points, and the law through them.")


def _isoflops(answer: Answer) -> str:
    law, points = answer.fit.law, answer.fit.points.with_compute()
    if law is not CHINCHILLA or "c" not in points:
        return ""
    drawing = Drawing(_axis("n"), _axis("loss"))
    for colour, budget, group in _groups(points, "c"):
        n = np.geomspace(group["n"].min() / 2, group["n"].max() * 2, SAMPLES)
        d = budget / (FLOPS_PER_PARAMETER_AND_TOKEN * n)
        drawing.line(n, answer.fit.predict({"n": n, "d": d}), colour)
        drawing.dots(group["n"], group["loss"], colour, f"{budget:.2g} FLOP")
    return drawing.figure("At equal compute: points, and what the law says at C = 6·N·D.")


def _residuals(answer: Answer) -> str:
    found = answer.fit
    over = size_of(found.points) or found.law.columns[0]
    said = "ln predicted − ln measured" if found.law.space == "log" else "predicted − measured"
    drawing = Drawing(_axis(over), said, log_y=False)
    x = found.points[over]
    drawing.line(np.array([x.min(), x.max()]), np.zeros(2), GREY)
    drawing.dots(x, found.residuals, COLOURS[0])
    return drawing.figure("Residuals of the fit.")


def _allocated(answer: Answer) -> str:
    if not answer.allocation or "c" not in answer.fit.points.with_compute():
        return ""
    points = answer.fit.points.with_compute()
    c = np.geomspace(points["c"].min(), points["c"].max() * 100, SAMPLES)
    drawing = Drawing(_axis("c"), _axis("n"))
    if answer.draws is not None:
        ends = answer.draws.of(lambda theta: optimum(theta[..., None, :], c)[0])
        drawing.band(c, ends.low, ends.high)
    drawing.dots(points["c"], points["n"], GREY)
    drawing.line(c, optimum(answer.fit.vector, c)[0], COLOURS[1])
    return drawing.figure("The best size for each budget (line, and 95 % where resampled), and the points.")


def _axis(name: str) -> str:
    unit, meaning = COLUMNS.get(name, ("", ""))
    return f"{meaning or name}{f', {unit}' if unit and name != 'n' else ''}"


def _samples(x: Array) -> Array:
    return np.geomspace(x.min(), x.max(), SAMPLES)


def _groups(points: Points, column: str) -> list[tuple[str, float, Points]]:
    """The rungs of a column with most points, from the smallest to the largest: colour, value, points."""
    rung = rungs_of(points[column])
    often = np.argsort(-np.bincount(rung), kind="stable")[:CURVES]
    groups = [points.take(rung == one) for one in np.sort(often)]
    return [
        (colour, float(np.exp(np.log(group[column]).mean())), group)
        for colour, group in zip(COLOURS, groups, strict=False)
    ]


@dataclass
class Drawing:
    """Lines, dots and bands over logarithmic x; what is drawn decides the range."""

    x: str
    y: str
    log_y: bool = True
    _marks: list[tuple[str, Array, Array, str, str]] = field(default_factory=list)

    def line(self, x: Array, y: Array, colour: str) -> None:
        self._marks.append(("line", x, y, colour, ""))

    def dots(self, x: Array, y: Array, colour: str, label: str = "") -> None:
        self._marks.append(("dots", x, y, colour, label))

    def band(self, x: Array, low: Array, high: Array) -> None:
        """The area between two curves."""
        self._marks.append(("band", np.r_[x, x[::-1]], np.r_[low, high[::-1]], COLOURS[1], ""))

    def figure(self, caption: str) -> str:
        """The drawing as an HTML figure; empty where nothing was drawn."""
        if not self._marks:
            return ""
        across = Scale(np.concatenate([mark[1] for mark in self._marks]), True, LEFT, WIDTH - RIGHT)
        up = Scale(np.concatenate([mark[2] for mark in self._marks]), self.log_y, HEIGHT - BOTTOM, TOP)
        body = [self._grid(across, up)]
        row = 0
        for kind, x, y, colour, label in self._marks:
            kept = np.isfinite(across.at(x)) & np.isfinite(up.at(y))
            places = [f"{a:.1f},{b:.1f}" for a, b in zip(across.at(x[kept]), up.at(y[kept]), strict=True)]
            body.append(_mark(kind, places, colour))
            if label:
                at = f'x="{WIDTH - RIGHT - 6}" y="{TOP + 16 + 16 * row}"'
                body.append(f'<text {at} text-anchor="end" fill="{colour}">{escape(label)}</text>')
                row += 1
        said = escape(caption)
        return (
            f'<figure><svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" role="img" aria-label="{said}" '
            f'font-family="sans-serif" font-size="12">{"".join(body)}</svg>'
            f"<figcaption>{said}</figcaption></figure>"
        )

    def _grid(self, across: Scale, up: Scale) -> str:
        out = []
        for tick in across.ticks():
            at = float(across.at(np.array(tick)))
            out.append(f'<path d="M{at:.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="#e5e5e5"/>')
            out.append(
                f'<text x="{at:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{tick:.3g}</text>'
            )
        for tick in up.ticks():
            at = float(up.at(np.array(tick)))
            out.append(f'<path d="M{LEFT} {at:.1f}H{WIDTH - RIGHT}" stroke="#e5e5e5"/>')
            out.append(f'<text x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{tick:.3g}</text>')
        below = f'x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 10}"'
        beside = f'transform="translate(14 {(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)"'
        out += [f'<text {below} text-anchor="middle">{escape(self.x)}</text>']
        out += [f'<text {beside} text-anchor="middle">{escape(self.y)}</text>']
        return "".join(out)


def _mark(kind: str, places: Sequence[str], colour: str) -> str:
    if kind == "dots":
        dots = (place.split(",") for place in places)
        circles = "".join(f'<circle cx="{x}" cy="{y}" r="2.5"/>' for x, y in dots)
        return f'<g fill="{colour}" fill-opacity="0.7">{circles}</g>'
    if kind == "band":
        return f'<polygon points="{" ".join(places)}" fill="{colour}" fill-opacity="0.2"/>'
    return f'<polyline points="{" ".join(places)}" fill="none" stroke="{colour}" stroke-width="1.5"/>'


class Scale:
    """From values to places between ``begin`` and ``end``, with some room at either side."""

    def __init__(self, values: Array, log: bool, begin: float, end: float) -> None:
        values = values[np.isfinite(values) & ((values > 0) | (not log))]
        self.log, self.begin, self.end = log, begin, end
        inner = np.log10(values) if log else values
        low, high = float(inner.min()), float(inner.max())
        room = 0.04 * (high - low) or 0.5
        self.low, self.high = low - room, high + room

    def at(self, values: Array) -> Array:
        with np.errstate(divide="ignore", invalid="ignore"):
            inner = np.log10(values) if self.log else values
        return self.begin + (inner - self.low) / (self.high - self.low) * (self.end - self.begin)

    def ticks(self) -> list[float]:
        """Round values within the range, about five."""
        if not self.log:
            return _round(self.low, self.high)
        if self.high - self.low < 1:
            return _round(10**self.low, 10**self.high)
        every = max(1, round((self.high - self.low) / 6))
        return [10.0**k for k in range(math.ceil(self.low), math.floor(self.high) + 1, every)]


def _round(low: float, high: float) -> list[float]:
    rough = (high - low) / 5
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * k for k in (1, 2, 5, 10) if size * k >= rough)
    return [k * step for k in range(math.ceil(low / step), math.floor(high / step) + 1)]
