"""What a plan believes: the parameters of a law, how sure they are, between which runs they were found."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from danlu.laws.base import Array, Law
from danlu.laws.errors import LawError
from danlu.laws.formulas.chinchilla import CHINCHILLA, allocation
from danlu.laws.formulas.repeated import DATA_CONSTRAINED
from danlu.laws.prediction import Prediction, predict
from danlu.laws.saved import Saved, inside, load

DEFAULT = "besiroglu"
# Of the points of Hoffmann et al. 2022, figure 4, as Epoch AI read them off: the 240 that Besiroglu et al.
# 2024 fitted to. The limit that follows lies beyond Chinchilla itself, on which the law was tried: 70e9
# parameters, 1.4e12 tokens, 5.76e23 FLOP.
POINTS = {"n": (5.73e7, 1.62e10), "d": (8.19e8, 3.18e11), "c": (1.4e18, 1.3e22), "d/n": (0.456, 341.0)}
# Besiroglu et al. 2024, table 1: the standard error of a, N_opt ∝ C^a. Hoffmann et al.'s interval of a,
# (.454, .455), was shown to be far too narrow, so that none is taken from them.
ERRORS = {"besiroglu": 0.020}


@dataclass(frozen=True)
class Basis:
    """``theta``: of ``chinchilla`` (5,) or of ``data-constrained`` (7,). ``draws``: (resamples, same), for
    intervals. ``source``: who found it, for people. ``ranges``: the least and the largest n, d and c of the
    points. ``exponent_error``: the standard error of a in N_opt ∝ C^a, where there are no draws. ``fitted``:
    the fit file, where it comes from one.

    Raises LawError where the law has no best size.
    """

    theta: Array
    draws: Array | None = None
    source: str = "the fit"
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    exponent_error: float | None = None
    fitted: Saved | None = None

    def __post_init__(self) -> None:
        if not (np.isfinite(self.theta).all() and (self.theta[1:] > 0).all()):
            raise LawError(f"without A, B, α and β above zero the law of {self.source} has no best size")
        draws = self.draws
        if draws is not None:
            draws = draws[np.isfinite(draws).all(-1) & (draws[:, 1:] > 0).all(-1)]
            object.__setattr__(self, "draws", draws if len(draws) > 1 else None)

    @property
    def law(self) -> Law:
        """Which of the two."""
        return CHINCHILLA if len(self.theta) == 5 else DATA_CONSTRAINED

    @property
    def error_of_a(self) -> float | None:
        """The standard error of a."""
        if self.draws is None:
            return self.exponent_error
        return float(np.std(allocation(self.draws[:, :5]).a, ddof=1))

    @property
    def borrowed(self) -> bool:
        """Whether what repetition is worth comes from elsewhere, as the law's own fit does not know it."""
        return self.law is CHINCHILLA

    def told(self, n: float | Array, d: float | Array, unique: float | None = None) -> Prediction | None:
        """What ``danlu laws predict`` says of runs of so many parameters and tokens, of which ``unique`` are
        different (all of them where not said), with what calibration widens; None where the law comes from no
        fit that knows as much."""
        if self.fitted is None or self.borrowed != (unique is None):
            return None
        place = {"n": n, "d": d} if unique is None else {"n": n, "d": d, "u": np.minimum(unique, d)}
        return predict(self.fitted, place, far=True)

    def repeating(self, theta: Array) -> Array:
        """``theta`` (…, 5 or 7) with the worth of repetition, (…, 7): Muennighoff's, where it has none."""
        if theta.shape[-1] == 7:
            return theta
        stars = DATA_CONSTRAINED.theta("muennighoff")[5:]
        return np.concatenate([theta, np.broadcast_to(stars, (*theta.shape[:-1], 2))], axis=-1)


def basis(by: str | Path | Basis) -> Basis:
    """From the name of a published fit of Chinchilla's law, or the JSON file of a fit (of one of its groups,
    FILE.json#LABEL), or the folder of a ladder."""
    if isinstance(by, Basis):
        return by
    by = inside(Path(by)) if Path(by).is_dir() else by
    if ".json" not in str(by):
        if Path(by).suffix:
            raise LawError(
                f"{by} is no fit: danlu laws fit {shlex.quote(str(by))} --json > fit.json makes one, "
                "--by fit.json plans by it"
            )
        theta, source = CHINCHILLA.theta(str(by)), CHINCHILLA.published[str(by)].source
        return Basis(theta, None, source, POINTS, ERRORS.get(str(by)))
    fitted = load(Path(by))
    if fitted.law not in (CHINCHILLA, DATA_CONSTRAINED):
        raise LawError(f"{by} is a fit of {fitted.law.name}, but a plan needs chinchilla or data-constrained")
    return Basis(fitted.theta, fitted.sample(), str(by), fitted.ranges, fitted=fitted)
