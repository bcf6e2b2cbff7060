"""Specifications of schedules; built by ``danlu.optim.schedules``."""

from __future__ import annotations

from typing import Literal

from danlu.spec.base import Fraction, PositiveInt, Spec


class Schedule(Spec):
    """The rate over the run: linear warm-up over the first ``warmup`` of it (a fraction, or
    ``warmup_steps``), then ``kind`` down to ``floor`` times the peak. ``decay`` is the share of
    the run in which ``linear`` falls (1 = all of it; less = warm-up, stable, decay)."""

    kind: Literal["constant", "linear", "cosine"] = "cosine"
    warmup: Fraction = 0.02
    warmup_steps: PositiveInt | None = None
    floor: Fraction = 0.1
    decay: Fraction = 1.0
