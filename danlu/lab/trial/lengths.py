"""How many updates the variant makes where FLOPs or time are to be equal. No torch here.

Each equality is a run of its own with a whole schedule: a variant that is cut short where the budget ends has
not decayed its rate, and would lose by that. Where an update of both costs the same, the runs of equal
updates serve for that equality too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean
from typing import NamedTuple

from danlu.lab.trial.sides import Side
from danlu.lab.trial.timing import SAME, Ratio


class Equal(NamedTuple):
    """The variant at an equality (None: it cannot be had), its cost of an update over the baseline's, and
    what must be said."""

    side: Side | None
    cost: float | None = None
    note: str = ""


def at_equal_steps(variant: Side, baseline: Side) -> Equal:
    """As many updates, which may read more or less."""
    read = [side.experiment.train.batch * side.experiment.data.size for side in (variant, baseline)]
    unit = f"{baseline.experiment.unit}s"
    note = "" if read[0] == read[1] else f"an update reads {read[0]:,} {unit}, the baseline's {read[1]:,}"
    return Equal(variant, note=note)


def at_equal_flops(variant: Side, baseline: Side) -> Equal:
    """As many updates as the FLOPs of the baseline's run pay for."""
    side, ratio = variant.at_cost_of(baseline)
    if abs(ratio - 1) <= SAME:
        return Equal(variant, ratio, f"the runs of equal steps: FLOPs differ by {abs(ratio - 1):.1%}")
    return Equal(side, ratio, f"{side.steps:,} steps: an update has {ratio:.3g}× the FLOPs")


def at_equal_time(variant: Side, ratio: Ratio) -> Equal:
    """As many updates as take what those of the baseline take."""
    time, low, high = ratio.value
    if not ratio.known:
        return Equal(None, None, ratio.why)
    if low == high == 1:
        return Equal(variant, 1.0, f"the runs of equal steps: {ratio.why}")
    takes = f"an update takes {time:.3f}× as long ({low:.3f} … {high:.3f}, {ratio.why})"
    if ratio.same:
        return Equal(variant, time, f"the runs of equal steps: {takes}, the same to {SAME:.0%}")
    if not ratio.settled:
        why = f"neither the same to {SAME:.0%} nor clearly other"
        return Equal(None, None, f"time cannot be measured well enough here now: {takes}, {why}")
    side = variant.longer(1 / time)
    return Equal(side, time, f"{side.steps:,} steps: {takes}")


def doubt(
    at_steps: Side, at_time: Side, metrics: Sequence[tuple[float, float]], ratio: Ratio
) -> tuple[float, float]:
    """How much lower and higher the variant's metric may be at exactly equal time: at the lengths that the
    ends of the ratio's interval allow, by the slope between its two lengths in ln steps. ``metrics``: of both
    lengths, by seed."""
    known = [(one, other) for one, other in metrics if math.isfinite(one) and math.isfinite(other)]
    if at_steps.steps == at_time.steps or not known:
        return 0.0, 0.0
    slope = fmean(other - one for one, other in known) / math.log(at_time.steps / at_steps.steps)
    ends = [slope * math.log(at_steps.steps / end / at_time.steps) for end in ratio.value[1:]]
    return max(0.0, -min(ends)), max(0.0, *ends)
