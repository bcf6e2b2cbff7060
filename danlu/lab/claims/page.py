"""``docs/claims.md``: the book of claims with what came out, from the results that were kept."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from danlu.files.overwrite import MARK
from danlu.lab.claims import experiment
from danlu.lab.claims.checks import in_words
from danlu.lab.claims.claim import CHAPTERS, Claim
from danlu.lab.claims.results import NOT_RUN, VOID, Best, Result
from danlu.lab.claims.verdict import interval
from danlu.lab.statistics import NARROW, mean_interval, seeds_to_decide
from danlu.lab.why.interventions import faster
from danlu.spec.translated import statement

VERDICTS = ("holds", "does not hold", "not shown", VOID, NOT_RUN)
PLURAL = {"holds": "hold", "does not hold": "do not hold"}

INTRODUCTION = """\
# The book of claims

{tally}

This page lists claims of the field about training. Each has an experiment that tests it. The page is written
by `danlu prove --all --write docs/claims.md` from the results in `danlu/catalog/results`. See [proving
claims](prove.md).

**What a verdict means.** The rule, the arms, the premises and the margin were fixed before the experiment
ran. The effect of each seed is a difference within a pair: same seed, same initial weights where the shapes
agree, same batches. Where the 95 % interval of the mean effect obeys the rule, the claim *holds*; where all
of it breaks the rule, the claim *does not hold*; else it is *not shown*. Where the rule says that two are
equal, the 90 % interval decides (two one-sided tests at 5 %). Where a premise fails, the experiment says
nothing about the claim: it is *void*. No result is removed.

**What is said beside it.** *early*: the runs are too short for their size, or too far from their end, to say
anything of longer ones; the verdict is about the beginning of training. *weak*: the claim passed, but with a
severity below .8 that the effect is as large as would matter.

