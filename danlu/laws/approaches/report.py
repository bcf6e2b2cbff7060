"""The approaches as one HTML page: the profiles, the frontier, the three side by side."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from danlu.draw import Chart, Table, page
from danlu.draw.page import Part
from danlu.draw.palette import MUTED
from danlu.laws.approaches.frontier import Frontier
from danlu.laws.approaches.sides import Sides

MOST = 7  # budgets in one drawing
SAMPLES = 60
COLOURS = {"isoflop": 0, "parametric": 1, "envelope": 2}


def html(
    found: Sides,
    main: str,
    source: str,
    flops: Sequence[float],
    warnings: Sequence[str],
    measured: Sequence[str] = (),
) -> str:
    """The page; ``main``: the approach that was asked for, ``source`` names the data; ``measured``: how
    extrapolations as far went."""
    one = found.frontiers[main]
    facts = f"{found.points.size} points of {source}; {'; '.join([one.approach, *one.notes])}."
    parts: list[Part] = [facts, *(f"Warning: {warning}" for warning in warnings), Table(table(found, flops))]
    parts += [f"Measured: {said}." for said in measured]
    parts += [f"{name} is not possible: {why}" for name, why in found.absent.items()]
    parts += [f"Left out: {why}" for why in one.refused]
    drawings = [_profiles(found) if main == "isoflop" else _curves(found), *_frontier(found)]
    parts += [chart for chart in drawings if chart is not None]
    return page("The best size and data for a budget", [("", parts)])


def table(found: Sides, flops: Sequence[float]) -> list[tuple[str, ...]]:
    """The approaches side by side: exponents, and the best size and data of some budgets, with 95 %."""
    heads = [f"{what} at {budget:.3g} FLOP" for budget in flops for what in ("N_opt", "D_opt")]
    rows = [("", "a (N_opt ∝ C^a)", "b (D_opt ∝ C^b)", *heads)]
    for one in found.frontiers.values():
        at = [ends for budget in flops for ends in one.optimum(budget)]
        rows.append((
            one.approach,
            *(f"{ends.value:.3f} ({ends.low:.3f}, {ends.high:.3f})" for ends in (one.a, one.b)),
            *(f"{ends.value:.3g} ({ends.low:.3g}, {ends.high:.3g})" for ends in at),
        ))  # fmt: skip
    return rows


def _profiles(found: Sides) -> Chart | None:
    """Loss over size, a colour a budget, and the optima."""
    made, optima = found.profiles, found.frontiers["isoflop"].optima
    if made is None:
        return None
    chart = Chart(
        "number of the model's parameters",
        "held-out loss, nats/token",
        caption=f"At equal compute: points, the {made.method} through them, and the optimum of each budget.",
        log_x=True,
        log_y=True,
    )
    shown = made.sizes
    if len(shown) > MOST:
        shown = [shown[i] for i in np.linspace(0, len(shown) - 1, MOST).round().astype(int)]
    for colour, one in enumerate(shown):
        loss = one.losses(made.points["loss"][:, None], made.slope)[:, 0]
        at = np.linspace(one.log_n[0], one.log_n[-1], SAMPLES)
        chart.line(np.exp(at), made.curve(one.log_n, loss, at), colour=colour)
        chart.dots(np.exp(one.log_n), loss, f"{one.flops:.2g} FLOP", colour=colour)
    kept = np.isin(optima["c"].round(-3), np.round([one.flops for one in shown], -3))
    return chart.dots(optima["n"][kept], optima["loss"][kept], "optimum", colour=MUTED)


def _curves(found: Sides) -> Chart:
    """Loss over compute, and the envelope."""
    points, optima = found.points, found.frontiers["envelope"].optima
    chart = Chart(
        "training compute, FLOP",
        "held-out loss, nats/token",
        caption="All points of the training curves, and their lower envelope between rivals.",
        log_x=True,
        log_y=True,
    )
    chart.dots(points["c"], points["loss"], colour=MUTED)
    return chart.line(optima["c"], optima["loss"], "envelope", colour=COLOURS["envelope"])


def _frontier(found: Sides) -> list[Chart]:
    """Size and tokens of the best division over compute, a colour an approach."""
    c = np.geomspace(found.points["c"].min(), found.points["c"].max() * 100, SAMPLES)
    charts = []
    for number, (name, axis) in enumerate((("n", "the best number of parameters"), ("d", "the best tokens"))):
        chart = Chart(
            "training compute, FLOP",
            axis,
            caption=f"The best {'size' if name == 'n' else 'data'} for each budget by each approach; "
            "dots are the optima, with 95 % intervals by noise alone.",
            log_x=True,
            log_y=True,
        )
        for approach, one in found.frontiers.items():
            low, value, high = zip(*(_ends(one, budget, number) for budget in c), strict=True)
            chart.band(c, low, high, approach, means="95 % intervals", colour=COLOURS[approach])
            chart.line(c, value, approach, colour=COLOURS[approach])
            if approach == "isoflop":
                chart.dots(
                    one.optima["c"], one.optima[name], y_ends=_noise(one, name), colour=COLOURS[approach]
                )
        charts.append(chart)
    return charts


def _noise(one: Frontier, name: str) -> Iterable[tuple[float, float]]:
    """The interval of each optimum's n, or d, by noise alone; n times d is the budget's."""
    n, low, high = (one.optima[key] for key in ("n", "n_low", "n_high"))
    ends = (low, high) if name == "n" else (one.optima["d"] * n / high, one.optima["d"] * n / low)
    return zip(*ends, strict=True)


def _ends(one: Frontier, budget: float, number: int) -> tuple[float, float, float]:
    ends = one.optimum(float(budget))[number]
    return ends.low, ends.value, ends.high
