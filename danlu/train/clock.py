"""Active seconds, by what they were spent on. No torch here."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Literal, get_args

Part = Literal["startup", "compile", "data", "train", "optimizer", "evaluation", "checkpoint", "other"]
PARTS: tuple[str, ...] = get_args(Part)


class Clock:
    """Adds up seconds by part: ``with clock("data"): ...``.

    Parts nest and every second counts once, for the innermost; seconds outside all parts count
    nowhere, so that waiting between two processes of one run is not active time. ``parts``: the
    ``state()`` of an earlier process, to go on from. For one thread.
    """

    def __init__(
        self, parts: Mapping[str, float] | None = None, timer: Callable[[], float] = time.perf_counter
    ) -> None:
        given = dict(parts or {})
        unknown = sorted(given.keys() - set(PARTS))
        if unknown:
            raise ValueError(f"a clock has no part {unknown[0]!r}; its parts are {', '.join(PARTS)}")
        self._seconds = {part: float(given.get(part, 0.0)) for part in PARTS}
        self._timer = timer
        self._since = 0.0
        self._running: list[str] = []
        self._spans = {part: _Span(self, part) for part in PARTS}

    def __call__(self, part: Part) -> _Span:
        """A context that counts for ``part``; raises ``KeyError`` for an unknown one."""
        return self._spans[part]

    def _settle(self) -> None:
        now = self._timer()
        if self._running:
            self._seconds[self._running[-1]] += now - self._since
        self._since = now

    def add(self, part: Part, seconds: float) -> None:
        """Count seconds spent before this clock could see them: those of an earlier process, of an import."""
        self._seconds[part] += seconds

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds by part until now, with the part that is running."""
        self._settle()
        return dict(self._seconds)

    @property
    def active(self) -> float:
        """Seconds in all parts until now."""
        return sum(self.seconds.values())

    def state(self) -> dict[str, float]:
        """What a later process passes as ``parts``."""
        return self.seconds


class _Span:
    """Entered any number of times: what is running is kept by the clock, so no object a time."""

    __slots__ = ("_clock", "_part")

    def __init__(self, clock: Clock, part: str) -> None:
        self._clock, self._part = clock, part

    def __enter__(self) -> None:
        self._clock._settle()
        self._clock._running.append(self._part)

    def __exit__(self, *_: object) -> None:
        self._clock._settle()
        self._clock._running.pop()


class Pool:
    """The clock of several runs that are carried out as one: each second counts for all that have joined, in
    equal parts."""

    def __init__(self, timer: Callable[[], float] = time.perf_counter) -> None:
        self.clock = Clock(timer=timer)
        self.count = 0  # of those that share
        self.each = dict.fromkeys(PARTS, 0.0)  # seconds of one that shares from the beginning
        self._dealt = dict(self.each)

    def deal(self) -> None:
        """Share out what the clock has counted."""
        now = self.clock.seconds
        for part, seconds in now.items():
            self.each[part] += (seconds - self._dealt[part]) / max(self.count, 1)
        self._dealt = now


class Share(Clock):
    """A run's part of the seconds of a ``pool``, from now until it ``leave``s."""

    def __init__(self, pool: Pool) -> None:
        super().__init__()
        self._pool: Pool | None = None
        self._spans = pool.clock._spans
        pool.deal()
        pool.count += 1
        self._pool, self._from = pool, dict(pool.each)

    def leave(self) -> None:
        """Share no longer."""
        seconds = self.seconds
        if self._pool is not None:
            self._pool.count -= 1
            self._pool, self._seconds = None, seconds

    @property
    def seconds(self) -> dict[str, float]:
        if self._pool is None:
            return dict(self._seconds)
        self._pool.deal()
        each = self._pool.each
        return {part: own + each[part] - self._from[part] for part, own in self._seconds.items()}
