"""How far a plan is from the runs that its law was found in."""

from __future__ import annotations

from danlu.laws.errors import Warned
from danlu.laws.plan.asked import Run
from danlu.laws.plan.basis import Basis
from danlu.laws.plan.lines import Line

GROUP = "reach"
SAID = {"c": ("compute", "compute"), "n": ("parameters", "size"), "d": ("tokens", "number of tokens")}


def reach(run: Run, basis: Basis) -> tuple[list[Line], list[Warned]]:
    """A line for each column whose range is known: how many times the largest run of the fit; and a warning
    where this is above one, or the run is below the smallest."""
    lines, beyond = list[Line](), list[str]()
    values = {"c": float(run.training), "n": float(run.n), "d": float(run.d)}
    for column, (key, said) in SAID.items():
        if column not in basis.ranges:
            continue
        low, high = basis.ranges[column]
        over = values[column] / high
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
            beyond.append(f"{over:.3g} times its largest {said}")
        elif values[column] < low:
            beyond.append(f"{values[column] / low:.3g} of its smallest {said}")
    if not beyond:
        return lines, []
    text = f"the law goes beyond the runs it was fitted to: {', '.join(beyond)}; no interval here covers that"
    return lines, [Warned("beyond-points", text)]
