"""How far a plan is from the runs that its law was found in."""

from __future__ import annotations

from danlu.laws.beyond import NOT_KNOWN, RATIO, beyond
from danlu.laws.errors import Warned
from danlu.laws.plan.asked import Run
from danlu.laws.plan.basis import Basis
from danlu.laws.plan.lines import Line
from danlu.laws.table import Points

GROUP = "reach"
SAID = {"c": ("compute", "compute"), "n": ("parameters", "size"), "d": ("tokens", "number of tokens")}


def reach(run: Run, basis: Basis, far: bool) -> tuple[list[Line], list[Warned]]:
    """A line for each column whose range is known, and for D/N: how many times the largest of the fit; and a
    warning where this is above one, or the run is below the smallest, or no range is known. Raises LawError
    where the run lies too far beyond them, as ``danlu.laws.predict`` does, unless ``far``."""
    lines, over_or_under = list[Line](), list[str]()
    values = {"c": float(run.training), "n": float(run.n), "d": float(run.d)}
    if not any(name in basis.ranges for name in values):
        return [], [NOT_KNOWN]
    calibration = None if basis.fitted is None else basis.fitted.calibration
    place = Points({name: [value] for name, value in values.items()})
    _, said = beyond(place, basis.ranges, calibration, far)

    def tell(key: str, name: str, over: float) -> None:
        told = f"{name} over the fit's largest"
        lines.append(Line(f"reach_{key}", told, over, None, None, "times", basis.source, GROUP))

    for name, (key, what) in SAID.items():
        if name not in basis.ranges:
            continue
        low, high = basis.ranges[name]
        over = values[name] / high
        tell(key, key, over)
        if over > 1:
            over_or_under.append(f"{over:.3g} times its largest {what}")
        elif values[name] < low:
            over_or_under.append(f"{values[name] / low:.3g} of its smallest {what}")
    if RATIO in basis.ranges:
        tell("ratio", "tokens per parameter", float(run.d / run.n) / basis.ranges[RATIO][1])
    warned = [one for one in said if one.code != "beyond"]  # which the next sentence says of every column
    if over_or_under:
        text = f"the law goes beyond the runs it was fitted to: {', '.join(over_or_under)}"
        warned.append(Warned("beyond-points", f"{text}; the law itself may not hold there"))
    return lines, warned
