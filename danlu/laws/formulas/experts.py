"""Mixtures of experts: how many (Clark et al. 2022), and how finely cut (Krajewski et al. 2024)."""

from __future__ import annotations

import numpy as np

from danlu.laws.base import Array, Data, Law, Parameter, Published, grid, register
from danlu.laws.formulas.terms import add_decay_curvature, decay, decay_rows

CLARK = "Clark et al. 2022, arXiv:2202.01169"
KRAJEWSKI = "Krajewski et al. 2024, arXiv:2402.07871"
LN10 = np.log(10.0)


def _offset(start: Array, most: Array) -> Array:
    """(1/E_start − 1/E_max)⁻¹."""
    return 1 / (1 / start - 1 / most)


def effective_experts(experts: Array, start: Array, most: Array) -> Array:
    """Ê: E_start for one expert, and E_max for as many as one likes; everything broadcasts.

    1/Ê = 1/(E − 1 + (1/E_start − 1/E_max)⁻¹) + 1/E_max.
    """
    return 1 / (1 / (experts - 1 + _offset(start, most)) + 1 / most)


def predict_routed(theta: Array, data: Data) -> Array:
    a, b, c, d, start, most = np.moveaxis(theta, -1, 0)[..., None]
    with np.errstate(all="ignore"):
        log_n, log_e = np.log10(data["n"]), np.log10(effective_experts(data["e"], start, most))
        return np.exp(LN10 * (a * log_n + b * log_e + c * log_n * log_e + d))


def gradient_routed(theta: Array, data: Data) -> Array:
    _, b, c, _, start, most = np.moveaxis(theta, -1, 0)[..., None]
    value = predict_routed(theta, data)
    with np.errstate(all="ignore"):
        e = effective_experts(data["e"], start, most)
        log_n, log_e = np.log10(data["n"]), np.log10(e)
        q = _offset(start, most)
        near = (q / (data["e"] - 1 + q)) ** 2  # −∂(1/Ê)/∂q·q²
        by_e = value * (b + c * log_n)  # to ln Ê
        by_start, by_most = by_e * e * near / start**2, by_e * e * (1 - near) / most**2
    rows = [log_n + 0 * log_e, log_e, log_n * log_e, np.ones_like(value)]
    return np.stack([*(value * LN10 * row for row in rows), by_start, by_most], axis=-2)


def starts_routed(data: Data, target: Array) -> Array:
    """Both ends of Ê on a grid; the rest is linear in the logarithms."""
    made = grid((1.2, 2.0, 4.0, 8.0), (100.0, 300.0, 1000.0))
    log_n, log_l = np.log10(data["n"]), np.log10(target)
    rows = []
    for start, most in made:
        log_e = np.log10(effective_experts(data["e"], start, most))
        design = np.stack([log_n, log_e, log_n * log_e, np.ones_like(log_n)], axis=1)
        rows.append([*np.linalg.lstsq(design, log_l, rcond=None)[0], start, most])
    return np.array(rows)


def _of_table(*values: float) -> Published:
    return Published(values, f"{CLARK}, table of fitted coefficients, 130 billion tokens")


ROUTED = register(
    Law(
        name="moe-experts",
        title="Routed: loss of the dense size and the number of experts",
        formula="log₁₀ L = a·log₁₀ N + b·log₁₀ Ê + c·log₁₀ N·log₁₀ Ê + d with "
        "1/Ê = 1/(E − 1 + (1/E_start − 1/E_max)⁻¹) + 1/E_max",
        text="More experts help as a larger model does, up to some hundreds, and the less the larger the "
        "model is. N counts what one token passes through; all models see as many tokens.",
        paper=CLARK,
        columns=("n", "e"),
        parameters=(
            Parameter("a", "exponent of the dense size", low=-10, high=10),
            Parameter("b", "exponent of the experts", low=-10, high=10),
            Parameter("c", "how the one weakens the other", low=-10, high=10),
            Parameter("d", "log₁₀ of the loss at N = Ê = 1", low=-50, high=50),
            Parameter("E_start", "what one expert is worth", "experts", log=True, low=1, high=50),
            Parameter("E_max", "what endless experts are worth", "experts", log=True, low=50, high=1e9),
        ),
        predict=predict_routed,
        gradient=gradient_routed,
        starts=starts_routed,
        distinct={"n": 2, "e": 4},
        published={
            "s-base": _of_table(-0.082, -0.108, 0.009, 1.104, 1.847, 314.5),
            "rl-r": _of_table(-0.083, -0.126, 0.012, 1.111, 1.880, 470.0),
            "hash": _of_table(-0.087, -0.136, 0.012, 1.157, 4.175, 477.7),
        },
    )
)


