"""How far a run is, as a line for a person, in the person's language. No torch here."""

from __future__ import annotations

import time
from typing import Any

from danlu.draw.language import language
from danlu.draw.phrases import words
from danlu.files.numbers import clock
from danlu.spec.metrics import Metric


class Line:
    """``metric``: the one that decides; ``unit``: what the run is counted in. ``said``: what is told, in the
    language of who asks."""

    def __init__(self, metric: Metric, unit: str) -> None:
        self.said = words(language())
        self.metric, self.units = metric, f"{unit}s"
        self._first: tuple[float, int, float] | None = None  # when, units, progress: speed since then
        self._metric = ""

    def of(self, row: dict[str, Any], progress: float, utilisation: float | None) -> str:
        """The line at a row of metrics: the step, the loss, the last held-out metric, speed, time left."""
        now = time.perf_counter()
        if self._first is None:
            self._first = (now, row[self.units], progress)
        if self.metric.name in row:
            value = row[self.metric.name]
            self._metric = f"{value:.4f} {self.metric.unit or self.metric.words}"
        start, units, done = self._first
        speed = (row[self.units] - units) / (now - start) if now > start else 0.0
        left = (1 - progress) * (now - start) / (progress - done) if progress > done else None
        parts = [f"step {row['step']}", f"loss {row['loss']:.4f}" if "loss" in row else "", self._metric]
        if speed:
            parts.append(f"{speed:,.0f} {self.units}/s")
        if utilisation is not None:
            parts.append(f"{utilisation:.0%} of ceiling")
        if left is not None and progress < 1:
            parts.append(f"{clock(left)} left")
        return " · ".join(self.said(part) for part in parts if part)
