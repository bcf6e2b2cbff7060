"""The course of one claim: which runs it asks for, in which order, and what becomes of it.

Premises that need the fewest arms come first and spare the rest where they fail. Then what matters is
settled (the margin, the spread of a few seeds, the seeds that the two ask for), then the rest runs. Of the
verdicts the first that is true counts: not run, void, and what the interval says.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import stdev
from typing import Any, Literal

from danlu import spec
from danlu.lab.claims import experiment
from danlu.lab.claims.checks import AGAIN, Found, Grounds
from danlu.lab.claims.claim import Claim
from danlu.lab.claims.premises import Again, Inside, Premise, by_margin
from danlu.lab.claims.regime import least
from danlu.lab.claims.results import NOT_RUN, VOID, Result
from danlu.lab.claims.seen import Seen
from danlu.lab.claims.verdict import Verdict, pairs_needed, settle
from danlu.lab.errors import LabError
from danlu.lab.queue import Job, Outcome
from danlu.lab.statistics import Interval
from danlu.lab.tuning import Tuned, tuning
from danlu.lab.why import Why, why

FIRST = 3  # seeds whose spread plans the others
NOTHING = Interval(math.nan, -math.inf, math.inf)
HALF = "half of its updates"  # an arm beside those of the claim, for what compute is worth

Course = Generator[Sequence[Job], Sequence[Outcome], "Ending"]


class Ends(Exception):
    """The course ends here, without a verdict on the effect."""

    def __init__(self, verdict: Literal["void", "not run"], *why: str) -> None:
        super().__init__("; ".join(why))
        self.verdict, self.why = verdict, list(why)


@dataclass
class Ending:
    """What became of a claim, but for its name and the costs of its runs (``results.Result``)."""

    verdict: Verdict | Literal["void", "not run"] = NOT_RUN
    why: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    effect: Interval = NOTHING
    effects: list[float] = field(default_factory=list)
    values: dict[str, list[float]] = field(default_factory=dict)
    measured: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    margin: float = math.nan
    spread: float | None = None
    needed: int | None = None
    severity: list[tuple[float, float]] = field(default_factory=list)
    premises: list[Found] = field(default_factory=list)
    tuned: dict[str, Tuned] = field(default_factory=dict)
    regime: dict[str, Any] = field(default_factory=dict)
    weak: bool = False
    inside: Why = field(default_factory=Why)


def course(claim: Claim, count: int, known: Mapping[str, Result], before: Result | None = None) -> Course:
    """Ask for the runs of ``claim`` with ``count`` seeds until its verdict is known. ``known``: results of
    other claims, whose effects a margin may be a share of; ``before``: an earlier result of the same claim. A
    run that fails ends it as *not run*."""
    way = _Way(claim, count, known, before)
    try:
        yield from way.go()
    except Ends as end:
        way.ending.verdict, way.ending.why, way.ending.failed = end.verdict, end.why, sorted(way.seen.failed)
    return way.ending


class _Way:
    """One claim on its way."""

    def __init__(self, claim: Claim, count: int, known: Mapping[str, Result], before: Result | None) -> None:
        self.claim, self.known, self.before = claim, known, before
        self.seeds = range(count)
        self.seen = Seen(claim)
        self.points = experiment.points(claim)
        self.ending = Ending()

    def go(self) -> Generator[Sequence[Job], Sequence[Outcome], None]:
        claim, ending = self.claim, self.ending
        self._margin_beforehand()
        ending.spread = claim.sd if claim.sd is not None else self.before.spread if self.before else None
        self._plan()
        *stages, everything = self._stages()
        for arms in stages:
            yield from self._carry_out(arms, self.seeds)
            self._check(arms)
        yield from self._margin_of_compute()
        if ending.spread is None and len(self.seeds) > FIRST:
            yield from self._carry_out(everything, range(FIRST))
            _, effects = self.seen.effects(range(FIRST))
            ending.spread = stdev(effects) if all(map(math.isfinite, effects)) else None
        self._plan()
        yield from self._carry_out(everything, self.seeds)
        self._check(everything)  # before the effect is known: whoever mends a premise has not seen it
        self._judge()

    # ---------------------------------------------------------------- in which order

    def _stages(self) -> Iterator[list[str]]:
        """Arms that are run together: those that premises wait for, the fewest first, and at last all."""
        claim, arms = self.claim, set[str]()
        for awaited in sorted(map(claim.awaited, claim.premises), key=len):
            if not awaited <= arms and arms | awaited != set(claim.arms):
                arms |= awaited
                yield [arm for arm in claim.arms if arm in arms]
        yield list(claim.arms)

    def _carry_out(
        self, arms: Sequence[str], seeds: Sequence[int]
    ) -> Generator[Sequence[Job], Sequence[Outcome], None]:
        """The runs of ``arms`` with ``seeds``, each arm at its best first where the claim tunes it."""
        made = {arm: experiment.experiment(self.claim, arm) for arm in arms if arm in self.claim.tuned}
        if made and self.claim.tune is not None:
            name = experiment.run_name(self.claim)
            found = yield from tuning([(f"{name} {arm}", one) for arm, one in made.items()], self.claim.tune)
            self.ending.tuned |= dict(zip(made, found, strict=True))
            if untuned := [one.why for one in found if not one.ok]:
                raise Ends(VOID, *untuned)
        while True:
            yield from self._run(arms, seeds)
            further = self._further(arms, seeds)
            if not further:
                return
            self.points = sorted({*self.points, *further})

    def _run(
        self, arms: Sequence[str], seeds: Sequence[int]
    ) -> Generator[Sequence[Job], Sequence[Outcome], None]:
        again = {premise.again for premise in self.claim.premises if isinstance(premise, Again)}
        jobs: dict[tuple[str, int, Any], Job] = {}
        for arm in arms:
            for point in self.points:
                made = self._experiment(arm, point)
                for seed in (*seeds, *(AGAIN + seed for seed in seeds if arm in again)):
                    jobs[arm, seed, point] = experiment.job(self.claim, arm, made, seed)
        yield from self._add(jobs)

    def _add(
        self, jobs: Mapping[tuple[str, int, Any], Job]
    ) -> Generator[Sequence[Job], Sequence[Outcome], None]:
        outcomes = yield list(jobs.values())
        for place, outcome in zip(jobs, outcomes, strict=True):
            self.seen.add(place, outcome)
        self._unless_failed()

    def _experiment(self, arm: str, point: Any) -> spec.Experiment:
        if arm in self.ending.tuned:
            return self.ending.tuned[arm].experiment
        return experiment.experiment(self.claim, arm, point)

    def _further(self, arms: Sequence[str], seeds: Sequence[int]) -> list[float]:
        """Points that are missing where the best of an arm does not lie inside of them."""
        inside = next((premise for premise in self._premises() if isinstance(premise, Inside)), None)
        grown = (len(self.points) - len(experiment.points(self.claim))) // 2
        if inside is None or self.claim.over is None or grown >= inside.extend:
            return []
        grounds = self._grounds(seeds)
        best = [grounds.best(arm) for arm in self.claim.arms_of(inside) if arm in arms]
        outside = next((one for one in best if not one.interior), None)
        return [float(f"{2**x:.3g}") for x in outside.further] if outside else []

    # ---------------------------------------------------------------- what would matter

    def _margin_beforehand(self) -> None:
        margin = self.claim.margin
        if margin is None:
            return
        if margin.value is not None:
            self.ending.margin = margin.value
        if margin.of is None:
            return
        result, share = self.known.get(margin.of), f"its margin is a share of the effect of {margin.of}"
        if result is None or result.verdict in (NOT_RUN, VOID):
            was = "was not run" if result is None else f"is {result.verdict}"
            raise Ends(NOT_RUN, f"{share}, which {was}: danlu prove {margin.of}")
        if (result.claim.get("on"), result.claim.get("unit")) != (self.claim.on, self.claim.unit):
            raise Ends(NOT_RUN, f"{share}, which has another bed or unit")
        mean, low, high = result.effect
        if low <= 0 <= high:
            raise Ends(VOID, f"{share}, and that may be none: {low:.3g} to {high:.3g}")
        assert margin.share is not None
        self.ending.margin = margin.share * abs(mean)

    def _margin_of_compute(self) -> Generator[Sequence[Job], Sequence[Outcome], None]:
        """δ = e·ln c. The baseline is run at half of its updates, too, each a whole schedule: e = (L(C/2) −
        L(C))/ln 2."""
        margin = self.claim.margin
        if margin is None or margin.cec is None:
            return
        assert margin.arm is not None
        yield from self._carry_out([margin.arm], self.seeds)
        half = experiment.halved(self._experiment(margin.arm, None))
        yield from self._add(
            {(HALF, seed, None): experiment.job(self.claim, margin.arm, half, seed) for seed in self.seeds}
        )
        name = self.claim.measure_of(margin.arm)
        whole, halved = (self.seen.numbers(arm, name, None, self.seeds) for arm in (margin.arm, HALF))
        sign = self.seen.sign(margin.arm, name)
        gained = [sign * (b - a) for a, b in zip(whole, halved, strict=True)]
        worth = math.fsum(gained) / len(gained) / math.log(2)
        if not worth > 0:
            raise Ends(VOID, f"its margin is unknown: {margin.arm} gains nothing by twice the updates")
        self.ending.margin = worth * math.log(margin.cec)

    def _plan(self) -> None:
        """How many seeds the margin and the spread ask for, where both are known; too few end it."""
        claim, ending = self.claim, self.ending
        if ending.spread is None:
            return
        try:
            ending.needed = pairs_needed(claim.holds, ending.spread, ending.margin)
        except LabError as error:  # no plan would do
            raise Ends(NOT_RUN, str(error)) from None
        if ending.needed is not None and ending.needed > len(self.seeds):
            raise Ends(
                NOT_RUN,
                f"{len(self.seeds)} seeds are too few: with a spread of {ending.spread:.3g} a seed, "
                f"{ending.needed} see what would matter with a power of .8; set seeds: {ending.needed}, or "
                "take a bed with less noise",
            )

    # ---------------------------------------------------------------- judging

    def _premises(self) -> tuple[Premise, ...]:
        """Those of the claim; a best that lies inside is one of ``argbest``, said or not."""
        claim = self.claim
        if claim.of == "argbest" and not any(isinstance(one, Inside) for one in claim.premises):
            return (*claim.premises, Inside(name="tuned", over=claim.field, extend=0))
        return claim.premises

    def _grounds(self, seeds: Sequence[int]) -> Grounds:
        return Grounds(self.seen, seeds, self.ending.margin, self.ending.regime)

    def _check(self, arms: Sequence[str]) -> None:
        """Judge the premises that wait for no other arms, nor for the margin, and end it where one fails."""
        if set(self.claim.contrast) <= set(arms):
            self.ending.regime = least(self.claim, self.seen, self.seeds, self.ending.tuned)
        grounds = self._grounds(self.seeds)
        margin = self.claim.margin
        later = margin is not None and margin.cec is not None and math.isnan(self.ending.margin)
        found = [
            grounds.judge(one)
            for one in self._premises()
            if self.claim.awaited(one) <= set(arms) and not (later and by_margin(one))
        ]
        self.ending.premises = found
        self._unless_failed()
        if fallen := [f"{one.name}: {one.said}" for one in found if not one.held]:
            raise Ends(VOID, *fallen)

    def _unless_failed(self) -> None:
        if self.seen.failed:
            raise Ends(NOT_RUN, *sorted(self.seen.failed))

    def _judge(self) -> None:
        claim, ending = self.claim, self.ending
        ending.values, ending.effects = self.seen.effects(self.seeds)
        if claim.over is not None:
            curves = {arm: self.seen.curves(arm, claim.measure_of(arm), self.seeds) for arm in claim.contrast}
            ending.measured = {
                arm: {str(point): [curve[point] for curve in each] for point in each[0]}
                for arm, each in curves.items()
            }
        self._unless_failed()
        ending.inside = self._inside()
        looked = self.before is not None and any(look != len(self.seeds) for look in self.before.looks)
        found = settle(claim.holds, ending.effects, ending.margin, looked=looked)
        ending.verdict, ending.effect, ending.severity, ending.weak = found
        if claim.of == "ceiling" and self._all_at_the_end():
            raise Ends(
                VOID, f"no arm leaves the plateau up to the last point of {claim.field}: nothing to compare"
            )

    def _inside(self) -> Why:
        """What moved inside, in pairs of one seed, where the effect is one arm minus another."""
        minus, *plus = sorted(self.claim.contrast, key=self.claim.contrast.__getitem__)
        if self.claim.over is not None or len(plus) != 1:
            return Why()
        both = [[self.seen.ended[arm, seed, None] for arm in (minus, *plus)] for seed in self.seeds]
        return why(
            (before.folder, after.folder) for before, after in both if before.summary and after.summary
        )

    def _all_at_the_end(self) -> bool:
        last = math.log2(max(self.points))
        return all(value == last for of_arm in self.ending.values.values() for value in of_arm)