def _scale(theta: Array, data: Data) -> tuple[Array, Array]:
    """g/G^γ and the whole scale of the model's term."""
    cut = decay(theta[..., 5], theta[..., 6], data["g"])
    return cut, cut + theta[..., 1, None]


def predict_fine(theta: Array, data: Data) -> Array:
    ones = np.ones(theta.shape[:-1])
    size = decay(ones, theta[..., 3], data["n"])
    return (
        theta[..., 0, None] + _scale(theta, data)[1] * size + decay(theta[..., 2], theta[..., 4], data["d"])
    )


def gradient_fine(theta: Array, data: Data) -> Array:
    size = decay(np.ones(theta.shape[:-1]), theta[..., 3], data["n"])
    _, scale = _scale(theta, data)
    by_g, by_gamma = decay_rows(theta[..., 5], theta[..., 6], data["g"])
    by_b, by_beta = decay_rows(theta[..., 2], theta[..., 4], data["d"])
    by_alpha = -np.log(data["n"]) * scale * size
    a = size + 0 * by_b
    return np.stack([np.ones_like(a), a, by_b, by_alpha, by_beta, by_g * size, by_gamma * size], axis=-2)


def curvature_fine(theta: Array, data: Data, weight: Array) -> Array:
    out = np.zeros((*theta.shape, 7))
    add_decay_curvature(out, (1, 3), theta[..., 1], theta[..., 3], data["n"], weight)
    add_decay_curvature(out, (2, 4), theta[..., 2], theta[..., 4], data["d"], weight)
    # g·G^−γ·N^−α is e to what is linear in α, ln g and γ; in g itself it does not bend.
    cut = weight * _scale(theta, data)[0] * decay(np.ones(theta.shape[:-1]), theta[..., 3], data["n"])
    logs = -np.log(data["n"]), 1 / theta[..., 5, None], -np.log(data["g"])
    rows = np.stack([row + 0 * cut for row in logs], axis=-2)
    bend = np.matmul(rows * cut[..., None, :], rows.mT)
    bend[..., 1, 1] = 0
    places = np.array((3, 5, 6))
    out[..., places[:, None], places] += bend
    return out


def starts_fine(data: Data, target: Array) -> Array:
    """Exponents and a floor on a grid; each term half of the rest, a fifth of the model's by the cut."""
    exponents = (0.1, 0.25, 0.6)
    made = grid(exponents, exponents, (0.3, 0.8, 1.5), (0.1, 0.5, 0.8))
    alpha, beta, gamma, E = made[:, 0], made[:, 1], made[:, 2], made[:, 3] * target.min()
    half = (np.median(target) - E) / 2
    whole = half * np.exp(alpha * np.log(data["n"]).mean())
    b = half * np.exp(beta * np.log(data["d"]).mean())
    g = 0.2 * whole * np.exp(gamma * np.log(data["g"]).mean())
    return np.stack([E, 0.8 * whole, b, alpha, beta, g, gamma], axis=-1)


FINE = register(
    Law(
        name="moe-granularity",
        title="Fine-grained experts: loss of size, data and granularity",
        formula="L(N, D, G) = c + (g/G^γ + a)/N^α + b/D^β",
        text="An expert of a G-th of the feed-forward layer, and G of them for each token: finer experts "
        "make the model's term smaller, down to a. N counts all experts.",
        paper=KRAJEWSKI,
        columns=("n", "d", "g"),
        parameters=(
            Parameter("c", "loss of an endless model on endless data", "nats/token", low=0, floor=True),
            Parameter("a", "scale of the model's term for endless granularity", log=True),
            Parameter("b", "scale of the data's term", log=True),
            Parameter("α", "exponent of the model's size", low=0, high=10),
            Parameter("β", "exponent of the data", low=0, high=10),
            Parameter("g", "scale of what granularity takes away", log=True),
            Parameter("γ", "exponent of granularity", low=0, high=10),
        ),
        predict=predict_fine,
        gradient=gradient_fine,
        curvature=curvature_fine,
        starts=starts_fine,
        distinct={"n": 3, "d": 3, "g": 3},
        published={
            "krajewski": Published(
                (0.47, 18.1, 30.8, 0.115, 0.147, 2.1, 0.58),
                f"{KRAJEWSKI}, table of fitted coefficients, 64 times the feed-forward layer's parameters",
            )
        },
    )
)
