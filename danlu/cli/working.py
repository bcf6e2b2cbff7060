"""What a verb says on stderr while it works, once that takes long."""

from __future__ import annotations

import sys
import threading
import time
from typing import Self

from danlu.cli.output import inform, show_progress

PATIENCE = 2.0  # seconds before the first word
LIVE_EVERY, PLAIN_EVERY = 0.1, 10.0  # between two, on a terminal and where no line can move


class Working:
    """Call it with what is being done, and how far it is; on leaving the context its line is gone.

    What was said last is told once even if it is not called again.
    """

    def __init__(self) -> None:
        self._live, self._last, self._shown = sys.stderr.isatty(), time.monotonic(), False
        self._line = ""
        self._late = threading.Timer(PATIENCE, self._first)
        self._late.daemon = True

    def __enter__(self) -> Self:
        self._late.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._late.cancel()
        self._late.join()
        if self._live and self._shown:
            show_progress("")

    def _first(self) -> None:
        if self._line and not self._shown:
            self._show(self._line)

    def __call__(self, what: str, done: int = 0, of: int = 0) -> None:
        self._line = f"{what}: {done:,} of {of:,}" if of else what
        now = time.monotonic()
        wait = (LIVE_EVERY if self._live else PLAIN_EVERY) if self._shown else PATIENCE
        if now - self._last < wait:
            return
        self._show(self._line)

    def _show(self, line: str) -> None:
        (show_progress if self._live else inform)(line)
        self._last, self._shown = time.monotonic(), True