**What it does not mean.** Most networks here have less than a million parameters. A claim that holds is
visible at that size. At another size the effect may be different. Each interval is wrong once in twenty
times, so a few of the verdicts are wrong.
"""


def page(claims: Mapping[str, Claim], results: Mapping[str, Result], language: str = "en") -> str:
    """The page in Markdown: counts, tables by chapter, then every claim with its experiment. A claim without
    a result, or whose experiment or rule is no longer that of its result, stands as *not run*.
    ``language``: of the statements."""
    current = {name: result for name, result in results.items() if name in claims and result.of(claims[name])}
    claims = {
        name: claim.model_copy(update={"statement": statement("claims", name, claim.statement, language)})
        for name, claim in claims.items()
    }
    parts = [
        MARK,
        INTRODUCTION.format(tally=tally(claims, current)),
        _surroundings(current.values()),
    ]
    for letter, title in CHAPTERS.items():
        chapter = {name: claim for name, claim in claims.items() if claim.chapter == letter}
        if chapter:
            parts += [f"## {title}\n", _table(chapter, current)]
    parts += [
        "## Every claim\n",
        *(_section(name, claim, current.get(name)) for name, claim in claims.items()),
    ]
    return "\n".join(parts)


def tally(claims: Mapping[str, Claim], results: Mapping[str, Result]) -> str:
    """How many claims there are of each verdict, how many need a larger machine, are early, are weak."""
    verdicts = [results[name].verdict if name in results else NOT_RUN for name in claims]
    counted = {said: verdicts.count(said) for said in VERDICTS if said in verdicts}
    counts = [f"{count} {said if count == 1 else PLURAL.get(said, said)}" for said, count in counted.items()]
    lines = [f"{len(claims)} claims: {', '.join(counts)}."]
    if needs := sum(claim.needs is not None and name not in results for name, claim in claims.items()):
        lines.append(f"Not run for want of a larger machine (*needs*): {needs}.")
    judged = [result for result in results.values() if result.verdict not in (NOT_RUN, VOID)]
    if judged:
        early, weak = (sum(bool(getattr(one, word)) for one in judged) for word in ("early", "weak"))
        lines.append(f"Of {len(judged)} verdicts on an effect early: {early}, weak: {weak}.")
    return " ".join(lines)


def number(value: float, digits: int = 3) -> str:
    """A number in a table, with a minus sign that is one."""
    return f"{value:.{digits}g}".replace("-", "−")


def effect(result: Result) -> str:
    """``0.12 [0.09, 0.15]``; nothing where nothing was compared. There is no interval where a seed has no
    effect, and of few seeds: of one, or of two where a verdict on others was seen before."""
    mean, low, high = result.effect
    if not result.effects:
        return ""
    if math.isfinite(low):
        return f"{number(mean)} [{number(low)}, {number(high)}]"
    if math.isnan(mean):
        return "not known for every seed"
    return f"{number(mean)}, no interval from {len(result.effects)} seed{'s' * (len(result.effects) > 1)}"


def reading(claim: Claim, result: Result) -> str:
    """What the interval says, in a sentence; and what was written after it ran."""
    rule = str(claim.holds)
    if result.verdict == NOT_RUN:
        said = f"Not run: {'; '.join(result.why)}."
    elif result.verdict == VOID:
        said = f"Void: {'; '.join(result.why)}."
    elif result.verdict == "holds":
        said = f"The whole {'90 % ' * (claim.holds.within is not None)}interval lies {rule}."
    elif result.verdict == "does not hold":
        said = f"No part of the interval lies {rule}."
    else:
        said = f"Part of the interval lies {rule}, part does not."
        bounds = [bound for bound in claim.holds.bounds(result.margin or 0.0) if abs(bound) < float("inf")]
        more = seeds_to_decide([one - bounds[0] for one in result.effects]) if len(bounds) == 1 else None
        if more:
            said += f" If mean and spread stayed, {more} more seeds would decide."
    if result.diverged:
        said += f" {result.diverged} of {result.runs} runs diverged."
    return f"{said} {claim.reading}".rstrip()


def _surroundings(results: Iterable[Result]) -> str:
    """Machine, versions and data, each named once."""
    machines: dict[str, None] = {}
    versions: dict[str, None] = {}
    data: dict[str, None] = {}
    seconds = 0.0
    for result in results:
        devices = "".join(f", {device}" for device in result.machine.get("devices", ()))
        if result.machine:
            machines[f"{result.machine.get('cpu')}, {result.machine.get('cores')} cores{devices}"] = None
        versions[", ".join(f"{name} {version}" for name, version in result.versions.items())] = None
        data |= dict.fromkeys(f"`{corpus}` {hash}" for corpus, hash in result.data.items())
        seconds += result.seconds
    return (
        "\n".join(
            f"- {name}: {'; '.join(filter(None, values)) or 'none yet'}"
            for name, values in (
                ("Machine", machines),
                ("Versions", versions),
                ("Training text (SHA-256)", data),
                ("All runs together", {f"{seconds / 60:.0f} minutes of active time, each on one core": None}),
            )
        )
        + "\n"
    )


def _table(claims: Mapping[str, Claim], results: Mapping[str, Result]) -> str:
    rows = [("claim", "statement", "rows", "verdict", "effect [95 %]", "unit", "seconds", "date")]
    for name, claim in claims.items():
        about = (f"[{name}](#{name})", claim.statement, ", ".join(claim.rows))
        if result := results.get(name):
            found = (effect(result), claim.unit, f"{result.seconds:.0f}", result.date)
            rows.append((*about, f"**{result.said}**", *found))
        else:
            rows.append(
                (*about, NOT_RUN + ", needs more" * (claim.needs is not None), "", claim.unit, "", "")
            )
    return _markdown(rows)


def _section(name: str, claim: Claim, result: Result | None) -> str:
    stop = "。" if any("一" <= letter <= "鿿" for letter in claim.statement) else "."
    lines = [f"### {name}\n", f"{claim.statement}{stop}\n", f"- Source: {claim.source}"]
    lines.append(f"- Rule: the effect, {_effect(claim)}, lies {claim.holds} ({claim.unit})")
    if claim.margin is not None:
        found = result.margin if result is not None and claim.margin.value is None else None
        lines.append(f"- Margin: {'' if found is None else f'{number(found)}, '}{claim.margin}")
    if claim.needs is not None:
        lines.append(f"- Needs: {claim.needs}; `danlu prove {name}` runs it")
    lines.append(f"- Note: {claim.note}")
    if claim.timeless:
        lines.append(f"- At any length of training: {claim.timeless}")
    if result is None:
        lines += [*(f"- Premise: {premise.name}" for premise in claim.premises), f"- Verdict: {NOT_RUN}"]
    else:
        lines += _found(claim, result)
    return "\n".join([*lines, "", _arms(claim, result)])


def _found(claim: Claim, result: Result) -> Iterable[str]:
    for premise in result.premises:
        yield f"- Premise {'held' if premise.held else '**failed**'}: {premise.name}: {premise.said}"
    about = f": {effect(result)} {claim.unit}{_narrow(claim, result)}, {result.seeds} seeds"
    yield f"- Verdict: **{result.said}**{about if result.effects else ''}"
    if result.severity and result.verdict == "holds":
        tested = "; ".join(
            f"{_beyond(claim, result, at)}: {severity:.2f}" for at, severity in result.severity
        )
        yield f"- Severity with which it was tested that the effect lies {tested}"
    if result.early:
        yield f"- Early: {'; '.join(result.early)}"
    yield from _inside(claim, result)
    for was in result.before:
        yield (
            f"- Edited after a verdict: on {was.date} it was *{was.verdict}*, under a rule, arms, "
            f"premises or a margin that first ran on {was.first}"
        )
    yield f"- Reading: {reading(claim, result)}"


def _narrow(claim: Claim, result: Result) -> str:
    """The interval that decides a rule ``within`` two numbers."""
    if claim.holds.within is None:
        return ""
    found = interval(result.effects, NARROW, looked=result.looked)
    if not math.isfinite(found.low):
        return ""
    return f" (90 %: {number(found.low)} to {number(found.high)})"


def _inside(claim: Claim, result: Result) -> Iterable[str]:
    """What moved with the effect in the runs, and what did not."""
    if not (result.inside.moved or result.inside.still):
        return
    minus, plus = sorted(claim.contrast, key=claim.contrast.__getitem__)
    moved = "; ".join(f"{one['words']}, {one['when']}" for one in result.inside.moved) or "nothing"
    yield f"- Inside, *{plus}* against *{minus}* (correlation, no cause): {moved}"
    if result.inside.still:
        yield f"- Did not move: {'; '.join(one['words'] for one in result.inside.still)}"
    if tests := list(_tests(claim, result, minus)):
        yield f"- Would test it: {'; or '.join(dict.fromkeys(tests))}"


def _tests(claim: Claim, result: Result, minus: str) -> Iterable[str]:
    """What would hold a statistic that moved still, with the words that are typed for it."""
    found = [(one["test"], one["ratio"]) for one in result.inside.moved if one["test"]]
    of_both = [f"`{test['words']}`, which {test['what']}" for test, _ in found if test["arm"] == "both"]
    if of_both:
        yield f"the arms again with {'; or '.join(dict.fromkeys(of_both))}"
    of_rate = [(test["what"], ratio) for test, ratio in found if test["arm"] == "baseline"]
    if of_rate and not (claim.tune or claim.over):  # the first is what moved most
        what, ratio = of_rate[0]
        if words := faster(experiment.experiment(claim, minus), ratio):
            yield f"*{minus}* alone with `{words}`, which {what}"


def _beyond(claim: Claim, result: Result, bound: float) -> str:
    """Where the effect lies by one of the severities: on the rule's side of ``bound``."""
    if claim.holds.within is None:
        return f"{'above' if claim.holds.above is not None else 'below'} {number(bound)}"
    low = math.fsum((*claim.holds.bounds(result.margin or 0.0), -bound))  # as far from the middle
    return f"within ± {number(bound)}" if low == -bound else f"within {number(low)} and {number(bound)}"


