"""A study in plain sentences: what is asked, and of each idea the answer, the regime that it holds in, what
it cost, and what to ask next; in English, or in a language with the same fields. No torch here."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

from danlu.lab.regime import REASONS, TOKENS_PER_PARAMETER, UPDATES, Regime
from danlu.lab.statistics.multiverse import differing
from danlu.lab.trial.answer import EQUAL, Answer
from danlu.lab.trial.arms import Idea
from danlu.lab.trial.cost import Cost, planned
from danlu.lab.trial.findings import At, Finding, Pairs
from danlu.lab.trial.question import PAIRS, Question, label
from danlu.spec import Text
from danlu.spec.metrics import Metric
from danlu.spec.words import resolve, split

FEW = 40  # seeds: more are not proposed


def asked(question: Question, ideas: Sequence[Idea], metric: Metric) -> list[str]:
    """What is said before anything runs."""
    names = " or ".join(idea.name for idea in ideas)
    rates, pairs, further = planned(question)
    tuning = f"{rates} to find the best rate of each side, " if rates else ""
    return [
        f"is {names} better than {question.on}? by held-out {metric.words}, {metric.better} is better",
        f"{rates + pairs} runs: {tuning}{pairs} in pairs of the same seed; up to {further} more where an "
        "update of the idea costs more or less",
    ]


@dataclass(frozen=True)
class Language:
    """How answers are worded in a language; what stands in braces is put in.

    ``where``: the verdict and the equalities that it holds at; ``regime``, ``cost``: these in a line;
    ``sides``: baseline and idea; ``equal``, ``reasons``, ``following``: by the names of ``EQUAL``, of
    ``danlu.lab.regime.REASONS``, and of what ``following`` gives; ``metrics``: names of metrics that have
    another here. ``other``: None: nothing is said of other analyses.
    """

    answer: str
    between: str
    and_: str
    void: str
    where: Callable[[Sequence[Finding]], str]
    sides: tuple[str, str]
    diverged: str
    few: str
    not_shown: str
    shown: str
    reached: str
    whole: str
    early: str
    spent: str
    next: str
    other: str | None
    regime: Callable[[Regime], str]
    cost: Callable[[Cost], str]
    equal: Mapping[At, str]
    reasons: Mapping[str, str]
    following: Mapping[str, str]
    metrics: Mapping[str, str] = field(default_factory=dict)


def answered(answer: Answer, language: Language) -> list[str]:
    """The answer on each idea, a sentence and lines that say how far it reaches and what it cost; and what to
    ask next."""
    lines = []
    for findings in answer.by_idea.values():
        lines += [_sentence(answer, findings, language), *_regime(findings, language)]
        other = differing(findings[0].readings, findings[0].verdict)
        if other and language.other is not None:
            lines.append(language.other.format(other=other))
        if findings[0].cost is not None:
            lines.append(language.spent.format(cost=language.cost(findings[0].cost)))
    asks = (
        language.following[what].format(number=number, command=command)
        for what, number, command in following(answer)
    )
    return [*lines, *(language.next.format(ask=ask) for ask in asks)]


# ---------------------------------------------------------------- the answer


def _sentence(answer: Answer, findings: Sequence[Finding], language: Language) -> str:
    """One sentence; equalities that the same runs answer are named together."""
    if findings[0].verdict == "void":
        said = language.void.format(note=findings[0].note)
    else:
        same = groupby(findings, lambda f: (f.said, f.interval.value if f.pairs.seeds else None))
        said = language.between.join(_phrase(list(of), language) for _, of in same)
    return language.answer.format(idea=findings[0].pairs.idea, bed=label(answer.question.on), said=said)


def _phrase(findings: Sequence[Finding], language: Language) -> str:
    first, where = findings[0], language.where(findings)
    if first.verdict == "not measured":
        return where
    pairs, interval = first.pairs, first.interval
    unit = pairs.metric.unit or language.metrics.get(pairs.metric.words, pairs.metric.words)
    for side, count in zip(language.sides, pairs.diverged, strict=True):
        if count and count == len(pairs.seeds):
            return language.diverged.format(where=where, side=side, count=count)
    if first.verdict == "not shown":
        if not math.isfinite(interval.low):
            return language.few.format(where=where)
        half = (interval.high - interval.low) / 2
        return language.not_shown.format(
            where=where, value=interval.value, unit=unit, pairs=len(pairs.differences), half=half
        )
    before, after = means(pairs)
    return language.shown.format(where=where, by=abs(interval.value), unit=unit, before=before, after=after)


def means(pairs: Pairs) -> tuple[float, float]:
    """Of baseline and variant, over the pairs of which both sides ended."""
    places = [i for i, seed in enumerate(pairs.seeds) if seed in pairs.differences]
    before, after = (sum(side[i] for i in places) / len(places) for side in (pairs.baseline, pairs.variant))
    return before, after


# ---------------------------------------------------------------- how far it reaches, and its cost


def _regime(findings: Sequence[Finding], language: Language) -> Iterator[str]:
    """That of equal steps, and of verdicts that are early why the first is."""
    known = [(f, f.regime) for f in findings if f.regime is not None]
    early = [(f, regime) for f, regime in known if f.early]
    if known:
        first, regime = known[0]
        whole = "" if first.early else language.whole
        yield language.reached.format(regime=language.regime(regime), whole=whole)
    if early:
        places = language.and_.join(language.equal[f.pairs.at] for f, _ in early)
        lacks = (language.reasons[name].format(*numbers) for name, *numbers in early[0][1].lacks)
        yield language.early.format(places=places, lacks=language.between.join(lacks))


# ---------------------------------------------------------------- what comes next


def following(answer: Answer) -> Iterator[tuple[str, int, str]]:
    """What to ask, of ``Language.following``, a number for it, and the command, the most useful first."""
    question, findings = answer.question, answer.findings
    if question.seeds == 1:  # whatever else is asked, one pair decides nothing
        question = replace(question, seeds=PAIRS)
        yield "several", PAIRS, question.command()
    first = [of_idea[0] for of_idea in answer.by_idea.values()]
    if any(f.verdict == "void" for f in first):
        yield "early", 0, question.command(tune=None)
    if longer := _longer(answer):
        yield "longer", 0, question.command(budget=longer)
    if any(f.regime is not None and f.regime.tuned is False for f in first):
        yield "tuned", 0, question.command(tune="lr")
    more = max((f.more for f in first if f.verdict == "not shown" and f.more), default=0)
    if 0 < more <= FEW:
        yield "pairs", more, question.command(seeds=question.seeds + more)
    if any(f.verdict == "not measured" for f in findings):
        yield "time", 0, question.command()
    if question.tune and any(f.verdict != "void" and not f.early for f in first) and _grows(question.on):
        larger = question.command("--across-scale", seeds=PAIRS, budget=None, stop_early=False)
        yield "scale", 0, larger


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


# ---------------------------------------------------------------- English


def _where(findings: Sequence[Finding]) -> str:
    *others, last = [EQUAL[f.pairs.at] for f in findings]
    return f"{findings[0].said} at equal {', '.join(others)}{' and ' if others else ''}{last}"


ENGLISH = Language(
    answer="{idea} on {bed}: {said}.",
    between="; ",
    and_=" and ",
    void="void, since {note}",
    where=_where,
    sides=("the baseline", "the idea"),
    diverged="{where}, as {side} diverged with each of {count} seeds",
    few="{where} (that takes more pairs)",
    not_shown="{where} (a difference of {value:+.4f} {unit}; {pairs} pairs show one of {half:.4f} or more)",
    shown="{where}, by {by:.4f} {unit} ({before:.4f} → {after:.4f})",
    reached="  regime: {regime}{whole}",
    whole=": enough to speak of longer runs of this size",
    early="  early: at equal {places} this tells who is ahead at first: {lacks}",
    spent="  cost: {cost}",
    next="  next: {ask}",
    other="  other analyses of the same runs: {other}",
    regime=lambda regime: regime.words,
    cost=lambda cost: cost.words,
    equal=EQUAL,
    reasons=REASONS,
    following={
        "early": "at the rates as they are, for an early verdict: {command}",
        "longer": "in runs that are long enough: {command}",
        "tuned": "each side at its own best rate: {command}",
        "several": "one pair decides nothing; with {number}: {command}",
        "pairs": "some {number} more pairs would decide, if mean and spread stay as they are: {command}",
        "time": "equal time, when nothing else runs on this machine: {command}",
        "scale": "does it hold in larger models? {command}",
    },
)
