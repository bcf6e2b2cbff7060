"""A comparison as rows of text, as JSON, as curves in the terminal, and as a page."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from danlu.draw import Chart, Link, Table, page, text_chart
from danlu.draw.page import Part
from danlu.files.json import finite
from danlu.files.numbers import duration
from danlu.lab.reading.comparison import END, Comparison, Meeting, Side
from danlu.lab.reading.curves import UNITS, average
from danlu.lab.reading.differences import chart_of
from danlu.lab.reading.notebook import draw_side
from danlu.lab.reading.table import Rows, around, said

if TYPE_CHECKING:
    from danlu.lab.statistics import Interval

HERE = Path("comparison.html")
HOW = "Between evaluations the metric is interpolated, linear in the logarithm of x."


def rows(comparison: Comparison) -> Rows:
    """What differs, and what each side reached: a column a side."""
    sides = comparison.sides
    out: Rows = [("", *(side.name for side in sides))]
    out += [(name, *(", ".join(map(said, one)) for one in values)) for name, values in comparison.differs]
    out.append(("runs", *(_runs(side) for side in sides)))
    end = next(meeting for meeting in comparison.meetings if meeting.axis == END)
    out.append((f"{comparison.metric}, last", *(around(_mean(list(one.values()))) for one in end.values)))
    best = f"{sides[0].counted[0].metric_name or 'metric'}, best"
    for title, name in ((best, "best"), ("steps", "steps"), ("time", "seconds"), ("FLOPs", "flops")):
        means = [_mean([run.value(name) for run in side.counted]) for side in sides]
        out.append((title, *(_written(name, mean) for mean in means)))
    return out


def difference_rows(comparison: Comparison) -> Rows:
    """Each further side's difference to the first, where they meet."""
    _, *others = comparison.sides
    out: Rows = [("", "at", "difference", "95 % from", "to", "pairs")]
    for i, side in enumerate(others):
        for meeting in comparison.meetings:
            mean, pairs = meeting.differences[i], meeting.pairs[i]
            ends = ("", "") if math.isinf(mean.high) else (f"{mean.low:+.4f}", f"{mean.high:+.4f}")
            out.append(
                (
                    side.name,
                    _place(meeting, axis_words(comparison, meeting.axis)),
                    f"{mean.value:+.4f}",
                    *ends,
                    str(pairs or "none"),
                )
            )
    return out


def differences_of(comparison: Comparison) -> str:
    """What the differences are of."""
    first, *others = comparison.sides
    name = others[0].name if len(others) == 1 else "each"
    better = f": {comparison.better} is better" if comparison.better else ""
    return f"{comparison.metric}, {name} − {first.name}{better}"


def to_json(comparison: Comparison) -> dict[str, Any]:
    """The whole, as ``danlu compare --json`` prints it; what is not finite is null."""
    sides = [
        {"name": side.name, "runs": [run.name for run in side.runs],
         "counted": [run.name for run in side.counted],
         "final": [run.metric for run in side.counted], "best": [run.best for run in side.counted]}
        for side in comparison.sides
    ]  # fmt: skip
    meetings = [
        {"at": meeting.axis, "x": meeting.x,
         "values": [{str(seed): value for seed, value in one.items()} for one in meeting.values],
         "differences": [{"side": side.name, "pairs": pairs, **mean._asdict()} for side, pairs, mean
                         in zip(comparison.sides[1:], meeting.pairs, meeting.differences, strict=True)]}
        for meeting in comparison.meetings
    ]  # fmt: skip
    differs = [{"field": name, "values": values} for name, values in comparison.differs]
    told: dict[str, Any] = finite({
        "metric": comparison.metric, "warnings": comparison.warnings, "sides": sides,
        "differs": differs, "meetings": meetings,
        "interpolated": HOW, "notes": comparison.notes,
    })  # fmt: skip
    return told


def curves_text(comparison: Comparison, x: str, width: int, colour: bool) -> str:
    """The sides' mean curves for a terminal."""
    series = []
    for side in comparison.sides:
        points = average(_curves(side, comparison.metric, x))
        series.append((side.name, [a for a, *_ in points], [b for _, b, *_ in points]))
    return text_chart(
        series,
        x=axis_words(comparison, x),
        y=comparison.metric,
        width=width,
        log_x=True,
        log_y=comparison.better != "higher",
        colour=colour,
    )


