"""The regime of a verdict: how far its runs went, and whether that is far enough to speak beyond them.

What is asked (``REASONS``): 20 tokens a parameter, which is where a budget of compute is best spent (Hoffmann
et al. 2022), 2,000 updates, a loss well below that of token frequencies alone, a warm-up of at most 2 % of
the run or as many tokens as there are parameters (Porian et al. 2024), a schedule carried to its end, and
rates that were tuned. A shorter run tells who descends fastest at first. No torch here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

TOKENS_PER_PARAMETER, UPDATES, BELOW_CHANCE, WARMUP = 20.0, 2000, 0.3, 0.02
SLACK = 0.99  # whole updates miss a round number by so much
WITH_IDEA = 0.9  # an idea may add a tenth to the parameters of a baseline with 20 tokens for each

REASONS = {
    "tokens": "{:.2g} tokens per parameter ({:.0f} are needed)",
    "updates": "{:,} updates ({:,} are needed)",
    "below": "{:.2f} bits below chance ({} below are needed)",
    "above": "{:.2f} bits above chance ({} below are needed)",
    "warmup": "warm-up is {:.0%} of the run (at most {:.0%})",
    "cut": "the schedule was cut short",
    "untuned": "the rates were not tuned",
}


@dataclass(frozen=True)
class Regime:
    """Of several runs: the least of each, the largest ``warmup``. None: not known, or, of
    ``tokens_per_parameter``, not a stream of tokens. ``bits_below_chance``: of a predicted term.
    ``tuned``: whether each side ran at its own best rate; None where no rate was in question."""

    tokens_per_parameter: float | None
    updates: int
    bits_below_chance: float | None
    warmup: float
    whole_schedule: bool
    tuned: bool | None = None

    @property
    def early(self) -> tuple[str, ...]:
        """Why its verdict says little of longer runs; empty: it is in the regime."""
        return tuple(REASONS[name].format(*numbers) for name, *numbers in self.lacks)

    @property
    def lacks(self) -> list[tuple[Any, ...]]:
        """What it lacks: the names of ``REASONS``, each with its numbers."""
        ratio, below = self.tokens_per_parameter, self.bits_below_chance
        found: list[tuple[Any, ...]] = []
        if ratio is not None and ratio < WITH_IDEA * TOKENS_PER_PARAMETER:
            found.append(("tokens", ratio, TOKENS_PER_PARAMETER))
        if self.updates < SLACK * UPDATES:
            found.append(("updates", self.updates, UPDATES))
        if below is not None and below < BELOW_CHANCE:
            found.append(("below" if below >= 0 else "above", abs(below), BELOW_CHANCE))
        most = max(WARMUP, 1 / ratio) if ratio else WARMUP
        if self.warmup * SLACK > most:
            found.append(("warmup", self.warmup, most))
        if not self.whole_schedule:
            found.append(("cut",))
        if self.tuned is False:
            found.append(("untuned",))
        return found

    @property
    def words(self) -> str:
        """In a line."""
        return told(self.tokens_per_parameter, self.updates, self.bits_below_chance, self.tuned)

    def json(self) -> dict[str, Any]:
        """Its fields, and ``early``."""
        return {
            "tokens_per_parameter": self.tokens_per_parameter, "updates": self.updates,
            "bits_below_chance": self.bits_below_chance, "warmup": self.warmup,
            "whole_schedule": self.whole_schedule, "tuned": self.tuned, "early": list(self.early),
        }  # fmt: skip


def told(ratio: float | None, updates: int | None, below: float | None, tuned: bool | None) -> str:
    """What is known of a regime, in a line: tokens per parameter, updates, bits below chance, tuned rates."""
    parts = []
    if ratio is not None:
        parts.append(f"{ratio:.3g} tokens per parameter")
    if updates is not None:
        parts.append(f"{updates:,} updates")
    if below is not None:
        parts.append(_from_chance(below))
    if tuned is not None:
        parts.append("tuned rates" if tuned else "rates not tuned")
    return ", ".join(parts)


def _from_chance(below: float) -> str:
    return f"{abs(below):.2f} bits {'below' if below >= 0 else 'above'} chance"


def regime_of(summaries: Iterable[Mapping[str, Any]], *, tuned: bool | None = None) -> Regime | None:
    """Of the runs whose ``summary.json`` are given, of one that wrote none what its other numbers tell; None
    where there is no run."""
    found = [_recorded(summary) for summary in summaries]
    if not found:
        return None
    return Regime(
        tokens_per_parameter=_least(one["tokens_per_parameter"] for one in found),
        updates=min(one["updates"] for one in found),
        bits_below_chance=_least(one["bits_below_chance"] for one in found),
        warmup=max(one["warmup"] for one in found),
        whole_schedule=all(one["whole_schedule"] for one in found),
        tuned=tuned,
    )


def _recorded(summary: Mapping[str, Any]) -> Mapping[str, Any]:
    said: Mapping[str, Any] | None = summary.get("regime")
    if said is not None:
        return said
    tokens, parameters = summary.get("tokens"), summary["parameters"]
    return {
        "tokens_per_parameter": tokens / parameters if tokens and parameters else None,
        "updates": summary["steps"],
        "bits_below_chance": None,
        "warmup": 0.0,
        "whole_schedule": not summary.get("stopped"),
    }


def _least(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None and math.isfinite(value)]
    return min(known, default=None)
