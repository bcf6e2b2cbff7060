"""``docs/claims.md``: the book of claims with what came out, from the results that were kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from danlu.files.overwrite import MARK
from danlu.lab.claims import experiment
from danlu.lab.claims.book import CHAPTERS, Claim
from danlu.lab.claims.proof import NOT_RUN, Result
from danlu.lab.statistics import mean_interval, seeds_to_decide

VERDICTS = ("holds", "does not hold", "not shown", NOT_RUN)

INTRODUCTION = """\
# The book of claims

This page lists claims of the field about training. Each has a small experiment that tests it. The page is
written by `danlu prove --all --write docs/claims.md`. See [proving claims](prove.md).

**What a verdict means.** The rule was fixed before the experiment ran. The effect of each seed is a
difference within a pair: same seed, same initial weights where the shapes agree, same batches. Where the
95 % interval of the mean effect obeys the rule, the claim *holds*; where all of it breaks the rule, the claim
*does not hold*; else it is *not shown*. No result is removed.

**What it does not mean.** Most networks here have 0.2 million parameters and learn for a few seconds. A claim
that holds is visible at that size. At another size the effect may be different. A claim that does not hold,
or is not shown, may still be true of large models or long runs; its note says what is different here.
Each interval is wrong once in twenty times, so a few of the {count} verdicts are wrong.
"""


def page(claims: Mapping[str, Claim], results: Mapping[str, Result]) -> str:
    """The page in Markdown: tables by chapter, then every claim with its experiment. A claim without a
    result, or whose experiment or rule is no longer that of its result, stands as *not run*."""
    current = {
        name: result for name, result in results.items() if name in claims and _same(claims[name], result)
    }
    parts = [
        MARK,
        INTRODUCTION.format(count=len(claims)),
        _surroundings(current.values()),
        _tally(claims, current),
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


def number(value: float, digits: int = 3) -> str:
    """A number in a table, with a minus sign that is one."""
    return f"{value:.{digits}g}".replace("-", "−")


def effect(result: Result) -> str:
    """``0.12 [0.09, 0.15]``."""
    mean, low, high = result.effect
    return f"{number(mean)} [{number(low)}, {number(high)}]"


def reading(claim: Claim, result: Result) -> str:
    """What the interval says, in a sentence; and what was written after it ran."""
    rule = str(claim.holds)
    if result.verdict == NOT_RUN:
        said = f"Runs failed: {'; '.join(result.failed)}."
    elif result.verdict == "holds":
        said = f"The whole interval lies {rule}."
    elif result.verdict == "does not hold":
        said = f"No part of the interval lies {rule}."
    else:
        said = f"Part of the interval lies {rule}, part does not."
        bound = claim.holds.above if claim.holds.above is not None else claim.holds.below
        more = None if bound is None else seeds_to_decide([e - bound for e in result.effects])
        if more:
            said += f" If mean and spread stayed, {more} more seeds would decide."
    if result.diverged:
        said += f" {result.diverged} of {result.runs} runs diverged."
    return f"{said} {claim.reading}".rstrip()


def _same(claim: Claim, result: Result) -> bool:
    """Whether the result is of this claim: words about it may change."""
    words = {"statement", "source", "rows", "unit", "note", "reading"}
    then = {key: value for key, value in result.claim.items() if key not in words}
    return claim.model_dump(mode="json", exclude=words) == then


def _surroundings(results: Iterable[Result]) -> str:
    """Machine, versions and data, each named once."""
    machines: dict[str, None] = {}
    versions: dict[str, None] = {}
    data: dict[str, None] = {}
    seconds = 0.0
    for result in results:
        devices = "".join(f", {device}" for device in result.machine.get("devices", ()))
        machines[
            f"{result.machine.get('cpu', 'unknown')}, {result.machine.get('cores', '?')} cores{devices}"
        ] = None
        versions[", ".join(f"{name} {version}" for name, version in result.versions.items())] = None
        data |= dict.fromkeys(f"`{corpus}` {hash}" for corpus, hash in result.data.items())
        seconds += result.seconds
    return (
        "\n".join(
            f"- {name}: {'; '.join(values) or 'none yet'}"
            for name, values in (
                ("Machine", machines),
                ("Versions", versions),
                ("Training text (SHA-256)", data),
                ("All runs together", {f"{seconds / 60:.0f} minutes of active time, each on one core": None}),
            )
        )
        + "\n"
    )


def _tally(claims: Mapping[str, Claim], results: Mapping[str, Result]) -> str:
    verdicts = [results[name].verdict if name in results else NOT_RUN for name in claims]
    counts = [f"{verdicts.count(said)} {said}" for said in VERDICTS if said in verdicts]
    return f"{len(claims)} claims: {', '.join(counts)}.\n"


def _table(claims: Mapping[str, Claim], results: Mapping[str, Result]) -> str:
    rows = [("claim", "statement", "rows", "verdict", "effect [95 %]", "unit", "seconds", "date")]
    for name, claim in claims.items():
        about = (f"[{name}](#{name})", claim.statement, ", ".join(claim.rows))
        if result := results.get(name):
            found = (effect(result), claim.unit, f"{result.seconds:.0f}", result.date)
            rows.append((*about, f"**{result.verdict}**", *found))
        else:
            rows.append((*about, NOT_RUN, "", claim.unit, "", ""))
    return _markdown(rows)


def _section(name: str, claim: Claim, result: Result | None) -> str:
    lines = [f"### {name}\n", f"{claim.statement}.\n", f"- Source: {claim.source}"]
    lines.append(f"- Rule: the effect, {_effect(claim)}, lies {claim.holds} ({claim.unit})")
    lines.append(f"- Note: {claim.note}")
    if result is None:
        lines.append(f"- Verdict: {NOT_RUN}")
    else:
        lines.append(f"- Verdict: **{result.verdict}**: {effect(result)} {claim.unit}, {result.seeds} seeds")
        lines.append(f"- Reading: {reading(claim, result)}")
    return "\n".join([*lines, "", _arms(claim, result)])


def _effect(claim: Claim) -> str:
    """The contrast in words: ``range of with − range of without``."""
    what = f"{claim.of} of " if claim.of else ""
    what = f"log₂ of {what}" if claim.scale == "log2" else what
    terms = []
    for arm, weight in claim.contrast.items():
        size = "" if abs(weight) == 1 else f"{abs(weight):g} · "
        terms.append(f"{'−' if weight < 0 else '+'} {size}{what}{arm}")
    return " ".join(terms).removeprefix("+ ")


def _arms(claim: Claim, result: Result | None) -> str:
    """What each arm was and what it gave, over its points if it has some."""
    points = list(next(iter(result.measured.values()))) if result and result.measured else []
    field, grid = next(iter((claim.over or {}).items()), ("", None))
    measure = claim.measure if isinstance(claim.measure, str) else "value"
    value = f"{claim.of} of {measure}" if claim.of else measure
    rows = [("arm", "words", *(f"{field.rpartition('.')[2]} {point}" for point in points), value)]
    for arm in claim.arms:
        found = ["" for _ in points]
        last = ""
        if result is not None:
            found = [number(sum(values) / len(values), 4) for values in result.measured.get(arm, {}).values()]
            last = _mean(result.values[arm])
        if not isinstance(claim.measure, str):
            last = f"{claim.measure_of(arm)} {last}".rstrip()
        rows.append((arm, f"`{experiment.typed(claim, arm, grid)}`", *found, last))
    return _markdown(rows)


def _mean(values: Sequence[float]) -> str:
    mean, _, high = mean_interval(values)
    return f"{number(mean, 4)} ± {number(high - mean, 2)}"


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]]) + "\n"
