"""What a plan starts from, and what follows: compute, size, tokens, loss, hours, GPUs and money.

They hang together by C = N·(6·D + 2·T) (T tokens are served, usually none), by the law L(N, D), and by
C = hours · GPUs · FLOP/s · utilisation and money = price · hours · GPUs. Two of N, D, C and L say the others;
where one is known, the second is that nothing can be had for less.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np

from danlu.laws.base import Array
from danlu.laws.errors import LawError
from danlu.laws.plan import optimum, repeated
from danlu.laws.plan.optimum import SERVING, Wanted, Yes, halve
from danlu.laws.table import FLOPS_PER_PARAMETER_AND_TOKEN

MOST = 1e60
SAME = 0.01  # by so much two ways of saying the same may differ
STARTS = "flops, parameters, tokens, loss, money (with price), and hours with gpus"


@dataclass(frozen=True)
class Asked:
    """The numbers that are given, each above zero; None where it is to be found.

    ``flops``: of training, and of serving where tokens are ``serve``\\ d. ``hours``: of the clock, from the
    beginning of training to its end. ``money``: in the currency of ``price``, which is that of a GPU's hour.
    ``utilisation``: the share of ``flops_per_second``, of one GPU, that is reached.
    ``unique_tokens``: how many different ones there are. Raises LawError for what cannot be.
    """

    flops: float | None = None
    parameters: float | None = None
    tokens: float | None = None
    loss: float | None = None
    hours: float | None = None
    gpus: float | None = None
    money: float | None = None
    serve: float | None = None
    unique_tokens: float | None = None
    price: float | None = None
    utilisation: float = 0.4
    flops_per_second: float = 1e15

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is None or (field.name == "serve" and value == 0):
                continue
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise LawError(f"{field.name} must be a number above zero and below {MOST:g}, not {value!r}")
            if not 0 < value < MOST:
                name = field.name.replace("_", "-")
                raise LawError(f"{name} must be a number above zero and below {MOST:g}, not {value:g}")
            if field.name in ("flops", "parameters", "tokens", "gpus", "unique_tokens") and value < 1:
                raise LawError(f"{field.name.replace('_', '-')} = {value:g}; it is at least one")
        if self.utilisation > 1:
            raise LawError(f"utilisation is a share of the GPU's FLOP/s, at most 1, not {self.utilisation:g}")
        if self.money is not None and self.price is None:
            raise LawError(f"money = {self.money:g} buys GPU hours: say also price, that of one hour")

    @property
    def served(self) -> float:
        """Tokens that the trained model will read and write, 0 where nothing was said of them."""
        return self.serve or 0.0

    @property
    def flops_per_hour(self) -> float:
        """Of one GPU."""
        return self.utilisation * self.flops_per_second * 3600

    def compute(self) -> tuple[str, float | None]:
        """The FLOP that were asked for, by themselves, by money, or by hours and GPUs, and in what words;
        None where by none. Raises LawError where two of them contradict each other."""
        found: dict[str, float] = {}
        if self.flops is not None:
            found[f"flops = {self.flops:g}"] = self.flops
        if self.money is not None and self.price is not None:
            found[f"money = {self.money:g}"] = self.money / self.price * self.flops_per_hour
        if self.hours is not None and self.gpus is not None:
            if self.served:
                raise LawError(
                    "hours and gpus are those of training; with tokens to serve give flops or money for "
                    "both together, or the loss"
                )
            found[f"hours = {self.hours:g} and gpus = {self.gpus:g}"] = (
                self.hours * self.gpus * self.flops_per_hour
            )
        if not found:
            return "", None
        (first, value), *others = found.items()
        for said, other in others:
            if abs(np.log(other / value)) > SAME:
                own = "" if self.flops is not None else f" is {value:.3g} FLOP"
                raise LawError(
                    f"{first}{own}, but {said} is {other:.3g}, at {self.flops_per_second:g} "
                    f"FLOP/s and a utilisation of {self.utilisation:g}; leave one of them out"
                )
        return first if self.flops is not None else f"{first} ({value:.4g} FLOP)", value


class Run(NamedTuple):
    """Parameters, tokens, loss, and FLOP of training and of serving; (…,) each, infinite where there is no
    such run."""

    n: Array
    d: Array
    loss: Array
    training: Array
    serving: Array

    @property
    def flops(self) -> Array:
        """Of both."""
        return self.training + self.serving


@dataclass(frozen=True)
class Question:
    """What is known of a run: one or two of its numbers, and what the law is asked under.

    ``known``: of n, d, c and loss, in this order. ``served``, ``unique``: as in ``Asked``. ``budget``: in
    what words c was given.
    """

    known: dict[str, float]
    served: float
    unique: float | None
    budget: str

    def said(self) -> str:
        """What is known, in the words in which it was given."""
        return " and ".join(
            self.budget if name == "c" else f"{NAMES[name]} = {value:g}" for name, value in self.known.items()
        )

    def loss(self, theta: Array, n: Array, d: Array) -> Array:
        """The law's loss of a run, (…,); theta (…, 5), (…, 7) where tokens repeat."""
        if self.unique is None:
            return optimum.loss_of(theta[..., :5], n, d)
        return repeated.loss_of(theta, n, d, self.unique)

    def best(self, theta: Array, wanted: Wanted, value: float) -> tuple[Array, Array]:
        """N and D of a run that nothing beats for its cost."""
        if self.unique is None:
            return optimum.best(theta[..., :5], wanted, value, self.served)
        return repeated.best(theta, wanted, value, self.unique, self.served)

    @property
    def at_the_optimum(self) -> bool:
        """Whether the size is to be chosen."""
        return len(self.known) == 1

    def answer(self, theta: Array) -> Run:
        """The run, for each parameter vector (…, 5 or 7)."""
        with np.errstate(all="ignore"):
            n, d = self._sizes(theta)
            n, d = np.broadcast_arrays(n, d)
            n = np.broadcast_to(n, theta.shape[:-1]) + 0.0
            d = np.broadcast_to(d, theta.shape[:-1]) + 0.0
            gone = ~(np.isfinite(n) & np.isfinite(d) & (n > 0) & (d > 0))
            n, d = np.where(gone, np.inf, n), np.where(gone, np.inf, d)
            training = FLOPS_PER_PARAMETER_AND_TOKEN * n * d
            serving = SERVING * n * self.served if self.served else np.zeros_like(training)
            return Run(n, d, np.where(gone, np.inf, self.loss(theta, n, d)), training, serving)

    def _sizes(self, theta: Array) -> tuple[Array, Array]:
        known, six, two = self.known, FLOPS_PER_PARAMETER_AND_TOKEN, SERVING * self.served
        match tuple(known):
            case (one,):  # what is given stays as it was given, to the last digit
                n, d = self.best(theta, one, known[one])  # type: ignore[arg-type]
                if one == "c":
                    return n, (known[one] / n - two) / six
                n, d = (np.where(np.isfinite(x), known.get(name, x), x) for name, x in (("n", n), ("d", d)))
                return n, d
            case ("n", "d"):
                return np.array(known["n"]), np.array(known["d"])
            case ("n", "c"):
                return np.array(known["n"]), np.array((known["c"] / known["n"] - two) / six)
            case ("d", "c"):
                return np.array(known["c"] / (six * known["d"] + two)), np.array(known["d"])
            case ("n", "loss"):
                return np.array(known["n"]), self._until(theta, lambda x: (known["n"], x))
            case ("d", "loss"):
                return self._until(theta, lambda x: (x, known["d"])), np.array(known["d"])
            case ("c", "loss"):
                return self._smaller(theta)
        raise AssertionError(known)

    def _until(self, theta: Array, at: Callable[[Array], tuple[Array | float, Array | float]]) -> Array:
        """The least x at which the loss of ``at(x)`` has come down to what is asked."""

        def above(x: Array) -> Yes:
            n, d = np.broadcast_arrays(*map(np.asarray, at(np.exp(x))))
            return self.loss(theta, n, d) > self.known["loss"]

        return np.exp(halve(above, theta.shape[:-1]))

    def _smaller(self, theta: Array) -> tuple[Array, Array]:
        """The smaller of the two models that reach a loss with more compute than it takes at least."""
        flops, served = self.known["c"], self.served
        best_n, best_d = self.best(theta, "c", flops)
        reached = self.loss(theta, best_n, best_d) <= self.known["loss"]

        def tokens(n: Array) -> Array:
            return (flops / n - SERVING * served) / FLOPS_PER_PARAMETER_AND_TOKEN

        def above(x: Array) -> Yes:  # x ≤ 0: ln of the share of the best size
            n = best_n * np.exp(np.minimum(x, 0.0))
            return (x < 0) & (self.loss(theta, n, tokens(n)) > self.known["loss"])

        n = np.where(reached, best_n * np.exp(np.minimum(halve(above, theta.shape[:-1]), 0.0)), np.inf)
        return n, tokens(n)


