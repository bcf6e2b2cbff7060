"""The best sizes: for each number of tokens the one model size at which nothing can be had for less.

Training costs 6·N·D FLOP and serving T tokens 2·N·T (Sardana et al. 2023, arXiv:2401.00448). The least of
their sum at one loss, and so the lowest loss for one sum, is where (D + T/3)·β·B·D^−(β+1) = α·A·N^−α. It
gives N for every D, and along this curve N, the cost and the quality all grow: what is asked for is found by
halving. With T = 0 it is Chinchilla's optimum (``allocation``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from danlu.laws.base import Array
from danlu.laws.formulas.chinchilla import predict
from danlu.laws.table import FLOPS_PER_PARAMETER_AND_TOKEN

Wanted = Literal["n", "d", "c", "loss"]
Yes = NDArray[np.bool_]

SERVING = 2.0  # FLOP for each parameter and token that is served
FROM, TO = -50.0, 250.0  # ln of what is looked through
HALVINGS = 80


def cost(n: Array, d: Array, served: float = 0.0) -> Array:
    """FLOP of training on ``d`` tokens and serving ``served``: N·(6·D + 2·T)."""
    return n * (FLOPS_PER_PARAMETER_AND_TOKEN * d + SERVING * served)


def loss_of(theta: Array, n: Array, d: Array) -> Array:
    """The law's loss, (…,): each parameter vector (…, 5) at its own size and tokens."""
    return predict(theta, {"n": np.asarray(n)[..., None], "d": np.asarray(d)[..., None]})[..., 0]


def best(theta: Array, wanted: Wanted, value: Array | float, served: float = 0.0) -> tuple[Array, Array]:
    """N and D, (…,), on the curve of best sizes where ``wanted`` has ``value``.

    ``theta``: (…, 5). ``wanted``: parameters, tokens, FLOP of training and serving together, or loss.
    ``value``: a number, or one for each vector. Infinite where the law cannot have that value.
    """
    _, A, B, alpha, beta = np.moveaxis(np.asarray(theta, dtype=np.float64), -1, 0)
    with np.errstate(all="ignore"):
        log_ratio = np.log(alpha * A) - np.log(beta * B)
        more = np.log(served / 3) if served else -np.inf

        def size(x: Array) -> Array:
            """ln N at ln D = x."""
            return (log_ratio + (beta + 1) * x - np.logaddexp(x, more)) / alpha

        def below(x: Array) -> Yes:
            """Whether the curve at ln D = x has not yet come to the value."""
            match wanted:
                case "n":
                    return size(x) < np.log(value)
                case "d":
                    return x < np.log(value)
                case "c":
                    total = np.log(FLOPS_PER_PARAMETER_AND_TOKEN) + size(x) + np.logaddexp(x, more)
                    return total < np.log(value)
                case "loss":
                    return loss_of(theta, np.exp(size(x)), np.exp(x)) > value

        x = halve(below, np.broadcast_shapes(alpha.shape, np.shape(value)))
        return np.exp(size(x)), np.exp(x)


def halve(below: Callable[[Array], Yes], shape: tuple[int, ...]) -> Array:
    """The x, ``shape``, up to which ``below`` holds; infinite where it always does."""
    low, high = np.full(shape, FROM), np.full(shape, TO)
    always = below(high)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        under = below(middle)
        low, high = np.where(under, middle, low), np.where(under, high, middle)
    return np.where(always, np.inf, (low + high) / 2)
