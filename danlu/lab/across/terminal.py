"""A study over sizes in a terminal: the answer in a sentence, the gain rung by rung, what it cost."""

from __future__ import annotations

import math
from collections.abc import Iterator

from danlu.lab.across.answer import Across, AtRung, Scaled
from danlu.lab.statistics.ahead import Way
from danlu.lab.statistics.gain import Gain
from danlu.lab.statistics.means import Interval
from danlu.lab.trial.question import label

HEAD = (
    "idea", "parameters", "tokens", "rate", "pairs", "difference", "compute gain", "at equal time",
)  # fmt: skip


def sentence(idea: Scaled, answer: Across) -> str:
    """The answer, and where it holds."""
    beyond = "" if idea.judged is None else (
        f" at {math.exp(idea.judged.at):.2g} FLOP, two rungs beyond the largest run"
    )  # fmt: skip
    said = f"{idea.idea} on {label(answer.on)}: {idea.said}{beyond}"
    if idea.verdict == "void":
        return f"{said}: {idea.why}"
    if idea.judged is None or not math.isfinite(idea.judged.gain.value):
        return f"{said}; {idea.why}"
    gain = f"{said}: {worth(idea.judged.gain)}; {idea.why}"
    if idea.stopped is not None and idea.stopped < answer.rungs[-1].level:
        gain += f". It ended after rung {idea.stopped + 1}: no chance was left to be shown better"
    return gain


def worth(gain: Interval) -> str:
    """``worth 1.08 times the compute (1.02 … 1.15)``, of ln gain."""
    value, low, high = (times(end) for end in gain)
    return f"worth {value} times the compute ({low} … {high})"


def times(log: float) -> str:
    """A factor of ln gain: 1.08."""
    if not math.isfinite(log):
        return "0" if log < 0 else "∞"
    return f"{math.exp(log):.3g}" if abs(log) < 7 else f"{math.exp(min(log, 700)):.0e}"


def table(answer: Across) -> list[list[str]]:
    """A row for each rung of each idea, the heading first."""
    rows = [[*HEAD]]
    for idea in answer.ideas:
        for place, one in enumerate(idea.at):
            rows.append([idea.idea if place == 0 else "", *_row(idea, place, one)])
    return rows


def _row(idea: Scaled, place: int, one: AtRung) -> list[str]:
    ended = [v - b for b, v in zip(one.before, one.after, strict=True) if math.isfinite(v - b)]
    difference = f"{sum(ended) / len(ended):+.4f}" if ended else "diverged"
    rates = [f"{side.rate:.2g}" if side.rate is not None else "own" for side in (one.baseline, one.variant)]
    return [
        f"{one.rung.parameters / 1e3:,.0f}k", f"{one.rung.tokens / 1e6:.3g}M", " → ".join(rates),
        f"{len(ended)}", difference, _gain(idea.gains, place), _gain(idea.timed, place),
    ]  # fmt: skip


def _gain(gains: tuple[Gain, ...], place: int) -> str:
    if place >= len(gains) or not math.isfinite(gains[place].value):
        return "–"
    gain = gains[place]
    value, low, high = gain.interval()
    bound = {">=": "≥ ", "~": "~"}.get(gain.bound, "")
    return f"{bound}{times(value)} ({times(low)} … {times(high)})"


def details(answer: Across) -> Iterator[str]:
    """What stands behind the table, a line each."""
    for idea in answer.ideas:
        yield f"{idea.idea}:"
        yield from (f"  rung {i}: no gain, as {gain.why}" for i, gain in enumerate(idea.gains, 1) if gain.why)
        if idea.judged_time is not None:
            yield f"  at equal time: {idea.judged_time.verdict}, {worth(idea.judged_time.gain)}"
        elif idea.at and (last := idea.at[-1].time) is not None and not last.known:
            yield f"  at equal time: {last.why}"
        if idea.judged is not None and idea.judged.slope is not None:
            slope = idea.judged.slope
            trend = "grows" if slope.low > 0 else "fades" if slope.high < 0 else "no trend is shown"
            ends = f"{slope.value:+.3f}, 90 %: {slope.low:+.3f} … {slope.high:+.3f}"
            yield f"  with compute: {trend} (ln gain for each ln compute {ends})"
        if idea.judged is not None and idea.judged.model is not None and idea.judged.model.assumes:
            yield f"  {idea.judged.model.assumes}"
        if idea.shrunk is not None and idea.verdict != "void":
            shrunk = times(idea.shrunk.value)
            yield f"  drawn towards none, as most ideas give little: {shrunk} times the compute"
        if idea.regime is not None:
            yield f"  regime, the least of all rungs: {idea.regime.words}"
            yield from (f"  early: {why}" for why in idea.regime.early)
        if idea.ways and idea.judged is not None:
            now = times(idea.judged.gain.high - idea.judged.gain.value)
            told = " or ".join(_way(way, answer) for way in idea.ways)
            yield f"  to narrow the interval (now a factor of {now} each way): {told}"
    if answer.before:
        looks = ", ".join(f"{look.rungs} rungs with {look.seeds} pairs" for look in answer.before)
        yield f"It was judged before, at {looks}; the intervals do not count that."
    yield f"Cost: {answer.cost.words}"
    yield f"Everything: {answer.study.path}/ (result.json, report.html)"


def _way(way: Way, answer: Across) -> str:
    options = f"--rungs {way.rungs}" if way.pairs == 1 else f"--seeds {answer.look.seeds * way.pairs}"
    return f"{options} ({times(way.half)}, for {way.cost:.2g} FLOP)"