def question(asked: Asked, theta: Array) -> Question:
    """What is known of the run, from all that was given; what is given twice must agree.

    ``theta``: (5,) or (7,), the law. Raises LawError, one sentence, where the numbers contradict each other
    or no run can have them.
    """
    budget, compute = asked.compute()
    given = {"n": asked.parameters, "d": asked.tokens, "c": compute, "loss": asked.loss}
    known = {name: value for name, value in given.items() if value is not None}
    if not known:
        alone = [name for name in ("hours", "gpus") if getattr(asked, name) is not None]
        said = f"{alone[0]} alone say no compute" if alone else "none is given"
        raise LawError(f"a plan starts from one or two of {STARTS}; {said}")
    first = dict(list(known.items())[:2])
    asking = Question(first, asked.served, asked.unique_tokens, budget)
    run = asking.answer(theta)
    if not all(np.isfinite(float(value)) for value in (run.n, run.d, run.loss, run.training)):
        raise LawError(_impossible(asking, theta))
    if min(float(run.n), float(run.d)) < 1:
        raise LawError(
            f"{asking.said()} would be a model of {float(run.n):.3g} parameters on {float(run.d):.3g} "
            "tokens, and no run has less than one of each; give more"
        )
    found = {"n": run.n, "d": run.d, "c": run.flops, "loss": run.loss}
    for name, value in list(known.items())[2:]:
        if abs(np.log(float(found[name]) / value)) > SAME:
            other = budget if name == "c" and asked.flops is None else f"{value:g}"
            raise LawError(
                f"{asking.said()} make {NAMES[name]} = {float(found[name]):.4g}, not {other}; leave one of "
                "them out"
            )
    return asking


