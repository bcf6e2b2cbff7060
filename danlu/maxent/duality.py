"""What ties the two problems together: the largest entropy under constraints, and the likelihood.

All entropies are in nats and conditional on x, under p̃(x). H(X) more on both sides gives the joint ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from danlu.maxent.features import Array
from danlu.maxent.problem import Problem


@dataclass(frozen=True)
class Duality:
    """``entropy``: H(p_λ). ``nll``: −E_p̃ ln p_λ. ``slack``: λ·(E_p f − Ẽf), which is their difference for
    every λ, and 0 where the constraints are met. ``residual``: as in ``Look``."""

    entropy: float
    nll: float
    slack: float
    residual: float

    def __str__(self) -> str:
        return (
            f"entropy of the model {self.entropy:.10g} nats, its loss on the data {self.nll:.10g}: they "
            f"differ by λ·(E_p f − Ẽf) = {self.slack:.1e}, and the constraints are met to {self.residual:.1e}"
        )


def duality(problem: Problem, weights: Array) -> Duality:
    """Both sides at weights (names,). At the optimum they meet: the model of the largest entropy under the
    constraints is the model of the highest likelihood."""
    found = problem.look(weights)
    slack = float(weights[problem.free] @ (found.expected - problem.targets)[problem.free])
    return Duality(entropy(problem.mass, found.p), found.nll, slack, found.residual)


def entropy(mass: Array, p: Array) -> float:
    """H(Y|X) = −Σ_x mass(x) Σ_y p(y|x) ln p(y|x), nats; mass (rows,), p (rows, classes)."""
    return -float(mass @ _xlogy(p, p).sum(axis=1))


def divergence(mass: Array, p: Array, q: Array) -> float:
    """KL(p‖q) = Σ_x mass(x) Σ_y p ln(p/q), nats; infinite where p has a pair that q has not.

    Pythagoras: KL(p̃‖p_λ) = KL(p̃‖p*) + KL(p*‖p_λ) for every λ, where p* meets the constraints of p̃.
    """
    return float(mass @ (_xlogy(p, p) - _xlogy(p, q)).sum(axis=1))


def _xlogy(x: Array, y: Array) -> Array:
    """x ln y, and 0 where x is 0."""
    with np.errstate(divide="ignore"):
        return np.where(x > 0, x * np.log(np.where(x > 0, y, 1.0)), 0.0)
