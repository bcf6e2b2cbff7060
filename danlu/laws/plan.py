"""What a budget buys: model size, data, batch, rate, hours and money, with intervals where they are known."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from danlu.laws.base import Array, law
from danlu.laws.errors import LawError
from danlu.laws.formulas.chinchilla import allocation, optimum, optimum_of_size, predict
from danlu.laws.formulas.smaller import least_factor, overhead
from danlu.laws.table import FLOPS_PER_PARAMETER_AND_TOKEN

MOST = 1e60
SMALLER = (0.75, 0.5, 0.25)  # sizes, beside the best one, whose overhead is told
LEVEL = 0.95


class Line(NamedTuple):
    """One line of a plan; ``low`` and ``high`` are the 95 % interval, None where none is known."""

    name: str
    value: float
    low: float | None
    high: float | None
    unit: str
    source: str


class Budget(NamedTuple):
    """Training FLOP, parameters and tokens, (…,) each."""

    flops: Array
    n: Array
    d: Array


def plan(
    theta: Array,
    *,
    flops: float | None = None,
    tokens: float | None = None,
    parameters: float | None = None,
    draws: Array | None = None,
    source: str = "the fit",
    unique_tokens: float | None = None,
    utilisation: float = 0.4,
    flops_per_second: float = 1e15,
    price: float | None = None,
) -> list[Line]:
    """A plan by Chinchilla's law, ``theta`` (5,), for one of ``flops``, ``tokens`` and ``parameters``.

    ``draws``: (resamples, 5), from which the intervals come. ``unique_tokens``: how many there are; beyond
    them data are repeated. ``utilisation``: share of ``flops_per_second`` of one GPU; ``price``: of its hour.
    Batch and rate are those of published laws, without an interval.
    Raises LawError where not exactly one is given, or a number is not above zero.
    """
    given = {"flops": flops, "tokens": tokens, "parameters": parameters}
    chosen = [name for name, value in given.items() if value is not None]
    if len(chosen) != 1:
        raise LawError(
            f"a plan starts from one of flops, tokens and parameters, not {' and '.join(chosen) or 'none'}"
        )
    others = {
        "unique-tokens": unique_tokens, "utilisation": utilisation, "flops-per-second": flops_per_second,
        "price": price,
    }  # fmt: skip
    for name, value in {**given, **others}.items():
        if value is not None and not 0 < value < MOST:
            raise LawError(f"{name} must be a number above zero and below {MOST:g}, not {value:g}")
    for name, value in given.items():
        if value is not None and value < 1:
            raise LawError(f"{name} = {value:g}; a plan starts from one at least")
    if utilisation > 1:
        raise LawError(f"utilisation is a share of the GPU's FLOP/s, at most 1, not {utilisation:g}")
    if not (theta[1:] > 0).all():
        raise LawError("without A, B, α and β above zero the law has no best size")

    def budget(theta: Array) -> Budget:
        if flops is not None:
            return Budget(np.broadcast_to(flops, theta.shape[:-1]), *optimum(theta, flops))
        if tokens is not None:
            G, a, b = allocation(theta)
            size = G * (tokens * G) ** (a / b)  # D = (C/6)^b / G solved for C, then N = G·(C/6)^a
            return Budget(
                FLOPS_PER_PARAMETER_AND_TOKEN * size * tokens, size, np.broadcast_to(tokens, size.shape)
            )
        assert parameters is not None
        needed, data = optimum_of_size(theta, parameters)
        return Budget(needed, np.broadcast_to(parameters, needed.shape), data)

    if draws is not None:
        draws = draws[(draws[:, 1:] > 0).all(-1)]
        draws = draws if len(draws) > 1 else None
    lines: list[Line] = []

    def tell(name: str, unit: str, of: Callable[[Array], Array], said: str = source) -> None:
        low = high = None
        if draws is not None:
            values = of(draws)
            if values.min() < values.max():  # what is given has no interval
                tail = (1 - LEVEL) / 2
                ends = np.quantile(values, [tail, 1 - tail], method="nearest")
                low, high = (float(end) if np.isfinite(end) else None for end in ends)
        lines.append(Line(name, float(of(theta)), low, high, unit, said))

    per_hour = utilisation * flops_per_second * 3600
    tell("compute", "FLOP", lambda t: budget(t).flops)
    tell("parameters", "", lambda t: budget(t).n)
    tell("tokens", "", lambda t: budget(t).d)
    tell("tokens per parameter", "", lambda t: budget(t).d / budget(t).n)
    tell("loss", "nats/token", lambda t: _loss(t, budget(t)))
    for share in SMALLER:
        if share > least_factor(theta[3], theta[4]):
            name = f"overhead of {share:g} of the size"
            tell(name, "of the compute", lambda t, k=share: _overhead(k, t))  # type: ignore[misc]
    tell(
        "GPU hours",
        "h",
        lambda t: budget(t).flops / per_hour,
        f"{flops_per_second:g} FLOP/s at {utilisation:g}",
    )
    if price is not None:
        tell("money", "", lambda t: budget(t).flops / per_hour * price, f"{price:g} an hour")
    best = budget(theta)
    if not all(0 < float(one) < np.inf for one in (best.flops, best.n, best.d)):
        raise LawError(f"the law of {source} gives no finite size, compute and tokens for this")
    lines += _published(float(best.flops), float(best.n), float(best.d))
    if unique_tokens is not None:
        lines += _repeated(float(best.n), float(best.d), unique_tokens)
    return lines


def _loss(theta: Array, best: Budget) -> Array:
    """The law's prediction, (…,): each parameter vector at its own size and tokens."""
    return predict(theta, {"n": best.n[..., None], "d": best.d[..., None]})[..., 0]


def _overhead(share: float, theta: Array) -> Array:
    """Infinite where no number of tokens makes up for the size."""
    alpha, beta = np.atleast_1d(theta[..., 3]), np.atleast_1d(theta[..., 4])
    can = share > least_factor(alpha, beta)
    out = np.full(alpha.shape, np.inf)
    out[can] = overhead(share, alpha[can], beta[can])
    return out.reshape(theta.shape[:-1])


def _published(flops: float, n: float, d: float) -> list[Line]:
    """Batch, updates and peak rate by the laws that were fitted to large sweeps."""
    data = {"n": np.array([n]), "d": np.array([d]), "c": np.array([flops])}
    lines: list[Line] = []
    for key, batch_law, rate_law in (("step-law", "batch-d", "rate-nd"), ("deepseek", "batch-c", "rate-c")):
        batch, rate = (float(one.predict(one.theta(key), data)[0]) for one in (law(batch_law), law(rate_law)))
        source = law(rate_law).published[key].source.split(",")[0]
        lines += [
            Line("batch", batch, None, None, "tokens", source),
            Line("updates", d / batch, None, None, "to decay the rate over, all of them", source),
            Line("peak learning rate", rate, None, None, "", source),
        ]
    return lines


def _repeated(n: float, d: float, unique: float) -> list[Line]:
    """How often the data are read, and what that costs by Muennighoff's law."""
    if d <= unique:
        return [Line("epochs", d / unique, None, None, "of the unique tokens", "")]
    one = law("data-constrained")
    theta = one.theta("muennighoff")
    source = "Muennighoff et al. 2023"
    data = {"n": np.array([n, n]), "d": np.array([d, d]), "u": np.array([unique, d])}
    repeated, fresh = one.predict(theta, data)
    rise = Line("loss that repetition adds", float(repeated - fresh), None, None, "nats/token", source)
    return [Line("epochs", d / unique, None, None, "of the unique tokens", source), rise]
