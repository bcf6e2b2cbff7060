"""How a run that Python started is followed: a line that moves in a notebook and on a terminal, plain lines
where nothing can move."""

from __future__ import annotations

import shutil
import sys
import time
from typing import Any, ClassVar
from uuid import uuid4

from danlu.files.escape import escape
from danlu.spec.metrics import Metric
from danlu.train.progress import Line

LIVE_EVERY, PLAIN_EVERY = 0.2, 5.0  # seconds between lines


class Silent:
    """Reports nothing."""

    def row(self, row: dict[str, Any], progress: float, utilisation: float | None) -> None: ...
    def message(self, text: str) -> None: ...
    def close(self) -> None: ...


class Plain(Silent):
    """Lines on stderr; the base of those that move."""

    every: ClassVar[float] = PLAIN_EVERY

    def __init__(self, metric: Metric, unit: str) -> None:
        self._metric, self._line, self._shown_at = metric, Line(metric, unit), 0.0

    def message(self, text: str) -> None:
        print(escape(self._line.said(text)), file=sys.stderr, flush=True)

    def row(self, row: dict[str, Any], progress: float, utilisation: float | None) -> None:
        text = self._line.of(row, progress, utilisation)
        now = time.monotonic()
        if now - self._shown_at >= self.every or self._metric.name in row or row["step"] == 1:
            self._shown_at = now
            self.show(escape(f"{progress:4.0%}  {text}", cell=True))

    def show(self, line: str) -> None:
        """The newest line."""
        print(line, file=sys.stderr, flush=True)


class Terminal(Plain):
    """A line that the next one takes the place of."""

    every = LIVE_EVERY

    def message(self, text: str) -> None:
        self.close()
        super().message(text)

    def show(self, line: str) -> None:
        width = shutil.get_terminal_size().columns - 1
        print(f"\r\x1b[K{line[:width]}", end="", file=sys.stderr, flush=True)

    def close(self) -> None:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)


class Notebook(Plain):
    """One output of a cell, replaced as the run goes on: the messages, and the newest line below them."""

    every = LIVE_EVERY

    def __init__(self, metric: Metric, unit: str) -> None:
        super().__init__(metric, unit)
        self._messages: list[str] = []
        self._newest, self._output, self._shown = "", uuid4().hex, False

    def message(self, text: str) -> None:
        self._messages.append(escape(self._line.said(text)))
        self._display()

    def show(self, line: str) -> None:
        self._newest = line
        self._display()

    def _display(self) -> None:
        from IPython.display import display, update_display

        text = "\n".join([*self._messages, *([self._newest] if self._newest else [])])
        do = update_display if self._shown else display
        do({"text/plain": text}, raw=True, display_id=self._output)
        self._shown = True


def follow(metric: Metric, unit: str, progress: bool = True) -> Silent:
    """What reports here how a run goes. ``metric``: the one that decides; ``unit``: what is counted."""
    if not progress:
        return Silent()
    if in_notebook():
        return Notebook(metric, unit)
    return (Terminal if sys.stderr.isatty() else Plain)(metric, unit)


def in_notebook() -> bool:
    """Whether this process is a notebook's kernel; IPython on a terminal is none."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")
