"""McCandlish et al. 2018: steps against examples, the critical batch size and the gradient's noise scale."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from danlu.laws.base import Array, Data, Law, Parameter, Published, grid, register
from danlu.laws.errors import LawError

PAPER = "McCandlish et al. 2018, arXiv:1812.06162"
KAPLAN = "Kaplan et al. 2020, arXiv:2001.08361"


def predict(theta: Array, data: Data) -> Array:
    S_min, B_crit = np.moveaxis(theta, -1, 0)[..., None]
    return S_min * (1 + B_crit / data["b"])


def gradient(theta: Array, data: Data) -> Array:
    S_min, B_crit = np.moveaxis(theta, -1, 0)[..., None]
    return np.stack(np.broadcast_arrays(1 + B_crit / data["b"], S_min / data["b"]), axis=-2)


def curvature(theta: Array, data: Data, weight: Array) -> Array:
    out = np.zeros((*theta.shape, 2))
    out[..., 0, 1] = out[..., 1, 0] = np.sum(weight / data["b"], axis=-1)
    return out


def starts(data: Data, target: Array) -> Array:
    """Critical sizes from below to above the batch sizes; S_min so that the middle is met."""
    B_crit = np.geomspace(data["b"].min() / 30, data["b"].max() * 30, 12)
    S_min = np.exp(np.mean(np.log(target) - np.log1p(B_crit[:, None] / data["b"]), axis=-1))
    return np.stack([S_min, B_crit], axis=-1)


HYPERBOLA = register(
    Law(
        name="batch-hyperbola",
        title="Steps against batch size",
        formula="(S/S_min − 1)·(E/E_min − 1) = 1 with E = S·B, that is S = S_min·(1 + B_crit/B), "
        "B_crit = E_min/S_min",
        text="To one loss: small batches take the fewest tokens, large ones the fewest steps; at B_crit both "
        "are twice their least.",
        paper=f"{PAPER}, equation 2.11",
        columns=("b",),
        target="s",
        parameters=(
            Parameter("S_min", "steps with an endless batch", "updates", log=True),
            Parameter("B_crit", "critical batch size, E_min/S_min", "tokens", log=True),
        ),
        predict=predict,
        gradient=gradient,
        curvature=curvature,
        starts=starts,
        distinct={"b": 2},
    )
)


def predict_critical(theta: Array, data: Data) -> Array:
    scale, alpha = np.moveaxis(theta, -1, 0)[..., None]
    return np.exp(np.log(scale) - np.log(data["loss"]) / alpha)


def gradient_critical(theta: Array, data: Data) -> Array:
    scale, alpha = np.moveaxis(theta, -1, 0)[..., None]
    value = predict_critical(theta, data)
    return np.stack([value / scale, value * np.log(data["loss"]) / alpha**2], axis=-2)


def starts_critical(data: Data, target: Array) -> Array:
    """Exponents on a grid; the scale so that the middle is met."""
    alpha = grid((0.05, 0.1, 0.2, 0.3, 0.5, 1.0))[:, 0]
    scale = np.exp(np.mean(np.log(target) + np.log(data["loss"]) / alpha[:, None], axis=-1))
    return np.stack([scale, alpha], axis=-1)


CRITICAL = register(
    Law(
        name="critical-batch",
        title="Critical batch size of the loss",
        formula="B_crit(L) = B*/L^(1/α_B)",
        text="The lower the loss, the larger the batch that is still put to good use; the model's size "
        "hardly matters.",
        paper=f"{KAPLAN}, equation 5.3",
        columns=("loss",),
        target="b",
        parameters=(
            Parameter("B*", "critical batch size at a loss of 1 nat", "tokens", log=True),
            Parameter("α_B", "inverse exponent of the loss", low=1e-2, high=10),
        ),
        predict=predict_critical,
        gradient=gradient_critical,
        starts=starts_critical,
        published={
            "kaplan": Published((2.1e8, 0.21), f"{KAPLAN}, table 5"),
            "kaplan-text": Published((2e8, 0.21), f"{KAPLAN}, equation 5.3: the text rounds to 2e8"),
        },
    )
)


def least_steps(steps: Array | float, batch: Array | float, critical: Array | float) -> Array:
    """S_min = S/(1 + B_crit/B): steps to the same loss with an endless batch (Kaplan et al., eq. 5.4)."""
    return np.asarray(steps) / (1 + np.asarray(critical) / batch)


def least_compute(flops: Array | float, batch: Array | float, critical: Array | float) -> Array:
    """C_min = C/(1 + B/B_crit): compute to the same loss with a tiny batch (Kaplan et al., eq. 5.5)."""
    return np.asarray(flops) / (1 + np.asarray(batch) / critical)


class Noise(NamedTuple):
    """``scale``: tr Σ/|G|², the simple noise scale, in units of the batch sizes; and its two parts."""

    scale: float
    squared_gradient: float
    variance: float


def noise_scale(small: float, big: float, square_small: float, square_big: float) -> Noise:
    """The simple noise scale from gradients at two batch sizes (McCandlish et al. 2018, appendix A.1).

    ``square_small``, ``square_big``: mean squared norms |G_B|² at batch sizes ``small`` < ``big``, the same
    parameters. Both parts are unbiased, their ratio is not: average the squares over many updates first.
    Raises LawError where small < big does not hold, or the squares leave no gradient above the noise.
    """
    if not 0 < small < big:
        raise LawError(f"the noise scale needs two batch sizes, 0 < small < big, not {small:g} and {big:g}")
    squared = (big * square_big - small * square_small) / (big - small)
    variance = (square_small - square_big) / (1 / small - 1 / big)
    if squared <= 0:
        raise LawError("the squared norms leave no gradient above the noise: average them over more updates")
    return Noise(variance / squared, squared, variance)
