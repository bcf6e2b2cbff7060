"""What the ledger says of itself: which verdicts stand although so much was asked, how often the small
decided as the large, how many ideas worked.

Whoever asks a hundred questions that have no answer finds some by luck. Online e-BH
(``danlu.lab.statistics.online``) keeps the expected share of false ones among the verdicts that stand at a
tenth, whatever depends on whatever: ideas share their baselines, and seeds may come later. A question counts
from the moment when it is asked, so that those that crashed, or were given up, count too.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from danlu.lab.ledger.entry import CLEAR, Entry, Gain, key
from danlu.lab.ledger.ideas import family
from danlu.lab.ledger.newest import current
from danlu.lab.statistics import NORMAL
from danlu.lab.statistics.agreement import wilson
from danlu.lab.statistics.online import discoveries, needed
from danlu.lab.statistics.sequential import evidence
from danlu.lab.statistics.shrink import shrink, spread_of_ideas

Control = Literal["stands", "alone", "interval only"]
# The verdicts that ``e`` is evidence for. It is against no difference, which neither *equivalent* nor
# *scale-bound* denies: these follow from intervals within a margin, or from gains that shrink.
TESTED = ("better", "worse", "holds", "does not hold")


@dataclass(frozen=True)
class Share:
    """``count`` of ``of``, and the 95 % interval of the share (Wilson's)."""

    count: int
    of: int
    low: float
    high: float


@dataclass(frozen=True)
class Success:
    """Of the ideas of a family: how many were asked, how many of them have an answer in regime, and the share
    of these that worked: better somewhere in regime, worse nowhere."""

    family: str
    asked: int
    worked: Share


@dataclass(frozen=True)
class Shrunken:
    """A compute-equivalent gain as it was found, and what is left of it among those of its family: the
    largest of many are so partly by luck."""

    id: str
    family: str
    raw: Gain
    left: Gain


@dataclass(frozen=True)
class Judgement:
    """All that was asked, at a glance.

    ``asked``: questions; ``verdicts``: how many have which, an early one counted with that word. ``stand``:
    the ids of the verdicts that stand under the control, ``alone`` and ``interval_only`` of the others that
    claim something (``control``). ``needed``: the e-value with which the next question would stand, and
    ``pairs``, how many can give it at best. ``accuracy``: of how many verdicts over rungs the smallest size
    had the sign of the largest, by family, all together under ``all``.
    """

    asked: int
    verdicts: dict[str, int]
    stand: tuple[str, ...]
    alone: tuple[str, ...]
    interval_only: tuple[str, ...]
    needed: float
    pairs: int
    accuracy: dict[str, Share]
    success: tuple[Success, ...]
    gains: tuple[Shrunken, ...]

    def json(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self) | {
            "gains": [
                asdict(one) | {"raw": one.raw.model_dump(), "left": one.left.model_dump()}
                for one in self.gains
            ]
        }


def control(entries: Sequence[Entry]) -> dict[str, Control]:
    """By id, of the verdicts that claim something: whether it ``stands`` among all that was asked; would
    stand ``alone``, as the only question; or has no such evidence, and says so by its ``interval only``."""
    newest = [_most(group) for group in _questions(entries)]
    found = discoveries([_evidence(entry) for entry in newest])
    stand = {entry.id for entry, stands in zip(newest, found, strict=True) if stands}
    alone = {entry.id for entry in newest if _evidence(entry) >= needed(1)}

    def word(entry: Entry) -> Control:
        return "stands" if entry.id in stand else "alone" if entry.id in alone else "interval only"

    return {entry.id: word(entry) for entry in entries if entry.verdict in CLEAR}


def judge(entries: Sequence[Entry]) -> Judgement:
    """What all of it together says."""
    asked, now, said = _questions(entries), current(entries), control(entries)
    families = {entry.id: _family(entry) for entry in now}
    least = needed(len(asked) + 1, sum(word == "stands" for word in said.values()))
    return Judgement(
        asked=len(asked),
        verdicts=dict(Counter(entry.said for entry in now).most_common()),
        stand=tuple(entry.id for entry in now if said.get(entry.id) == "stands"),
        alone=tuple(entry.id for entry in now if said.get(entry.id) == "alone"),
        interval_only=tuple(entry.id for entry in now if said.get(entry.id) == "interval only"),
        needed=least,
        pairs=next(n for n in range(2, 1000) if evidence([1.0] * n) >= least),
        accuracy=_accuracy(now, families),
        success=_success(now, families),
        gains=_gains(now, families),
    )


def _questions(entries: Iterable[Entry]) -> list[list[Entry]]:
    """The entries by question, in the order in which they were asked. More seeds of the same study are the
    same question, and so are the same numbers in another study: its runs were found again. Other code, a
    longer run, another study with other numbers is another."""
    found: dict[Hashable, list[Entry]] = {}
    groups = []
    for entry in entries:
        what = entry.question, key(entry.sets), entry.code
        updates = entry.regime.updates if entry.regime else None
        names: list[Hashable] = []
        if entry.evidence:
            names.append((what, entry.evidence, updates))
        if entry.effect is not None:
            names.append((what, entry.effect, entry.interval, entry.seeds))
        tried = found.get((what, entry.evidence, None)) if entry.evidence else None
        if tried is not None and not any(one.answered for one in tried):  # it failed, and was gone on with
            names.append((what, entry.evidence, None))
        group = next((found[name] for name in names if name in found), None)
        if group is None:
            group = []
            groups.append(group)
        group.append(entry)
        found |= dict.fromkeys(names, group)
    return groups


def _most(group: Sequence[Entry]) -> Entry:
    """That of the most seeds, the newest of these: what evidence there is now. To choose the entry of the
    largest e-value would be to choose by luck."""
    return max(reversed(group), key=lambda entry: entry.seeds)


def _evidence(entry: Entry) -> float:
    """Of a verdict that denies what ``e`` is against; another cannot be a false one of this kind."""
    return entry.e if entry.e is not None and entry.verdict in TESTED else 0.0


def _family(entry: Entry) -> str:
    if entry.family is not None:
        return entry.family
    if entry.idea is None:
        return "claim"
    return family(entry.idea.split() if "=" in entry.idea else _name(entry).split("+"), entry.sets)


def _name(entry: Entry) -> str:
    return (entry.idea or "").removeprefix("+")


def _accuracy(entries: Iterable[Entry], families: dict[str, str]) -> dict[str, Share]:
    """One without an effect on either rung agrees with nothing, and does not count."""
    agree: dict[str, list[bool]] = {}
    for entry in entries:
        if entry.answered and len(entry.rungs) >= 2:
            sign = math.log(entry.rungs[0].value) * math.log(entry.rungs[-1].value)
            for name in ("all", families[entry.id]) if sign else ():
                agree.setdefault(name, []).append(sign > 0)
    return {name: _share(sum(each), len(each)) for name, each in agree.items()}


def _success(entries: Iterable[Entry], families: dict[str, str]) -> tuple[Success, ...]:
    by_idea: dict[str, list[Entry]] = {}
    for entry in entries:
        if entry.idea is not None:
            by_idea.setdefault(_name(entry), []).append(entry)
    rows: dict[str, list[bool | None]] = {}
    for each in by_idea.values():
        said = {one.verdict for one in each if one.answered and one.in_regime}
        worked = ("better" in said and "worse" not in said) if said else None
        for name in ("all", families[each[-1].id]):
            rows.setdefault(name, []).append(worked)
    found = [
        Success(name, len(each), _share(sum(map(bool, each)), sum(one is not None for one in each)))
        for name, each in rows.items()
    ]
    return tuple(sorted(found, key=lambda row: (row.family != "all", -row.asked, row.family)))


def _gains(entries: Iterable[Entry], families: dict[str, str]) -> tuple[Shrunken, ...]:
    by_family: dict[str, list[tuple[Entry, float, float]]] = {}
    for entry in entries:
        gain = entry.gain
        if entry.answered and gain is not None and gain.low and gain.high:
            # Student's interval is wider than a normal one, so that a little more is shrunk.
            error = math.log(gain.high / gain.low) / (2 * NORMAL)
            by_family.setdefault(families[entry.id], []).append((entry, math.log(gain.value), error))
    found = []
    for name, each in by_family.items():
        spread = spread_of_ideas([(value, error) for _, value, error in each])
        for entry, value, error in each:
            left = shrink(value, error, spread)
            ends = [math.exp(left.value + reach * left.error) for reach in (0, -NORMAL, NORMAL)]
            assert entry.gain is not None
            found.append(Shrunken(entry.id, name, entry.gain, Gain(value=ends[0], low=ends[1], high=ends[2])))
    return tuple(sorted(found, key=lambda one: -one.left.value))


def _share(count: int, of: int) -> Share:
    found = wilson(count, of)
    return Share(count, of, found.low, found.high)
