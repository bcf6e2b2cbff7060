"""A floor and a power law in each of several quantities: width and depth, or batch and steps apart."""

from __future__ import annotations

import numpy as np

from danlu.laws.base import Array, Data, Law, Parameter, grid, register
from danlu.laws.formulas.terms import add_decay_curvature, decay, decay_rows

LETTERS = "ABC"
GREEK = "αβγ"


def additive(
    columns: tuple[str, str, str], symbols: str, *, name: str, title: str, text: str, paper: str
) -> Law:
    """L = E + A/x^α + B/y^β + C/z^γ; ``symbols``: the columns' letters in the formula."""

    def terms(theta: Array, data: Data) -> list[tuple[Array, Array, Array]]:
        return [(theta[..., 1 + i], theta[..., 4 + i], data[column]) for i, column in enumerate(columns)]

    def predict(theta: Array, data: Data) -> Array:
        return theta[..., 0, None] + sum(decay(*term) for term in terms(theta, data))

    def gradient(theta: Array, data: Data) -> Array:
        scales, exponents = zip(*(decay_rows(*term) for term in terms(theta, data)), strict=True)
        return np.stack([np.ones_like(scales[0]), *scales, *exponents], axis=-2)

    def curvature(theta: Array, data: Data, weight: Array) -> Array:
        out = np.zeros((*theta.shape, 7))
        for i, term in enumerate(terms(theta, data)):
            add_decay_curvature(out, (1 + i, 4 + i), *term, weight)
        return out

    def starts(data: Data, target: Array) -> Array:
        """Exponents and a floor on a grid; the scales so that each term is a third of the rest."""
        exponents = (0.15, 0.4, 0.9)
        made = grid(exponents, exponents, exponents, (0.3, 0.6, 0.9))
        E = made[:, 3] * target.min()
        third = (np.median(target) - E) / 3
        scales = [
            third * np.exp(made[:, i] * np.log(data[column]).mean()) for i, column in enumerate(columns)
        ]
        return np.stack([E, *scales, *made[:, :3].T], axis=-1)

    of = dict(zip(symbols, columns, strict=True))
    return Law(
        name=name,
        title=title,
        formula=f"L({', '.join(symbols)}) = E + "
        + " + ".join(f"{a}/{x}^{g}" for a, x, g in zip(LETTERS, symbols, GREEK, strict=True)),
        text=text,
        paper=paper,
        columns=columns,
        parameters=(
            Parameter("E", "loss that remains", "nats/token", low=0, floor=True),
            *(
                Parameter(a, f"scale of the term in {of[x]}", log=True)
                for a, x in zip(LETTERS, symbols, strict=True)
            ),
            *(
                Parameter(g, f"exponent of {of[x]}", low=0, high=10)
                for g, x in zip(GREEK, symbols, strict=True)
            ),
        ),
        predict=predict,
        gradient=gradient,
        curvature=curvature,
        starts=starts,
        distinct=dict.fromkeys(columns, 3),
    )


WIDTH_DEPTH = register(
    additive(
        ("width", "depth", "d"),
        "wlD",
        name="width-depth",
        title="Gemstones: loss of width, depth and data",
        text="Width and depth each have a term in place of the model's size, so that shapes can be compared.",
        paper="McLeish et al. 2025, arXiv:2502.06857, depth_width.py of its code",
    )
)

THREE_TERMS = register(
    additive(
        ("n", "b", "s"),
        "NMK",
        name="three-terms",
        title="Three terms: loss of model size, batch and steps",
        text="The tokens are split into the batch M and the steps K. At a given D = M·K there is a best "
        "batch, and runs at poor batch sizes tell it as well.",
        paper="Schaipp 2026, arXiv:2607.01487",
    )
)


def best_batch(theta: Array, tokens: Array | float) -> Array:
    """The batch in tokens at which the three-term law is lowest for D = M·K; theta (…, 7), broadcasts.

    B/M^β + C·(M/D)^γ is lowest where β·B/M^β = γ·C·(M/D)^γ, so M = (β·B/(γ·C)·D^γ)^(1/(β+γ)).
    """
    _, _, B, C, _, beta, gamma = np.moveaxis(np.asarray(theta), -1, 0)
    return (beta * B / (gamma * C) * np.asarray(tokens) ** gamma) ** (1 / (beta + gamma))
