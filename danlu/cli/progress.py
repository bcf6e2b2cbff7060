"""How a run is followed on a terminal: a line that moves, and plain lines where nothing can move."""

from __future__ import annotations

import sys
import time
from typing import Any

from danlu.cli.output import tell
from danlu.files.escape import escape
from danlu.train.progress import Line

PLAIN_EVERY = 5.0  # seconds between plain lines


class Progress:
    """Tells a person on stderr how a run goes; see ``danlu.train.trainer.Reporter``. ``metric``: the one that
    decides; ``unit``: what the run is counted in."""

    def __init__(self, metric: Any, unit: str) -> None:
        self.metric, self._line = metric, Line(metric, unit)
        self._live = sys.stderr.isatty()
        self._bar: Any = None
        self._told = 0.0

    def message(self, text: str) -> None:
        text = self._line.said(text)
        if self._bar is not None:
            self._bar.console.print(escape(text), style="dim", highlight=False, markup=False)
        else:
            tell(text)

    def row(self, row: dict[str, Any], progress: float, utilisation: float | None) -> None:
        text = self._line.of(row, progress, utilisation)
        now = time.perf_counter()
        if self._live:
            self._draw(progress, text)
        elif now - self._told >= PLAIN_EVERY or self.metric.name in row or row["step"] == 1:
            self._told = now
            tell(f"{progress:4.0%}  {text}")

    def _draw(self, progress: float, text: str) -> None:
        if self._bar is None:
            from rich.console import Console
            from rich.progress import BarColumn, TextColumn
            from rich.progress import Progress as Bar

            columns = (
                BarColumn(bar_width=24),
                TextColumn("{task.percentage:>3.0f}%"),
                TextColumn("{task.description}", markup=False),
            )
            self._bar = Bar(*columns, console=Console(stderr=True), transient=True)
            self._bar.start()
            self._task = self._bar.add_task("", total=1.0)
        self._bar.update(self._task, completed=progress, description=escape(text, cell=True))

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
