"""A fit with its doubt, as one answer: for the command line, its JSON and its report."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from danlu.files.json import misfit, read_json
from danlu.laws.base import LAWS, Array, Law, law
from danlu.laws.doubt import Draws, HoldOut, Interval, bootstrap, clusters, hold_out
from danlu.laws.errors import LawError
from danlu.laws.fit import Fit, fit
from danlu.laws.formulas.chinchilla import CHINCHILLA, allocation
from danlu.laws.profiles import unidentified
from danlu.laws.table import Points

SIZES = ("c", "n", "d", "x")  # by the first that is there, the largest rungs are held out


@dataclass(frozen=True)
class Answer:
    """``intervals``: 95 %, by parameter, empty without resamples; ``held``: the largest rungs."""

    fit: Fit
    draws: Draws | None
    intervals: dict[str, Interval]
    held: HoldOut | None
    warnings: list[str] = field(default_factory=list)

    @property
    def allocation(self) -> dict[str, Interval]:
        """Of Chinchilla's law: G, a and b of N_opt = G·(C/6)^a and D_opt = G⁻¹·(C/6)^b, with intervals."""
        if self.fit.law is not CHINCHILLA:
            return {}
        best = [float(value) for value in allocation(self.fit.vector)]
        if not all(map(math.isfinite, best)):
            return {}
        if self.draws is None:
            return {name: Interval(value, None, None, None) for name, value in zip("Gab", best, strict=True)}
        found = self.draws.of(lambda theta: np.stack(allocation(theta), axis=-1))
        return {
            name: Interval(*map(float, row))
            for name, row in zip("Gab", zip(*found, strict=True), strict=True)
        }

    def json(self) -> dict[str, Any]:
        """Plain values; what is not finite is None. ``draws`` are the resamples' parameters, in order."""
        found = self.fit
        return _finite({
            "law": found.law.name,
            "points": found.points.size,
            "parameters": found.theta,
            "intervals": {name: _interval(one) for name, one in self.intervals.items()},
            "objective": found.objective,
            "delta": found.loss.delta,
            "starts": found.starts,
            "agreeing_starts": found.agreeing_starts,
            "gradient": found.gradient_norm,
            "converged": found.converged,
            "allocation": {name: one._asdict() for name, one in self.allocation.items()},
            "hold_out": None if self.held is None else _held(self.held),
            "warnings": self.warnings,
            "draws": [] if self.draws is None else self.draws.theta.tolist(),
        })  # fmt: skip


def answer(
    law: Law, points: Points, *, rungs: int = 2, resamples: int = 100, cluster: Array | None = None
) -> Answer:
    """Fit a law, resample it and score it on its largest rungs, which the fit that is scored never saw.

    ``rungs``: how many are held out, by compute where it is known; 0 for none. ``resamples``: of a bootstrap;
    0 for none. ``cluster``: (points,), a label each; points of one label are drawn together.
    Raises LawError where the points cannot determine the law; a doubt that fails is a warning.
    """
    clusters(points, cluster)  # raises: that there are not as many labels is no matter of doubt
    found = fit(law, points)
    warnings = list(found.warnings)
    draws, intervals, held = None, {}, None
    if resamples:
        try:
            draws = bootstrap(found, resamples, by=cluster)
            intervals = draws.parameters()
            if draws.lost:
                warnings.append(f"{draws.lost} of {resamples} resamples could not be fitted")
        except LawError as error:
            warnings.append(f"no intervals: {error}")
        warnings += map(str, unidentified(found))
    if rungs:
        try:
            held = hold_out(law, points, rungs, by=size_of(points))
        except LawError as error:
            warnings.append(f"the extrapolation is not scored: {error}")
    return Answer(found, draws, intervals, held, warnings)


def size_of(points: Points) -> str | None:
    """The column by which points are large."""
    return next((name for name in SIZES if name in points), None)


@dataclass(frozen=True)
class Score:
    """``mean``: of the sizes of the errors on the held-out rungs; None where the law failed, and ``why``."""

    law: Law
    parameters: int
    mean: float | None
    bias: float | None
    why: str = ""


def compare(points: Points, *, rungs: int = 2) -> list[Score]:
    """Every law that predicts one column of the points from others, the best on the held-out rungs first."""
    laws = [one for one in LAWS.values() if {*one.columns, one.target} <= points.keys()]
    if not laws:
        raise LawError(f"no law predicts one of {', '.join(points)} from the others")
    scores = []
    for one in laws:
        try:
            held = hold_out(one, points, rungs, by=size_of(points))
            scores.append(Score(one, len(one.parameters), held.mean, held.bias))
        except LawError as error:
            scores.append(Score(one, len(one.parameters), None, None, str(error)))
    return sorted(scores, key=lambda s: (s.law.target != "loss", s.mean is None, s.mean or 0.0))


def from_json(path: Path) -> tuple[Law, Array, Array | None]:
    """The law, parameters (parameters,) and draws (resamples, parameters) that ``Answer.json`` wrote."""
    said = read_json(path)
    if wrong := misfit(said, {"law": str, "parameters": dict, "draws": ([[float]], None)}):
        raise LawError(f"{path} is not what danlu laws fit --json prints: {wrong}")
    found = law(said["law"])
    if wrong := misfit(said["parameters"], dict.fromkeys(said["parameters"], float)):
        raise LawError(f"{path} is not what danlu laws fit --json prints: {wrong}")
    theta, draws = found.theta(said["parameters"]), said.get("draws") or []
    if any(len(draw) != len(theta) for draw in draws):
        raise LawError(f"{path} holds draws of another law's parameters")
    draws = np.array(draws, dtype=np.float64)
    return found, theta, draws if len(draws) > 1 else None


def _interval(one: Interval) -> dict[str, Any]:
    return {"low": one.low, "high": one.high, "error": one.error}


def _held(held: HoldOut) -> dict[str, Any]:
    target = held.fit.law.target
    return {
        "by": held.by,
        "points": held.held.size,
        "mean_error": held.mean,
        "bias": held.bias,
        "measured": held.held[target].tolist(),
        "predicted": held.predicted.tolist(),
    }


def _finite(value: Any) -> Any:
    """The same with None in place of every number that has no JSON."""
    if isinstance(value, Mapping):
        return {name: _finite(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