NAMES = {"n": "parameters", "d": "tokens", "c": "flops", "loss": "loss"}


def _impossible(asking: Question, theta: Array) -> str:
    """Why there is no such run, and what would do."""
    known, E = asking.known, float(theta[0])
    loss = known.get("loss")
    if loss is not None and loss <= E:
        return (
            f"loss = {loss:g} nats/token is not above the law's floor E = {E:.4g}, which no model passes; "
            "ask for more"
        )
    if loss is None:
        if asking.served and "c" in known:
            least = SERVING * asking.served * known.get("n", 1.0)
            return (
                f"{asking.budget} do not even serve {asking.served:g} tokens, which takes {least:.3g} FLOP, "
                f"{least / known['c']:.3g} times as much"
            )
        return f"the law has no finite size, compute and tokens for {asking.said()}"
    if "c" in known:
        n, d = asking.best(theta, "c", known["c"])
        reached = float(asking.loss(theta, n, d))
        needed = float(optimum.cost(*asking.best(theta, "loss", loss), asking.served))
        enough = f"; it takes {needed:.3g} FLOP, {needed / known['c']:.3g} times as much"
        enough = enough if np.isfinite(needed) else ""
        return f"loss = {loss:g} cannot be reached with {asking.budget}: at best {reached:.4g}{enough}"
    if len(known) == 1:
        return (
            f"loss = {loss:g} cannot be reached with unique-tokens = {asking.unique:g}, however often they "
            "are read; more different tokens are needed"
        )
    other, most, what = ("n", "d", "tokens") if "n" in known else ("d", "n", "parameters")
    endless = {other: np.array(known[other]), most: np.array(1e100)}
    floor = float(asking.loss(theta, endless["n"], endless["d"]))
    if asking.unique is not None:
        return (
            f"loss = {loss:g} cannot be reached with {NAMES[other]} = {known[other]:g} and unique-tokens = "
            f"{asking.unique:g}: it stays above {floor:.4g}; more different tokens are needed"
        )
    return (
        f"loss = {loss:g} cannot be reached with {NAMES[other]} = {known[other]:g} and any number of {what}: "
        f"it stays above {floor:.4g}; ask for a higher loss, or give more {NAMES[other]}"
    )
