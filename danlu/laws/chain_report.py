"""A chain of laws as one HTML page: accuracy over compute, each link with its points, what is predicted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from danlu.draw import Chart, Table, page
from danlu.draw.page import Part
from danlu.laws.chain import Chain, Held, Link, Predicted
from danlu.laws.report import HEIGHT, WIDTH, axis, chart_of, fitted, samples

MORE = 100.0  # times the largest compute, as far as accuracy is drawn
Places = Sequence[tuple[Mapping[str, float], Mapping[str, Predicted]]]


def html(
    found: Chain,
    held: Held | None,
    predicted: Places,
    source: str,
    warnings: Sequence[str],
    measured: Sequence[str] = (),
) -> str:
    """The page; ``source`` names the data; ``measured``: how extrapolations of the first link went."""
    first: list[Part] = [f"{found.points.size} points of {source}; {len(found.links[0].draws)} resamples."]
    first += [f"Warning: {warning}" for warning in warnings]
    first += [] if held is None else [f"{held_out(held)}."]
    first += [Table(place_rows(predicted))] if predicted else []
    first += [f"Measured: {found.links[0].said}, {one}." for one in measured]
    first += [] if (whole := _whole(found)) is None else [whole]
    sections: list[tuple[str, list[Part]]] = [("", first)]
    for link in found.links:
        law = link.fit.law
        parts: list[Part] = [f"{law.formula}, {law.paper}", Table(parameter_rows(link)), _link(found, link)]
        sections.append((link.said, parts))
    return page("A task's accuracy by a chain of laws", sections)


def held_out(held: Held) -> str:
    """A sentence."""
    errors = ", ".join(f"{name} {error:.2%}" for name, error in held.errors.items())
    return f"held out, the {held.points} points of the largest {held.by}: mean relative error of {errors}"


def parameter_rows(link: Link) -> list[tuple[str, ...]]:
    """A table of a link's parameters with 95 %."""
    rows: list[tuple[str, ...]] = [("", "value", "95 % from", "to", "meaning")]
    for parameter in link.fit.law.parameters:
        ends = link.ends(parameter.name)
        rows.append((parameter.name, *(f"{x:.5g}" for x in ends[:3]), parameter.meaning))
    return rows


def place_rows(predicted: Places) -> list[tuple[str, ...]]:
    """A table of what is predicted at places: each quantity with 95 %, and where one new run lies."""
    rows: list[tuple[str, ...]] = [("at", "", "value", "95 % from", "to", "one run from", "to")]
    for place, values in predicted:
        spot = ", ".join(f"{name}={value:.4g}" for name, value in place.items())
        for name, one in values.items():
            ends = (*one.law[:3], one.low, one.high)
            rows.append((spot, name, *(f"{float(x[0]):.4g}" for x in ends)))
            spot = ""
    return rows


def _whole(found: Chain) -> Chart | None:
    """Accuracy over compute, at the best division of it; None where the chain begins at a loss."""
    if "c" not in found.points or found.links[0].sources not in {("n", "d"), ("c",)}:
        return None
    measured = found.points["c"]
    c = np.geomspace(measured.min(), measured.max() * MORE, len(samples(measured)))
    said = found.predict({"c": c}, far=True)["accuracy"]
    drawn = Chart(
        axis("c"), "accuracy", log_x=True, width=WIDTH, height=HEIGHT,
        caption="Through all links: the law at the best size for each budget, and the points.",
    )  # fmt: skip
    drawn.band(c, said.low, said.high, means="the 95 % interval of one new run", colour=2)
    drawn.band(c, said.law.low, said.law.high, means="that of the law", colour=1)
    return drawn.line(c, said.law.value, colour=0).dots(measured, found.points["accuracy"], colour=0)


def _link(found: Chain, link: Link) -> Chart:
    """Points of a link, and its law with 95 %."""
    if len(link.sources) > 1:
        drawn = fitted(link.fit)
        assert drawn is not None
        return drawn
    points, over, target = found.points, link.sources[0], link.target
    x = samples(points[over])
    said = found.predict({over: x})[target].law
    caption = "Points, and the law through them."
    drawn = chart_of(over, target, caption, log_y=target != "accuracy")
    drawn.band(x, said.low, said.high, means="the 95 % interval of the law", colour=1)
    drawn.line(x, said.value, colour=0)
    return drawn.dots(points[over], points[target], colour=0)
