"""Li et al. 2025 (Farseer): floor, scale and exponent of the data's term each follow the model's size."""

from __future__ import annotations

import itertools

import numpy as np

from danlu.laws.base import Array, Data, Law, Parameter, Published, register
from danlu.laws.errors import LawError
from danlu.laws.fit import fit
from danlu.laws.formulas.power import POWER_FLOOR
from danlu.laws.table import Points

PAPER = "Li et al. 2025 (Farseer), arXiv:2506.10972"
REFERENCE = 1e9  # parameters: at this size the levels are what they are called
EXPONENTS = np.linspace(-1, 1, 81)
SIZES = 12  # at most so many parts of the points by size, for where a fit begins
FLOORS = (0.3, 0.6, 0.85, 0.97)


def _bend(exponent: Array, log_x: Array) -> tuple[Array, Array, Array]:
    """(x^q − 1)/q, ln x where q is 0 (Box and Cox 1964), and its two derivatives to q; (…, points)."""
    small = np.abs(exponent * log_x) < 1e-3
    with np.errstate(all="ignore"):
        power, z = np.expm1(exponent * log_x), exponent * log_x
        value = np.where(small, log_x * (1 + z / 2 + z**2 / 6 + z**3 / 24), power / exponent)
        slope = np.where(
            small,
            log_x**2 * (1 / 2 + z / 3 + z**2 / 8 + z**3 / 30),
            (log_x * (power + 1) - power / exponent) / exponent,
        )
        second = np.where(
            small,
            log_x**3 * (1 / 3 + z / 4 + z**2 / 10 + z**3 / 36),
            (log_x**2 * (power + 1) - 2 * slope) / exponent,
        )
    return value, slope, second


def _parts(theta: Array, data: Data) -> tuple[list[tuple[Array, Array, Array]], Array, Array, Array]:
    """The three bends with their derivatives; the floor, the data's exponent and the data's term."""
    S, s, q, Q, B, b, E, A, a = np.moveaxis(theta, -1, 0)[..., None]
    log_n = np.log(data["n"] / REFERENCE)
    bends = [_bend(exponent, log_n) for exponent in (q, b, a)]
    with np.errstate(all="ignore"):
        floor, rate = np.exp(S + s * bends[0][0]), np.exp(E + A * bends[2][0])
        return bends, floor, rate, np.exp(Q + B * bends[1][0] - rate * np.log(data["d"]))


def predict(theta: Array, data: Data) -> Array:
    _, floor, _, term = _parts(theta, data)
    return floor + term


def gradient(theta: Array, data: Data) -> Array:
    bends, floor, rate, term = _parts(theta, data)
    rows = []
    with np.errstate(all="ignore"):
        by_rate = -term * rate * np.log(data["d"])  # to ln rate
        for j, by, (value, slope, _) in zip((1, 4, 7), (floor, term, by_rate), bends, strict=True):
            rows += [by, by * value, by * theta[..., j, None] * slope]
    return np.stack(rows, axis=-2)


def curvature(theta: Array, data: Data, weight: Array) -> Array:
    bends, floor, rate, term = _parts(theta, data)
    out = np.zeros((*theta.shape, 9))
    with np.errstate(all="ignore"):
        by_rate = -rate * np.log(data["d"])  # of ln term to ln rate
        lines = []
        for j, (value, slope, second) in zip((1, 4, 7), bends, strict=True):
            scale = theta[..., j, None]
            ones = np.ones_like(value * scale)
            lines.append((np.stack([ones, value * ones, scale * slope], axis=-2), slope, scale * second))
        parts = zip((0, 3, 6), lines, (weight * floor, weight * term, weight * term * by_rate), strict=True)
        for at, (rows, slope, second), once in parts:
            twice = once * (1 + by_rate) if at == 6 else once
            here = slice(at, at + 3)
            out[..., here, here] += np.matmul(rows * twice[..., None, :], rows.mT)
            out[..., at + 1, at + 2] += np.sum(once * slope, axis=-1)
            out[..., at + 2, at + 1] += np.sum(once * slope, axis=-1)
            out[..., at + 2, at + 2] += np.sum(once * second, axis=-1)
        mixed = np.matmul(lines[1][0] * (weight * term * by_rate)[..., None, :], lines[2][0].mT)
        out[..., 3:6, 6:9], out[..., 6:9, 3:6] = mixed, mixed.mT
    return out


