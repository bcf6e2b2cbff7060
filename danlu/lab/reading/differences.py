"""Paired differences over steps (or time, FLOPs, tokens): at each place the mean over pairs of equal seed,
and its interval. The intervals hold at each place alone, not for all of them together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from danlu.draw import Chart
from danlu.lab.reading.curves import Curve, at

if TYPE_CHECKING:
    from danlu.lab.statistics import Interval

Over = list[tuple[float, "Interval"]]
CAPTION = (
    "{what}: {name} − {baseline}, the mean over {pairs} pairs of equal seed. A verdict comes from the ends "
    "of the runs alone."
)
MEANS = "the 95 % interval of the mean, at each point alone"


def paired_over(pairs: Sequence[tuple[Curve, Curve]]) -> Over:
    """(x, interval of the mean of second − first) at each x of the first curves at which all are known:
    measured there, or between two measurements linear in log x. Of one pair the intervals are endless."""
    from danlu.lab.statistics import paired

    rows: Over = []
    for x in sorted({x for first, _ in pairs for x, _ in first}):
        found = [at(second, x) - at(first, x) for first, second in pairs]
        if all(map(math.isfinite, found)):
            rows.append((x, paired(found)))
    return rows


def chart_of(
    pairs: Mapping[str, Sequence[tuple[Curve, Curve]]],
    x: str,
    y: str,
    baseline: str,
    least: int,
    more: str = "",
) -> Chart | None:
    """Of the names whose pairs meet at ``least`` places or more; None where there is none. ``more``: what the
    caption says besides."""
    over = {name: rows for name, some in pairs.items() if len(rows := paired_over(some)) >= least}
    return chart(over, x, y, baseline, {name: len(pairs[name]) for name in over}, more) if over else None


def chart(
    over: Mapping[str, Over], x: str, y: str, baseline: str, pairs: Mapping[str, int], more: str = ""
) -> Chart:
    """A line and a band for each name in ``over``; zero is the baseline. ``pairs``: how many, by name."""
    counts = sorted(set(pairs.values()))
    said = " or ".join(map(str, counts))
    name = next(iter(over)) if len(over) == 1 else "each"
    caption = CAPTION.format(what=y, name=name, baseline=baseline, pairs=said)
    caption = f"{caption} {more}".rstrip()
    drawn = Chart(x, f"difference in {y}", log_x=True, caption=caption).rule(y=0)
    for label, rows in over.items():
        xs = [place for place, _ in rows]
        drawn.line(xs, [mean.value for _, mean in rows], label)
        if any(math.isfinite(mean.low) for _, mean in rows):
            drawn.band(
                xs, [mean.low for _, mean in rows], [mean.high for _, mean in rows], label, means=MEANS
            )
    return drawn
