"""How much runs scatter, from few seeds at each of several rungs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, variance
from typing import NamedTuple


class Smoothed(NamedTuple):
    """The variance of one run, and the degrees of freedom of a variance that is known as well."""

    variance: float
    df: float


def smooth(x: Sequence[float], values: Sequence[Sequence[float]]) -> list[Smoothed]:
    """The variance of one run at each rung: ln s² as a line in x over the rungs (a level below three of
    them), by least squares weighted by how well ln s² is known: of ν degrees of freedom its mean is ln σ² +
    ψ(ν/2) − ln(ν/2) and its variance ψ'(ν/2) (Bartlett & Kendall 1946). ``df``: of a variance that is known
    as well.

    Raw variances where a rung has none at all (runs without noise); infinite where no rung has two runs.
    """
    import numpy as np
    from scipy.special import digamma, polygamma

    own = [variance(v) if len(v) > 1 else math.nan for v in values]
    used = [r for r, s in enumerate(own) if math.isfinite(s)]
    if not used:
        return [Smoothed(math.inf, 0.0)] * len(own)
    if any(own[r] == 0 for r in used):
        level = fmean(own[r] for r in used)
        return [
            Smoothed(s if math.isfinite(s) else level, max(len(v) - 1.0, 1.0))
            for s, v in zip(own, values, strict=True)
        ]
    half = np.array([(len(values[r]) - 1) / 2 for r in used])
    target = np.log([own[r] for r in used]) - digamma(half) + np.log(half)
    weight = 1 / polygamma(1, half)
    z = np.asarray(x, float) - np.average(np.asarray(x, float)[used], weights=weight)
    design = np.column_stack([z**0, z]) if len(used) > 2 else np.ones((len(z), 1))
    inside = design[used]
    covariance = np.linalg.inv(inside.T @ (inside * weight[:, None]))
    line = design @ (covariance @ (inside.T @ (weight * target)))
    error = np.einsum("ri,ij,rj->r", design, covariance, design)
    df = 2 / error + 1  # where ψ'(df/2) ≈ error
    found = np.exp(line + digamma(df / 2) - np.log(df / 2))
    return [Smoothed(float(a), float(b)) for a, b in zip(found, df, strict=True)]
