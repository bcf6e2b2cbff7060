"""A study in plain sentences: what is asked, and of each idea the answer, the regime that it holds in, what
it cost, and what to ask next. No torch here."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby

from danlu.lab.regime import TOKENS_PER_PARAMETER, UPDATES
from danlu.lab.statistics.multiverse import differing
from danlu.lab.trial.answer import EQUAL, Answer
from danlu.lab.trial.arms import Idea
from danlu.lab.trial.cost import planned
from danlu.lab.trial.findings import Finding, Pairs
from danlu.lab.trial.question import PAIRS, Question, label
from danlu.spec import Text
from danlu.spec.metrics import Metric
from danlu.spec.words import resolve, split

FEW = 40  # seeds: more are not proposed


def asks(question: Question, ideas: Sequence[Idea], metric: Metric) -> str:
    """The question itself."""
    names = " or ".join(idea.name for idea in ideas)
    return f"is {names} better than {question.on}? by held-out {metric.words}, {metric.better} is better"


def asked(question: Question, ideas: Sequence[Idea], metric: Metric) -> list[str]:
    """What is said before anything runs."""
    rates, pairs, further = planned(question)
    tuning = f"{rates} to find the best rate of each side, " if rates else ""
    return [
        asks(question, ideas, metric),
        f"{rates + pairs} runs: {tuning}{pairs} in pairs of the same seed; up to {further} more where an "
        "update of the idea costs more or less",
        *(["one pair has no interval, and so no verdict: --seeds 3 or more"] if question.seeds == 1 else []),
    ]


def answered(answer: Answer) -> list[str]:
    """The answer on each idea, a sentence and lines that say how far it reaches and what it cost; and what to
    ask next."""
    lines = []
    for findings in answer.by_idea.values():
        lines += [_sentence(answer, findings), *_regime(findings)]
        if other := differing(findings[0].readings, findings[0].verdict):
            lines.append(f"  other analyses of the same runs: {other}")
        if findings[0].cost is not None:
            lines.append(f"  cost: {findings[0].cost.words}")
    return [*lines, *(f"  next: {ask}" for ask in following(answer))]


# ---------------------------------------------------------------- the answer


def _sentence(answer: Answer, findings: Sequence[Finding]) -> str:
    """One sentence; equalities that the same runs answer are named together."""
    if findings[0].verdict == "void":
        said = f"void, since {findings[0].note}"
    else:
        same = groupby(findings, lambda f: (f.said, f.interval.value if f.pairs.seeds else None))
        said = "; ".join(_phrase(list(of)) for _, of in same)
    return f"{findings[0].pairs.idea} on {label(answer.question.on)}: {said}."


def _phrase(findings: Sequence[Finding]) -> str:
    first = findings[0]
    *others, last = [EQUAL[f.pairs.at] for f in findings]
    where = f"{first.said} at equal {', '.join(others)}{' and ' if others else ''}{last}"
    if first.verdict == "not measured":
        return where
    pairs, interval = first.pairs, first.interval
    unit = pairs.metric.unit or pairs.metric.words
    for side, count in zip(("the baseline", "the idea"), pairs.diverged, strict=True):
        if count and count == len(pairs.seeds):
            return f"{where}, as {side} diverged with each of {count} seeds"
    if first.verdict == "not shown":
        if not math.isfinite(interval.low):
            return f"{where} (that takes more pairs)"
        half, shown = (interval.high - interval.low) / 2, len(pairs.differences)
        difference = f"a difference of {interval.value:+.4f} {unit}"
        return f"{where} ({difference}; {shown} pairs show one of {half:.4f} or more)"
    before, after = means(pairs)
    return f"{where}, by {abs(interval.value):.4f} {unit} ({before:.4f} → {after:.4f})"


def means(pairs: Pairs) -> tuple[float, float]:
    """Of baseline and variant, over the pairs of which both sides ended."""
    places = [i for i, seed in enumerate(pairs.seeds) if seed in pairs.differences]
    before, after = (sum(side[i] for i in places) / len(places) for side in (pairs.baseline, pairs.variant))
    return before, after


# ---------------------------------------------------------------- how far it reaches


def _regime(findings: Sequence[Finding]) -> Iterator[str]:
    """That of equal steps, and of verdicts that are early why the first is."""
    known = [(f, f.regime) for f in findings if f.regime is not None]
    early = [f for f in findings if f.early]
    if known:
        first, regime = known[0]
        whole = "" if first.early else ": enough to speak of longer runs of this size"
        yield f"  regime: {regime.words}{whole}"
    if early:
        places = " and ".join(EQUAL[f.pairs.at] for f in early)
        why = "; ".join(early[0].early)
        yield f"  early: at equal {places} this tells who is ahead at first: {why}"


# ---------------------------------------------------------------- what comes next


def following(answer: Answer) -> Iterator[str]:
    """What to ask, and the command, the most useful first."""
    question, findings = answer.question, answer.findings
    if question.seeds == 1:  # whatever else is asked, one pair decides nothing
        question = replace(question, seeds=PAIRS)
        yield f"one pair decides nothing; with {PAIRS}: {question.command()}"
    first = [of_idea[0] for of_idea in answer.by_idea.values()]
    if any(f.verdict == "void" for f in first):
        if lowest := _lowest(answer):
            on = f"{question.on} {lowest}"
            yield f"the search for the rates around the best that was tried: {question.command(on=on)}"
        yield f"at the rates as they are, for an early verdict: {question.command(tune=None)}"
    untuned = any(f.regime is not None and f.regime.tuned is False for f in first)
    if longer := _longer(answer):
        # A verdict at rates that nobody sought is early, too.
        both, tune = (", each side at its own best rate", "lr") if untuned else ("", question.tune)
        yield f"in runs that are long enough{both}: {question.command(budget=longer, tune=tune)}"
    elif untuned:
        yield f"each side at its own best rate: {question.command(tune='lr')}"
    more = max((f.more for f in first if f.verdict == "not shown" and f.more), default=0)
    if 0 < more <= FEW:
        command = question.command(seeds=question.seeds + more)
        yield f"some {more} more pairs would decide, if mean and spread stay as they are: {command}"
    if any(f.verdict == "not measured" for f in findings):
        yield f"equal time, when nothing else runs on this machine: {question.command()}"
    if question.tune and any(f.verdict != "void" and not f.early for f in first) and _grows(question.on):
        larger = question.command("--across-scale", seeds=PAIRS, budget=None, stop_early=False)
        yield f"does it hold in larger models? {larger}"


def _lowest(answer: Answer) -> str | None:
    """Of the first side without a best rate, the best of those tried, as ``field=value``; none where the
    search began there."""
    sides = (side for of in answer.by_idea.values() for side in (of[0].tuned or {}).values() if side["why"])
    for side in sides:
        costs = {rate: answer.metric.sign * mean for rate, mean in side["curve"].items() if mean is not None}
        if costs and float(best := min(costs, key=costs.__getitem__)) != side["value"]:
            return f"{side['field']}={best}"
    return None


def _grows(on: str) -> bool:
    """Whether ``--across-scale`` makes larger models of the baseline, which it does of those on text."""
    baseline = resolve(split(on))
    return isinstance(baseline.data, Text) and baseline.train.seconds is None and not baseline.train.ramp


def _longer(answer: Answer) -> str | None:
    """The budget with which no run is too short."""
    factor = 1.0
    for f in answer.findings:
        if f.regime is not None and f.early:
            ratio = f.regime.tokens_per_parameter
            factor = max(factor, UPDATES / f.regime.updates, TOKENS_PER_PARAMETER / ratio if ratio else 1.0)
    return f"{math.ceil(answer.steps * factor / 100) * 100} steps" if factor > 1.01 else None
