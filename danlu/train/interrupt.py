"""A polite end: SIGTERM and Ctrl-C become a request that the trainer answers with a checkpoint.

A request is answered where somebody polls ``requested``: between steps, in evaluation, after
compiling. Before there is anything to save (``at_once``) it is answered where it comes. It is a courtesy;
what a run can rely on is its periodic checkpoints.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from danlu.files.system import signal_self

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Ended(KeyboardInterrupt):
    """A request that came ``at_once``. Like Ctrl-C it is no mistake that somebody on its way might catch."""


class Interrupt:
    """``with Interrupt() as interrupt:`` and poll ``interrupt.requested``.

    Ctrl-C after any request raises ``KeyboardInterrupt`` at once; a repeated SIGTERM changes
    nothing, since schedulers repeat themselves. Outside the main thread, where Python allows no
    handlers, it does nothing. Leaving the block, the outermost of several, restores the handlers found.
    """

    def __init__(self) -> None:
        self.requested: str | None = None  # the name of the first signal
        self._found: dict[int, Any] = {}
        self._owner = os.getpid()
        self._depth = 0
        self._raises = False

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Within, the first request, or one from before, raises ``Ended``: for work that takes long and that
        the next process does again."""
        self._raises = True  # before the look: a request from another thread comes before or after it
        try:
            if self.requested is not None:
                raise Ended
            yield
        finally:
            self._raises = False

    def request(self, number: int) -> None:
        """Request an end as a signal does; from any thread."""
        self.requested = self.requested or signal.Signals(number).name
        if self._raises:
            signal_self(number)  # only the main thread can be called away from what it does

    def __enter__(self) -> Interrupt:
        self._depth += 1
        if self._depth > 1:
            return self
        self._owner = os.getpid()
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                self._found[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        if self._depth:
            return
        for number, handler in self._found.items():
            # None: set by C code that Python cannot name; the default is the nearest there is.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._found.clear()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._owner:
            self._hand_on(number, frame)
        elif self.requested is None or self._raises:
            self.requested = self.requested or signal.Signals(number).name
            if self._raises:
                self._raises = False  # what cleans up meanwhile is left alone
                raise Ended
        elif number == signal.SIGINT:
            raise KeyboardInterrupt

    def _hand_on(self, number: int, frame: FrameType | None) -> None:
        """In a forked child (a loader's worker) behave as if we had never been here, or it would not die."""
        handler = self._found[number]
        if callable(handler):
            handler(number, frame)
        elif handler != signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
            signal_self(number)
