"""From size, data or compute to a task's accuracy, over one loss or two: laws put one after the other.

Loss over size and data by ``chinchilla``, over compute by ``power-floor``; a task's loss over the loss by a
power law with a floor, accuracy over the last loss by a sigmoid (Bhagia et al. 2024, the OLMo ladder,
arXiv:2412.04403, equations 1 and 3) or an exponential (Gadre et al. 2024, arXiv:2403.08540, equation 5).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from danlu.laws.base import Array, Law
from danlu.laws.beyond import beyond, with_ratio
from danlu.laws.doubt import Interval, interval, redrawn
from danlu.laws.errors import LawError, Warned
from danlu.laws.fit import Fit, fit, refit
from danlu.laws.formulas.chains import ACCURACY, TASK_ERROR
from danlu.laws.formulas.chinchilla import CHINCHILLA, optimum
from danlu.laws.formulas.power import POWER_FLOOR
from danlu.laws.held_out import largest
from danlu.laws.table import Points

Form = Literal["sigmoid", "exponential"]
FORMS: tuple[Form, ...] = ("sigmoid", "exponential")
LOSSES = ("loss", "task_loss")
NO_LOSS = 1e-9  # what stands for a loss of zero, of which there is no logarithm
CEILING = 1.02  # an accuracy beyond 1 by less than this is the fit's own error
ROUNDED = 1e-4  # of accuracy: residuals that are rounding
LEVEL = 0.01  # of a false alarm that the ideal point contradicts the others
SIZES = ("c", "n", "d", "loss", "task_loss")  # by the first, the largest (losses: lowest) rungs are held out


@dataclass(frozen=True)
class Link:
    """One law of a chain. ``sources``: the columns it reads; ``target``: what it says; ``draws``: its
    parameters in each resample, (resamples, parameters)."""

    sources: tuple[str, ...]
    target: str
    fit: Fit
    draws: Array

    @property
    def said(self) -> str:
        """What follows from what, in words."""
        return f"{self.target} of {' and '.join(self.sources)}"

    def ends(self, parameter: str) -> Interval:
        """The value and 95 % interval of a parameter."""
        place = self.fit.law.place(parameter)
        return interval(float(self.fit.vector[place]), self.draws[:, place])

    def apply(self, theta: Array, values: Mapping[str, Array], residual: Array | float = 0.0) -> Array:
        """The target, (draws, points), of theta (draws, parameters) and sources (draws or 1, points);
        ``residual``: (draws, 1), by which a run misses the law."""
        data = _renamed(self.sources, values)
        # A law reads columns of one row; here each draw has its own, so each is a batch of its own.
        rows = np.broadcast_shapes(*(column.shape for column in data.values()), (len(theta), 1))
        whole = {name: np.broadcast_to(column, rows) for name, column in data.items()}
        law = self.fit.law
        found = np.stack([
            law.predict(one, {name: column[i] for name, column in whole.items()})
            for i, one in enumerate(theta)
        ])  # fmt: skip
        found = found * np.exp(-residual) if law.space == "log" else found - residual
        return 1 - found if law is TASK_ERROR else found


class Predicted(NamedTuple):
    """Of one quantity at points, (points,) each: ``law``, the value with the interval that the parameters
    leave; ``low``, ``high``: where one new run lies."""

    law: Interval
    low: Array
    high: Array

    def json(self) -> dict[str, Any]:
        """Of the first point: the value, its interval, and that of a new run."""
        value, low, high = (float(one[0]) for one in self.law[:3])
        run = Interval(value, float(self.low[0]), float(self.high[0]))
        return {"value": value, "mean": Interval(value, low, high).json(), "run": run.json()}


class Held(NamedTuple):
    """The largest rungs, which the chain that predicts them never saw. ``by``: the column; ``points``: how
    many; ``errors``: by quantity, the mean of |predicted/measured − 1|."""

    by: str
    points: int
    errors: dict[str, float]


@dataclass(frozen=True)
class Chain:
    """``links``: in order, all fitted to the same ``points``; ``warnings``."""

    points: Points
    links: list[Link]
    lost: int
    warnings: list[Warned]

    def predict(
        self, at: Mapping[str, Array | float], *, far: bool = False, level: float = 0.95, seed: int = 0
    ) -> dict[str, Predicted]:
        """Every quantity that follows from ``at``, whose columns are the sources of one of the links.

        Compute alone, where the chain begins at n and d, is divided by its law. Both intervals go through all
        links: each draw has the parameters of all links from one resample, and a new run misses each link by
        what one of the points misses it. Raises LawError for other columns, and beyond the points as
        ``danlu.laws.predict`` does, unless ``far``.
        """
        begins = set(at) == {"c"} and self.links[0].sources == ("n", "d")
        if begins or any(set(link.sources) == set(at) for link in self.links):
            self.outside(at, far)
        if begins:
            at = dict(zip(("n", "d"), optimum(self.links[0].fit.vector, np.asarray(at["c"])), strict=True))
        first = next((i for i, link in enumerate(self.links) if set(link.sources) == set(at)), None)
        if first is None:
            known = "; ".join(" and ".join(link.sources) for link in self.links)
            known = f"c; {known}" if self.links[0].sources == ("n", "d") else known
            raise LawError(f"the chain begins at {known}, not at {' and '.join(at) or 'nothing'}")
        given = {name: np.atleast_1d(np.asarray(value, dtype=np.float64))[None] for name, value in at.items()}
        draws = len(self.links[0].draws)
        row = np.random.default_rng(seed).integers(self.points.size, size=draws)
        best, spread, new, found = given, given, given, {}
        for link in self.links[first:]:
            wide = np.sqrt(self.points.size / max(1, self.points.size - int(link.fit.free.sum())))
            missed = link.fit.residuals[row][:, None] * wide
            value = link.apply(link.fit.vector[None], best)
            values, runs = link.apply(link.draws, spread), link.apply(link.draws, new, missed)
            if link.target == "accuracy":
                value, values, runs = (np.clip(one, 0, 1) for one in (value, values, runs))
            law, run = interval(value[0], values, level), interval(value[0], runs, level)
            # What the law leaves open, a run of it does.
            found[link.target] = Predicted(law, np.minimum(run.low, law.low), np.maximum(run.high, law.high))
            best, spread, new = ({link.target: one} for one in (value, values, runs))
        return found

    def outside(self, at: Mapping[str, Array | float], far: bool = False) -> list[Warned]:
        """Warnings of places beyond what was measured. Raises LawError as ``danlu.laws.beyond`` does."""
        whole = with_ratio(self.points)
        ranges = {name: (float(column.min()), float(column.max())) for name, column in whole.items()}
        columns = np.broadcast_arrays(*(np.atleast_1d(value) for value in at.values()))
        return beyond(Points(dict(zip(at, columns, strict=True))), ranges, None, far)[1]


def chain(
    points: Points,
    *,
    through: Sequence[str] | None = None,
    form: Form = "sigmoid",
    guess: float | None = None,
    ideal: bool = False,
    resamples: int = 400,
    by: str | Array | None = None,
    seed: int = 0,
) -> Chain:
    """Fit every link of the chain that the columns allow, to the same points.

    ``points``: accuracy (a share), loss or task_loss or both, and n with d, or c, for a first link.
    ``through``: the losses to go through, all that are there where not said. ``form``: of accuracy.
    ``guess``: the accuracy of chance, fitted where not said. ``ideal``: the last link also passes near an
    accuracy of 1 at no loss at all, as one more point. ``resamples``: of rows, or clusters ``by`` as in
    ``bootstrap``, the same for all links. Raises LawError where a link cannot be fitted.
    """
    points = points.with_compute()
    fits = _fits(points, through, form, guess, ideal)
    most = max(int(one.free.sum()) for *_, one in fits)
    counts = redrawn(points, by, most, resamples, seed)
    thetas, kept = [], (counts > 0).sum(-1) > most
    for number, (*_, one) in enumerate(fits):
        weights = np.concatenate([counts, np.ones((resamples, one.points.size - points.size))], axis=-1)
        found = refit(one, weights=weights, starts=2, seed=seed + number)
        thetas.append(found.theta)
        kept &= np.isfinite(found.objective) & np.isfinite(found.theta).all(-1)
    if kept.sum() < 2:
        raise LawError(f"the chain could not be fitted to any two of {resamples} resamples")
    links = [
        Link(sources, target, _without_ideal(one, points.size), theta[kept])
        for (sources, target, one), theta in zip(fits, thetas, strict=True)
    ]
    warnings = [
        Warned(warning.code, f"{link.said}: {warning}") for link in links for warning in link.fit.warnings
    ]
    warnings += _of_accuracy(points, links[-1].fit, ideal, guess)
    return Chain(points, links, int(resamples - kept.sum()), warnings)


def _of_accuracy(points: Points, last: Fit, ideal: bool, guess: float | None) -> list[Warned]:
    """What is wrong with the last link: a ceiling above 1, an ideal point that the others contradict."""
    warnings = []
    theta = last.theta
    top = theta["a"] + theta["b"] if last.law is ACCURACY else 1 - theta["ε"] + theta["k"]
    if not ideal and top > CEILING:
        warnings.append(Warned(
            "ceiling", f"without loss the accuracy would be {top:.3g}; the points do not show where it "
            "levels off: add the ideal point (--ideal), or trust no accuracy beyond those measured",
        ))  # fmt: skip
    if ideal:
        form: Form = "sigmoid" if last.law is ACCURACY else "exponential"
        free = _accuracy(last.points["loss"], points["accuracy"], form, guess, ideal=False)
        apart, near = (float(np.median(np.abs(one.residuals))) for one in (last, free))
        if _contradicted(last, free):
            warnings.append(Warned(
                "ideal-point-bends", f"with the ideal point the {last.law.name} law misses the measured "
                f"accuracies by {apart:.2g} in the median, without it by {near:.2g}, more than chance: "
                "leave it out",
            ))  # fmt: skip
    return warnings


def _contradicted(last: Fit, free: Fit) -> bool:
    """Whether the fit with the ideal point misses the points by more than that without it, beyond chance: by
    F of one parameter, of residuals cut at three robust standard deviations of the free fit."""
    from scipy.special import fdtrc

    limit = 3 * max(1.4826 * float(np.median(np.abs(free.residuals))), ROUNDED)
    bound, loose = (float(np.sum(np.clip(one.residuals, -limit, limit) ** 2)) for one in (last, free))
    left = free.points.size - int(free.free.sum())
    if left < 1:
        return False
    F = (bound - loose) / max(loose / left, ROUNDED**2)
    return F > 0 and bool(fdtrc(1, left, F) < LEVEL)


def hold_out(
    points: Points,
    rungs: int = 2,
    *,
    through: Sequence[str] | None = None,
    form: Form = "sigmoid",
    guess: float | None = None,
    ideal: bool = False,
) -> Held:
    """How a chain fitted without the largest rungs predicts them; the arguments are those of ``chain``."""
    points = points.with_compute()
    column = next(name for name in SIZES if name in points)
    held = largest(1 / points[column] if column in LOSSES else points[column], rungs, column)
    rest = points.take(held)
    fits = _fits(points.take(~held), through, form, guess, ideal)
    values: dict[str, Array] = {name: rest[name][None] for name in fits[0][0]}
    errors = {}
    for sources, target, one in fits:
        found = Link(sources, target, one, one.vector[None]).apply(one.vector[None], values)
        values = {target: found}
        errors[target] = float(np.mean(np.abs(found[0] / np.maximum(rest[target], 1e-12) - 1)))
    return Held(column, rest.size, errors)


def _fits(
    points: Points, through: Sequence[str] | None, form: Form, guess: float | None, ideal: bool
) -> list[tuple[tuple[str, ...], str, Fit]]:
    if form not in FORMS:
        raise LawError(f"form = {form!r}; allowed: {', '.join(FORMS)}")
    if guess is not None and not 0 <= guess < 1:
        raise LawError(f"guess = {guess:g}; it is the share of right answers by chance, from 0 to below 1")
    if "accuracy" not in points:
        raise LawError(f"a chain needs a column accuracy; there are {', '.join(points)}")
    if ((wrong := points["accuracy"]) < 0).any() or (wrong > 1).any():
        bad = wrong[(wrong < 0) | (wrong > 1)][0]
        raise LawError(f"accuracy holds {bad:g}; it is a share from 0 to 1 (--unit accuracy=% of per cent)")
    losses = [name for name in through or LOSSES if name in points]
    if not losses or (through and len(losses) < len(through)):
        wanted = " or ".join(through or LOSSES)
        mend = (
            f"name it with --column {(through or LOSSES)[0]}=NAME; without a loss there is no chain, but "
            "danlu laws fit --law task-compute takes accuracy by compute alone"
        )
        raise LawError(f"a chain needs a column {wanted}; there are {', '.join(points)}; {mend}")
    first = ("n", "d") if {"n", "d"} <= points.keys() else ("c",) if "c" in points else ()
    steps = [(first, losses[0])] if first else []
    steps += [((one,), other) for one, other in pairwise(losses)]
    fits = []
    for sources, target in steps:
        law: Law = CHINCHILLA if len(sources) > 1 else POWER_FLOOR
        columns = _renamed(sources, points)
        fits.append((sources, target, fit(law, Points({**columns, "loss": points[target]}))))
    last = _accuracy(points[losses[-1]], points["accuracy"], form, guess, ideal)
    return [*fits, ((losses[-1],), "accuracy", last)]


def _accuracy(loss: Array, accuracy: Array, form: Form, guess: float | None, ideal: bool) -> Fit:
    if ideal:
        loss, accuracy = np.append(loss, NO_LOSS), np.append(accuracy, 1.0)
    if form == "sigmoid":
        fixed = {} if guess is None else {"b": guess}
        return fit(ACCURACY, Points(loss=loss, accuracy=accuracy), fixed=fixed)
    fixed = {} if guess is None else {"ε": 1 - guess}
    return fit(TASK_ERROR, Points(loss=loss, error=1 - accuracy), fixed=fixed)


def _renamed(sources: tuple[str, ...], values: Mapping[str, Array]) -> dict[str, Array]:
    """The columns as the law of the link has them: x of one, 1/loss where a loss makes another loss."""
    if sources in {("loss",), ("task_loss",)}:
        # The last link reads ``loss``, one between two losses a power of 1/loss, a + b·loss^c.
        loss = values[sources[0]]
        with np.errstate(divide="ignore"):
            return {"x": 1 / np.maximum(loss, NO_LOSS), "loss": loss}
    return {"x": values["c"]} if sources == ("c",) else {name: values[name] for name in sources}


def _without_ideal(one: Fit, size: int) -> Fit:
    """The fit with the points that were measured alone."""
    if one.points.size == size:
        return one
    at: NDArray[np.int64] = np.arange(size)
    return replace(one, points=one.points.take(at), residuals=one.residuals[at], weights=one.weights[at])
