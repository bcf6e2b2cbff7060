"""Laws in which what more data bring depends on the model's size."""

from __future__ import annotations

import numpy as np

from danlu.laws.base import Array, Data, Law, Parameter, grid, register
from danlu.laws.formulas.terms import add_decay_curvature, decay, decay_rows


def _inner(theta: Array, data: Data) -> Array:
    return decay(theta[..., 1], theta[..., 3], data["n"]) + decay(theta[..., 2], theta[..., 4], data["d"])


def predict(theta: Array, data: Data) -> Array:
    with np.errstate(all="ignore"):
        return theta[..., 0, None] + _inner(theta, data) ** theta[..., 5, None]


def gradient(theta: Array, data: Data) -> Array:
    k = theta[..., 5, None]
    with np.errstate(all="ignore"):
        u = _inner(theta, data)
        slope = k * u ** (k - 1)
        by_A, by_alpha = decay_rows(theta[..., 1], theta[..., 3], data["n"])
        by_B, by_beta = decay_rows(theta[..., 2], theta[..., 4], data["d"])
        inner = [slope * row for row in (by_A, by_B, by_alpha, by_beta)]
        return np.stack([np.ones_like(u), *inner, u**k * np.log(u)], axis=-2)


def curvature(theta: Array, data: Data, weight: Array) -> Array:
    k = theta[..., 5, None]
    out = np.zeros((*theta.shape, 6))
    with np.errstate(all="ignore"):
        u = _inner(theta, data)
        once = weight * k * u ** (k - 1)
        for at in ((1, 3), (2, 4)):
            scale, exponent, name = theta[..., at[0]], theta[..., at[1]], "n" if at[0] == 1 else "d"
            add_decay_curvature(out, at, scale, exponent, data[name], once)
        by_A, by_alpha = decay_rows(theta[..., 1], theta[..., 3], data["n"])
        by_B, by_beta = decay_rows(theta[..., 2], theta[..., 4], data["d"])
        rows = np.stack([by_A, by_B, by_alpha, by_beta], axis=-2)
        out[..., 1:5, 1:5] += np.matmul(rows * ((k - 1) * once / u)[..., None, :], rows.mT)
        mixed = np.sum(rows * (weight * u ** (k - 1) * (1 + k * np.log(u)))[..., None, :], axis=-1)
        out[..., 1:5, 5] = out[..., 5, 1:5] = mixed
        out[..., 5, 5] = np.sum(weight * u**k * np.log(u) ** 2, axis=-1)
    return out


def starts(data: Data, target: Array) -> Array:
    """Exponents of the loss, a floor and k on a grid; scales that make both terms equal at the middle."""
    exponents = (0.15, 0.35, 0.7)
    made = grid(exponents, exponents, (0.2, 0.6, 0.9), (0.35, 0.7, 1.2))
    k, E = made[:, 3], made[:, 2] * target.min()
    alpha, beta = made[:, 0] / k, made[:, 1] / k
    half = (np.median(target) - E) ** (1 / k) / 2
    A = half * np.exp(alpha * np.log(data["n"]).mean())
    B = half * np.exp(beta * np.log(data["d"]).mean())
    return np.stack([E, A, B, alpha, beta, k], axis=-1)


COUPLED = register(
    Law(
        name="coupled",
        title="Coupled: Chinchilla's terms under a common exponent",
        formula="L(N, D) = E + (A/N^α + B/D^β)^k",
        text="With k below 1 more data bring more to a larger model; with k = 1 it is chinchilla. The best "
        "division of compute has the same closed form, whatever k.",
        paper="Busbridge et al. 2025, arXiv:2502.08606; Videau et al. 2026 (Skaling), arXiv:2608.07222",
        columns=("n", "d"),
        parameters=(
            Parameter("E", "loss of an endless model on endless data", "nats/token", low=0, floor=True),
            Parameter("A", "scale of the model's term", "parameters^α", log=True),
            Parameter("B", "scale of the data's term", "tokens^β", log=True),
            Parameter("α", "exponent of the model's size, inside", low=0, high=10),
            Parameter("β", "exponent of the data, inside", low=0, high=10),
            Parameter("k", "exponent of both terms together", low=0.01, high=5),
        ),
        predict=predict,
        gradient=gradient,
        curvature=curvature,
        starts=starts,
        distinct={"n": 3, "d": 3},
    )
)
