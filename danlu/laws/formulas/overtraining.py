"""Gadre et al. 2024: loss when a model is trained for longer than compute alone would advise."""

from __future__ import annotations

import numpy as np

from danlu.laws.base import Array, Data, Law, Parameter, Published, grid, register
from danlu.laws.table import FLOPS_PER_PARAMETER_AND_TOKEN

PAPER = "Gadre et al. 2024, arXiv:2403.08540"


def _logs(data: Data) -> tuple[Array, Array]:
    """ln M and ln C, (points,), of M = D/N and C = 6·N·D."""
    log_n, log_d = np.log(data["n"]), np.log(data["d"])
    return log_d - log_n, np.log(FLOPS_PER_PARAMETER_AND_TOKEN) + log_n + log_d


def predict(theta: Array, data: Data) -> Array:
    E, a, b, eta = np.moveaxis(theta, -1, 0)[..., None]
    log_m, log_c = _logs(data)
    return E + a * np.exp(eta * (log_m - log_c)) + b * np.exp(-eta * (log_m + log_c))


def gradient(theta: Array, data: Data) -> Array:
    _, a, b, eta = np.moveaxis(theta, -1, 0)[..., None]
    log_m, log_c = _logs(data)
    up, down = np.exp(eta * (log_m - log_c)), np.exp(-eta * (log_m + log_c))
    by_eta = a * up * (log_m - log_c) - b * down * (log_m + log_c)
    return np.stack([np.ones_like(up), up, down, by_eta], axis=-2)


def curvature(theta: Array, data: Data, weight: Array) -> Array:
    _, a, b, eta = np.moveaxis(theta, -1, 0)[..., None]
    log_m, log_c = _logs(data)
    up, down = weight * np.exp(eta * (log_m - log_c)), weight * np.exp(-eta * (log_m + log_c))
    out = np.zeros((*theta.shape, 4))
    out[..., 1, 3] = out[..., 3, 1] = np.sum(up * (log_m - log_c), axis=-1)
    out[..., 2, 3] = out[..., 3, 2] = -np.sum(down * (log_m + log_c), axis=-1)
    out[..., 3, 3] = np.sum(a * up * (log_m - log_c) ** 2 + b * down * (log_m + log_c) ** 2, axis=-1)
    return out


def starts(data: Data, target: Array) -> Array:
    """Exponent and floor on a grid; the scales so that either term carries half of the rest at the middle."""
    made = grid((0.03, 0.06, 0.12, 0.2, 0.3, 0.5), (0.1, 0.4, 0.7, 0.9))
    eta, E = made[:, 0], made[:, 1] * target.min()
    log_m, log_c = _logs(data)
    half = (np.median(target) - E) / 2
    a, b = half * np.exp(eta * (log_c - log_m).mean()), half * np.exp(eta * (log_c + log_m).mean())
    return np.stack([E, a, b, eta], axis=-1)


OVERTRAINING = register(
    Law(
        name="overtraining",
        title="Over-training: loss of compute and tokens per parameter",
        formula="L(C, M) = E + (a·M^η + b·M^−η)·C^−η with M = D/N, C = 6·N·D",
        text="With equal exponents of model and data, training at a fixed M shifts the power law of compute "
        "but keeps its exponent. It is chinchilla with α = β = 2η.",
        paper=f"{PAPER}, equation 4",
        columns=("n", "d"),
        parameters=(
            Parameter("E", "loss of endless compute", "nats/token", low=0, floor=True),
            Parameter("a", "scale of the model's term", "nats/token·FLOP^η", log=True),
            Parameter("b", "scale of the data's term", "nats/token·FLOP^η", log=True),
            Parameter("η", "exponent of compute", low=0, high=5),
        ),
        predict=predict,
        gradient=gradient,
        curvature=curvature,
        starts=starts,
        distinct={"n": 2, "d": 3},
        published={
            "c4": Published((1.51, 141.0, 190.0, 0.121), f"{PAPER}, fit on C4, loss on C4"),
            "redpajama": Published((1.84, 212.0, 367.0, 0.136), f"{PAPER}, fit on RedPajama, loss on C4"),
            "refinedweb": Published((1.73, 157.0, 246.0, 0.127), f"{PAPER}, fit on RefinedWeb, loss on C4"),
        },
    )
)


def from_chinchilla(E: float, A: float, B: float, exponent: float) -> Array:
    """This law's parameters of a ``chinchilla`` law with α = β = exponent."""
    k = FLOPS_PER_PARAMETER_AND_TOKEN ** (exponent / 2)
    return np.array([E, A * k, B * k, exponent / 2])
