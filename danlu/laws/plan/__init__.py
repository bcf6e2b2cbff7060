"""What a budget buys, and what it takes to buy a loss: a plan one can act on.

asked (what is given, and what follows) · optimum (the best sizes, serving included) · repeated (the same with
few unique tokens) · basis (whose law, how sure, from which runs) · settings (batch and rate) · wrong (what an
error costs) · reach (how far from the runs of the fit) · published (other laws, side by side) · lines ·
report (the drawing). ``danlu.lab.planned`` makes a run of a recipe of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from danlu.laws.base import Array
from danlu.laws.errors import Warned
from danlu.laws.plan import optimum, repeated
from danlu.laws.plan.asked import Asked, Question, Run, question
from danlu.laws.plan.basis import DEFAULT, Basis, basis
from danlu.laws.plan.lines import Line, Spread
from danlu.laws.plan.published import Division, divisions
from danlu.laws.plan.reach import reach
from danlu.laws.plan.settings import settings
from danlu.laws.plan.wrong import wrong
from danlu.laws.prediction import Prediction

__all__ = ["Asked", "Basis", "Division", "Line", "Plan", "basis", "divisions", "plan"]


SEARCHED = 200  # resamples at most, where each optimum is searched for


@dataclass(frozen=True)
class Plan:
    """``run``: what was found, numbers without intervals. ``lines``: all there is to say, in order.
    ``measured``: what is known of extrapolations as far, as ``danlu.laws.predict`` says it, or ""."""

    asked: Asked
    asking: Question
    basis: Basis
    run: Run
    lines: list[Line]
    notes: list[Warned] = field(default_factory=list)
    measured: str = ""

    def __getitem__(self, key: str) -> Line:
        """The line of that key. Raises KeyError."""
        return {line.key: line for line in self.lines}[key]

    def __contains__(self, key: object) -> bool:
        return any(line.key == key for line in self.lines)


def plan(by: str | Path | Basis = DEFAULT, *, far: bool = False, **given: Any) -> Plan:
    """Everything that follows from the numbers ``given`` (those of ``Asked``) under a law.

    ``by``: the name of a published fit of Chinchilla's law, the JSON file of a fit, or a ``Basis``. ``far``:
    go on where the run lies too far beyond those of the fit.
    Raises LawError, one sentence, where the numbers contradict each other, no run can have them, or the run
    lies too far beyond those of the fit (see ``danlu.laws.beyond``).
    """
    asked, found = Asked(**given), basis(by)
    repeating = asked.unique_tokens is not None
    theta = found.repeating(found.theta) if repeating else found.theta[:5]
    asking = question(asked, theta)
    run = asking.answer(theta)
    reached, warned = reach(run, found, far)
    spread, told = _spread(asking, found), found.told(run.n, run.d, asked.unique_tokens)
    lines, notes = _run(asked, run, spread, found.source), list[Warned]()
    if told is not None:
        lines = _as_told(lines, told, found, given="loss" in asking.known)
    if asked.served:
        lines += _served(asked, run, spread, found)
    if repeating:
        more, said = _repeated(asked, run, spread, found)
        lines, notes = lines + more, notes + said
    more, said = settings(run, None if spread is None else spread.many)
    lines, notes = lines + more, notes + said
    lines += wrong(asking, found, run, next(line for line in lines if line.key == "parameters"))
    lines, notes = lines + reached, [*warned, *notes]
    if found.fitted is not None and "not-nats" in {one.code for one in found.fitted.warnings}:
        lines = [one._replace(unit=one.unit.replace("nats/token", "unit of the fit")) for one in lines]
    if found.fitted is not None:
        notes += [Warned(one.code, f"of the fit: {one}") for one in found.fitted.warnings]
    if found.draws is None:
        text = f"no intervals: {found.source.split(',')[0]} has neither a covariance nor draws"
        notes.append(Warned("no-intervals", text) if found.fitted is None else found.fitted.no_sample)
    return Plan(asked, asking, found, run, lines, notes, "" if told is None else told.said[0])


def _spread(asking: Question, found: Basis) -> Spread | None:
    """The same question under every resample, and under the fits without some clusters."""
    if found.draws is None:
        return None

    def under(theta: Array) -> Run:
        return asking.answer(theta[:, :5] if asking.unique is None else found.repeating(theta[:SEARCHED]))

    without = None if found.fitted is None else found.fitted.without
    if without is None or not (without.theta[:, 1:] > 0).all():
        return Spread(under(found.draws), None, 0)
    return Spread(under(found.draws), under(without.theta), without.clusters)


def _as_told(lines: list[Line], told: Prediction, found: Basis, given: bool) -> list[Line]:
    """The loss of the run with the interval of the prediction, unless it is ``given``, and a line of what the
    run itself will measure: about the law as runs of the fit are."""
    low, high = _end(told.mean_low), _end(told.mean_high)
    made = [line._replace(low=low, high=high) if line.key == "loss" and not given else line for line in lines]
    low, high = _end(told.run_low), _end(told.run_high)
    if low is not None and high is not None:
        name, value = "loss that a run will measure", float(told.value[0])
        made.append(Line("loss_run", name, value, low, high, "nats/token", found.source, "run"))
    return made


def _end(values: Array) -> float | None:
    return float(values[0]) if np.isfinite(values[0]) else None


def _run(asked: Asked, run: Run, spread: Spread | None, source: str) -> list[Line]:
    """Compute, size, tokens, loss; hours, GPUs and money."""
    lines: list[Line] = []

    def tell(key: str, name: str, unit: str, of: Callable[[Run], Array], said: str = source) -> None:
        value = float(of(run))
        with np.errstate(all="ignore"):
            low, high = (None, None) if spread is None else spread.of(value, of)
        lines.append(Line(key, name, value, low, high, unit, said, "run"))

    speed = f"{asked.flops_per_second:g} FLOP/s at {asked.utilisation:g}"

    def hours(one: Run) -> Array:
        return one.training / asked.flops_per_hour

    tell("compute", "compute of training", "FLOP", lambda r: r.training)
    tell("parameters", "parameters", "", lambda r: r.n)
    tell("tokens", "tokens", "tokens", lambda r: r.d)
    tell("tokens_per_parameter", "tokens per parameter", "", lambda r: r.d / r.n)
    tell("loss", "loss", "nats/token", lambda r: r.loss)
    tell("gpu_hours", "GPU hours", "h", hours, speed)
    if (gpus := asked.gpus) is not None:
        tell("hours", f"hours on {gpus:g} GPUs", "h", lambda r: hours(r) / gpus, speed)
    elif (clock := asked.hours) is not None:
        tell("gpus", f"GPUs for {clock:g} hours, at least", "", lambda r: hours(r) / clock, speed)
    if (price := asked.price) is not None:
        said = f"{price:g} an hour"
        if asked.served:
            tell("money_total", "money, serving included", "",
                 lambda r: r.flops / asked.flops_per_hour * price, said)  # fmt: skip
        tell("money", "money of training" if asked.served else "money", "", lambda r: hours(r) * price, said)
    return lines


def _served(asked: Asked, run: Run, spread: Spread | None, found: Basis) -> list[Line]:
    """What serving costs, and how the run differs from the best one of its loss when nothing is served."""
    theta, loss, group = found.theta[:5], float(run.loss), "serving"
    source = "Sardana et al. 2023, arXiv:2401.00448"

    def line(key: str, name: str, value: Array, unit: str, of: Callable[[Run], Array] | None = None) -> Line:
        ends = (None, None) if spread is None or of is None else spread.of(float(value), of)
        return Line(key, name, float(value), *ends, unit, source, group)

    name = f"compute of serving {asked.served:g} tokens"
    lines = [
        line("serving_compute", name, run.serving, "FLOP", lambda r: r.serving),
        line("total_compute", "compute of both", run.flops, "FLOP", lambda r: r.flops),
    ]
    if asked.unique_tokens is None:
        n, d = optimum.best(theta, "loss", loss)
        there = "of the best of the same loss in training"
        lines += [
            line("serving_size", f"size, {there}", run.n / n, "times"),
            line("serving_tokens", f"tokens, {there}", run.d / d, "times"),
            line("serving_saving", "cost, serving included, " + there,
                 run.flops / optimum.cost(n, d, asked.served), "times"),
        ]  # fmt: skip
    return lines


def _repeated(asked: Asked, run: Run, spread: Spread | None, found: Basis) -> tuple[list[Line], list[Warned]]:
    """How often the data are read, what that costs, and what would be done if they had no end."""
    unique, group = asked.unique_tokens, "repeated data"
    source = repeated.SOURCE if found.borrowed else found.source
    assert unique is not None
    theta = found.repeating(found.theta)
    epochs = float(run.d) / unique
    around = (None, None) if spread is None else spread.of(epochs, lambda r: r.d / unique)
    fresh = optimum.loss_of(theta[:5], run.n, run.d)
    worth = repeated.effective(theta, float(run.d), unique)
    n, d = optimum.best(theta[:5], "c", float(run.flops), asked.served)
    unlimited = float(optimum.loss_of(theta[:5], n, d))

    def line(key: str, name: str, value: float, unit: str) -> Line:
        return Line(key, name, value, None, None, unit, source, group)

    lines = [
        Line("epochs", "epochs", epochs, *around, "", source, group),
        line("worth", "fresh tokens that all are worth", worth, "tokens"),
        line("repetition_loss", "loss that repetition adds", float(run.loss - fresh), "nats/token"),
        line("unlimited_parameters", "parameters, if fresh tokens had no end", float(n), ""),
        line("unlimited_loss", "loss, if fresh tokens had no end", unlimited, "nats/token"),
    ]
    if epochs <= repeated.FEW:
        return lines, []
    code = "epochs-some"
    text = (
        f"tokens read up to {repeated.FEW:g} times are nearly as good as fresh ones, then worth less and less"
    )
    if epochs > repeated.MANY:
        code = "epochs-many"
        text = f"past {repeated.MANY:g} a repeated token is worth little; new ones serve better than compute"
    said = [Warned(code, f"{epochs:.3g} epochs: {text}")]
    if spread is not None and found.borrowed:
        said.append(Warned("repetition-doubt", (
            "intervals leave out the doubt about repetition: the published runs do not tell whether a token "
            "is used up after 15 epochs or after 50"
        )))  # fmt: skip
    return lines, said
