"""Hoffmann et al. 2022: loss of model size and data, and how to divide compute between them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from danlu.laws.base import Array, Data, Law, Parameter, Published, grid, register
from danlu.laws.formulas.terms import add_decay_curvature, decay, decay_rows
from danlu.laws.table import FLOPS_PER_PARAMETER_AND_TOKEN


def predict(theta: Array, data: Data) -> Array:
    E, A, B, alpha, beta = np.moveaxis(theta, -1, 0)
    return E[..., None] + decay(A, alpha, data["n"]) + decay(B, beta, data["d"])


def gradient(theta: Array, data: Data) -> Array:
    _, A, B, alpha, beta = np.moveaxis(theta, -1, 0)
    by_A, by_alpha = decay_rows(A, alpha, data["n"])
    by_B, by_beta = decay_rows(B, beta, data["d"])
    return np.stack([np.ones_like(by_A), by_A, by_B, by_alpha, by_beta], axis=-2)


def curvature(theta: Array, data: Data, weight: Array) -> Array:
    _, A, B, alpha, beta = np.moveaxis(theta, -1, 0)
    out = np.zeros((*theta.shape, 5))
    add_decay_curvature(out, (1, 3), A, alpha, data["n"], weight)
    add_decay_curvature(out, (2, 4), B, beta, data["d"], weight)
    return out


def starts(data: Data, target: Array) -> Array:
    """Exponents and a floor on a grid; the scales so that each term is half of the rest at the middle."""
    exponents = (0.1, 0.2, 0.35, 0.5, 0.8, 1.2)
    made = grid(exponents, exponents, (0.25, 0.6, 0.9))
    E = made[:, 2] * target.min()
    half = (np.median(target) - E) / 2
    A = half * np.exp(made[:, 0] * np.log(data["n"]).mean())
    B = half * np.exp(made[:, 1] * np.log(data["d"]).mean())
    return np.stack([E, A, B, made[:, 0], made[:, 1]], axis=-1)


CHINCHILLA = register(
    Law(
        name="chinchilla",
        title="Chinchilla: loss of model size and data",
        formula="L(N, D) = E + A/N^α + B/D^β",
        text="A floor that no model passes, a term for the model's finite size and one for the finite data.",
        paper="Hoffmann et al. 2022, arXiv:2203.15556, equation 2",
        columns=("n", "d"),
        parameters=(
            Parameter("E", "loss of an endless model on endless data", "nats/token", low=0, floor=True),
            Parameter("A", "scale of the model's term", "nats/token·parameters^α", log=True),
            Parameter("B", "scale of the data's term", "nats/token·tokens^β", log=True),
            Parameter("α", "exponent of the model's size", low=0, high=10),
            Parameter("β", "exponent of the data", low=0, high=10),
        ),
        predict=predict,
        gradient=gradient,
        curvature=curvature,
        starts=starts,
        distinct={"n": 3, "d": 3},
        published={
            "hoffmann": Published(
                (1.69337368, 406.401018, 410.722827, 0.33917084, 0.2849083),
                "Hoffmann et al. 2022, approach 3, the unrounded values in the source of arXiv:2203.15556",
            ),
            "hoffmann-rounded": Published(
                (1.69, 406.4, 410.7, 0.34, 0.28),
                "Hoffmann et al. 2022, arXiv:2203.15556, equation 10, as printed",
            ),
            "besiroglu": Published(
                (1.81686, 482.006, 2085.434, 0.34781, 0.36585),
                "Besiroglu et al. 2024, arXiv:2404.10102: an optimum of least absolute deviations",
            ),
        },
    )
)


class Allocation(NamedTuple):
    """N_opt = G·(C/6)^a and D_opt = G⁻¹·(C/6)^b (Hoffmann et al. 2022, equation 4); (…,) each."""

    G: Array
    a: Array
    b: Array


def allocation(theta: Array) -> Allocation:
    """The closed form of the best division of compute under C = 6 N D; theta (…, 5)."""
    _, A, B, alpha, beta = np.moveaxis(np.asarray(theta), -1, 0)
    total = alpha + beta
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):  # exponents of zero have no optimum
        return Allocation((alpha * A / (beta * B)) ** (1 / total), beta / total, alpha / total)


def optimum(theta: Array, flops: Array | float) -> tuple[Array, Array]:
    """N_opt and D_opt for a budget of training FLOP; theta (…, 5) and flops broadcast."""
    G, a, b = allocation(theta)
    budget = np.asarray(flops) / FLOPS_PER_PARAMETER_AND_TOKEN
    return G * budget**a, budget**b / G


def optimum_of_size(theta: Array, parameters: Array | float) -> tuple[Array, Array]:
    """The budget in FLOP, and the tokens, for which a model of this size is the best one."""
    G, a, b = allocation(theta)
    budget = (np.asarray(parameters) / G) ** (1 / a)
    return FLOPS_PER_PARAMETER_AND_TOKEN * budget, budget**b / G
