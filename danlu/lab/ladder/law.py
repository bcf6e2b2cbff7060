"""The law of a ladder's runs: what the design identifies, how it predicts a rung that it never saw.

Fit, audit, calibration and intervals are those of ``danlu laws fit`` and ``danlu laws predict``, on the
points as those read them. Where the sizes are too few to be drawn again, intervals are Student's: the law
made linear at its fit (the delta method), the scatter from the residuals of ln loss, so that they are exact
for a power law and hold for a handful of runs. They speak of the law's parameters and of noise between runs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from danlu.lab.errors import LabError
from danlu.lab.ladder.plan import Rung
from danlu.lab.statistics import LEVEL, Interval

if TYPE_CHECKING:
    from danlu.laws import Fit, Points, Read, Saved
    from danlu.laws.answer import Answer
    from danlu.laws.errors import Warned

FLOOR_FROM = 5  # levels from which on a floor is fitted: below, it cannot be told from the exponent
LEVEL_COLUMN = "level"  # of the points
TOO_FEW = {"no-intervals", "clusters-ignored"}  # of warnings: the sizes cannot be drawn again
OURS = {name: name for name in ("n", "d", "loss")}  # whatever the metric beside them is called


@dataclass(frozen=True)
class Run:
    """A finished run of a rung. ``loss``: held out, of which the law is; ``metric``: the objective's first;
    ``per_loss``: that metric of the weights themselves over their loss; ``flops``, ``tokens``,
    ``parameters``: as the run counted them."""

    rung: Rung
    seed: int
    parameters: float
    tokens: float
    flops: float
    loss: float
    metric: float
    per_loss: float
    folder: str


class Told(NamedTuple):
    """What the law says of a place. ``loss``: its value, and the interval of the runs. ``reach``: how many
    times beyond the points, 1 within. ``measured``: what is known of extrapolations as far, or "".
    ``warnings``: of the place."""

    loss: Interval
    reach: float
    measured: str
    warnings: list[Warned]


@dataclass(frozen=True)
class LadderLaw:
    """A fit by least squares of ln loss, its audit and calibration, and what it says of other runs."""

    answer: Answer
    columns: dict[str, Any]
    floor: tuple[str, ...] = ()

    @property
    def fit(self) -> Fit:
        """The fit itself."""
        return self.answer.fit

    @property
    def freedom(self) -> int:
        """Runs beyond the law's free parameters."""
        return self.fit.points.size - int(self.fit.free.sum())

    @cached_property
    def scatter(self) -> float:
        """The standard deviation of ln loss about the law; NaN where every run is needed to fit it."""
        squares = float((self.fit.residuals**2).sum())
        return math.sqrt(squares / self.freedom) if self.freedom > 0 else math.nan

    @property
    def intervals(self) -> str:
        """How they come about: ``resamples``, ``student`` or ``none``."""
        if self.answer.draws is not None and not TOO_FEW & {one.code for one in self.answer.warnings}:
            return "resamples"
        return "student" if self.freedom > 0 else "none"

    @property
    def notes(self) -> list[str]:
        """What is to be minded, the fit's own warnings among it."""
        warned = self.answer.warnings
        if self.intervals == "student":
            few = "the sizes are too few to be drawn again: intervals are Student's, about a law that holds"
            return [*self.floor, few, *(one for one in warned if one.code not in TOO_FEW)]
        return [*self.floor, *warned]

    @cached_property
    def saved(self) -> Saved:
        """As ``danlu laws predict`` reads it."""
        from danlu.laws.saved import parse

        return parse(self.file(), "the fit")

    def file(self) -> dict[str, Any]:
        """The fit file."""
        return self.answer.json() | self.columns

    @property
    def limit(self) -> float:
        """How many times the largest compute the law may go."""
        from danlu.laws.beyond import limit

        by = "x" if "x" in self.saved.ranges else "c"
        return limit(self.saved.ranges[by], self.saved.calibration)[0]

    def value(self, parameters: float, tokens: float, flops: float) -> float:
        """The loss by the law."""
        return float(self.fit.predict(self._place(parameters, tokens, flops))[0])

    def told(self, parameters: float, tokens: float, flops: float, *, runs: float = 1) -> Told:
        """What ``danlu laws predict`` says of a model of that size, of the mean of so many ``runs`` of it;
        of endless ones: of the law alone."""
        from danlu.laws import predict

        saved, place = self.saved, self._place(parameters, tokens, flops)
        if runs > 1 and saved.scatter is not None:
            spread = saved.scatter._replace(within=saved.scatter.within / math.sqrt(runs))
            saved = replace(saved, scatter=spread)
        found = predict(saved, place, far=True)
        value = float(found.value[0])
        if self.intervals == "resamples":
            of_law, of_runs = (found.mean_low, found.mean_high), (found.run_low, found.run_high)
            low, high = of_law if math.isinf(runs) else of_runs
            loss = Interval(value, float(low[0]), float(high[0]))
        else:
            loss = self._student(place, value, runs)
        warnings = [one for one in found.warnings if one.code.startswith(("beyond", "far"))]
        return Told(loss, float(found.reach[0]), found.said[0], warnings)

    def at(self, parameters: float, tokens: float, flops: float, *, runs: float = math.inf) -> Interval:
        """The loss and the interval that are ``told``."""
        return self.told(parameters, tokens, flops, runs=runs).loss

    def _place(self, parameters: float, tokens: float, flops: float) -> Points:
        from danlu.laws import Points

        place = {"n": parameters, "d": tokens, "x": flops}
        return Points({name: [place[name]] for name in self.fit.law.columns})

    def _student(self, place: Points, value: float, runs: float) -> Interval:
        import numpy as np
        from scipy.special import stdtrit

        from danlu.laws.doubt import residual_rows

        if self.freedom < 1:
            return Interval(value, 0.0, math.inf)
        row = residual_rows(replace(self.fit, points=place))[:, 0]
        leverage = float(np.sum((row @ np.linalg.pinv(residual_rows(self.fit).T)) ** 2))
        far = stdtrit(self.freedom, (1 + LEVEL) / 2) * self.scatter * math.sqrt(leverage + 1 / runs)
        with np.errstate(over="ignore"):
            return Interval(value, float(value * np.exp(-far)), float(value * np.exp(far)))

    def json(self) -> dict[str, Any]:
        """Plain values; what is not known is None."""
        law = self.fit.law
        return {
            "law": law.name, "formula": law.formula, "paper": law.paper, "parameters": self.fit.theta,
            "runs": self.fit.points.size, "scatter": None if math.isnan(self.scatter) else self.scatter,
            "intervals": self.intervals,
        }  # fmt: skip


