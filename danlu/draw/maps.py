"""Maps: a value for each row and column by colour, such as a statistic of each layer at each step."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from danlu.draw.chart import Chart
from danlu.draw.scale import short

Grid = Mapping[str, Mapping[float, float]]  # row → column → value
ROW, AROUND = 18, 110  # pixels


def over(
    grid: Grid,
    *,
    x: str,
    label: str,
    title: str = "",
    caption: str = "",
    log: bool = False,
    beside: Sequence[Grid] = (),
) -> Chart:
    """Rows by name over columns of numbers, such as steps. ``beside``: grids whose values the colours also
    reach to, so that several maps have one scale."""
    columns = sorted({column for row in grid.values() for column in row})
    span = [v for one in (grid, *beside) for row in one.values() for v in row.values() if math.isfinite(v)]
    chart = Chart(
        x, y_names=list(grid), title=title, caption=caption, height=AROUND + ROW * len(grid), width=720
    )
    values = [[row.get(column, math.nan) for column in columns] for row in grid.values()]
    tips = [
        f"{name}, {x} {short(column)}: {short(value)}"
        for name, row in zip(grid, values, strict=True)
        for column, value in zip(columns, row, strict=True)
    ]
    ends = [min(span), max(span)] if span else []
    log = log and bool(span) and min(span) > 0
    return chart.cells(columns, range(len(grid)), values, label, log=log, tips=tips, span=ends)


def by_name(
    grid: Mapping[str, Mapping[str, float]],
    columns: Sequence[str],
    *,
    log: Sequence[bool],
    heads: Sequence[str],
    title: str = "",
    caption: str = "",
    beside: Sequence[Mapping[str, Mapping[str, float]]] = (),
) -> Chart:
    """Rows by name over columns by name, each column on a scale of its own: 0 is its least value here and in
    ``beside``, 1 its greatest. ``log``, ``heads``: of each column, whether by logarithm; what it is called.
    """
    chart = Chart(x_names=heads, y_names=list(grid), title=title, caption=caption,
                  height=AROUND + 40 + ROW * len(grid), width=max(480, 200 + 56 * len(columns)))  # fmt: skip
    scales = []
    for column, by_log in zip(columns, log, strict=True):
        every = [row[column] for one in (grid, *beside) for row in one.values() if column in row]
        scales.append(_Shares([v for v in every if math.isfinite(v)], by_log))
    values = [
        [
            scale(row[column]) if column in row else math.nan
            for column, scale in zip(columns, scales, strict=True)
        ]
        for row in grid.values()
    ]
    tips = [
        f"{name}, {head}: {short(row[column]) if column in row else 'none'}"
        for name, row in grid.items()
        for column, head in zip(columns, heads, strict=True)
    ]
    label = "share"
    return chart.cells(range(len(columns)), range(len(grid)), values, label, tips=tips, span=[0, 1])


class _Shares:
    """From values to their places between the least and the greatest, from 0 to 1; ½ where all are equal."""

    def __init__(self, values: Sequence[float], log: bool) -> None:
        self.log = log and bool(values) and min(values) > 0
        inner = [self._inner(v) for v in values]
        self.low, self.high = (min(inner), max(inner)) if inner else (0.0, 0.0)

    def __call__(self, value: float) -> float:
        if not math.isfinite(value):
            return math.nan
        return 0.5 if self.high == self.low else (self._inner(value) - self.low) / (self.high - self.low)

    def _inner(self, value: float) -> float:
        return math.log(value) if self.log else value
