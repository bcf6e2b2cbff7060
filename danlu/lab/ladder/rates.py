"""The learning rate of a rung: by maximal-update parametrisation, by a law, or the recipe's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from danlu.files.numbers import three_digits
from danlu.lab.errors import LabError
from danlu.lab.ladder.shapes import Sized
from danlu.spec.errors import did_you_mean
from danlu.spec.experiment import Experiment
from danlu.spec.rates import like_adam
from danlu.spec.words import validate

WAYS = ("mup", "law", "fixed")

Rated = Callable[[Sized, float], Experiment]


def rated(way: str, recipe: Sized, tokens: float) -> Rated:
    """From a shape and the tokens that it will read to its experiment, the learning rate set.

    ``mup``: the recipe's rate, its width the base of μP. ``law``: the recipe's rate at its size and
    ``tokens``, carried to others by the powers of the Step Law; a JSON file of ``danlu laws fit``: the rate
    that this law says. ``fixed``: the recipe's. Raises LabError, SpecError or LawError.
    """
    if way == "fixed":
        return lambda sized, _: sized.experiment
    if way == "mup":
        base = recipe.experiment.network.base_width or recipe.width
        return lambda sized, _: _with(sized.experiment, "model", base_width=base)
    if way.endswith(".json"):
        return _fitted(Path(way))
    if way != "law":
        hint = did_you_mean(way, WAYS) or ";"
        raise LabError(
            f"rates = {way!r}{hint} allowed: mup, law, fixed, or a JSON file that danlu laws fit printed"
        )
    optimizer = recipe.experiment.optimizer
    if not like_adam(optimizer, "rates = law is a law of Adam's rates"):
        raise LabError(
            f"rates = law: it is a law of Adam's rates, and optimizer.kind = {optimizer.kind} has others; "
            "allowed: mup, fixed"
        )
    from danlu.laws import law

    step_law = law("rate-nd").theta("step-law")
    of_size, of_data = float(step_law[1]), float(step_law[2])

    def by_powers(sized: Sized, read: float) -> Experiment:
        factor = (sized.parameters / recipe.parameters) ** of_size * (read / tokens) ** of_data
        return _with(sized.experiment, "optimizer", lr=three_digits(optimizer.lr * factor))

    return by_powers


def _fitted(path: Path) -> Rated:
    import numpy as np

    from danlu.laws.saved import load

    fitted = load(path)
    law, theta = fitted.law, fitted.theta
    if law.target != "lr" or not set(law.columns) <= {"n", "d", "c"}:
        raise LabError(
            f"{path} is a fit of {law.name}, which does not predict a rate from size, data or compute"
        )

    def predicted(sized: Sized, tokens: float) -> Experiment:
        known = {"n": sized.parameters, "d": tokens, "c": sized.flops * tokens}
        columns = {name: np.array([float(known[name])]) for name in law.columns}
        return _with(sized.experiment, "optimizer", lr=three_digits(float(law.predict(theta, columns)[0])))

    return predicted


def _with(experiment: Experiment, section: str, **changed: object) -> Experiment:
    part = getattr(experiment, section).model_copy(update=changed)
    return validate(experiment.model_copy(update={section: part}).model_dump())
