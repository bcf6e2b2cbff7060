"""The rate over a run."""

from __future__ import annotations

import math

from danlu import spec


def factor(s: spec.Schedule, progress: float, step: int = 0) -> float:
    """What multiplies the peak rate at ``progress`` ∈ [0, 1] of the run.

    ``step`` counts finished updates and serves ``warmup_steps``. The first update has a rate above
    zero: warm-up over n steps gives 1/n, 2/n, … 1. At progress 1 the factor is ``floor`` exactly (of a
    constant one: 1).
    """
    if s.warmup_steps is not None:
        if step < s.warmup_steps:
            return (step + 1) / s.warmup_steps
    elif progress < s.warmup:
        return max(progress / s.warmup, 0.01)
    if s.kind == "constant":
        return 1.0
    # Warm-up in steps ended at this share of the run, as far as its pace so far tells.
    start = s.warmup if s.warmup_steps is None else progress * s.warmup_steps / max(step, 1)
    if s.kind == "linear":
        start = max(start, 1.0 - s.decay)
    if progress <= start:
        return 1.0
    along = min(1.0, (progress - start) / (1.0 - start))
    shape = 1.0 - along if s.kind == "linear" else 0.5 * (1.0 + math.cos(math.pi * along))
    return s.floor + (1.0 - s.floor) * shape
