"""Kumar et al. 2024: fewer bits in training make a model smaller; after training, they add to the loss."""

from __future__ import annotations

import numpy as np

from danlu.laws.base import Array, Data, Law, Parameter, Published, grid, register
from danlu.laws.formulas.terms import add_decay_curvature, decay, decay_rows

PAPER = "Kumar et al. 2024, arXiv:2411.04330"
BITS = ("pw", "pa", "pkv")  # of weights, activations and the attention cache


def effective_size(n: Array, bits: tuple[Array, ...], gammas: tuple[Array, ...]) -> Array:
    """N·∏ₓ (1 − e^(−Pₓ/γₓ)) over weights, activations and cache; everything broadcasts."""
    out = np.asarray(n, dtype=np.float64)
    for p, gamma in zip(bits, gammas, strict=True):
        out = out * -np.expm1(-np.asarray(p) / gamma)
    return out


def training_flops(n: Array, d: Array, bits: Array) -> Array:
    """C = (6/16)·N·D·P, in the price of 16-bit operations (Kumar et al. 2024, section 4.3)."""
    return 6 / 16 * np.asarray(n) * d * bits


def _n_eff(theta: Array, data: Data) -> Array:
    gammas = tuple(theta[..., j, None] for j in (5, 6, 7))
    return effective_size(data["n"], tuple(data[name] for name in BITS), gammas)


def predict(theta: Array, data: Data) -> Array:
    E, A, B, alpha, beta = np.moveaxis(theta[..., :5], -1, 0)
    return E[..., None] + decay(A, alpha, _n_eff(theta, data)) + decay(B, beta, data["d"])


def _slopes(theta: Array, data: Data) -> tuple[list[Array], list[Array]]:
    """The first and second derivatives of ln(1 − e^(−P/γ)) to γ, for each of the bits."""
    first, second = [], []
    for j, name in zip((5, 6, 7), BITS, strict=True):
        gamma = theta[..., j, None]
        x = data[name] / gamma
        with np.errstate(over="ignore", invalid="ignore"):
            left = 1 / np.expm1(x)
            first.append(-x / gamma * left)
            second.append(x / gamma**2 * left * (2 - x * (1 + left)))
    return first, second


def gradient(theta: Array, data: Data) -> Array:
    _, A, B, alpha, beta = np.moveaxis(theta[..., :5], -1, 0)
    n = _n_eff(theta, data)
    by_A, by_alpha = decay_rows(A, alpha, n)
    by_B, by_beta = decay_rows(B, beta, data["d"])
    bend = -alpha[..., None] * decay(A, alpha, n)
    by_bits = [bend * slope for slope in _slopes(theta, data)[0]]
    return np.stack([np.ones_like(by_A), by_A, by_B, by_alpha, by_beta, *by_bits], axis=-2)


def curvature(theta: Array, data: Data, weight: Array) -> Array:
    _, A, B, alpha, beta = np.moveaxis(theta[..., :5], -1, 0)
    out = np.zeros((*theta.shape, 8))
    add_decay_curvature(out, (2, 4), B, beta, data["d"], weight)
    # The model's term is e^v; it bends by ∂v·∂v + ∂²v, and in A itself not at all.
    n = _n_eff(theta, data)
    term, (first, second) = weight * decay(A, alpha, n), _slopes(theta, data)
    rows = np.stack(
        [1 / A[..., None] + 0 * n, -np.log(n), *(-alpha[..., None] * one for one in first)], axis=-2
    )
    bend = np.matmul(rows * term[..., None, :], rows.mT)
    bend[..., 0, 0] = 0
    for j, (slope, more) in enumerate(zip(first, second, strict=True), 2):
        cross = np.sum(term * slope, axis=-1)
        bend[..., 1, j] -= cross
        bend[..., j, 1] -= cross
        bend[..., j, j] -= alpha * np.sum(term * more, axis=-1)
    places = np.array((1, 3, 5, 6, 7))
    out[..., places[:, None], places] += bend
    return out


