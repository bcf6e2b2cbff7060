"""Why: which of the statistics that runs keep of their insides differ most between the sides. No torch
here."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any, NamedTuple

from danlu.train.folder import RunFolder
from danlu.train.metrics import read

TOP = 5
LEAST = 1e-3  # octaves: the noise that a statistic has at least

# What the groups of `danlu.train.internals` are in words; a group's rest is the part of the network.
WORDS = {
    "gradient": "gradient norm of",
    "update": "update-to-weight ratio of",
    "logits": "largest attention score in",
    "logits-rms": "RMS attention score in",
    "kurtosis": "kurtosis of the stream after",
    "stream": "RMS of the stream after",
    "stream-max": "largest activation after",
}

Course = dict[str, dict[int, float]]  # statistic → step → value


def course(folder: Path) -> Course:
    """What a run measured of its insides, and the norm of its gradients, by step."""
    found: Course = {}
    for row in read(RunFolder(folder).metrics):
        values = {"gradient norm": row["grad_norm"]} if "grad_norm" in row else {}
        for name, value in (values | row.get("inside", {})).items():
            value += 3 if name.startswith("kurtosis/") else 0  # excess may be negative, and has no ratio then
            found.setdefault(name, {})[row["step"]] = value
    return found


class Move(NamedTuple):
    """Means over the steps: log₂ of the baseline's value, and of the variant's over it."""

    before: float
    change: float


def moves(baseline: Course, variant: Course) -> dict[str, Move]:
    """Of each statistic that is positive on both sides at the steps that they share."""
    found = {}
    for name in baseline.keys() & variant.keys():
        steps = sorted(baseline[name].keys() & variant[name].keys())
        pairs = [(baseline[name][step], variant[name][step]) for step in steps]
        if pairs and all(math.isfinite(x) and x > 0 for pair in pairs for x in pair):
            found[name] = Move(
                fmean(math.log2(b) for b, _ in pairs), fmean(math.log2(v / b) for b, v in pairs)
            )
    return found


def most_moved(pairs: Iterable[tuple[Path, Path]], top: int = TOP) -> list[dict[str, Any]]:
    """The statistics that moved most, paired by seed: ``name``, ``baseline`` and ``variant`` (geometric means
    over steps and seeds), ``ratio``, ``score`` and ``words``.

    ``score``: the mean of the seeds' log ratios over its noise, which is their standard error with the median
    statistic's spread added, so that one that by chance hardly scatters does not come first (Tusher et al.
    2001, eq. 1)."""
    seeds = [moves(course(baseline), course(variant)) for baseline, variant in pairs]
    names = sorted(set.intersection(*map(set, seeds))) if seeds else []
    changes = {name: [of[name].change for of in seeds] for name in names}
    spread = {name: stdev(values) if len(values) > 1 else 0.0 for name, values in changes.items()}
    floor = max(median(spread.values()), LEAST) if spread else LEAST

    def score(name: str) -> float:
        return fmean(changes[name]) / (spread[name] + floor) * math.sqrt(len(seeds))

    ranked = sorted((name for name in names if any(changes[name])), key=lambda name: -abs(score(name)))
    return [
        _said(name, fmean(of[name].before for of in seeds), fmean(changes[name]), score(name))
        for name in ranked[:top]
    ]


def _said(name: str, before: float, change: float, score: float) -> dict[str, Any]:
    baseline, ratio = 2**before, 2**change
    moves = "rises" if ratio > 1 else "falls"
    return {
        "name": name,
        "baseline": baseline,
        "variant": baseline * ratio,
        "ratio": ratio,
        "score": score,
        "words": f"{in_words(name)} {moves} to {ratio:.2f}× ({baseline:.3g} → {baseline * ratio:.3g})",
    }


def in_words(name: str) -> str:
    """A statistic as a person calls it."""
    group, _, part = name.partition("/")
    if name == "logits/out":
        return "RMS output logit"
    return f"{WORDS[group]} {part}" if group in WORDS else name
