"""Kaplan et al. 2020: loss of model size, data, compute and steps. N counts no embeddings."""

from __future__ import annotations

import numpy as np

from danlu.laws.base import Array, Data, Law, Parameter, Published, grid, register

PF_DAY = 8.64e19  # FLOP
PAPER = "Kaplan et al. 2020, arXiv:2001.08361"


def ratio(scale: Array, exponent: Array, x: Array) -> Array:
    """(scale/x)^exponent; scale and exponent (…,), x (points,) → (…, points)."""
    with np.errstate(all="ignore"):
        return np.exp(exponent[..., None] * (np.log(scale)[..., None] - np.log(x)))


def ratio_rows(scale: Array, exponent: Array, x: Array) -> tuple[Array, Array]:
    """The derivatives of ``ratio`` to scale and exponent."""
    value = ratio(scale, exponent, x)
    with np.errstate(all="ignore"):
        log = np.log(scale)[..., None] - np.log(x)
        return value * exponent[..., None] / scale[..., None], value * log


def _line(x: Array, target: Array) -> tuple[Array, Array]:
    """Scales and exponents about the straight line through the logarithms."""
    log_x, log_y = np.log(x), np.log(target)
    centred = log_x - log_x.mean()
    slope = max(-float(centred @ log_y / (centred @ centred)), 0.02)
    exponent = slope * np.array([1.0, 0.5, 0.8, 1.25, 2.0])
    return np.exp(np.minimum(log_x.mean() + log_y.mean() / exponent, 300.0)), exponent


def _of_one(column: str, title: str, text: str, unit: str, equation: str, **published: Published) -> Law:
    """L(X) = (X_c/X)^α_X for one column."""
    letter = column.upper()

    def predict(theta: Array, data: Data) -> Array:
        return ratio(theta[..., 0], theta[..., 1], data[column])

    def gradient(theta: Array, data: Data) -> Array:
        return np.stack(ratio_rows(theta[..., 0], theta[..., 1], data[column]), axis=-2)

    def starts(data: Data, target: Array) -> Array:
        return np.stack(_line(data[column], target), axis=-1)

    return Law(
        name=f"kaplan-{column}",
        title=title,
        formula=f"L({letter}) = ({letter}_c/{letter})^α_{letter}",
        text=text,
        paper=f"{PAPER}, {equation}",
        columns=(column,),
        parameters=(
            Parameter(f"{letter}_c", "where the loss would be 1 nat", unit, log=True, high=1e150),
            Parameter(f"α_{letter}", "exponent", low=0, high=10),
        ),
        predict=predict,
        gradient=gradient,
        starts=starts,
        published={name.replace("_", "-"): given for name, given in published.items()},
    )


KAPLAN_N = register(
    _of_one(
        "n",
        "Kaplan: loss of model size",
        "Models trained until they converge, with data in plenty; N without embeddings.",
        "parameters",
        "equation 1.1",
        kaplan=Published((8.8e13, 0.076), f"{PAPER}, table 5"),
    )
)
KAPLAN_D = register(
    _of_one(
        "d",
        "Kaplan: loss of data",
        "Large models trained with early stopping on limited data.",
        "tokens",
        "equation 1.2",
        kaplan=Published((5.4e13, 0.095), f"{PAPER}, table 5"),
    )
)
KAPLAN_C = register(
    _of_one(
        "c",
        "Kaplan: loss of compute",
        "The best loss that an amount of compute reaches, model size chosen well.",
        "FLOP",
        "equation 1.3",
        kaplan=Published((3.1e8 * PF_DAY, 0.050), f"{PAPER}, table 5: C_min, 3.1e8 PF-days"),
        kaplan_fixed_batch=Published((1.6e7 * PF_DAY, 0.057), f"{PAPER}, table 5: C, 1.6e7 PF-days"),
    )
)


def predict_nd(theta: Array, data: Data) -> Array:
    N_c, D_c, alpha_N, alpha_D = np.moveaxis(theta, -1, 0)
    inner = ratio(N_c, alpha_N / alpha_D, data["n"]) + D_c[..., None] / data["d"]
    with np.errstate(all="ignore"):
        return inner ** alpha_D[..., None]


def gradient_nd(theta: Array, data: Data) -> Array:
    N_c, D_c, alpha_N, alpha_D = np.moveaxis(theta, -1, 0)
    n_term = ratio(N_c, alpha_N / alpha_D, data["n"])
    d_term = D_c[..., None] / data["d"]
    by_N_c, by_quotient = ratio_rows(N_c, alpha_N / alpha_D, data["n"])
    with np.errstate(all="ignore"):
        inner = n_term + d_term
        outer = alpha_D[..., None] * inner ** (alpha_D[..., None] - 1)
        return np.stack(
            [
                outer * by_N_c,
                outer / data["d"],
                outer * by_quotient / alpha_D[..., None],
                inner ** alpha_D[..., None] * np.log(inner)
                - outer * by_quotient * (alpha_N / alpha_D**2)[..., None],
            ],
            axis=-2,
        )


