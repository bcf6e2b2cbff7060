"""Which statistics of their insides moved between the runs of two sides, when, and which did not."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any, NamedTuple

from danlu.files.numbers import times
from danlu.inspection.table import in_words, known, plus
from danlu.lab.why.courses import GRADIENT, LEAST, LOSS, Course, course, left_at, octaves
from danlu.lab.why.interventions import intervention, is_gradient

TOP = 5
BAND = (  # what is said beside "ends within the baseline's band"
    "the baseline's band is where one more run of the baseline would be with 95 %; a change that ends "
    "within it may be chance"
)
STILL = 2.0  # a group whose statistics all have smaller scores did not move
# Of each group that a reading may have to rule out: what it would mean that it moved.
GROUPS = {
    "update": "a larger or smaller rate",
    "gradient": "larger or smaller gradients",
    "stream": "a stream of another size",
    "logits": "larger or smaller attention scores",
    "kurtosis": "outliers",
    "sink-rate": "attention sinks",
    "dead": "dead units",
}


class Move(NamedTuple):
    """Means over the steps, in octaves: of the baseline's value, and of the variant's over it."""

    before: float
    change: float


@dataclass(frozen=True)
class Why:
    """``moved``: the statistics that moved most, most first; ``still``: groups of which none moved;
    ``loss_left``: the step from which on the loss lies outside the baseline's band. All of it JSON."""

    moved: list[dict[str, Any]] = field(default_factory=list)
    still: list[dict[str, Any]] = field(default_factory=list)
    loss_left: int | None = None
    seeds: int = 0

    def json(self) -> dict[str, Any]:
        """As a mapping."""
        return asdict(self)


def moves(baseline: Course, variant: Course) -> dict[str, Move]:
    """Of each statistic that has a logarithm on both sides at the steps that they share."""
    found = {}
    for name in (baseline.keys() & variant.keys()) - {LOSS}:
        shared = baseline[name].keys() & variant[name].keys()
        before, after = (octaves(name, {s: of[name][s] for s in shared}) for of in (baseline, variant))
        if shared and before is not None and after is not None:
            found[name] = Move(fmean(before.values()), fmean(after[s] - before[s] for s in shared))
    return found


def why(pairs: Iterable[tuple[Path, Path]], top: int = TOP) -> Why:
    """What moved between the runs of two sides, in pairs of one seed: (baseline, variant), folders.

    The score of a statistic is the mean of the seeds' log ratios over its noise, which is their standard
    error with the median statistic's spread added, so that one that by chance hardly scatters does not come
    first (Tusher et al. 2001, eq. 1)."""
    sides = [(course(baseline), course(variant)) for baseline, variant in pairs]
    seeds = [moves(*side) for side in sides]
    names = sorted(set.intersection(*map(set, seeds))) if seeds else []
    changes = {name: [of[name].change for of in seeds] for name in names}
    spread = {name: stdev(values) if len(values) > 1 else 0.0 for name, values in changes.items()}
    floor = max(median(spread.values()), LEAST) if spread else LEAST
    scores = {name: fmean(changes[name]) / (spread[name] + floor) * math.sqrt(len(seeds)) for name in names}
    loss_left = _left(sides, LOSS)
    ranked = sorted((name for name in names if any(changes[name])), key=lambda name: -abs(scores[name]))
    moved = []
    for name in ranked[:top]:
        before = fmean(of[name].before for of in seeds)
        one = _said(name, before, fmean(changes[name]), scores[name])
        left = _left(sides, name)
        one |= {
            "seeds": [2**change for change in changes[name]],
            "left": left,
            "when": _when(left, loss_left, len(seeds)),
            "text": _definition(name),
            "without_first": _without_first(name, seeds),
        }
        moved.append(one)
    least = min(
        (min(one["baseline"], one["variant"]) for one in moved if is_gradient(one["name"])), default=0.0
    )
    moved = [one | {"test": intervention(one["name"], least)} for one in moved]
    return Why(moved, list(_still(changes, scores)), loss_left, len(seeds))


def _left(sides: list[tuple[Course, Course]], name: str) -> int | None:
    courses = [(octaves(name, b[name]), octaves(name, v[name])) for b, v in sides if name in b and name in v]
    if len(courses) < len(sides) or any(b is None or v is None for b, v in courses):
        return None
    return left_at([b for b, _ in courses if b], [v for _, v in courses if v])


def _when(left: int | None, loss: int | None, seeds: int) -> str:
    """In words, relative to the loss."""
    if seeds < 2:
        return "one seed has no band to leave"
    if left is None:
        return "ends within the baseline's band"
    if loss is None:
        return f"leaves the baseline's band at step {left}; the loss does not"
    apart = abs(loss - left)
    order = "with the loss" if not apart else f"{apart} steps {'before' if left < loss else 'after'} the loss"
    return f"leaves the baseline's band at step {left}, {order}"


def _definition(name: str) -> str:
    if name == GRADIENT:
        return "Euclidean norm of all gradients, before they are clipped"
    one = known(name.partition("/")[0])
    return "" if one is None else one.text


def _without_first(name: str, seeds: list[dict[str, Move]]) -> float | None:
    """The ratio of the same statistic without position 0, where there is one."""
    statistic, _, layer = name.partition("/")
    one = known(statistic)
    other = f"{one.without_first}/{layer}" if one is not None and one.without_first else ""
    if statistic.endswith("-rest") or not all(other in of for of in seeds):
        return None
    return float(2 ** fmean(of[other].change for of in seeds))


def _still(changes: Mapping[str, list[float]], scores: Mapping[str, float]) -> Iterable[dict[str, Any]]:
    """Groups of which no statistic moved, and what that rules out."""
    for group, meaning in GROUPS.items():
        names = [name for name in changes if name.startswith(f"{group}/") and not name.endswith("/out")]
        if names and all(abs(scores[name]) < STILL for name in names):
            most = max(abs(fmean(changes[name])) for name in names)
            words = f"{group}: within {2**most - 1:.0%} of the baseline's in every part; not {meaning}"
            yield {"group": group, "largest_ratio": 2**most, "words": words}


def _said(name: str, before: float, change: float, score: float) -> dict[str, Any]:
    raised, ratio = 2**before, 2**change
    baseline, variant = raised - plus(name), raised * ratio - plus(name)
    verb = "rises" if ratio > 1 else "falls"
    to = "" if plus(name) else f" to {times(ratio)}"  # a ratio of what was raised says little
    return {
        "name": name,
        "baseline": baseline,
        "variant": variant,
        "ratio": ratio,
        "score": score,
        "words": f"{in_words(name)} {verb}{to} ({baseline:.3g} → {variant:.3g})",
    }
