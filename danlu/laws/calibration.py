"""How well a law predicted the larger runs from the smaller ones: what an extrapolation is worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from danlu.files.json import finite
from danlu.laws.base import Array
from danlu.laws.doubt import clusters, resample
from danlu.laws.errors import LawError
from danlu.laws.fit import Fit, fit
from danlu.laws.held_out import rungs_of
from danlu.laws.scatter import ends, scatter
from danlu.laws.table import SAME_SIZE, Points, check

REACHES = (1.0, 3.0, 10.0, 100.0, np.inf)  # how many times beyond the largest budget fitted to: the bands
CUTS = 6  # fits to smaller budgets, at most
RESAMPLES = 79  # of each: the 2.5 % quantile is the second lowest
STARTS = 8  # of each, near the fit to all points
MOST_POINTS = 1000  # more than these are calibrated where asked, not with every fit
SHAPE: dict[str, Any] = {  # of its JSON
    "by": str, "fits": int, "farthest": float,
    "bands": [{"above": float, "up_to": (float, None), "runs": int, "held": int, "error": float,
               "bias": float, "widen": (float, None), "scored": (int, None)}],
}  # fmt: skip
UNLIKELY = 0.1  # fewer held than this probability allows intervals of 95 % make them wider


class Band(NamedTuple):
    """Predictions of runs ``above`` to ``up_to`` times the largest budget that was fitted to.

    ``runs``: how many. ``held``: how many of the ``scored`` lay within the 95 % interval of a new run; where
    a smaller fit has too few clusters for intervals, its runs are not scored (None: all are). ``error``: the
    mean of |predicted/measured − 1|; ``bias``: that of predicted/measured − 1. ``widen``: by what to multiply
    the intervals (in logarithms) for 95 % of the runs to lie within; 1 where enough did.
    """

    above: float
    up_to: float
    runs: int
    held: int
    error: float
    bias: float
    widen: float
    scored: int | None = None

    def said(self, size: str) -> str:
        """A sentence; ``size``: what the budgets are of."""
        reach = f"{self.above:g} to {self.up_to:g}" if np.isfinite(self.up_to) else f"over {self.above:g}"
        scored = self.runs if self.scored is None else self.scored
        told = (
            f"{reach} times beyond their largest {size}, fits to the smaller ones missed by {self.error:.2%} "
            "on average"
        )
        if not scored:
            return f"{told}; they have too few clusters for intervals"
        told = f"{told}, and their 95 % intervals held {self.held} of {scored} predicted runs"
        return told if self.widen == 1 else f"{told}: intervals are made {self.widen:.3g} times as wide"


@dataclass(frozen=True)
class Calibration:
    """``by``: the column of the budgets. ``fits``: how many fits to smaller budgets were scored.
    ``farthest``: the largest reach of a run that was predicted. ``bands``: those that have runs, the nearest
    first."""

    by: str
    fits: int
    farthest: float
    bands: tuple[Band, ...]

    def at(self, reach: float) -> Band | None:
        """The band of a reach; beyond the last the last, and where none is as far as the first."""
        near = [band for band in self.bands if band.above < reach]
        return near[-1] if near else (self.bands[0] if self.bands and reach > 1 else None)

    def json(self) -> dict[str, Any]:
        """Plain values; what is endless is None."""
        plain: dict[str, Any] = finite(asdict(self) | {"bands": [band._asdict() for band in self.bands]})
        return plain


def from_json(said: Mapping[str, Any]) -> Calibration:
    """What ``Calibration.json`` made."""
    bands = tuple(
        Band(**{
            **one,
            "up_to": np.inf if one["up_to"] is None else one["up_to"],
            "widen": np.inf if one["widen"] is None else one["widen"],
        })
        for one in said["bands"]
    )  # fmt: skip
    return Calibration(said["by"], said["fits"], said["farthest"], bands)


def calibrate(found: Fit, *, by: str, cluster: str | Array | None = None, seed: int = 0) -> Calibration:
    """Rolling origin (Tashman 2000, doi:10.1016/S0169-2070(00)00065-0): fit up to a budget, predict above it.

    ``by``: the column of the budgets. ``cluster``: of ``danlu.laws.doubt.resample``. ``found``: the fit to
    all points; the others have its law, loss and fixed parameters.
    Raises LawError where no smaller budget can be fitted.
    """
    law, points = found.law, found.points
    if by not in points:
        raise LawError(f"there is no column {by} to calibrate by; there are {', '.join(points)}")
    group = clusters(points, cluster).astype(np.float64)
    reaches, ratios, scores, why, fits = [], [], [], None, 0
    for limit in _limits(points[by], int(found.free.sum())):
        below = points[by] <= limit
        try:
            part = _refitted(found, below, seed)
        except LawError as error:
            why = error
            continue
        above = points.take(~below)
        predicted = part.predict(above)
        fits += 1
        reaches.append(above[by] / limit)
        ratios.append(predicted / above[law.target])
        scores.append(_scores(part, above, group[below], seed))
    if not fits:
        raise LawError(f"no fit to smaller budgets can be scored: {why or 'there are too few'}")
    reach, ratio, score = (np.concatenate(column) for column in (reaches, ratios, scores))
    bands = [
        _band(low, high, ratio[at], score[at])
        for low, high in pairwise(REACHES)
        if (at := (reach > low) & (reach <= high)).any()
    ]
    return Calibration(by, fits, float(reach.max()), tuple(bands))


def beside(found: Fit, budgets: Sequence[float], cluster: str | Array | None = None) -> list[str]:
    """What is known of extrapolations to ``budgets`` in FLOP by the fit's law, a sentence for each band
    beyond the points; none where no smaller budget can be fitted."""
    points = found.points.with_compute()
    reaches = [budget / float(points["c"].max()) for budget in budgets]
    if max(reaches, default=1.0) <= SAME_SIZE:
        return []
    try:
        measured = calibrate(replace(found, points=points), by="c", cluster=cluster)
    except LawError:
        return []
    bands = dict.fromkeys(measured.at(reach) for reach in reaches if reach > SAME_SIZE)
    return [f"{found.law.name}: {band.said('compute')}" for band in bands if band is not None]


def _limits(sizes: Array, free: int) -> list[float]:
    """The largest size of each part to be fitted, ascending: rungs, evenly over the logarithm where many."""
    rung = rungs_of(sizes)
    tops = np.array([sizes[rung == one].max() for one in range(rung.max())])  # not the largest rung
    enough = np.array([np.count_nonzero(sizes <= top) >= 2 * free for top in tops], bool)
    tops = tops[enough]
    if len(tops) <= CUTS:
        return [float(top) for top in tops]
    wanted = np.linspace(np.log(tops[0]), np.log(tops[-1]), CUTS)
    nearest = np.unique(np.abs(np.log(tops) - wanted[:, None]).argmin(-1))
    return [float(tops[one]) for one in nearest]


def _refitted(found: Fit, which: NDArray[np.bool_], seed: int) -> Fit:
    law, points = found.law, found.points.take(which)
    check(law, points)
    low, high = law.natural(law.bounds[0]), law.natural(law.bounds[1])
    noise = np.random.default_rng(seed).normal(1, 0.2, (STARTS, len(found.vector)))
    noise[0] = 1.0
    starts = np.clip(found.vector * np.where(found.free, noise, 1.0), low, high)
    fixed = {
        name: value for name, value, free in zip(law.names, found.vector, found.free, strict=True) if not free
    }
    return fit(law, points, loss=found.loss, weights=found.weights[which], starts=starts, fixed=fixed)


def _scores(part: Fit, above: Points, group: Array, seed: int) -> Array:
    """``_score`` of the runs above; NaN where the part has too few clusters for intervals."""
    law = part.law
    try:
        draws = resample(part, RESAMPLES, by=group, seed=seed)
    except LawError:
        return np.full(above.size, np.nan)
    spread = scatter(part, group)._replace(trend=None)
    far = ends(law, part.vector, draws.theta, draws.without, spread, above)
    measured = above[law.target]
    return _score(measured, part.predict(above), far.run_low, far.run_high, law.space == "log")


def _score(measured: Array, predicted: Array, low: Array, high: Array, logs: bool) -> Array:
    """How far each run lies from its prediction, in the half width of its interval on that side."""
    with np.errstate(divide="ignore", invalid="ignore"):
        if logs:
            measured, predicted, low, high = (np.log(v) for v in (measured, predicted, low, high))
        off = measured - predicted
        score = np.where(off > 0, off / (high - predicted), -off / (predicted - low))
    return np.where(off == 0, 0.0, np.where(np.isnan(score) | (score < 0), np.inf, score))


def _band(low: float, high: float, ratio: Array, score: Array) -> Band:
    from scipy.special import bdtr

    known = score[~np.isnan(score)]
    scored, held = len(known), int((known <= 1).sum())
    widen = 1.0
    if scored and bdtr(held, scored, 0.95) < UNLIKELY:
        # The ⌈.95·(n + 1)⌉-th smallest, or the largest: what would have held them (Vovk et al. 2005).
        place = min(scored, int(np.ceil(0.95 * (scored + 1)))) - 1
        widen = max(1.0, float(np.sort(known)[place]))
    off = ratio - 1
    return Band(low, high, len(score), held, float(np.abs(off).mean()), float(off.mean()), widen, scored)
