"""Broken neural scaling laws (Caballero et al. 2023): power laws that turn into one another at n breaks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np

from danlu.laws.base import Array, Data, Law, Parameter, Published, Starts, register
from danlu.laws.errors import LawError
from danlu.laws.fit import Fit, fit
from danlu.laws.solve import SQUARES, Loss
from danlu.laws.table import Points

PAPER = "Caballero et al. 2023, arXiv:2210.14891, equation 1"
SHAPES = 4000  # drawn for the starts of a fit …
KEPT = 80  # … and so many of them, the nearest to the points, are its starts


def _parts(theta: Array) -> tuple[Array, ...]:
    """a, b, c0 as (…, 1), and the breaks' c, d, f as (…, breaks, 1)."""
    head, breaks = theta[..., :3], theta[..., 3:]
    breaks = breaks.reshape(*theta.shape[:-1], -1, 3)
    return (*np.moveaxis(head, -1, 0)[..., None], *np.moveaxis(breaks, -1, 0)[..., None])


def _bends(d: Array, f: Array, log_x: Array) -> tuple[Array, Array, Array]:
    """u = ln(x/d)/f, ln(1 + e^u) and its slope, (…, breaks, points)."""
    u = (log_x - np.log(d)) / f
    return u, np.logaddexp(0.0, u), 0.5 * (1 + np.tanh(0.5 * u))


def _above(theta: Array, log_x: Array) -> Array:
    """What stands above the floor, (…, points)."""
    _, b, c0, c, d, f = _parts(theta)
    return np.exp(np.log(b) - c0 * log_x - np.sum(c * f * _bends(d, f, log_x)[1], axis=-2))


def predict(theta: Array, data: Data) -> Array:
    with np.errstate(all="ignore"):
        return theta[..., 0, None] + _above(theta, np.log(data["x"]))


def arrange(theta: Array) -> Array:
    """The breaks in the order in which they lie: their product is the same in any."""
    breaks = theta[..., 3:].reshape(*theta.shape[:-1], -1, 3)
    order = np.argsort(breaks[..., 1], axis=-1, kind="stable")
    sorted_ = np.take_along_axis(breaks, order[..., None], axis=-2)
    return np.concatenate([theta[..., :3], sorted_.reshape(*theta.shape[:-1], -1)], axis=-1)


def _slopes(theta: Array, log_x: Array) -> Array:
    """The derivatives of ln(y − a) to every parameter but a (whose row is zero), (…, parameters, points)."""
    _, b, _, c, d, f = _parts(theta)
    u, soft, rise = _bends(d, f, log_x)
    out = np.zeros((*theta.shape, len(log_x)))
    out[..., 1, :], out[..., 2, :] = 1 / b, -log_x
    out[..., 3::3, :], out[..., 4::3, :], out[..., 5::3, :] = -f * soft, c * rise / d, -c * (soft - u * rise)
    return out


def gradient(theta: Array, data: Data) -> Array:
    log_x = np.log(data["x"])
    with np.errstate(all="ignore"):
        out = _slopes(theta, log_x) * _above(theta, log_x)[..., None, :]
    out[..., 0, :] = 1.0
    return out


def curvature(theta: Array, data: Data, weight: Array) -> Array:
    log_x = np.log(data["x"])
    _, b, _, c, d, f = _parts(theta)
    with np.errstate(all="ignore"):
        weighted = weight * _above(theta, log_x)
        rows = _slopes(theta, log_x)
        out = np.matmul(rows * weighted[..., None, :], rows.mT)
        u, soft, rise = _bends(d, f, log_x)
        turn = rise * (1 - rise)

        def total(values: Array) -> Array:
            return np.sum(values * weighted[..., None, :], axis=-1)

        out[..., 1, 1] -= weighted.sum(-1) / b[..., 0] ** 2
        at = np.arange(3, theta.shape[-1], 3)
        second = {
            (0, 1): total(rise / d),
            (0, 2): total(u * rise - soft),
            (1, 1): total(-c * rise / d**2 - c * turn / (f * d**2)),
            (1, 2): total(-c * turn * u / (d * f)),
            (2, 2): total(-c * turn * u**2 / f),
        }
    for (i, j), value in second.items():
        out[..., at + i, at + j] += value
        if i != j:
            out[..., at + j, at + i] += value
    return out


def starts_for(breaks: int, signs: tuple[int, ...] | None = None) -> Starts:
    """A law's ``starts``: of many shapes drawn at random the nearest to the points, a and b solved for.

    ``signs``: of the slope on each segment, from the first on (1 falls, −1 rises); left out, any.
    """

    def starts(data: Data, target: Array) -> Array:
        draw = np.random.default_rng(breaks)
        log_x = np.log(data["x"])
        slope = draw.choice([0.0, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4], (SHAPES, breaks + 1))
        slope *= signs if signs else np.where(draw.random(slope.shape) < 0.2, -1.0, 1.0)
        theta = np.zeros((SHAPES, 3 + 3 * breaks))
        theta[:, 2], theta[:, 3::3] = slope[:, 0], np.diff(slope, axis=1)
        where = np.sort(draw.uniform(log_x.min(), log_x.max(), (SHAPES, breaks)), axis=1)
        theta[:, 4::3] = np.exp(where)
        theta[:, 5::3] = np.exp(draw.uniform(np.log(0.03), np.log(2.0), (SHAPES, breaks)))
        theta[:, 0] = draw.choice([0.0, 0.3, 0.6, 0.8, 0.9, 0.97, 0.995], SHAPES) * target.min()
        theta[:, 1] = 1.0
        with np.errstate(all="ignore"):
            log_b = (np.log(target - theta[:, :1]) - np.log(_above(theta, log_x))).mean(-1)
            theta[:, 1] = np.exp(np.clip(log_b, -300, 300))
            off = np.mean((np.log(predict(theta, data)) - np.log(target)) ** 2, axis=-1)
        return theta[np.argsort(np.nan_to_num(off, nan=np.inf))[:KEPT]]

    return starts


