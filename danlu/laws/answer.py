"""A fit with its doubt, as one answer: for the command line, its JSON and its report."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from danlu.files.json import finite
from danlu.laws.audit.dependence import NONE, asked, none
from danlu.laws.audit.dependence import found as dependence
from danlu.laws.audit.groups import EXACT
from danlu.laws.audit.whole import Audit, audit
from danlu.laws.base import LAWS, Array, Law, Parameter, ascii_name
from danlu.laws.beyond import word
from danlu.laws.calibration import MOST_POINTS, Calibration, calibrate
from danlu.laws.doubt import Draws, Interval, LeftOut, cautions, clusters, resample
from danlu.laws.errors import LawError, Warned, weight
from danlu.laws.fit import Fit, fit
from danlu.laws.formulas.chinchilla import CHINCHILLA, allocation
from danlu.laws.held_out import HoldOut, hold_out
from danlu.laws.profiles import unidentified
from danlu.laws.saved import SCHEMA, Saved, loss_json, parse, ranges
from danlu.laws.scatter import Scatter, scatter
from danlu.laws.solve import HUBER, Loss
from danlu.laws.table import Points

SIZES = ("c", "n", "d", "x")  # by the first that is there, the largest rungs are held out
TELLING = 5  # points held out from which on a law may be as good as another


@dataclass(frozen=True)
class Answer:
    """``intervals``: 95 %, by parameter, empty without resamples; ``held``: the largest rungs;
    ``scatter``: of the points about the fit; ``calibration``: how smaller budgets predicted larger ones;
    ``audit``: what the points say before the fit is believed; its findings are among the ``warnings``, of
    which the gravest come first."""

    fit: Fit
    draws: Draws | None
    intervals: dict[str, Interval]
    held: HoldOut | None
    scatter: Scatter
    calibration: Calibration | None
    warnings: list[Warned] = field(default_factory=list)
    audit: Audit | None = None

    @property
    def allocation(self) -> dict[str, Interval]:
        """Of Chinchilla's law: G, a and b of N_opt = G·(C/6)^a and D_opt = G⁻¹·(C/6)^b, with intervals."""
        if self.fit.law.name != CHINCHILLA.name:
            return {}
        best = [float(value) for value in allocation(self.fit.vector)]
        if not all(map(math.isfinite, best)):
            return {}
        if self.draws is None or not self.intervals:
            return {name: Interval(value, None, None) for name, value in zip("Gab", best, strict=True)}
        found = self.draws.of(lambda theta: np.stack(allocation(theta), axis=-1))
        # Widened intervals stay where a scale and two shares of one can lie.
        highest = np.array([np.inf, 1.0, 1.0])
        found = found._replace(low=np.maximum(found.low, 0.0), high=np.minimum(found.high, highest))
        return {
            name: Interval(*map(float, row))
            for name, row in zip("Gab", zip(*found, strict=True), strict=True)
        }

    def meaning(self, parameter: Parameter) -> str:
        """What a parameter means, and its unit; that of a loss which is none in nats is its own."""
        unit = parameter.unit
        if "not-nats" in {one.code for one in self.warnings}:
            unit = unit.replace("nats/token", "unit of the loss")
        return f"{parameter.meaning}, {unit}" if unit else parameter.meaning

    def cells(self, parameter: str) -> tuple[str, str, str]:
        """A parameter's value and the ends of its interval as tables have them; what is held says so."""
        value, ends = f"{self.fit.theta[parameter]:.6g}", self.intervals.get(parameter)
        if held := self.fit.held(parameter):
            return value, held, ""
        return (value, "", "") if ends is None else (value, f"{ends.low:.4g}", f"{ends.high:.4g}")

    @property
    def covariance(self) -> Array | None:
        """Of the resamples in the fit's coordinates, (parameters, parameters); None without resamples."""
        if self.draws is None:
            return None
        u = self.fit.law.inner(self.draws.theta)
        return np.cov(u[np.isfinite(u).all(-1)], rowvar=False).reshape(u.shape[-1], -1)

    @property
    def saved(self) -> Saved:
        """As it comes back from its file."""
        return parse(self.json(), "the fit")

    def json(self, draws: bool = True) -> dict[str, Any]:
        """The fit file: plain values, parameters by their ASCII names, None for what is not finite.

        ``draws``: with the resamples' parameters, in order, without which weakly determined parameters have
        no intervals when it is read. ``danlu.laws.saved.load`` reads it.
        """
        found, covariance = self.fit, self.covariance
        keys = found.law.keys
        said = {
            "schema": SCHEMA,
            "law": found.law.name,
            "points": found.points.size,
            "parameters": dict(zip(keys, found.vector.tolist(), strict=True)),
            "fixed": [key for key in keys if found.held(key) == "fixed"],
            "ties": {
                key: keys[found.law.leads[place]]
                for place, key in enumerate(keys)
                if not found.law.own[place]
            },
            "intervals": {ascii_name(name): one.json() for name, one in self.intervals.items()},
            "coordinates": [f"ln {p}" if log else p for p, log in zip(keys, found.law.logs, strict=True)],
            "covariance": None if covariance is None else covariance.tolist(),
            "ranges": ranges(found.points, found.law),
            "scatter": self.scatter.json(),
            "loss": loss_json(found.loss),
            "objective": found.objective,
            "starts": found.starts,
            "agreeing_starts": found.agreeing_starts,
            "gradient": found.gradient_norm,
            "converged": found.converged,
            "allocation": {name: one.json() for name, one in self.allocation.items()},
            "hold_out": None if self.held is None else _held(self.held),
            "left_out": None if self.draws is None else _left_out(self.draws.without),
            "calibration": None if self.calibration is None else self.calibration.json(),
            "audit": None if self.audit is None else self.audit.json(),
            "residuals": found.residuals.tolist(),
            "warnings": [one.json() for one in self.warnings],
        }
        if draws:
            said["draws"] = [] if self.draws is None else self.draws.theta.tolist()
        plain: dict[str, Any] = finite(said)
        return plain


