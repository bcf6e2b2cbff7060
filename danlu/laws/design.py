"""Which run to train next: the one after which the interval of a chosen quantity is the narrowest.

The law is made linear at its parameters. A run with gradient x of ln loss and scatter σ takes
(gᵀΣx)²/(σ² + xᵀΣx) from the variance gᵀΣg of a quantity with gradient g (a c-optimal design, one run at a
time: Fedorov 1972; Chaloner and Verdinelli 1995, doi:10.1214/ss/1177009939).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from danlu.laws.audit.shape import SPREAD
from danlu.laws.base import Array, Law
from danlu.laws.beyond import along, beyond
from danlu.laws.calibration import Calibration
from danlu.laws.doubt import Interval
from danlu.laws.errors import LawError, Warned
from danlu.laws.files.units import number
from danlu.laws.formulas.chinchilla import CHINCHILLA, allocation, optimum
from danlu.laws.table import FLOPS_PER_PARAMETER_AND_TOKEN, Points

Rank = Literal["run", "flop"]
RANKS: tuple[Rank, ...] = ("run", "flop")
SIZES = 40  # of candidates, for each compute
CHEAPER = (1.0, 0.3, 0.1, 0.03)  # shares of the budget that a candidate may cost
WIDER = 2.0  # where D/N hardly varies, candidates go so many times beyond what was measured,
AROUND = 10.0  # and where those are not known, so many times around the law's best
FAR = 30.0  # times the largest compute measured, from which on the law itself is the doubt
TWO_SIDED = 1.96


@dataclass(frozen=True)
class Target:
    """A quantity that follows from the parameters. ``of``: (…, parameters) to (…); ``log``: its interval is
    relative, so that the logarithm counts; ``flops``: at which it lies, 0 where it lies at none."""

    name: str
    of: Callable[[Array], Array]
    log: bool
    flops: float = 0.0


@dataclass(frozen=True)
class Run:
    """A run to train. ``n``, ``d``, ``flops``; ``fall``: by which share it narrows the interval that the runs
    before it leave; ``half``: half of the 95 % interval after it."""

    n: float
    d: float
    flops: float
    fall: float
    half: float


@dataclass(frozen=True)
class Design:
    """``value``: of the target now; ``half``: half of its 95 % interval now, of the logarithm of the value
    where ``relative``. ``runs``: in the order of their gain; ``warnings``."""

    target: str
    value: float
    half: float
    relative: bool
    runs: list[Run]
    warnings: list[Warned]

    def interval(self, half: float) -> Interval:
        """The value with 95 % ends so far from it."""
        v = self.value
        ends = (v * math.exp(-half), v * math.exp(half)) if self.relative else (v - half, v + half)
        return Interval(v, *ends)


def design(
    law: Law,
    theta: Array,
    covariance: Array,
    scatter: float,
    ranges: Mapping[str, tuple[float, float]] | None = None,
    *,
    budget: float,
    target: str,
    runs: int = 1,
    rank: Rank = "run",
    calibration: Calibration | None = None,
    far: bool = False,
) -> Design:
    """The runs to train next, one after the other, each within a budget.

    ``theta``: (parameters,); ``covariance``: of them in the fit's coordinates; ``scatter``: standard
    deviation of a run's ln loss; ``ranges``: lowest and highest c and d/n of the points, as far as they are
    known. ``budget``: FLOP of one run. ``target``: of ``read_target``. ``rank``: the best run is the one
    whose interval falls most (``run``), or most per FLOP (``flop``; a cheap one, as a rule).
    ``calibration``: of the fit; ``far``: go on where a budget lies too far from those measured.
    Raises LawError for a law that is not of n and d, where scatter or covariance tell nothing, and for a
    budget that ``danlu.laws.predict`` would refuse.
    """
    if set(law.columns) != {"n", "d"} or law.space != "log":
        raise LawError(f"a design needs a law of n and d, not {law.name} of {' and '.join(law.columns)}")
    if rank not in RANKS:
        raise LawError(f"rank = {rank!r}; allowed: {', '.join(RANKS)}")
    if not (np.isfinite(scatter) and scatter > 0 and np.isfinite(covariance).all() and covariance.any()):
        raise LawError(
            "a design needs the parameters' covariance and the scatter of runs; fit with resamples"
        )
    if not 0 < budget < np.inf:
        raise LawError(f"budget = {budget:g}; it is the FLOP of one run, above zero")
    ranges = ranges or {}
    warnings = beyond(Points(c=[budget]), ranges, calibration, far)[1]
    aim = read_target(law, target)
    g = law.slopes(lambda t: (np.log(aim.of(t)) if aim.log else aim.of(t))[..., None], theta)[:, 0]
    size, data = optimum(theta, budget) if law.name == CHINCHILLA.name else (1.0, 20.0)
    n, d = candidates(budget, ranges, float(data / size))
    x = law.gradient(theta, {"n": n, "d": d}) / law.predict(theta, {"n": n, "d": d})
    x = x * np.where(law.logs, theta, 1.0)[:, None]
    flops = FLOPS_PER_PARAMETER_AND_TOKEN * n * d
    now, left, advised = covariance, float(g @ covariance @ g), []
    first, wide = left, _wide(aim, ranges, calibration)
    if not left > 0:
        raise LawError(f"{target} is certain already: no free parameter moves it")
    for _ in range(runs):
        toward = now @ x
        spread = scatter**2 + np.sum(x * toward, axis=0)
        fall = 1 - np.sqrt(np.maximum(left - (g @ toward) ** 2 / spread, 0.0) / left)
        best = int(np.argmax(fall if rank == "run" else fall / flops))
        now = now - np.outer(toward[:, best], toward[:, best]) / spread[best]
        left = float(g @ now @ g)
        half = wide * TWO_SIDED * float(np.sqrt(left))
        advised.append(Run(float(n[best]), float(d[best]), float(flops[best]), float(fall[best]), half))
    largest = ranges.get("c", (0.0, 0.0))[1]
    if largest and (at := aim.flops) > FAR * largest:
        warnings.append(Warned(
            "far-target", f"{target} is {at / largest:.3g} times the largest compute measured: that the law "
            "holds so far is a doubt that no run within this budget removes",
        ))  # fmt: skip
    if "d/n" in ranges:
        low, high = ranges["d/n"]
        slack = 1 + 1e-9  # of rounding
        odd = [run.d / run.n for run in advised if not low / slack <= run.d / run.n <= high * slack]
        if odd:
            said = " to ".join(dict.fromkeys(f"{one:.3g}" for one in (min(odd), max(odd))))
            warnings.append(Warned("beyond-ratio", (
                f"of these runs {len(odd)} {'has' if len(odd) == 1 else 'have'} {said} tokens for "
                f"each parameter, and {low:.3g} to {high:.3g} were measured: that the law holds there is a "
                "guess"
            )))  # fmt: skip
    value = float(aim.of(theta))
    return Design(target, value, wide * TWO_SIDED * float(np.sqrt(first)), aim.log, advised, warnings)


def _wide(
    target: Target, ranges: Mapping[str, tuple[float, float]], calibration: Calibration | None
) -> float:
    """By what ``danlu.laws.predict`` widens the interval of a loss as far beyond the points."""
    if calibration is None or calibration.by != "c" or not target.flops or not target.name.startswith("loss"):
        return 1.0
    band = calibration.at(float(along(Points(c=[target.flops]), ranges, "c")[0]))
    return 1.0 if band is None else band.widen


def candidates(
    budget: float, ranges: Mapping[str, tuple[float, float]], best: float = 20.0
) -> tuple[Array, Array]:
    """n and d of runs that cost the budget or a part of it, (candidates,) each, with as many tokens per
    parameter as the points have, or a little beyond where these hardly differ. ``best``: the ratio around
    which to look where the ranges do not tell ``d/n``."""
    if "d/n" in ranges:
        low, high = ranges["d/n"]
        wider = WIDER if high / low < SPREAD else 1.0
        low, high = low / wider, high * wider
    else:
        low, high = best / AROUND, best * AROUND
    flops = np.repeat(budget * np.array(CHEAPER), SIZES)
    ratio = np.tile(np.geomspace(low, high, SIZES), len(CHEAPER))
    n = np.sqrt(flops / (FLOPS_PER_PARAMETER_AND_TOKEN * ratio))
    return n, n * ratio


def read_target(law: Law, said: str) -> Target:
    """What a target's text means.

    ``loss@1e22``: the loss of the best division of so much compute; ``n@1e22`` and ``d@1e22``: its size and
    data; ``loss@n=7e9,d=2e12``: the loss of one model; ``a`` and ``b``: the exponents of the best size and
    data; or the name of a parameter. Raises LawError for anything else.
    """
    what, at, where = said.partition("@")
    try:
        if at and "=" in where:
            pairs = (map(str.strip, pair.split("=")) for pair in where.split(","))
            place = {key: np.array([_positive(value, key)]) for key, value in pairs}
            if what == "loss" and set(place) == set(law.columns):
                flops = float(Points(place).with_compute().get("c", np.zeros(1))[0])
                return Target(said, lambda theta: law.predict(theta, place)[..., 0], log=True, flops=flops)
        elif at and law.name == CHINCHILLA.name and what in ("loss", "n", "d"):
            flops = _positive(where, "c")
            return Target(said, _at_best(what, flops), log=True, flops=flops)
        elif law.name == CHINCHILLA.name and what in ("a", "b"):
            return Target(said, lambda theta: getattr(allocation(theta), what), log=False)
        elif not at:
            place_of = law.place(what)
            log = law.parameters[place_of].log
            return Target(said, lambda theta: theta[..., place_of], log=log)
    except (ValueError, LawError):
        pass
    raise LawError(
        f"target = {said!r}; it is loss@1e22, n@1e22 or d@1e22 (of the best division), loss@n=7e9,d=2e12, "
        f"the exponent a or b, or a parameter: {', '.join(law.names)}"
    )


def _positive(said: str, of: str) -> float:
    """A number of one of our columns, with its unit: 7B."""
    value = number(said, of=of)
    if value is None or not 0 < value < np.inf:
        raise ValueError(said)
    return value


def _at_best(what: str, flops: float) -> Callable[[Array], Array]:
    def of(theta: Array) -> Array:
        n, d = optimum(theta, flops)
        if what != "loss":
            return n if what == "n" else d
        E, A, B, alpha, beta = np.moveaxis(np.asarray(theta), -1, 0)
        return E + A * n**-alpha + B * d**-beta

    return of