def starts_nd(data: Data, target: Array) -> Array:
    """Exponents on a grid; the scales so that each quantity has its share of the middle's loss."""
    made = grid((0.03, 0.06, 0.12, 0.25, 0.5), (0.03, 0.06, 0.12, 0.25, 0.5), (0.2, 0.5, 0.8))
    alpha_N, alpha_D, share = made.T
    log_y = np.log(np.median(target))
    log_inner = log_y / alpha_D  # ln of the bracket, of which N has its share
    log_N_c = np.log(data["n"]).mean() + (log_inner + np.log(share)) * alpha_D / alpha_N
    log_D_c = np.log(data["d"]).mean() + log_inner + np.log1p(-share)
    return np.stack([np.exp(log_N_c), np.exp(log_D_c), alpha_N, alpha_D], axis=-1)


KAPLAN_ND = register(
    Law(
        name="kaplan-nd",
        title="Kaplan: loss of model size and data",
        formula="L(N, D) = [(N_c/N)^(α_N/α_D) + D_c/D]^α_D",
        text="How much a model of some size over-fits limited data, with early stopping.",
        paper=f"{PAPER}, equation 1.5",
        columns=("n", "d"),
        parameters=(
            Parameter("N_c", "scale of the model's size", "parameters", log=True, high=1e150),
            Parameter("D_c", "scale of the data", "tokens", log=True, high=1e150),
            Parameter("α_N", "exponent of the model's size", low=1e-3, high=10),
            Parameter("α_D", "exponent of the data", low=1e-3, high=10),
        ),
        predict=predict_nd,
        gradient=gradient_nd,
        starts=starts_nd,
        distinct={"n": 2, "d": 2},
        published={"kaplan": Published((6.4e13, 1.8e13, 0.076, 0.103), f"{PAPER}, table 2")},
    )
)


def predict_ns(theta: Array, data: Data) -> Array:
    N_c, S_c, alpha_N, alpha_S = np.moveaxis(theta, -1, 0)
    return ratio(N_c, alpha_N, data["n"]) + ratio(S_c, alpha_S, data["s"])


def gradient_ns(theta: Array, data: Data) -> Array:
    N_c, S_c, alpha_N, alpha_S = np.moveaxis(theta, -1, 0)
    by_N_c, by_alpha_N = ratio_rows(N_c, alpha_N, data["n"])
    by_S_c, by_alpha_S = ratio_rows(S_c, alpha_S, data["s"])
    return np.stack([by_N_c, by_S_c, by_alpha_N, by_alpha_S], axis=-2)


def starts_ns(data: Data, target: Array) -> Array:
    """Exponents on a grid; the scales so that the size has its share of the middle's loss."""
    made = grid((0.03, 0.08, 0.2, 0.5), (0.1, 0.3, 0.7, 1.5), (0.5, 0.8, 0.95))
    alpha_N, alpha_S, share = made.T
    middle = np.median(target)
    N_c = np.exp(np.log(data["n"]).mean() + np.log(middle * share) / alpha_N)
    S_c = np.exp(np.log(data["s"]).mean() + np.log(middle * (1 - share)) / alpha_S)
    return np.stack([N_c, S_c, alpha_N, alpha_S], axis=-1)


KAPLAN_NS = register(
    Law(
        name="kaplan-ns",
        title="Kaplan: loss of model size and steps",
        formula="L(N, S) = (N_c/N)^α_N + (S_c/S)^α_S",
        text="Learning curves after the warm-up; S counts steps far above the critical batch size (S_min).",
        paper=f"{PAPER}, equation 1.6",
        columns=("n", "s"),
        parameters=(
            Parameter("N_c", "scale of the model's size", "parameters", log=True, high=1e150),
            Parameter("S_c", "scale of the steps", "updates", log=True, high=1e150),
            Parameter("α_N", "exponent of the model's size", low=1e-3, high=10),
            Parameter("α_S", "exponent of the steps", low=1e-3, high=10),
        ),
        predict=predict_ns,
        gradient=gradient_ns,
        starts=starts_ns,
        distinct={"n": 2, "s": 2},
        published={"kaplan": Published((6.5e13, 2.1e3, 0.077, 0.76), f"{PAPER}, table 3")},
    )
)
