"""What a maximum-entropy model must meet: p(y|x) with the largest entropy under E_p f = Ẽf.

The dual of that is what a fit minimises, one convex function of the weights λ for every method:
NLL(λ) = Σ_x p̃(x) ln Z_λ(x) − λ·Ẽf, the mean negative log likelihood in nats; its gradient is E_p f − Ẽf.
It needs no observed pairs, only their moments.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from danlu.maxent.errors import MaxentError
from danlu.maxent.features import Array, Features, Flags, allowed, log_probabilities

Zeros = Literal["drop", "bar"]
SEEN = 1e-6  # a difference of two scores beyond rounding


@dataclass(frozen=True)
class Look:
    """What one pass over the data finds at weights λ.

    ``nll``: nats per row. ``p``: p(y|x), (rows, classes). ``expected``: E_p f, (names,).
    ``residual``: the largest |E_p f − Ẽf| of a feature that is fitted, as a share of the feature's largest
    size. ``recession``: how fast the NLL rises at last along λ, per unit of λ; 0 where it never does, and
    below 0 where it falls for ever.
    """

    nll: float
    p: Array
    expected: Array
    residual: float
    recession: float


@dataclass(frozen=True, eq=False)
class Problem:
    """Constraints on p(y|x). Made by ``of_labels``, ``of_counts`` or ``of_moments``.

    ``mass``: p̃(x), (rows,), sum 1. ``targets``: Ẽf, (names,). ``free``: which features are fitted, (names,).
    ``barred``: features that are never seen and forbid their pairs, (names,).
    ``joint``: p̃(x, y), (rows, classes), where pairs were observed.
    """

    features: Features
    mass: Array
    targets: Array
    free: Flags
    barred: Flags
    joint: Array | None = None

    @property
    def unseen(self) -> tuple[str, ...]:
        """The features with Ẽf = 0, whose weight would go to −∞: dropped, or barred."""
        return tuple(name for name, free in zip(self.features.names, self.free, strict=True) if not free)

    @cached_property
    def support(self) -> Flags:
        """The pairs that no barred feature forbids, (rows, classes)."""
        return allowed(self.features, self.barred)

    @cached_property
    def sums(self) -> Array:
        """f#(x, y) = Σf over the fitted features, (rows, classes); NaN for forbidden pairs."""
        return np.where(self.support, self.features.scores(self.free.astype(np.float64)), np.nan)

    @cached_property
    def scale(self) -> Array:
        """The largest |f| of each feature, (names,); 1 for one that is 0 everywhere."""
        low, high = self.features.bounds()
        size = np.maximum(np.abs(low), np.abs(high))
        return np.where(size > 0, size, 1.0)

    def look(self, weights: Array) -> Look:
        """One pass over the data at weights (names,)."""
        log = log_probabilities(self.features, weights, self.barred)
        p = np.exp(log)
        expected = self.features.expect(self.mass[:, None] * p)
        off = (np.abs(expected - self.targets) / self.scale)[self.free]
        top = log.max(axis=1)
        if self.joint is None:
            # ln Z = top score − its ln p.
            scores = self.features.scores(weights)
            along = float(weights @ self.targets)
            rise = float(self.mass @ np.where(self.support, scores, -np.inf).max(axis=1)) - along
            if abs(rise) <= 1e-12 * abs(along):
                rise = 0.0
            nll = rise - float(self.mass @ top)
        else:
            observed = np.where(self.support, log, 0.0)
            nll = 0.0 - float(np.vdot(self.joint, observed))  # never −0
            # A sum of terms that are not negative: exactly 0 only where every observed class scores highest.
            rise = float(np.vdot(self.joint, top[:, None] - observed))
        low = np.where(self.support, log, np.inf).min(axis=1)
        flat = not ((top - low)[self.mass > 0] > SEEN).any()
        return Look(nll, p, expected, float(off.max(initial=0.0)), np.inf if flat else rise)


def of_counts(
    features: Features, counts: ArrayLike, *, zeros: Zeros = "drop", smooth: float = 0.0
) -> Problem:
    """The constraints that counts n(x, y), (rows, classes), put on the features.

    ``zeros``: what becomes of a feature that is never negative and that no counted pair has. ``drop`` leaves
    it out of the model; ``bar`` gives every pair that has it the probability 0, which is the limit that the
    likelihood asks for. ``smooth`` is added to every count, so that none is left and an optimum exists.
    Raises MaxentError.
    """
    table = np.asarray(counts, dtype=np.float64)
    shape = (features.rows, len(features.classes))
    if table.shape != shape:
        raise MaxentError(f"counts have the shape {table.shape}; these features need {shape}")
    if not np.isfinite(table).all() or (table < 0).any() or not table.any():
        raise MaxentError("counts must be finite, none below 0, and not all 0; mend the table")
    if not (np.isfinite(smooth) and smooth >= 0):
        raise MaxentError(f"smooth = {smooth:g}; give a finite number, 0 or more")
    joint = (table + smooth) / (table + smooth).sum()
    return _problem(features, joint.sum(axis=1), features.expect(joint), zeros, joint)


def of_labels(
    features: Features, labels: Iterable[object], *, zeros: Zeros = "drop", smooth: float = 0.0
) -> Problem:
    """``of_counts`` with one observed class for each row. Raises MaxentError for a class that is unknown."""
    at = positions(features, labels)
    counts = np.zeros((features.rows, len(features.classes)))
    counts[np.arange(features.rows), at] = 1
    return of_counts(features, counts, zeros=zeros, smooth=smooth)


def of_moments(features: Features, targets: ArrayLike, mass: ArrayLike | None = None) -> Problem:
    """Constraints given as moments Ẽf, (names,); ``mass`` is p̃(x), (rows,), by default the same for each."""
    wanted = np.asarray(targets, dtype=np.float64)
    if wanted.shape != (len(features.names),) or not np.isfinite(wanted).all():
        raise MaxentError(
            f"targets are {wanted.shape}; give {len(features.names)} finite numbers, one a name"
        )
    weights = np.ones(features.rows) if mass is None else np.asarray(mass, dtype=np.float64)
    if weights.shape != (features.rows,) or (weights < 0).any() or not 0 < weights.sum() < np.inf:
        raise MaxentError(f"mass is {weights.shape}; give {features.rows} numbers, none below 0, not all 0")
    return _problem(features, weights / weights.sum(), wanted, "drop", None)


def positions(features: Features, labels: Iterable[object]) -> np.ndarray:
    """The place of each label among the classes, (rows,) int. Raises MaxentError."""
    place = {y: i for i, y in enumerate(features.classes)}
    words = [str(label) for label in labels]
    if len(words) != features.rows:
        raise MaxentError(f"there are {len(words)} labels for {features.rows} rows; give one for each")
    unknown = next((word for word in words if word not in place), None)
    if unknown is not None:
        raise MaxentError(f"the label {unknown!r} is none of the classes {', '.join(features.classes)[:80]}")
    return np.array([place[word] for word in words], dtype=np.intp)


def _problem(features: Features, mass: Array, targets: Array, zeros: Zeros, joint: Array | None) -> Problem:
    low, _ = features.bounds()
    unseen = (targets == 0) & (low >= 0)
    barred = unseen if zeros == "bar" else np.zeros_like(unseen)
    return Problem(features, mass, targets, ~unseen, barred, joint)
