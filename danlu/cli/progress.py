"""How a run is followed on a terminal: a line that moves, and plain lines where nothing can move."""

from __future__ import annotations

import sys
import time
from typing import Any

from danlu.cli.output import tell
from danlu.files.escape import escape

PLAIN_EVERY = 5.0  # seconds between plain lines


class Progress:
    """Tells a person on stderr how a run goes; see ``danlu.train.trainer.Reporter``. ``metric``: the one that
    decides; ``unit``: what the run is counted in."""

    def __init__(self, metric: Any, unit: str) -> None:
        self.metric, self.units = metric, f"{unit}s"
        self._live = sys.stderr.isatty()
        self._bar: Any = None
        self._told = 0.0
        self._first: tuple[float, int, float] | None = None  # when, units, progress: speed since then
        self._metric = ""

    def message(self, text: str) -> None:
        if self._bar is not None:
            self._bar.console.print(escape(text), style="dim", highlight=False, markup=False)
        else:
            tell(text)

    def row(self, row: dict[str, Any], progress: float, utilisation: float | None) -> None:
        now = time.perf_counter()
        if self._first is None:
            self._first = (now, row[self.units], progress)
        evaluated = self.metric.name in row
        if evaluated:
            value = row[self.metric.name]
            self._metric = f"{value:.4f} {self.metric.unit or self.metric.words}"
        loss = f"loss {row['loss']:.4f}" if "loss" in row else ""
        start, units, done = self._first
        speed = (row[self.units] - units) / (now - start) if now > start else 0.0
        left = (1 - progress) * (now - start) / (progress - done) if progress > done else None
        parts = [f"step {row['step']}", loss, self._metric]
        if speed:
            parts.append(f"{speed:,.0f} {self.units}/s")
        if utilisation is not None:
            parts.append(f"{utilisation:.0%} of ceiling")
        if left is not None and progress < 1:
            parts.append(f"{_duration(left)} left")
        text = " · ".join(part for part in parts if part)
        if self._live:
            self._draw(progress, text)
        elif now - self._told >= PLAIN_EVERY or evaluated or row["step"] == 1:
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


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes:02}m"
    return f"{minutes}m{rest:02}s" if minutes else f"{rest}s"
