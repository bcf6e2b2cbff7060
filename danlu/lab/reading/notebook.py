"""Runs in a notebook: ``Runs("studies/runs")`` shows itself as a table and curves."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any, overload

from danlu.draw import Chart, Displayed, Table
from danlu.draw.page import Part
from danlu.lab.reading.curves import UNITS, average, read_curve
from danlu.lab.reading.groups import Group, group
from danlu.lab.reading.index import places, read_runs
from danlu.lab.reading.run import Run
from danlu.lab.reading.selection import full_name, ranked_by, select
from danlu.lab.reading.table import group_rows, run_json, run_rows

SHOWN, DRAWN = 50, 12  # rows and curves of a display


class Runs(Sequence[Run], Displayed):
    """The runs under some folders (left out: runs and studies/runs), newest first: a sequence that can be
    filtered, sorted, grouped and drawn.

    ``Runs("studies/runs").where("lr>1e-3", "state=finished").sort("best")``; the words are those of
    ``danlu runs``. Each method returns new ``Runs``. Raises ``LabError`` for a filter that cannot be read
    and for a folder that is not there.
    """

    def __init__(self, *folders: str | os.PathLike[str], runs: Sequence[Run] | None = None) -> None:
        self._runs = list(read_runs(places(folders)) if runs is None else runs)

    def where(self, *filters: str) -> Runs:
        """Those of which all filters hold."""
        return Runs(runs=select(self._runs, filters))

    def sort(self, by: str) -> Runs:
        """From the lowest, by a metric from the best; ``-NAME``: the other way round. Runs that are scored on
        different things are not mixed: those scored as the first run is come first."""
        return Runs(runs=[run for one in ranked_by(self._runs, by, self._runs) for run in one])

    def groups(self) -> list[Group]:
        """Runs that differ in their seed alone, together."""
        return group(self._runs)

    def curves(self, metric: str | None = None, x: str = "steps") -> Chart:
        """A metric (left out: that of the first run that has one) over steps, time, flops or tokens, axes
        logarithmic but for a metric of which more is better: a line a group of seeds (their mean), and from
        their lowest to their highest a band."""
        groups = self.groups()
        metric = metric or next((run.metric_name for run in self if run.metric_name), "loss")
        counted = self[0].counted if len(self) and x == "tokens" else UNITS[x]
        log_y = not any(run.better == "higher" for run in self if run.metric_name == metric)
        said_more = f" (the first {DRAWN} of {len(groups)})" if len(groups) > DRAWN else ""
        caption = f"{metric} over {counted}{said_more}: means of runs that differ in their seed alone."
        chart = Chart(counted, metric, caption=caption, log_x=True, log_y=log_y)
        for one in groups[:DRAWN]:
            curves = [read_curve(run.path, metric, x, run.counted) for run in one.counted or one.runs]
            draw_side(chart, one.first.name, [curve for curve in curves if curve])
        return chart

    def table(self, *columns: str) -> Table:
        """What ``danlu runs`` prints."""
        names = [full_name(name, self._runs) for name in columns] if self._runs else []
        return Table(run_rows(self._runs[:SHOWN], names))

    def grouped(self) -> Table:
        """What ``danlu runs --group`` prints."""
        return Table(group_rows(self.groups()[:SHOWN]))

    @overload
    def __getitem__(self, place: int) -> Run: ...
    @overload
    def __getitem__(self, place: slice) -> Runs: ...
    def __getitem__(self, place: int | slice) -> Run | Runs:
        return Runs(runs=self._runs[place]) if isinstance(place, slice) else self._runs[place]

    def __len__(self) -> int:
        return len(self._runs)

    def __iter__(self) -> Iterator[Run]:
        return iter(self._runs)

    def __repr__(self) -> str:
        return f"<{len(self)} runs>"

    def to_dict(self) -> list[dict[str, Any]]:
        """What ``danlu runs --json`` prints."""
        return [run_json(run) for run in self]

    def display(self) -> list[Part]:
        more = [f"… and {len(self) - SHOWN} more"] if len(self) > SHOWN else []
        return [f"{len(self)} runs", self.table(), *more, *([self.curves()] if self else [])]


def draw_side(chart: Chart, label: str, curves: Sequence[list[tuple[float, float]]]) -> None:
    """A line for the mean of several curves, and a band from the lowest to the highest."""
    rows = average(curves)
    xs = [x for x, *_ in rows]
    chart.line(xs, [mean for _, mean, *_ in rows], label)
    if len(curves) > 1:
        low, high = [low for *_, low, _ in rows], [high for *_, high in rows]
        chart.band(xs, low, high, label, means="from the lowest to the highest run")