def answer(
    law: Law,
    points: Points,
    *,
    loss: Loss | None = HUBER,
    fixed: Mapping[str, float] | None = None,
    rungs: int = 2,
    resamples: int = 100,
    cluster: Array | None = None,
    cluster_name: str | None = None,
    table: Mapping[str, Sequence[Any]] | None = None,
    calibrated: bool = False,
) -> Answer:
    """Fit a law, resample it and score it on its largest rungs, which the fit that is scored never saw.

    ``loss``, ``fixed``: of ``fit``; ties and bounds the law brings along.
    ``rungs``: how many are held out, by compute where it is known; 0 for none. ``resamples``: of a bootstrap;
    0 for none. ``cluster``: (points,), a label each; points of one label are drawn together;
    ``cluster_name``: the column of these labels, or ``none`` for none. Left out, they are found: by a column
    of ``table``, the file's own columns, that names runs, or by sizes that repeat.
    ``calibrated``: by ``calibrate`` however many points there are; else up to MOST_POINTS.
    Raises LawError where the points cannot determine the law; a doubt that fails is a warning.
    """
    clusters(points, cluster)  # raises: a label too few is no matter of doubt
    found = fit(law, points, loss=loss, fixed=fixed)
    free = int(found.free.sum())
    together = (
        asked(cluster_name or "cluster", cluster)
        if cluster is not None
        else none()
        if cluster_name == NONE
        else dependence(points, table or {}, free)
    )
    checked = audit(found, table, together)
    group = None if together.labels is None else together.labels.astype(np.float64)
    warnings = [*checked.said, *found.warnings]
    draws, intervals, held = None, {}, None
    free_points = points.size > free  # else all is said by the fit's own warning
    exact = free_points and float(np.median(np.abs(found.residuals))) < EXACT
    if exact:
        warnings.append(Warned("exact", (
            f"{law.name} goes through the points but for rounding: there is no scatter to tell intervals by; "
            "are they computed, not measured?"
        )))  # fmt: skip
    if resamples and free_points:
        try:
            draws = resample(found, resamples, by=group)
            if not exact:
                intervals = draws.parameters()
                warnings += cautions(draws, intervals)
            if draws.lost:
                warnings.append(
                    Warned("lost-resamples", f"{draws.lost} of {resamples} resamples could not be fitted")
                )
        except LawError as error:
            warnings.append(Warned("no-intervals", f"no intervals: {error}"))
        if not exact:
            warnings += [Warned("not-identified", flat) for flat in unidentified(found)]
    if rungs and free_points:
        try:
            held = hold_out(law, points, rungs, by=size_of(points, law), loss=found.loss, fixed=fixed)
        except LawError as error:
            warnings.append(Warned("not-scored", f"the extrapolation is not scored: {error}"))
    measured = None
    few = calibrated or points.size <= MOST_POINTS
    if draws is not None and few and (by := size_of(points, law)) is not None:
        with suppress(LawError):  # that it is not known is said where it is needed
            measured = calibrate(found, by=by, cluster=group)
    warnings.sort(key=weight)
    spread = scatter(found, group, together.cluster)
    if not exact and (trend := spread.trend) is not None:
        end = "largest" if trend.slope > 0 else "smallest"
        warnings.append(Warned("uneven-scatter", (
            f"runs scatter {trend.most:.2g} times as far at the {end} {word(trend.column)} as in the mean: "
            "intervals of new runs are that much wider there"
        )))  # fmt: skip
    return Answer(found, draws, intervals, held, spread, measured, warnings, checked)


