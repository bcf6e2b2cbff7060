"""A study in a terminal: a table that is read in ten seconds, then what stands behind it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from danlu.lab.statistics import LEVEL
from danlu.lab.trial.answer import EQUAL, Answer
from danlu.lab.trial.findings import Finding
from danlu.lab.why import BAND

STRIP = 33  # letters
HEAD = ("idea", "at equal", "verdict", "difference", "95 % interval")


def table(answer: Answer) -> list[list[str]]:
    """The rows, the heading first: idea, equality, verdict, difference, interval, every difference a dot."""
    findings = answer.findings
    reach = max((abs(x) for f in findings for x in _drawn(f)), default=0.0)
    scale = f"{-reach:.2g}".ljust(STRIP // 2) + "0" + f"{reach:.2g}".rjust(STRIP // 2) if reach else ""
    rows = [[*HEAD, scale]]
    for idea, of_idea in answer.by_idea.items():
        for i, f in enumerate(of_idea):
            name = idea if i == 0 else ""
            drawn = strip(f, reach) if reach else ""
            rows.append([name, EQUAL[f.pairs.at], f.said, *_numbers(f), drawn])
    return rows


def _numbers(f: Finding) -> tuple[str, str]:
    value, low, high = f.interval
    if not math.isfinite(value):
        return "–", "–"
    return f"{value:+.4f}", f"{low:+.4f} … {high:+.4f}" if math.isfinite(low) else "needs more pairs"


def _drawn(f: Finding) -> list[float]:
    """Dots and ends; where the interval is far wider than the dots, the dots alone, or they would be one."""
    dots = list(f.pairs.differences.values())
    widest = 3 * max(map(abs, dots), default=0.0)
    return [*dots, *(end for end in f.interval[1:] if abs(end) <= widest)]


def strip(f: Finding, reach: float) -> str:
    """The interval as a line, zero as a bar, each pair's difference as a dot: `` ──•─•──┼``. From −``reach``
    on the left to ``reach`` on the right; an end of the interval that lies beyond is ``<`` or ``>``."""
    middle = STRIP // 2

    def at(x: float) -> int:
        share = max(-1.0, min(1.0, x / reach)) if reach else 0.0
        return middle + round(share * middle)

    letters = [" "] * STRIP
    if math.isfinite(f.interval.value):
        for place in range(at(f.interval.low), at(f.interval.high) + 1):
            letters[place] = "─"
        if f.interval.low < -reach:
            letters[0] = "<"
        if f.interval.high > reach:
            letters[-1] = ">"
    letters[middle] = "┼" if letters[middle] == "─" else "│"
    for x in f.pairs.differences.values():
        letters[at(x)] = "●" if letters[at(x)] in "•●" else "•"
    return "".join(letters)


def details(answer: Answer) -> Iterator[str]:
    """What stands behind the table, a line each; an empty line between ideas."""
    for idea, found in answer.by_idea.items():
        yield from _of_idea(idea, found)
        yield ""
    yield from _of_all(answer, len(answer.by_idea))


def _of_idea(idea: str, found: Sequence[Finding]) -> Iterator[str]:
    yield f"{idea}:"
    for f in found:
        lost, lost_variant = f.pairs.diverged
        for side, count in (("the baseline", lost), ("the variant", lost_variant)):
            if count:
                of = f"{count} of {len(f.pairs.seeds)} seeds"
                yield f"  at equal {EQUAL[f.pairs.at]} {side} alone diverged in {of}"
        if f.note and f.verdict != "void":
            yield f"  equal {EQUAL[f.pairs.at]}: {f.note}"
    first = found[0]
    if first.verdict == "not shown" and first.more is None and len(first.pairs.differences) > 1:
        yield "  a thousand more seeds would not decide, if mean and spread stay as they are"
    if first.tuned:
        yield from _tuned(first.tuned)
    if first.why.moved and first.why.seeds == 1:
        yield "  what moved most inside, at equal steps; of one seed it may be noise:"
        yield from (f"    {m['words']}" for m in first.why.moved)
    elif first.why.moved:
        yield "  what moved most inside, at equal steps, in units of its noise over seeds:"
        yield from (f"    {m['score']:+6.1f}  {m['words']}; {m['when']}" for m in first.why.moved)
        yield f"    ({BAND})"
    if first.why.moved:
        yield from (f"  did not move: {still['words']}" for still in first.why.still)


def _tuned(tuned: Mapping[str, Any]) -> Iterator[str]:
    for side, seen in tuned.items():
        low, high = ("…" if end is None else f"{end:.2g}" for end in seen["interval"])
        known = f" (95 %: {low} to {high})" if not seen["why"] else ", its own: no best one was found"
        yield f"  rate of the {side}: {seen['field']} = {seen['value']:.3g}{known}, {seen['trials']} trials"


def _of_all(answer: Answer, ideas: int) -> Iterator[str]:
    first = answer.findings[0]
    if ideas > 1:
        yield (
            f"Verdicts and their intervals allow for {ideas} ideas tried at once (Holm): {LEVEL:.0%} for all "
            "together."
        )
    if first.kind == "anytime":
        why = (
            "the study was to stop when the verdict is clear"
            if answer.question.stop_early
            else "seeds were added, or left out, after a look at the result"
        )
        yield f"Intervals are anytime-valid, wider than Student's: {why}."
    yield f"Everything: {answer.study.path}/ (result.json, report.html)"
