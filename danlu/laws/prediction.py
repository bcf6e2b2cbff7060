"""What a run will reach: the law's value, its interval, that of a new run, how far it is beyond the data."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from danlu.files.json import finite
from danlu.laws.base import Array, Law
from danlu.laws.best import best_size
from danlu.laws.beyond import NOT_KNOWN, along, beyond, word
from danlu.laws.calibration import Calibration
from danlu.laws.doubt import Interval, stretched
from danlu.laws.errors import LawError, Warned
from danlu.laws.saved import Saved
from danlu.laws.scatter import Scatter, ends
from danlu.laws.table import FLOPS_PER_PARAMETER_AND_TOKEN, Points

SIZES = ("n", "d", "c")
SIXFOLD = 1.01  # c/(6·n·d) may differ from 1 by this factor, if all three are given
END = 1e-6  # a best size so near to one parameter or one token is none


@dataclass(frozen=True)
class Prediction:
    """What a law says of places, (places,) each.

    ``places``: the columns. ``value``: the law's. ``mean_low``, ``mean_high``: the 95 % interval of the law's
    own value; ``run_low``, ``run_high``: of what a new run will measure; NaN where not known. ``reach``: how
    many times beyond the data the farthest column, or D/N, lies, 1 within. ``widened``: by what calibration
    multiplied both intervals. ``said``: of each place, what is known of extrapolations as far, or "".
    """

    law: Law
    places: Points
    value: Array
    mean_low: Array
    mean_high: Array
    run_low: Array
    run_high: Array
    reach: Array
    widened: Array
    said: tuple[str, ...]
    calibration: Calibration | None
    warnings: tuple[Warned, ...]

    def json(self) -> dict[str, Any]:
        """Plain values, an entry for each place; what is not known is None."""
        rows = [
            {
                "at": {name: column[i] for name, column in self.places.items()},
                "value": self.value[i],
                "mean": Interval(self.value[i], self.mean_low[i], self.mean_high[i]).json(),
                "run": Interval(self.value[i], self.run_low[i], self.run_high[i]).json(),
                "reach": self.reach[i],
                "widened": self.widened[i],
                "calibration": self.said[i],
            }
            for i in range(self.places.size)
        ]
        said = {
            "law": self.law.name,
            "target": self.law.target,
            "predictions": rows,
            "calibration": None if self.calibration is None else self.calibration.json(),
            "warnings": [one.json() for one in self.warnings],
        }
        plain: dict[str, Any] = finite(said)
        return plain


def predict(
    fit: Saved, places: Mapping[str, Sequence[float] | Array | float], *, far: bool = False
) -> Prediction:
    """The law's prediction at ``places`` with both intervals, widened where calibration found too few held.

    ``fit``: of ``danlu.laws.load``, or ``saved`` of an answer. ``places``: columns of one length, or one
    number for all. Of n, d and c any two stand for the third by C = 6·N·D; c alone means the law's own best
    n and d. ``far``: go on where refused.
    Raises LawError for a column that is missing or cannot be, and far beyond the data (see
    ``danlu.laws.beyond``).
    """
    law, theta, ranges, calibration = fit.law, fit.theta, fit.ranges, fit.calibration
    there = where(law, theta, places)
    value = law.predict(theta, there)
    if not (np.isfinite(value).all() and (law.space == "linear" or (value > 0).all())):
        raise LawError(f"{law.name} has no finite {law.target} there")
    warnings = fit.told
    found, uneven = np.full((4, there.size), np.nan), None
    if (draws := fit.sample()) is None:
        warnings.append(fit.no_sample)
    else:
        known = fit.scatter or Scatter(np.nan, np.nan, 1)
        found = np.array(ends(law, theta, draws, fit.without, known._replace(trend=None), there))
        if known.trend is not None:
            uneven = ends(law, theta, draws, fit.without, known, there)
        if fit.scatter is None:
            warnings.append(Warned("no-scatter", "no interval of a new run: the scatter is not known"))
    if not ranges:
        warnings.append(NOT_KNOWN)
    times, outside = beyond(there, ranges, calibration, far, fit.columns)
    warnings += outside
    widened, said = np.ones(there.size), [""] * there.size
    if calibration is not None:
        for i, farther in enumerate(along(there, ranges, calibration.by)):
            if (band := calibration.at(float(farther))) is not None:
                widened[i] = band.widen
                if farther <= calibration.farthest:  # what was measured nearer by says nothing of it
                    said[i] = band.said(word(calibration.by, fit.columns))
    found = stretched(value, widened, found)
    if uneven is not None:  # calibration, of even scatter, and this one answer for the same: the wider holds
        found[2:] = np.minimum(found[2], uneven.run_low), np.maximum(found[3], uneven.run_high)
    return Prediction(
        law=law,
        places=there,
        value=value,
        mean_low=found[0],
        mean_high=found[1],
        run_low=found[2],
        run_high=found[3],
        reach=times,
        widened=widened,
        said=tuple(said),
        calibration=calibration,
        warnings=tuple(dict.fromkeys(warnings)),
    )


def where(law: Law, theta: Array, places: Mapping[str, Any]) -> Points:
    """The law's columns, and n, d and c where they are known, (places,). Raises LawError."""
    given = {name: np.atleast_1d(np.asarray(values, dtype=np.float64)) for name, values in places.items()}
    lengths = {len(values) for values in given.values()} - {1}
    if len(lengths) > 1:
        told = ", ".join(f"{name} {len(values)}" for name, values in given.items())
        raise LawError(f"there must be as many values of each column, or one: {told}")
    size = lengths.pop() if lengths else 1
    given = {name: np.broadcast_to(values, size) for name, values in given.items()}
    for name, values in given.items():
        if bad := [value for value in values.tolist() if not 0 < value < np.inf]:
            raise LawError(f"{name} must be a number above zero, not {bad[0]:g}")
    if unknown := [name for name in given if name not in (*law.columns, *SIZES)]:
        raise LawError(f"{law.name} predicts from {', '.join(law.columns)}, not from {unknown[0]}")
    points = Points(given).with_compute()
    if "c" in given and {"n", "d"} <= points.keys():
        ratio = points["c"] / (FLOPS_PER_PARAMETER_AND_TOKEN * points["n"] * points["d"])
        if (np.maximum(ratio, 1 / ratio) > SIXFOLD).any():
            raise LawError(
                f"n, d and c contradict C = 6·N·D by a factor of {ratio.max():.3g}; give two of them"
            )
    others = [name for name in law.columns if name not in (*SIZES, *points)]
    if "c" in points and "n" not in points and {"n", "d"} <= set(law.columns) and not others:
        points = points.with_columns(n=_best_size(law, theta, points)).with_compute()
    if missing := others or [name for name in law.columns if name not in points]:
        raise LawError(
            f"{law.name} predicts from {', '.join(law.columns)}; give a value of {missing[0]} "
            f"(--at {missing[0]}=…)"
        )
    return points


def enough(law: Law, names: Collection[str]) -> bool:
    """Whether columns of these names are a place of the law, as ``where`` finds it."""
    known = {*names}
    if len(known & {*SIZES}) > 1 or ("c" in known and {"n", "d"} <= {*law.columns}):
        known |= {*SIZES}
    return {*law.columns} <= known


def _best_size(law: Law, theta: Array, points: Points) -> Array:
    """For each c the best n, other columns as they are, (places,)."""
    c = points["c"]
    n = best_size(law, theta[None], c, {name: points[name] for name in points if name not in SIZES})
    d = c / (FLOPS_PER_PARAMETER_AND_TOKEN * n)
    if (np.minimum(n, d) < 1 + END).any():
        raise LawError(f"{law.name} has no best size for this compute; give n or d")
    return n
