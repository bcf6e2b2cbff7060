"""When a decision is worth a second look: by its own condition, by a larger run, a newer version or a later
verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from danlu import __version__
from danlu.code import judging
from danlu.files.json import read_object
from danlu.lab.conditions import NUMBERS, VERSIONS, Facts, condition, torch_version, version
from danlu.lab.evidence import edited_since
from danlu.lab.ledger.entry import CLEAR, Entry
from danlu.train import shapes
from danlu.train.folder import RunFolder

FURTHER = 4  # a run this many times as large or as long as the evidence's
FOR = ("better", "holds")
AGAINST = tuple(verdict for verdict in CLEAR if verdict not in FOR)


@dataclass(frozen=True)
class Due:
    """A verdict or a decision that is worth a second look, and why: a sentence for each reason."""

    entry: Entry
    reasons: tuple[str, ...]


def due(entries: Sequence[Entry], facts: Facts, what: str) -> list[Due]:
    """The entries that something speaks for looking at again: the decided ones, all that stand on files which
    were edited since, and questions without an answer.

    ``facts``: what is now (``danlu``, ``torch``) or what a run has (``parameters``, ``steps``, ``tokens``,
    ``flops``, ``seconds``); ``what``: what the sentences call it.
    """
    found = []
    for position, entry in enumerate(entries):
        later = entries[position + 1 :]
        reasons = [*_unanswered(entry), *_by_code(entry, later)]
        if entry.decision != "none":
            reasons += [
                *_by_condition(entry, facts, what),
                *_by_version(entry, facts),
                *_by_scale(entry, facts, what),
                *_by_verdict(entry, later),
            ]
        if reasons:
            found.append(Due(entry, tuple(reasons)))
    return found


def _unanswered(entry: Entry) -> list[str]:
    if entry.verdict != "asked":
        return []
    said = f"it was asked on {entry.date} and is not answered"
    if entry.evidence and not any(Path(place).exists() for place in entry.evidence):
        return [f"{said}, and its study {entry.evidence[0]} is not there: ask again"]
    return [f"{said}: the same command goes on with it, if what it asks about was not changed since"]


def _by_code(entry: Entry, later: Sequence[Entry]) -> list[str]:
    """Files that its runs depend on, or that judged them, and that are others now; the newest entry on a
    question tells."""
    if any(other.asks_the_same(entry) for other in later):
        return []
    reasons = []
    if entry.code is not None and (edited := edited_since(entry.evidence, entry.code)):
        again = "the same command makes the affected runs again"
        reasons.append(f"{', '.join(edited)} was edited since: {again}")
    if entry.judged is not None and entry.judged != judging():
        reasons.append("how runs are judged was edited since: the same command judges its runs again")
    return reasons


def _by_condition(entry: Entry, facts: Facts, what: str) -> list[str]:
    asked = condition(entry.revisit.when) if entry.revisit else None
    if asked is None or not asked.holds(facts):
        return []
    fact = facts[asked.name]
    said = f"{fact:,.12g}" if isinstance(fact, float | int) else fact
    assert entry.revisit is not None
    return [f"it was to be looked at when {entry.revisit.when.strip()}: {what} has {asked.name} = {said}"]


def _by_version(entry: Entry, facts: Facts) -> list[str]:
    """A newer release, but for its last part: 0.3 after 0.2.1, not 0.2.2."""
    reasons = []
    for name in VERSIONS:
        then, now = getattr(entry.environment, name, None), facts.get(name)
        if then is not None and now is not None and version(str(now))[:2] > version(then)[:2]:
            reasons.append(f"{name} is {now} now and was {then}")
    return reasons


def _by_scale(entry: Entry, facts: Facts, what: str) -> list[str]:
    reasons = []
    for name in ("parameters", "steps", "tokens"):
        had, has = getattr(entry.scale, name, None), facts.get(name)
        if had and has is not None and float(has) >= FURTHER * had:
            times = float(has) / had
            reasons.append(
                f"{what} has {float(has):,.0f} {name}, {times:.3g} times the evidence's {had:,.0f}"
            )
    return reasons


def _by_verdict(entry: Entry, later: Sequence[Entry]) -> list[str]:
    """The newest clear verdict on the same idea or claim, where it contradicts the decision's. An early one
    says nothing against one in regime."""
    clear = [
        other
        for other in later
        if (other.idea, other.claim) == (entry.idea, entry.claim)
        and other.verdict in CLEAR
        and other.early <= entry.early
    ]
    if not clear or (entry.idea or entry.claim) is None:
        return []
    new = clear[-1]
    if entry.verdict in FOR + AGAINST:
        against = (entry.verdict in FOR) != (new.verdict in FOR)
    else:
        against = (entry.decision == "reject") == (new.verdict in FOR) or entry.decision == "undecided"
    if not against:
        return []
    on = f" on {new.on}" if new.on else ""
    return [f"a later verdict{on} ({new.id}) says {new.said}, this one {entry.said}"]


def now() -> dict[str, float | str]:
    """The versions that are installed."""
    torch = torch_version()
    return {"danlu": __version__, **({"torch": torch} if torch else {})}


def of_run(folder: Path) -> dict[str, float | str]:
    """What a finished run has: numbers of its summary, versions of its environment. Raises FileError."""
    run = RunFolder(folder)
    summary = read_object(run.summary, shapes.SUMMARY)
    facts: dict[str, float | str] = {name: summary[name] for name in NUMBERS if summary.get(name) is not None}
    facts["seconds"] = sum(summary["active_seconds"].values())
    if run.environment.exists():
        versions = read_object(run.environment, shapes.ENVIRONMENT).get("versions") or {}
        facts |= {name: versions[name] for name in VERSIONS if versions.get(name)}
    return facts
