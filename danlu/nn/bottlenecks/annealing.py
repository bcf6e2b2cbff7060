"""Schedules of β: numbers that multiply a penalty."""

from __future__ import annotations


def linear(step: int, rise: int) -> float:
    """From 0 at step 0 to 1 at step ``rise``, and 1 from there (Bowman et al. 2016)."""
    return min(1.0, step / rise)


def cyclic(step: int, period: int, rise: float = 0.5) -> float:
    """``linear`` over the share ``rise`` of each ``period``, begun anew after it (Fu et al. 2019)."""
    return min(1.0, step % period / (rise * period))