def html(comparison: Comparison, x: str, place: Path = HERE) -> str:
    """The page: tables, and the metric over x first, then over the other axes. ``place``: where it goes,
    from where its links to runs begin."""
    what, differences = _sections(comparison)
    over = list(filter(None, [gain(comparison, x)]))
    charts = [chart(comparison, axis) for axis in (x, *(axis for axis in UNITS if axis != x))]
    return page(" against ".join(side.name for side in comparison.sides), [
        ("What differs, and what came out", what), ("Differences", [*differences, *over]),
        ("Curves", charts), ("Runs", [runs_table(comparison, place)]),
    ])  # fmt: skip


def parts(comparison: Comparison, x: str) -> list[Part]:
    """What a notebook shows: the tables, and the metric over x."""
    what, differences = _sections(comparison)
    return [*what, *differences, *filter(None, [gain(comparison, x)]), chart(comparison, x)]


def _sections(comparison: Comparison) -> tuple[list[Part], list[Part]]:
    differences = Table(difference_rows(comparison))
    return (
        [*map(warned, comparison.warnings), Table(rows(comparison))],
        [differences_of(comparison), differences, HOW, *comparison.notes],
    )


def warned(warning: str) -> str:
    """A warning as it is printed."""
    return f"Warning: {warning}."


def chart(comparison: Comparison, x: str) -> Chart:
    """The metric over x, axes logarithmic but for a metric of which more is better: each side's mean, and
    from its lowest to its highest run."""
    over, log_y = axis_words(comparison, x), comparison.better != "higher"
    caption = f"{comparison.metric} over {over}: the mean of each side's runs."
    drawn = Chart(over, comparison.metric, caption=caption, log_x=True, log_y=log_y)
    for side in comparison.sides:
        draw_side(drawn, side.name, _curves(side, comparison.metric, x))
    return drawn


def gain(comparison: Comparison, x: str) -> Chart | None:
    """The paired differences to the first side over x; None where nothing is paired, or at one x alone."""
    first, *others = comparison.sides
    before = first.curves(comparison.metric, x)
    pairs = {}
    for side in [] if first.mixed else others:
        after = {} if side.mixed else side.curves(comparison.metric, x)
        pairs[side.name] = [(before[seed], after[seed]) for seed in before if seed in after]
    return chart_of(pairs, axis_words(comparison, x), comparison.metric, first.name, least=2)


def runs_table(comparison: Comparison, place: Path) -> Table:
    """The runs that count, each a link from the page at ``place``."""
    beside = os.path.dirname(os.path.realpath(place))
    made: list[tuple[object, ...]] = [("side", "seed", comparison.metric, "run")]
    for side in comparison.sides:
        for run in side.counted:
            link = Link(run.name, os.path.relpath(os.path.realpath(run.path), beside))
            made.append((side.name, said(run.seed), "" if run.metric is None else f"{run.metric:.4f}", link))
    return Table(made)


def _curves(side: Side, metric: str, x: str) -> list[list[tuple[float, float]]]:
    return [curve for curve in side.curves(metric, x).values() if curve]


def _runs(side: Side) -> str:
    seeds = ", ".join(sorted((said(run.seed) for run in side.counted), key=lambda seed: (len(seed), seed)))
    return f"{len(side.counted)}" if side.mixed else f"{len(side.counted)} (seed {seeds})"


def _mean(values: Sequence[float | None]) -> Interval | None:
    from danlu.lab.statistics import mean_interval

    known = [float(value) for value in values if value is not None]
    return mean_interval(known) if known else None


def _written(name: str, mean: Interval | None) -> str:
    if mean is None:
        return ""
    if name == "best":
        return around(mean)
    return duration(mean.value) if name == "seconds" else f"{mean.value:.4g}"


def axis_words(comparison: Comparison, x: str) -> str:
    """What an axis is counted in: that of tokens may be one of images."""
    return comparison.sides[0].runs[0].counted if x == "tokens" else UNITS.get(x, x)


def _place(meeting: Meeting, unit: str) -> str:
    match meeting.axis:
        case "end":
            return "each run's end"
        case "time":
            return f"{duration(meeting.x)} of active time"
    return f"{meeting.x:.4g} {unit}"
