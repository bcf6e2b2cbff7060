"""Premises judged: by the one-sided 95 % bound over seeds, of arms and their insides, never of the contrast
that the claim is about."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from danlu.lab.claims import values, verdict
from danlu.lab.claims.premises import Again, Contrast, Inside, Number, Premise, Regime
from danlu.lab.claims.rules import Rule
from danlu.lab.claims.seen import Seen
from danlu.lab.statistics import mean_interval
from danlu.lab.statistics.optimum import Optimum, locate

AGAIN = 500_000  # added to the seeds of an arm that is run against itself
NULL = 0.99  # level of the interval that must hold zero then


@dataclass(frozen=True)
class Found:
    """What became of a premise: whether it held, and a sentence with its numbers."""

    name: str
    held: bool
    said: str


@dataclass(frozen=True)
class Grounds:
    """What premises are judged on: what the runs showed, over which seeds, the margin, and the regime."""

    seen: Seen
    seeds: Sequence[int]
    margin: float
    regime: Mapping[str, Any]

    def judge(self, premise: Premise) -> Found:
        """Whether the premise holds, and in which words."""
        match premise:
            case Number():
                return self._number(premise)
            case Contrast():
                return self._contrast(premise)
            case Again():
                return self._again(premise)
            case Inside():
                return self._inside(premise)
            case Regime():
                return self._regime(premise)

    def best(self, arm: str) -> Optimum:
        """Where the mean over seeds of an arm's curve is best, in log₂ of the points."""
        seen, name = self.seen, self.seen.claim.measure_of(arm)
        curves, sign = seen.curves(arm, name, self.seeds), seen.sign(arm, name)
        return locate(
            {math.log2(point or math.nan): [sign * curve[point] for curve in curves] for point in curves[0]}
        )

    def _number(self, premise: Number) -> Found:
        arms, enough = self.seen.claim.arms_of(premise), any if premise.arms == "any" else all
        judged = [self._arm(premise, arm, len(arms) if enough is any else 1) for arm in arms]
        held = enough(one for one, _ in judged)
        return Found(premise.name, held, "; ".join(said for one, said in judged if one == held))

    def _arm(self, premise: Number, arm: str, share: int) -> tuple[bool, str]:
        """Whether an arm obeys the rule at each of its points; the sentence of the first that does not."""
        seen, claim = self.seen, self.seen.claim
        name = claim.measured_by(premise, arm)
        if premise.of is not None:
            level = seen.level(premise.of, self.seeds)
            numbers = seen.numbers(arm, name, premise.of, self.seeds, level)
            return self._one(premise.rule, numbers, f"{premise.of} of {arm}", share)
        curves = seen.curves(arm, name, self.seeds)
        judged = [
            self._one(
                premise.rule,
                [curve[point] for curve in curves],
                f"{name} of {arm}{f' at {point}' if claim.over else ''}",
                share,
            )
            for point in curves[0]
            if premise.at in (None, point)
        ]
        return next((one for one in judged if not one[0]), judged[0])

    def _contrast(self, premise: Contrast) -> Found:
        arms = {arm: self._values(premise, arm, self.seeds) for arm in premise.contrast}
        effects = values.effects(premise.contrast, arms, premise.scale)
        held, said = self._one(premise.rule, effects, in_words(premise.contrast))
        return Found(premise.name, held, said)

    def _again(self, premise: Again) -> Found:
        here = self._values(premise, premise.again, self.seeds)
        there = self._values(premise, premise.again, [seed + AGAIN for seed in self.seeds])
        differences = [a - b for a, b in zip(here, there, strict=True)]
        what = f"{premise.again} against itself with other seeds"
        if premise.rule is None:
            mean, low, high = mean_interval(differences, NULL)
            return Found(premise.name, low <= 0 <= high, f"{what} is {mean:.3g}: {low:.3g} to {high:.3g}")
        return Found(premise.name, *self._one(premise.rule, differences, what))

    def _values(self, premise: Contrast | Again, arm: str, seeds: Sequence[int]) -> list[float]:
        """The measure of an arm for each seed: at a point, or what is made of them, or the only one."""
        seen, claim = self.seen, self.seen.claim
        name = claim.measured_by(premise, arm)
        if premise.at is not None:
            return [curve[premise.at] for curve in seen.curves(arm, name, seeds)]
        level = seen.level(claim.of, self.seeds)
        return seen.numbers(arm, name, claim.of, seeds, level)

    def _inside(self, premise: Inside) -> Found:
        if self.seen.claim.tune is not None:
            return Found(premise.name, True, f"each arm was tuned over {premise.over}")
        arms = self.seen.claim.arms_of(premise)
        outside = [(arm, best) for arm in arms if not (best := self.best(arm)).interior]
        said = "; ".join(f"{arm}: {best.why}" for arm, best in outside)
        return Found(premise.name, not outside, said or f"the best {premise.over} of each arm lies inside")

    def _regime(self, premise: Regime) -> Found:
        found = []
        for name, rule in premise.asked.items():
            value, what = self.regime.get(name), name.replace("_", " ")
            if isinstance(rule, Rule):
                low, high = rule.bounds(self.margin)
                held = value is not None and low < value < high
                found.append(
                    (held, f"{what} {'unknown' if value is None else f'{value:.3g}'}; asked: {rule}")
                )
            else:
                found.append((value is True, f"{what}: {'yes' if value else 'no'}"))
        held = all(held for held, _ in found)
        return Found(premise.name, held, "; ".join(said for one, said in found if one == held))

    def _one(self, rule: Rule, numbers: Sequence[float], what: str, share: int = 1) -> tuple[bool, str]:
        held, bound = verdict.passes(rule, numbers, self.margin, share)
        if math.isnan(bound):
            return False, f"{what} is not known for every seed; it must lie {rule}"
        mean = fmean(numbers)
        side = "at least" if bound < mean else "at most"
        tail = f", {side} {bound:.3g}" if bound != mean else ""
        return held, f"{what} is {mean:.3g}{tail}; it must lie {rule}"


def in_words(contrast: Mapping[str, float], what: str = "") -> str:
    """The contrast as one says it: ``with − without``."""
    terms = []
    for arm, weight in contrast.items():
        size = "" if abs(weight) == 1 else f"{abs(weight):g} · "
        terms.append(f"{'−' if weight < 0 else '+'} {size}{what}{arm}")
    return " ".join(terms).removeprefix("+ ")
