"""Approach 3: the law of ``chinchilla`` fitted to the points, and its best division of compute."""

from __future__ import annotations

from typing import Any

import numpy as np

from danlu.laws.approaches.frontier import Frontier, frontier
from danlu.laws.base import Array
from danlu.laws.doubt import resample
from danlu.laws.fit import Fit, fit
from danlu.laws.formulas.chinchilla import CHINCHILLA, allocation
from danlu.laws.table import FLOPS_PER_PARAMETER_AND_TOKEN, Points


def parametric(
    points: Points,
    *,
    resamples: int = 1000,
    by: str | Array | None = None,
    seed: int = 0,
    level: float = 0.95,
    **options: Any,
) -> Frontier:
    """Approach 3: the law of ``chinchilla`` fitted to the points, its best division, its resamples.

    ``by``: of ``resample``. ``options``: of ``fit`` (``loss``, ``weights``, ``starts``).
    """
    return of_fit(
        fit(CHINCHILLA, points.with_compute(), **options), resamples=resamples, by=by, seed=seed, level=level
    )


def of_fit(
    found: Fit,
    *,
    resamples: int = 1000,
    by: str | Array | None = None,
    starts: int = 3,
    seed: int = 0,
    level: float = 0.95,
) -> Frontier:
    """The frontier of a fit of ``chinchilla``; ``by`` and ``starts``: of ``resample``."""
    draws = resample(found, resamples, by=by, starts=starts, seed=seed)
    lines = division(np.concatenate([found.vector[None], draws.theta]))
    return frontier("parametric", lines, Points(), warnings=found.warnings, level=level)


def division(theta: Array) -> Array:
    """The law's best division as lines, (…, 4): intercept and slope of ln n over ln c, then of ln d."""
    G, a, b = allocation(theta)
    with np.errstate(divide="ignore", invalid="ignore"):
        log_G, six = np.log(G), np.log(FLOPS_PER_PARAMETER_AND_TOKEN)
    return np.stack([log_G - a * six, a, -log_G - b * six, b], axis=-1)
