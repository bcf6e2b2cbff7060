"""An answer in words: what was asked, what came out, where on its way the program was, what it cost, what
next."""

from __future__ import annotations

import math
from collections.abc import Iterator

from danlu.lab.ledger.table import CONTROL
from danlu.lab.referee.answer import Answer
from danlu.lab.referee.findings import Finding, Sides
from danlu.lab.referee.words import count
from danlu.lab.statistics import LEVEL
from danlu.lab.statistics.multiverse import differing

HEAD = ("idea", "verdict", "difference", "interval", "pairs")


def table(answer: Answer) -> list[list[str]]:
    """A row for each idea, the heading first."""
    rows = [[*HEAD]]
    for finding in answer.findings:
        value, low, high = finding.interval
        few = "needs more pairs" if finding.sides.differences else "no pair ended"
        ends = f"{low:+.4g} … {high:+.4g}" if math.isfinite(low) else few
        said = f"{value:+.4g}" if math.isfinite(value) else "–"
        rows.append([finding.idea, answer.verdict(finding), said, ends, str(len(finding.sides.differences))])
    return rows


def asked(answer: Answer) -> str:
    """What the differences are of."""
    plan = answer.question.plan
    against = f"{', '.join(answer.question.ideas)} against {plan.baseline}"
    return f"{against}: {plan.metric.name}, where {plan.metric.better} is better; idea − {plan.baseline}"


def details(answer: Answer) -> Iterator[str]:
    """What stands behind the table, a line each; of a question without a verdict, why there is none."""
    if answer.why:
        yield f"{answer.outcome}: {answer.why}"
    for finding in answer.findings:
        yield f"{finding.idea}: {answer.verdict(finding)}; {finding.why}"
        yield from numbers(finding)
        if (word := answer.control.get(finding.idea, "stands")) != "stands":
            yield f"  {word}: {CONTROL[word]} (danlu ledger judge)"
        if (step := answer.next(finding)) is not None:
            cost = step["cost"]
            runs = count(cost["runs"], "run")
            yield f"  to decide: {step['command']} ({runs}, {time_of(cost['seconds'])})"
    if any(finding.gains for finding in answer.findings):
        yield "gain: how many times its compute the baseline needs to be as good as the idea"
    if any(finding.sides.differences for finding in answer.findings):
        yield f"e: evidence that there is a difference; {1 / (1 - LEVEL):.0f} or more is strong"
    yield from (f"early: {why}" for why in answer.early)
    if answer.findings and answer.in_regime is None:
        yield "regime: not known, so this may be early; let the file read steps, tokens and parameters (also)"
    yield from (f"premise {held}" for held in answer.premises)
    for rung, arms in answer.tuned.items():
        at = f" at {rung}" if rung else ""
        for arm, seen in arms.items():
            low, high = seen["interval"]
            runs = count(seen["runs"], "run")
            yield f"best rate of {arm}{at}: {seen['rate']:.3g} ({low:.3g} … {high:.3g}), {runs}"
    yield from answer.notes
    if answer.cost:
        tuning = f", of them {answer.cost['tuning_runs']:.0f} to tune" if answer.cost["tuning_runs"] else ""
        yield f"cost: {count(int(answer.cost['runs']), 'run')}{tuning}, {time_of(answer.cost['seconds'])}"
    yield f"everything: {answer.study.path}/ (result.json, report.html)"


def numbers(finding: Finding) -> Iterator[str]:
    """What a verdict rests on, a line each."""
    for one in finding.gains:
        gain = f"gain {one['bound']}{one['gain']:.3g}× ({one['low']:.3g}× … {one['high']:.3g}×),"
        if one["why"]:
            gain = f"no gain is known, as {one['why']};"
        yield f"  {one['rung']}: {gain} difference {one['difference']:+.4g}, {count(one['pairs'], 'pair')}"
    sides = finding.sides
    if not sides.differences:
        yield f"  {_unfinished(sides)}"
        return
    how = {
        "paired": f"in pairs: the values of a seed correlate, {sides.correlation or 0:.2f}",
        "unpaired": "unpaired: runs of one seed have nothing in common",
        "anytime": "with an interval that allows for looking before the end, wider than Student's",
    }
    yield f"  compared {how[finding.kind]}; evidence e = {finding.e:.3g}"
    if other := differing(finding.readings, finding.verdict):
        yield f"  other analyses of the same runs: {other}"
    if finding.verdict in ("better", "worse") and finding.severity:
        tested = ", ".join(f"{value:.2f} at {bound}" for bound, value in finding.severity.items())
        yield f"  severity: {tested}"


def _unfinished(sides: Sides) -> str:
    """Why nothing was compared, and what to do."""
    ended = [any(run.end == "ended" for run in side) for side in (sides.baseline, sides.variant)]
    who = {(True, False): sides.idea, (False, True): "the baseline"}.get((ended[0], ended[1]), "either side")
    if all(ended):
        return "nothing was compared: no pair finished; ask for more pairs, or lower the rates"
    return (
        f"nothing was compared: no run of {who} finished; lower its rate, or let the referee tune it (tune)"
    )


def time_of(seconds: float) -> str:
    """Seconds as one says them: 40 s, 12 min, 3.2 h."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
