"""Ye et al. 2024: the loss on one domain, of the shares of the domains that are trained on."""

from __future__ import annotations

import numpy as np

from danlu.laws.base import Array, Data, Law, Parameter, grid, register
from danlu.laws.table import SHARES

DIGITS = "₀₁₂₃₄₅₆₇₈₉"


def mixture(domains: int) -> Law:
    """The law for so many domains, columns w1 … wk.

    Their k·e^(Σ t_j·w_j) is e^(Σ t_j·w_j) here: as shares sum to 1, ln k added to each t says the same.
    """
    columns = SHARES[:domains]

    def weights(data: Data) -> Array:
        return np.stack([data[name] for name in columns])

    def rise(theta: Array, data: Data) -> Array:
        with np.errstate(over="ignore"):
            return np.exp(sum(theta[..., 1 + j, None] * data[name] for j, name in enumerate(columns)))

    def predict(theta: Array, data: Data) -> Array:
        return theta[..., 0, None] + rise(theta, data)

    def gradient(theta: Array, data: Data) -> Array:
        value = rise(theta, data)
        return np.stack([np.ones_like(value), *(value * data[name] for name in columns)], axis=-2)

    def curvature(theta: Array, data: Data, weight: Array) -> Array:
        w = weights(data)
        out = np.zeros((*theta.shape, theta.shape[-1]))
        out[..., 1:, 1:] = np.matmul((weight * rise(theta, data))[..., None, :] * w, w.T)
        return out

    def starts(data: Data, target: Array) -> Array:
        """Floors on a grid; the rest is linear in the logarithm of what is above."""
        rows = []
        for (floor,) in grid((0.0, 0.3, 0.6, 0.8, 0.9, 0.97)):
            c = floor * target.min()
            rows.append([c, *np.linalg.lstsq(weights(data).T, np.log(target - c), rcond=None)[0]])
        return np.array(rows)

    names = [f"t{DIGITS[j]}" for j in range(1, domains + 1)]
    inside = " + ".join(f"{t}·w{DIGITS[j]}" for j, t in enumerate(names, start=1))
    return Law(
        name=f"mixture-{domains}",
        title=f"Mixing law: loss on a domain of the shares of {domains}",
        formula=f"L(w) = c + e^({inside})",
        text="Each domain's share bends the loss on the validation domain by its own rate: below the others' "
        "it helps. The shares w sum to 1; size and tokens are those of all points.",
        paper="Ye et al. 2024, arXiv:2403.16952",
        columns=columns,
        parameters=(
            Parameter("c", "loss that no mixture passes", "nats/token", low=0, floor=True),
            *(Parameter(name, f"rate of domain {j}") for j, name in enumerate(names, start=1)),
        ),
        predict=predict,
        gradient=gradient,
        curvature=curvature,
        starts=starts,
        distinct=dict.fromkeys(columns, 2),
    )


MIXTURES = tuple(register(mixture(domains)) for domains in range(2, 8))
