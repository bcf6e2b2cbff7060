"""Muennighoff et al. 2023: what repeated tokens, and parameters beyond what the data need, are worth."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from danlu.laws.base import Array, Data, Law, Parameter, Published, grid, register
from danlu.laws.formulas.terms import decay


def effective(unique: Array, used: Array, star: Array) -> Array:
    """U·(1 + R*·(1 − e^(−R/R*))) with R = used/unique − 1 repetitions; the arguments broadcast."""
    return unique * (1 - star * np.expm1(-(used / unique - 1) / star))


class _Worth(NamedTuple):
    """ln ``effective``, and its derivatives to m = ln unique and s = star, once and twice; (…, points)."""

    log: Array
    m: Array
    s: Array
    mm: Array
    ms: Array
    ss: Array


def _worth(unique: Array, used: Array, star: Array) -> _Worth:
    """With h = effective/unique and R = used/unique − 1, so that ∂R/∂m = −(1 + R)."""
    R = used / unique - 1
    left, gone = np.exp(-R / star), -np.expm1(-R / star)
    h = 1 + star * gone
    m, s = -left * (1 + R) / h, (gone - left * R / star) / h
    mm, ms = m * ((1 + R) / star - 1) - m**2, m * (R / star**2 - s)
    return _Worth(np.log(unique * h), 1 + m, s, mm, ms, -left * R**2 / star**3 / h - s**2)


def _needed(theta: Array, unique: Array) -> Array:
    """m = ln of the model size that is the best for the unique tokens, (…, points):
    α·m = ln(αA/βB) + β·ln U_D."""
    _, A, B, alpha, beta, _, _ = np.moveaxis(theta, -1, 0)[..., None]
    return (np.log(alpha * A) - np.log(beta * B) + beta * np.log(unique)) / alpha


def _terms(theta: Array, data: Data) -> tuple[Array, Array, _Worth, Array, _Worth]:
    """Both terms, what their sizes are worth, and between them the derivatives of m to ln A, ln B, α and β,
    (…, 4, points), nought where the data need all parameters."""
    _, A, B, alpha, beta, data_star, size_star = np.moveaxis(theta, -1, 0)[..., None]
    unique = np.minimum(data["u"], data["d"])
    m = _needed(theta, unique)
    size = _worth(np.minimum(data["n"], np.exp(m)), data["n"], size_star)
    tokens = _worth(unique, data["d"], data_star)
    inside = np.exp(m) < data["n"]
    slopes = np.stack([
        1 / alpha * inside, -1 / alpha * inside, (1 / alpha - m) / alpha * inside,
        (np.log(unique) - 1 / beta) / alpha * inside,
    ], axis=-2)  # fmt: skip
    by_size, by_tokens = np.exp(np.log(A) - alpha * size.log), np.exp(np.log(B) - beta * tokens.log)
    return by_size, by_tokens, size, slopes, tokens


def predict(theta: Array, data: Data) -> Array:
    E, A, B, alpha, beta, data_star, size_star = np.moveaxis(theta, -1, 0)
    with np.errstate(all="ignore"):
        unique = np.minimum(data["u"], data["d"])
        needed = np.minimum(data["n"], np.exp(_needed(theta, unique)))
        n = effective(needed, data["n"], size_star[..., None])
        d = effective(unique, data["d"], data_star[..., None])
        return E[..., None] + decay(A, alpha, n) + decay(B, beta, d)


def _rows(theta: Array, size: _Worth, slopes: Array, tokens: _Worth) -> tuple[Array, Array]:
    """Derivatives of the terms' logarithms: of the model's to ln A, ln B, α, β and R_N*, (…, 5, points), and
    of the data's to ln B, β and R_D*, (…, 3, points)."""
    alpha, beta = theta[..., 3, None], theta[..., 4, None]
    rows = np.concatenate([slopes, np.zeros_like(slopes[..., :1, :])], axis=-2)
    rows = rows * (-alpha * size.m)[..., None, :]
    rows[..., 0, :] += 1
    rows[..., 2, :] -= size.log
    rows[..., 4, :] = -alpha * size.s
    return rows, np.stack([np.ones_like(tokens.s * beta), -tokens.log + 0 * beta, -beta * tokens.s], axis=-2)


