"""Muennighoff et al. 2023: what repeated tokens, and parameters beyond what the data need, are worth."""

from __future__ import annotations

import numpy as np

from danlu.laws.base import Array, Data, Law, Parameter, Published, grid, register
from danlu.laws.formulas.terms import decay, decay_rows


def effective(unique: Array, used: Array, star: Array) -> Array:
    """U·(1 + R*·(1 − e^(−R/R*))) with R = used/unique − 1 repetitions; the arguments broadcast."""
    return unique * (1 - star * np.expm1(-(used / unique - 1) / star))


def _effective_slopes(unique: Array, used: Array, star: Array) -> tuple[Array, Array]:
    """The derivatives of ``effective`` to unique and to star."""
    repeats = used / unique - 1
    left = np.exp(-repeats / star)
    return 1 + star * (1 - left) - left * (1 + repeats), unique * (1 - left - left * repeats / star)


def _log_needed(theta: Array, unique: Array) -> tuple[Array, Array, Array]:
    """ln of the model size that is the best for the unique tokens, ln G, and ln G + ln U_D; (…, points)."""
    _, A, B, alpha, beta, _, _ = np.moveaxis(theta, -1, 0)[..., None]
    log_G = (np.log(alpha * A) - np.log(beta * B)) / (alpha + beta)
    both = log_G + np.log(unique)
    return log_G + beta / alpha * both, log_G, both


def _sizes(theta: Array, data: Data) -> tuple[Array, Array, Array]:
    """U_N, N′ and D′, (…, points)."""
    data_star, size_star = theta[..., 5, None], theta[..., 6, None]
    unique = np.minimum(data["u"], data["d"])
    needed = np.minimum(data["n"], np.exp(_log_needed(theta, unique)[0]))
    return needed, effective(needed, data["n"], size_star), effective(unique, data["d"], data_star)


def predict(theta: Array, data: Data) -> Array:
    E, A, B, alpha, beta, _, _ = np.moveaxis(theta, -1, 0)
    with np.errstate(all="ignore"):
        _, n, d = _sizes(theta, data)
        return E[..., None] + decay(A, alpha, n) + decay(B, beta, d)


def gradient(theta: Array, data: Data) -> Array:
    _, A, B, alpha, beta, _, _ = np.moveaxis(theta, -1, 0)
    alpha_, beta_, data_star, size_star = (theta[..., j, None] for j in (3, 4, 5, 6))
    unique = np.minimum(data["u"], data["d"])
    with np.errstate(all="ignore"):
        needed, n, d = _sizes(theta, data)
        by_A, by_alpha = decay_rows(A, alpha, n)
        by_B, by_beta = decay_rows(B, beta, d)
        by_n = -alpha_ * decay(A, alpha, n) / n
        by_d = -beta_ * decay(B, beta, d) / d
        by_needed, by_size_star = _effective_slopes(needed, data["n"], size_star)
        _, by_data_star = _effective_slopes(unique, data["d"], data_star)
        # The size that the data need is itself made from A, B, α and β.
        _, log_G, both = _log_needed(theta, unique)
        through = np.where(needed < data["n"], by_n * by_needed * needed, 0.0)
        total = alpha_ + beta_
        spread = 1 + beta_ / alpha_  # d ln N_needed / d ln G
        by_A = by_A + through * spread / (total * A[..., None])
        by_B = by_B - through * spread / (total * B[..., None])
        by_alpha = by_alpha + through * (spread * (1 / alpha_ - log_G) / total - beta_ / alpha_**2 * both)
        by_beta = by_beta + through * (spread * (-1 / beta_ - log_G) / total + both / alpha_)
    rows = [np.ones_like(by_A), by_A, by_B, by_alpha, by_beta, by_d * by_data_star, by_n * by_size_star]
    return np.stack(rows, axis=-2)


def starts(data: Data, target: Array) -> Array:
    """Exponents, a floor and both values of repetition on a grid; the scales as in ``chinchilla``.

    The published runs leave several minima, between 15 and 160 of R_D*; from these values the lowest of them
    is found twice.
    """
    exponents = (0.2, 0.35, 0.6)
    made = grid(exponents, exponents, (0.3, 0.7), (5.0, 50.0), (2.0, 15.0))
    E = made[:, 2] * target.min()
    half = (np.median(target) - E) / 2
    A = half * np.exp(made[:, 0] * np.log(data["n"]).mean())
    B = half * np.exp(made[:, 1] * np.log(data["d"]).mean())
    return np.stack([E, A, B, made[:, 0], made[:, 1], made[:, 3], made[:, 4]], axis=-1)


# The code keeps logarithms: of E, A and B here.
_E, _A, _B = (float(np.exp(value)) for value in (0.6254804, 6.255414, 7.3049974))
DATA_CONSTRAINED = register(
    Law(
        name="data-constrained",
        title="Data-constrained: loss of model size, data and repetition",
        formula="L(N, D, U_D) = E + A/N′^α + B/D′^β with D′ = U_D·(1 + R_D*·(1 − e^(−R_D/R_D*))), "
        "R_D = D/U_D − 1, and N′ likewise from U_N = min(N, N_opt(U_D))",
        text="A repeated token is worth less each time, and so is a parameter beyond what the unique data "
        "need; R* is where most of the worth is gone.",
        paper="Muennighoff et al. 2023, arXiv:2305.16264, equations 5 and 6",
        columns=("n", "d", "u"),
        parameters=(
            Parameter("E", "loss of an endless model on endless data", "nats/token", low=0, floor=True),
            Parameter("A", "scale of the model's term", "nats/token·parameters^α", log=True),
            Parameter("B", "scale of the data's term", "nats/token·tokens^β", log=True),
            Parameter("α", "exponent of the model's size", low=1e-3, high=10),
            Parameter("β", "exponent of the data", low=1e-3, high=10),
            Parameter("R_D*", "repetitions after which most of their worth is gone", "", log=True,
                      low=1e-3, high=1e6),
            Parameter("R_N*", "the same of parameters beyond U_N", "", log=True, low=1e-3, high=1e6),
        ),
        predict=predict,
        gradient=gradient,
        starts=starts,
        distinct={"n": 3, "d": 3},
        published={
            "muennighoff": Published(
                (_E, _A, _B, 0.3526596, 0.3526596, 15.387756, 5.309743),
                "Muennighoff et al. 2023, arXiv:2305.16264: the code of the fit (α = β, two stages)",
            )
        },
    )
)  # fmt: skip