def points_of(path: Path, design: str) -> Read:
    """The points of a ladder's file as ``danlu laws`` reads them; of one size a level, the compute is x."""
    from danlu.laws import LawError, read

    if design == "isoflop":
        with suppress(LawError):
            return read(path, {**OURS, "c": "c"})
        # Of images a parameter counts many times, so that the FLOP are far from 6·N·D: they are x, too.
        return read(path, {**OURS, "x": "c"})
    return read(path, {**OURS, "x": "c"}, ("x", "loss"))


def fitted(got: Read, design: str) -> LadderLaw:
    """The law that the runs identify.

    At one number of tokens for each parameter, size, data and compute grow together, so that no fit could
    tell their shares apart: a power law of compute, with a floor from five levels on. With IsoFLOP profiles
    Chinchilla's law of size and data. Raises LabError or LawError where the runs are too few.
    """
    from danlu.laws import SQUARES, fit, law
    from danlu.laws.answer import answer

    levels = len({*got.texts(LEVEL_COLUMN)})
    several(levels)

    def answered(name: str, *floor: str) -> LadderLaw:
        found = answer(law(name), got.points, loss=SQUARES, rungs=0, table=got.others, calibrated=True)
        return LadderLaw(found, got.json(), floor)

    if design == "isoflop":
        return answered("chinchilla")
    together = "size, data and compute grew together: the law is one of compute along this ladder alone"
    floor = f"{levels} levels cannot tell a floor from the exponent: far out the loss will be higher"
    if levels >= FLOOR_FROM:
        found = fit(law("power-floor"), got.points, loss=SQUARES)
        if found.theta["c"] > 0 and found.theta["b"] > 0:
            return answered("power-floor", together)
        floor = "no floor is seen yet; the loss will not fall like that for ever"
    return answered("power", together, floor)


def several(levels: int) -> None:
    """Raises LabError where a law cannot be."""
    if levels < 2:
        raise LabError(f"a law needs runs of two levels of compute at least, and {levels} ended well")


@dataclass(frozen=True)
class HeldOut:
    """A rung that the law never saw: what it predicted for the mean of its runs, and what they measured.
    ``told``: what was known of predictions as far."""

    rung: Rung
    predicted: Interval
    measured: float
    runs: int
    told: str = ""

    @property
    def error(self) -> float:
        """predicted/measured − 1."""
        return self.predicted.value / self.measured - 1

    @property
    def inside(self) -> bool | None:
        """Whether the interval holds what was measured; None where there is no interval."""
        if not math.isfinite(self.predicted.high):
            return None
        return self.predicted.low <= self.measured <= self.predicted.high

    def sentence(self, unit: str) -> str:
        """How well it was predicted; ``unit``: of the loss."""
        value, low, high = self.predicted
        between = "no interval" if self.inside is None else f"{low:.4f} … {high:.4f}"
        told = {None: "", True: ", inside the interval", False: ", outside the interval"}[self.inside]
        return (
            f"predicted {value:.4f} ({between}), measured {self.measured:.4f} {unit}: {self.error:+.2%}{told}"
        )

    def json(self, unit: str) -> dict[str, Any]:
        """Plain values, and the sentence."""
        return {
            "parameters": self.rung.sized.parameters, "tokens": self.rung.tokens, "flops": self.rung.flops,
            "predicted": ends(self.predicted), "measured": self.measured, "runs": self.runs,
            "error": self.error, "inside": self.inside, "sentence": self.sentence(unit),
            "calibration": self.told,
        }  # fmt: skip


def held_out(runs: Sequence[Run], got: Read, design: str, levels: int) -> list[HeldOut]:
    """The rungs of the largest ``levels`` levels, as a law of the others predicts them; ``got``: the points
    of the ``runs``. Raises what ``fitted`` raises."""
    if not levels:
        return []
    import numpy as np

    at = np.array([int(one) for one in got.texts(LEVEL_COLUMN)])
    first = max(run.rung.level for run in runs) - levels + 1
    law = fitted(got.take(np.flatnonzero(at < first), "are of the levels that are not held out"), design)
    groups: dict[Rung, list[Run]] = {}
    for run in runs:
        if run.rung.level >= first:
            groups.setdefault(run.rung, []).append(run)
    found = []
    for rung, group in groups.items():
        one = group[0]
        told = law.told(one.parameters, one.tokens, one.flops, runs=len(group))
        measured = math.exp(sum(math.log(run.loss) for run in group) / len(group))
        found.append(HeldOut(rung, told.loss, measured, len(group), told.measured))
    return found


def ends(interval: Interval) -> dict[str, float | None]:
    """An interval as JSON has it: both ends None where there is none."""
    known = math.isfinite(interval.high) and math.isfinite(interval.low)
    low, high = (interval.low, interval.high) if known else (None, None)
    return {"value": interval.value, "low": low, "high": high}