def from_paper(
    s: float, q: float, S: float, B: float, b: float, Q: float, A: float, a: float, E: float
) -> Array:
    """This law's parameters of the paper's e^(s·N^q + S) + e^(B·N^b + Q)·D^(−e^(A·N^a + E))."""
    lines = []
    for scale, exponent, level in ((s, q, S), (B, b, Q), (A, a, E)):
        there = scale * REFERENCE**exponent
        lines += [level + there, there * exponent, exponent]
    return np.array(lines)


def starts(data: Data, target: Array) -> Array:
    """As the authors do: a curve over the data for each size first, and then lines through what these say.

    The curves' floors are their own, with every choice of straight and bent lines, or a share of each size's
    lowest loss, with the best lines.
    """
    order = np.argsort(data["n"], kind="stable")
    count = min(SIZES, len(np.unique(data["n"])))
    parts = [part for part in np.array_split(order, count) if len(np.unique(data["d"][part])) > 1]
    if len(parts) < 2:
        raise LawError("farseer needs two sizes or more that were trained on several amounts of data each")
    log_n = np.array([np.log(data["n"][part] / REFERENCE).mean() for part in parts])
    curves = [np.array([_curve(data["d"][part], target[part], share) for part in parts]) for share in FLOORS]
    lines = [[_lines(log_n, np.log(values)) for values in curve.T] for curve in curves]
    made = [[*f[0], *s[0], *r[0]] for f, s, r in lines]
    own = [one for part in parts if (one := _own(data["d"][part], target[part])) is not None]
    if len(own) == len(parts):
        made += [
            [*f, *s, *r]
            for f, s, r in itertools.product(*(_lines(log_n, np.log(v)) for v in np.array(own).T))
        ]
    return np.array(made)


def _own(d: Array, loss: Array) -> tuple[float, float, float] | None:
    """Floor, scale and exponent of the best power law of the data; None where there is no such."""
    try:
        a, b, c = fit(POWER_FLOOR, Points(x=d, loss=loss)).vector
    except LawError:
        return None
    return (c, a, b) if min(a, b, c) > 0 else None


def _curve(d: Array, loss: Array, share: float) -> tuple[float, float, float]:
    """The same with the floor given as a share of the lowest loss."""
    floor = share * loss.min()
    slope, level = np.polyfit(np.log(d), np.log(loss - floor), 1)
    return floor, np.exp(level), max(-slope, 0.02)


def _lines(log_n: Array, values: Array) -> list[tuple[float, float, float]]:
    """(level, slope, exponent) of the best bend through the values, and of the straight line."""
    found = []
    for exponent in EXPONENTS:
        design = np.stack([np.ones_like(log_n), _bend(exponent, log_n)[0]], axis=1)
        (level, slope), *_ = np.linalg.lstsq(design, values, rcond=None)
        found.append((float(np.sum((design @ [level, slope] - values) ** 2)), level, slope, float(exponent)))
    return [min(found)[1:], found[len(found) // 2][1:]]


def _line(name: str, what: str, bend: str, exponent: str) -> tuple[Parameter, ...]:
    return (
        Parameter(name, f"ln {what} at 10⁹ parameters"),
        Parameter(bend, f"how ln {what} changes with ln N there"),
        Parameter(exponent, f"how this change bends, of {what}; 0: not at all", low=-3, high=3),
    )


FARSEER = register(
    Law(
        name="farseer",
        title="Farseer: floor, scale and exponent that follow the model's size",
        formula="L(N, D) = e^(S + s·φ_q) + e^(Q + B·φ_b)/D^(e^(E + A·φ_a)) with φ_q = ((N/10⁹)^q − 1)/q",
        text="For each size a power law of the data towards a floor, whose numbers change with the size. "
        "Nine parameters, which want a full grid of sizes and data. The paper writes s·N^q + S for "
        "S + s·φ_q, which is the same; about 10⁹ the parameters depend less on one another.",
        paper=PAPER,
        columns=("n", "d"),
        parameters=(
            *_line("S", "floor", "s", "q"),
            *_line("Q", "the data's scale", "B", "b"),
            *_line("E", "the data's exponent", "A", "a"),
        ),
        predict=predict,
        gradient=gradient,
        curvature=curvature,
        starts=starts,
        distinct={"n": 4, "d": 4},
        published={
            "farseer": Published(
                tuple(from_paper(-0.062465473, 0.13, 0.1284880679442551, 230.73437075885855, -0.1729,
                                 -1.544209554, -1.665630816, 0.0458999999999619, 3.133347198805445).tolist()),
                f"{PAPER}: the code of the fit, English text, in bits per character",
            )
        },
    )
)  # fmt: skip
