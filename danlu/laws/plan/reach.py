"""How far a plan is from the runs that its law was found in."""

from __future__ import annotations

from danlu.laws.beyond import NOT_KNOWN, beyond
from danlu.laws.beyond import reach as farthest
from danlu.laws.errors import Warned
from danlu.laws.plan.asked import Run
from danlu.laws.plan.basis import Basis
from danlu.laws.plan.lines import Line
from danlu.laws.table import Points

GROUP = "reach"
SAID = {"c": ("compute", "compute"), "n": ("parameters", "size"), "d": ("tokens", "number of tokens")}


def reach(run: Run, basis: Basis, far: bool) -> tuple[list[Line], list[Warned]]:
    """A line for each column whose range is known: how many times the largest run of the fit; and a warning
    where this is above one, or the run is below the smallest, or no range is known. Raises LawError where
    the run lies too far beyond them, as ``danlu.laws.predict`` does, unless ``far``."""
    lines, over_or_under = list[Line](), list[str]()
    values = {"c": float(run.training), "n": float(run.n), "d": float(run.d)}
    times, column = farthest(Points({name: [value] for name, value in values.items()}), basis.ranges)
    calibration = None if basis.fitted is None else basis.fitted.calibration
    said = [] if times[0] <= 1 else beyond(float(times[0]), column[0], basis.ranges, calibration, far)
    if not any(name in basis.ranges for name in values):
        return [], [NOT_KNOWN]
    for name, (key, what) in SAID.items():
        if name not in basis.ranges:
            continue
        low, high = basis.ranges[name]
        over = values[name] / high
        lines.append(
            Line(
                f"reach_{key}",
                f"{key} over the fit's largest",
                over,
                None,
                None,
                "times",
                basis.source,
                GROUP,
            )
        )
        if over > 1:
            over_or_under.append(f"{over:.3g} times its largest {what}")
        elif values[name] < low:
            over_or_under.append(f"{values[name] / low:.3g} of its smallest {what}")
    if not over_or_under:
        return lines, []
    text = f"the law goes beyond the runs it was fitted to: {', '.join(over_or_under)}"
    warned = Warned("beyond-points", f"{text}; no interval here covers that")
    return lines, [*(one for one in said if one.code == "far-beyond"), warned]