def _law(breaks: int, published: Mapping[str, Published], name: str = "", title: str = "", text: str = "",
         signs: tuple[int, ...] | None = None) -> Law:  # fmt: skip
    parameters = [
        Parameter("a", "loss that remains", "nats/token", low=0, floor=True),
        Parameter("b", "scale of what x takes away", "nats/token·x^c0", log=True, low=1e-99, high=1e99),
        Parameter("c0", "exponent before the first break", low=-10, high=10),
    ]
    for i in range(1, breaks + 1):
        parameters += [
            Parameter(f"c{i}", f"what break {i} adds to the exponent", low=-20, high=20),
            Parameter(f"d{i}", f"where break {i} lies", "x", log=True, low=1e-99, high=1e99),
            Parameter(f"f{i}", f"width of break {i} in ln x", log=True, low=1e-3, high=20),
        ]
    return Law(
        name=name or f"bnsl-{breaks}",
        title=title or f"Broken neural scaling law with {breaks} break{'s' * (breaks != 1)}",
        formula="y = a + b·x^(−c0)·∏ᵢ (1 + (x/dᵢ)^(1/fᵢ))^(−cᵢ·fᵢ)",
        text=text or "Straight lines in logarithms above a floor, which pass over smoothly into one another; "
        "the exponent after break i is c0 + … + cᵢ. A small f is a sharp break.",
        paper=PAPER,
        columns=("x",),
        parameters=tuple(parameters),
        predict=predict,
        gradient=gradient,
        curvature=curvature,
        starts=starts_for(breaks, signs),
        arrange=arrange,
        distinct={"x": 3 + 2 * breaks},
        published=published,
    )  # fmt: skip


FOUR_DIGIT_ADDITION = Published(
    (0.41388, 2.27727, 0.055077, 5.66290, 612.584, 0.059193),
    "Caballero et al. 2023, the reference fit of their figure 4, left: four-digit addition",
)


@cache
def bnsl(breaks: int) -> Law:
    """The law with that many breaks; 0 is a power law above a floor. Raises LawError beyond 0–9."""
    if not 0 <= breaks <= 9:
        raise LawError(f"a broken scaling law has 0 to 9 breaks, not {breaks}")
    return _law(breaks, {"four-digit-addition": FOUR_DIGIT_ADDITION} if breaks == 1 else {})


BNSL = tuple(register(bnsl(breaks)) for breaks in (1, 2))
DOUBLE_DESCENT = register(
    _law(
        2,
        {},
        name="double-descent",
        title="Double descent",
        text="The loss falls, rises towards the size that just fits the training data, and falls again: a "
        "broken law whose middle segment has a negative exponent (c0 + c1 < 0).",
        signs=(1, -1, 1),
    )
)


def outside(found: Fit) -> list[str]:
    """The breaks of a fit that lie beyond the x of its points, where nothing holds them."""
    x = found.points["x"]
    return [
        name
        for name, value in found.theta.items()
        if name[0] == "d" and not x.min() <= value <= x.max()
    ]  # fmt: skip


def rmsle(found: Fit, points: Points) -> float:
    """Root mean squared error of ln(prediction) at other points; ∞ where a prediction is not positive."""
    prediction = found.predict(points)
    if not (prediction > 0).all():
        return float("inf")
    return float(np.sqrt(np.mean((np.log(prediction) - np.log(points[found.law.target])) ** 2)))


@dataclass(frozen=True)
class Choice:
    """How many breaks: ``breaks``, the ``fit`` to all points, and each candidate's score (low is good)."""

    breaks: int
    fit: Fit
    scores: dict[int, float]
    by: str


def choose(
    points: Points,
    *,
    most: int = 2,
    by: Literal["held-out", "bic"] = "held-out",
    share: float = 0.2,
    loss: Loss = SQUARES,
) -> Choice:
    """Choose the number of breaks, from 0 to ``most``, and fit with it.

    ``held-out``: the error (``rmsle``) at the largest x (that ``share`` of points), by a fit to the others.
    ``bic``: m·ln(Σr²/m) + k·ln m for m points and k parameters, fitted to all of them; the place of a break
    counts as two, because it is sought along the whole curve (Zhang and Siegmund 2007).
    A candidate that has as many parameters as points, or a break beyond its points, is left out.
    """
    order = np.argsort(points["x"], kind="stable")
    held = max(1, round(share * points.size)) if by == "held-out" else 0
    near, far = points.take(order[: points.size - held]), points.take(order[points.size - held :])
    scores: dict[int, float] = {}
    for breaks in range(most + 1):
        law = bnsl(breaks)
        if near.size <= len(law.parameters) or len(np.unique(near["x"])) < law.distinct["x"]:
            continue
        found = fit(law, near, loss=loss)
        if outside(found):
            continue
        m, k = near.size, len(law.parameters)
        squares = max(float(np.sum(found.residuals**2)), 1e-300)
        scores[breaks] = rmsle(found, far) if held else m * np.log(squares / m) + (k + breaks) * np.log(m)
    if not scores:
        raise LawError(f"{points.size} points are too few to choose a number of breaks")
    best = min(scores, key=lambda n: scores[n])
    return Choice(best, fit(bnsl(best), points, loss=loss), scores, by)