def gradient(theta: Array, data: Data) -> Array:
    with np.errstate(all="ignore"):
        by_size, by_tokens, size, slopes, tokens = _terms(theta, data)
        one, other = _rows(theta, size, slopes, tokens)
        one, other = one * by_size[..., None, :], other * by_tokens[..., None, :]
        A, B = theta[..., 1, None], theta[..., 2, None]
        rows = [
            np.ones_like(by_size), one[..., 0, :] / A, (one[..., 1, :] + other[..., 0, :]) / B,
            one[..., 2, :], one[..., 3, :] + other[..., 1, :], other[..., 2, :], one[..., 4, :],
        ]  # fmt: skip
    return np.stack(rows, axis=-2)


def curvature(theta: Array, data: Data, weight: Array) -> Array:
    """Of each term T = e^v: Σ weight·T·(∂v·∂v + ∂²v)."""
    alpha, beta = theta[..., 3], theta[..., 4]
    out = np.zeros((*theta.shape, 7))
    with np.errstate(all="ignore"):
        by_size, by_tokens, size, slopes, tokens = _terms(theta, data)
        one, other = _rows(theta, size, slopes, tokens)
        w, x = weight * by_size, weight * by_tokens

        def total(values: Array) -> Array:
            return np.sum(w * values, axis=-1)

        def both(i: int, j: int, value: Array) -> None:
            """Of a pair of different parameters of the model's term."""
            H[..., i, j] += value
            H[..., j, i] += value

        a, b, al, be, star = range(5)
        H = np.matmul(one * w[..., None, :], one.mT)
        # ∂²v = −α·∂²y where α is none of both, y = ln N′: by m twice, by m and R_N*, by R_N* twice.
        bend = -alpha[..., None] * w
        H[..., :4, :4] += np.matmul(slopes * (bend * size.mm)[..., None, :], slopes.mT)
        cross = np.matmul(slopes, (bend * size.ms)[..., None])[..., 0]
        H[..., :4, star] += cross
        H[..., star, :4] += cross
        H[..., star, star] += np.sum(bend * size.ss, axis=-1)
        # And the part through ∂²m.
        inside = slopes[..., 0, :] != 0
        through = np.sum(bend * size.m * inside, axis=-1)
        both(a, al, -through / alpha**2)
        both(b, al, through / alpha**2)
        both(al, be, -np.sum(bend * size.m * slopes[..., be, :], axis=-1) / alpha)
        H[..., be, be] += through / (alpha * beta**2)
        H[..., al, al] += (
            -through / alpha**3 - 2 * np.sum(bend * size.m * slopes[..., al, :], axis=-1) / alpha
        )
        # −∂α·∂y, twice where both are α.
        for j in (a, b, be):
            both(al, j, -total(size.m * slopes[..., j, :]))
        H[..., al, al] -= 2 * total(size.m * slopes[..., al, :])
        both(al, star, -total(size.s))

        G = np.matmul(other * x[..., None, :], other.mT)
        tilt = np.sum(x * tokens.s, axis=-1)
        G[..., 1, 2] -= tilt
        G[..., 2, 1] -= tilt
        G[..., 2, 2] -= beta * np.sum(x * tokens.ss, axis=-1)
        for places, part in (((1, 2, 3, 4, 6), H), ((2, 4, 5), G)):
            out[..., np.array(places)[:, None], places] += part
        # From ln A and ln B to A and B.
        first = np.sum(w * one[..., a, :], axis=-1), np.sum(w * one[..., b, :] + x, axis=-1)
        for j, by in zip((1, 2), first, strict=True):
            out[..., j, j] -= by
            out[..., j, :] /= theta[..., j, None]
            out[..., :, j] /= theta[..., j, None]
    return out


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
        curvature=curvature,
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
