"""Power laws in one quantity, with and without a floor."""

from __future__ import annotations

import numpy as np

from danlu.laws.base import Array, Data, Law, Parameter, grid, register
from danlu.laws.formulas.terms import add_decay_curvature, decay, decay_rows


def predict(theta: Array, data: Data) -> Array:
    return decay(theta[..., 0], theta[..., 1], data["x"])


def gradient(theta: Array, data: Data) -> Array:
    return np.stack(decay_rows(theta[..., 0], theta[..., 1], data["x"]), axis=-2)


def curvature(theta: Array, data: Data, weight: Array) -> Array:
    out = np.zeros((*theta.shape, theta.shape[-1]))
    add_decay_curvature(out, (0, 1), theta[..., 0], theta[..., 1], data["x"], weight)
    return out


def starts(data: Data, target: Array) -> Array:
    """The line through the logarithms, and lines through their middle."""
    log_x, log_y = np.log(data["x"]), np.log(target)
    centred = log_x - log_x.mean()
    slope = -float(centred @ log_y / (centred @ centred))
    b = slope + np.array([0.0, -0.5, -0.1, 0.1, 0.5])
    return np.stack([np.exp(np.median(log_y) + b * log_x.mean()), b], axis=-1)


def predict_floor(theta: Array, data: Data) -> Array:
    return predict(theta, data) + theta[..., 2, None]


def gradient_floor(theta: Array, data: Data) -> Array:
    by_a, by_b = decay_rows(theta[..., 0], theta[..., 1], data["x"])
    return np.stack([by_a, by_b, np.ones_like(by_a)], axis=-2)


def starts_floor(data: Data, target: Array) -> Array:
    """Exponents and floors on a grid; the scale so that the curve passes through the middle."""
    made = grid((0.05, 0.1, 0.2, 0.4, 0.8, 1.6), (0.0, 0.3, 0.7, 0.9, 0.99))
    c = made[:, 1] * target.min()
    a = (np.median(target) - c) * np.exp(made[:, 0] * np.log(data["x"]).mean())
    return np.stack([a, made[:, 0], c], axis=-1)


POWER = register(
    Law(
        name="power",
        title="Power law",
        formula="L(x) = a·x^−b",
        text="A straight line in logarithms: each doubling of x divides the loss by 2^b.",
        paper="Hestness et al. 2017, arXiv:1712.00409, section 2",
        columns=("x",),
        parameters=(
            Parameter("a", "loss at x = 1", "nats/token·x^b", log=True),
            Parameter("b", "exponent", low=-10, high=10),
        ),
        predict=predict,
        gradient=gradient,
        curvature=curvature,
        starts=starts,
    )
)

POWER_FLOOR = register(
    Law(
        name="power-floor",
        title="Power law with a floor",
        formula="L(x) = a·x^−b + c",
        text="A power law towards a loss that no x passes.",
        paper="Hestness et al. 2017, arXiv:1712.00409, section 2",
        columns=("x",),
        parameters=(
            Parameter("a", "scale of what x takes away", "nats/token·x^b", log=True),
            Parameter("b", "exponent", low=0, high=10),
            Parameter("c", "loss that remains", "nats/token", low=0, floor=True),
        ),
        predict=predict_floor,
        gradient=gradient_floor,
        curvature=curvature,
        starts=starts_floor,
        distinct={"x": 3},
    )
)