def starts(data: Data, target: Array) -> Array:
    """Exponents, a floor and the bits on a grid; the scales so that either term carries half."""
    exponents, gammas = (0.2, 0.4, 0.7), (0.8, 2.0)
    made = grid(exponents, exponents, (0.3, 0.7), gammas, gammas, gammas)
    alpha, beta = made[:, 0], made[:, 1]
    E = made[:, 2] * target.min()
    half = (np.median(target) - E) / 2
    A = half * np.exp(alpha * np.log(data["n"]).mean())
    B = half * np.exp(beta * np.log(data["d"]).mean())
    return np.stack([E, A, B, alpha, beta, *made[:, 3:].T], axis=-1)


PRECISION = register(
    Law(
        name="precision",
        title="Precision-aware: loss of model size, data and bits in training",
        formula="L = E + A/N_eff^α + B/D^β with "
        "N_eff = N·(1 − e^(−P_w/γ_w))·(1 − e^(−P_a/γ_a))·(1 − e^(−P_kv/γ_kv))",
        text="Bits of weights, activations and attention cache during training each take away parameters.",
        paper=f"{PAPER}, equation 3 and section 4",
        columns=("n", "d", *BITS),
        parameters=(
            Parameter("E", "loss of an endless model on endless data", "nats/token", low=0, floor=True),
            Parameter("A", "scale of the model's term", "nats/token·parameters^α", log=True),
            Parameter("B", "scale of the data's term", "nats/token·tokens^β", log=True),
            Parameter("α", "exponent of the model's size", low=0, high=10),
            Parameter("β", "exponent of the data", low=0, high=10),
            Parameter("γ_w", "how many bits weights need", "bits", log=True, low=1e-2, high=1e3),
            Parameter("γ_a", "how many bits activations need", "bits", log=True, low=1e-2, high=1e3),
            Parameter("γ_kv", "how many bits the cache needs", "bits", log=True, low=1e-2, high=1e3),
        ),
        predict=predict,
        gradient=gradient,
        curvature=curvature,
        starts=starts,
        distinct={"n": 3, "d": 3},
        published={
            "kumar": Published(
                (2.7648, 4.299e3, 1.806e4, 0.4965, 0.4965, 2.6745, 2.2102, 0.9578),
                f"{PAPER}, table of fitted constants (α = β); the offsets of its longer form are left out",
            )
        },
    )
)  # fmt: skip


def predict_after(theta: Array, data: Data) -> Array:
    C, by_d, by_n, gamma = np.moveaxis(theta, -1, 0)[..., None]
    return np.exp(np.log(C) + by_d * np.log(data["d"]) - by_n * np.log(data["n"]) - data["pw"] / gamma)


def gradient_after(theta: Array, data: Data) -> Array:
    C, _, _, gamma = np.moveaxis(theta, -1, 0)[..., None]
    value = predict_after(theta, data)
    rows = [value / C, value * np.log(data["d"]), -value * np.log(data["n"]), value * data["pw"] / gamma**2]
    return np.stack(rows, axis=-2)


def starts_after(data: Data, target: Array) -> Array:
    """Exponents and bits on a grid; the scale so that the law passes through the middle."""
    made = grid((0.2, 0.5, 0.9), (0.2, 0.5, 0.9), (0.3, 0.6, 1.2))
    ones = np.concatenate([np.ones((len(made), 1)), made], axis=1)
    ones[:, 0] = np.exp((np.log(target) - np.log(predict_after(ones, data))).mean(-1))
    return ones


QUANTIZED = register(
    Law(
        name="quantized-after",
        title="Precision-aware: what quantization after training costs",
        formula="δ(N, D, P) = C_T·D^γ_D/N^γ_N·e^(−P/γ_post)",
        text="Quantizing weights after training adds a loss that grows with the data, so that more "
        "pretraining may harm in the end.",
        paper=f"{PAPER}, equation 2",
        columns=("n", "d", "pw"),
        target="rise",
        parameters=(
            Parameter("C_T", "scale", "nats/token", log=True),
            Parameter("γ_D", "exponent of the data", low=-10, high=10),
            Parameter("γ_N", "exponent of the model's size", low=-10, high=10),
            Parameter("γ_post", "how many bits divide the rise by e", "bits", log=True, low=1e-2, high=1e3),
        ),
        predict=predict_after,
        gradient=gradient_after,
        starts=starts_after,
        published={
            "kumar": Published((0.0598, 0.5068, 0.3439, 0.5907), f"{PAPER}, table of fitted constants")
        },
    )
)
