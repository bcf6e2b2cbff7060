"""What a verb says on stderr while it works, once that takes long."""

from __future__ import annotations

import sys
import time
from typing import Self

from danlu.cli.output import inform, show_progress

PATIENCE = 2.0  # seconds before the first word
LIVE_EVERY, PLAIN_EVERY = 0.1, 10.0  # between two, on a terminal and where no line can move


class Working:
    """Call it with what is being done, and how far it is; on leaving the context its line is gone."""

    def __init__(self) -> None:
        self._live, self._last, self._shown = sys.stderr.isatty(), time.monotonic(), False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._live and self._shown:
            show_progress("")

    def __call__(self, what: str, done: int = 0, of: int = 0) -> None:
        now = time.monotonic()
        wait = (LIVE_EVERY if self._live else PLAIN_EVERY) if self._shown else PATIENCE
        if now - self._last < wait:
            return
        line = f"{what}: {done:,} of {of:,}" if of else what
        (show_progress if self._live else inform)(line)
        self._last, self._shown = now, True