def _effect(claim: Claim) -> str:
    """The contrast in words: ``slope of with − slope of without``."""
    what = f"{claim.of} of " if claim.of else ""
    return in_words(claim.contrast, f"log₂ of {what}" if claim.scale == "log2" else what)


def _arms(claim: Claim, result: Result | None) -> str:
    """What each arm was and what it gave: its best value where it was tuned, or over its points."""
    points = list(next(iter(result.measured.values()))) if result and result.measured else []
    grid = next(iter((claim.over or {}).values()), None)
    measure = claim.measure if isinstance(claim.measure, str) else "value"
    value = f"{claim.of} of {measure}" if claim.of else measure
    field = claim.field.rpartition(".")[2]
    best = [f"best {claim.tune.field.rpartition('.')[2]}"] if claim.tune else []
    rows = [("arm", "words", *best, *(f"{field} {point}" for point in points), value)]
    for arm in claim.arms:
        found = ["" for _ in (*best, *points)]
        last = ""
        if result is not None:
            tuned = [_tuned(result.tuned.get(arm))] if best else []
            of_points = result.measured.get(arm, {}).values()
            found = [
                *tuned,
                *([number(sum(each) / len(each), 4) for each in of_points] or [""] * len(points)),
            ]
            last = _mean(result.values[arm]) if arm in result.values else ""
        if not isinstance(claim.measure, str) and arm in claim.contrast:
            last = f"{claim.measure_of(arm)} {last}".rstrip()
        paid = f", {claim.profile[arm]}" if claim.profile else ""
        rows.append((arm, f"`{experiment.typed(claim, arm, grid)}`{paid}", *found, last))
    return _markdown(rows)


def _tuned(found: Best | None) -> str:
    if found is None:
        return ""
    low, high = (number(end) if end is not None else "?" for end in found.interval)
    return f"{number(found.value)} [{low}, {high}]"


def _mean(values: Sequence[float]) -> str:
    mean, _, high = mean_interval(values)
    return f"{number(mean, 4)} ± {number(high - mean, 2)}"


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]]) + "\n"