def size_of(points: Points, law: Law | None = None) -> str | None:
    """The column by which points are large; under a ``law`` of one size that one, so that a place of the law
    says how far beyond the points it is."""
    own = [] if law is None or len(law.columns) > 1 else [name for name in law.columns if name in SIZES]
    return next((name for name in (*own, *SIZES) if name in points), None)


@dataclass(frozen=True)
class Score:
    """``mean``: of the sizes of the errors on the held-out rungs; None where the law failed, and ``why``.
    ``held``: the points of these, the largest by ``by``. ``worse``: whether it is clearly worse than the
    first law of the same target, by a paired t-interval of the sizes of the errors; None of the first, and
    where too few points are held out to tell, which ``why`` says."""

    law: Law
    parameters: int
    mean: float | None
    bias: float | None
    why: str = ""
    held: int = 0
    by: str = ""
    worse: bool | None = None


def compare(points: Points, *, rungs: int = 2) -> list[Score]:
    """Every law that predicts one column of the points from others, the best on the held-out rungs first."""
    laws = [one for one in LAWS.values() if {*one.columns, one.target} <= points.keys()]
    if not laws:
        raise LawError(f"no law predicts one of {', '.join(points)} from the others")
    scores, sizes = [], dict[str, Array]()
    for one in laws:
        try:
            held = hold_out(one, points, rungs, by=size_of(points))
            sizes[one.name] = np.abs(held.errors)
            found = Score(one, len(one.parameters), held.mean, held.bias, "", held.held.size, held.by)
        except LawError as error:
            found = Score(one, len(one.parameters), None, None, str(error))
        scores.append(found)
    scores.sort(key=lambda s: (s.law.target != "loss", s.mean is None, s.mean or 0.0))
    first = {s.law.target: s.law.name for s in reversed(scores) if s.mean is not None}
    return [
        replace(s, **_against(sizes[s.law.name], sizes[first[s.law.target]]))
        if s.mean is not None and s.law.name != first[s.law.target]
        else s
        for s in scores
    ]


def _against(these: Array, those: Array) -> dict[str, Any]:
    """Whether errors at the same points are larger on average, beyond chance, or why that cannot be told."""
    from scipy.special import stdtrit

    more = these - those
    if more.size > 1 and more.mean() > stdtrit(more.size - 1, 0.975) * more.std(ddof=1) / math.sqrt(
        more.size
    ):
        return {"worse": True}
    if more.size < TELLING:
        return {"why": f"{more.size} points held out are too few to tell (--hold-out)"}
    return {"worse": False}


def _left_out(without: LeftOut | None) -> dict[str, Any] | None:
    return None if without is None else {"clusters": without.clusters, "parameters": without.theta.tolist()}


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
