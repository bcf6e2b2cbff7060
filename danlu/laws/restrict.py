"""A law with less freedom: parameters that are given, tied to one another, or kept between bounds."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from danlu.laws.base import Array, Data, Law, Parameter
from danlu.laws.errors import LawError

Fixed = Mapping[str, float]


def restrict(law: Law, said: str) -> tuple[Law, dict[str, float]]:
    """The law and the values that words like ``E=1.7, alpha=beta, B>=1, beta<=0.5`` ask for.

    A number is a value that is not fitted, a parameter's name a tie, ``<=`` and ``>=`` bounds of what is
    fitted (a loss that no model passes is at most a known entropy). Names are Greek or ASCII.
    Raises LawError for what is no such word, a parameter that the law does not have, or one that is held
    twice.
    """
    fixed: dict[str, float] = {}
    ties: dict[str, str] = {}
    ends: dict[str, tuple[float, float]] = {}
    for word in filter(None, (part.strip() for part in said.split(","))):
        found = re.fullmatch(r"([^\s<>=]+)\s*(<=|>=|=)\s*([^\s<>=]+)", word)
        if not found:
            raise LawError(f"--fix {word}: it is E=1.7 (a value), alpha=beta (a tie) or E<=1.2 (a bound)")
        left, sign, right = found.groups()
        name = law.names[law.place(left)]
        value = _number(right)
        if sign != "=":
            if value is None:
                raise LawError(f"--fix {word}: a bound is a number, and {right!r} is none")
            low, high = ends.get(name, (-np.inf, np.inf))
            ends[name] = (value, high) if sign == ">=" else (low, value)
        elif name in fixed or name in ties:
            raise LawError(f"--fix {word}: {name} is held already; say it once")
        elif value is None:
            ties[name] = law.names[law.place(right)]
        else:
            fixed[name] = value
    return tied(bounded(law, ends), ties), fixed


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def bounded(law: Law, ends: Mapping[str, tuple[float, float]]) -> Law:
    """The law with parameters kept between ends (low, high), its own bounds as well."""
    if not ends:
        return law
    parameters = list(law.parameters)
    for name, (low, high) in ends.items():
        place = law.place(name)
        parameters[place] = _between(parameters[place], low, high)
    return replace(law, parameters=tuple(parameters))


def _between(parameter: Parameter, low: float, high: float) -> Parameter:
    made = replace(parameter, low=max(low, parameter.low), high=min(high, parameter.high))
    if not made.low < made.high:
        raise LawError(f"{made.name} has no room between {made.low:g} and {made.high:g}")
    return made


def tied(law: Law, ties: Mapping[str, str]) -> Law:
    """The law with each parameter of ``ties`` equal to the one that it names: they are one, which a fit moves
    by the first of them in the law's order and reports under each name."""
    places = list(range(len(law.parameters)))
    for name, other in ties.items():
        one, two = sorted((places[law.place(name)], places[law.place(other)]))
        places = [one if place == two else place for place in places]
    if places == list(range(len(places))):
        return law
    leads = np.array(places)
    parameters = list(law.parameters)
    for follower, lead in enumerate(places):
        parameters[lead] = _between(parameters[lead], parameters[follower].low, parameters[follower].high)

    def predict(theta: Array, data: Data) -> Array:
        return law.predict(theta[..., leads], data)

    def gradient(theta: Array, data: Data) -> Array:
        return _gathered(np.asarray(law.gradient(theta[..., leads], data)), leads, -2)

    def curvature(theta: Array, data: Data, weight: Array) -> Array:
        assert law.curvature is not None
        return _gathered(_gathered(law.curvature(theta[..., leads], data, weight), leads, -1), leads, -2)

    def starts(data: Data, target: Array) -> Array:
        """Those of the law that obey the ties, where there are any; else all, made to."""
        made = law.starts(data, target)
        obey = np.all(made == made[:, leads], axis=-1)
        return made[obey] if obey.any() else np.unique(made[:, leads], axis=0)

    return replace(
        law,
        parameters=tuple(parameters),
        predict=predict,
        gradient=gradient,
        curvature=None if law.curvature is None else curvature,
        starts=starts,
        arrange=None,
        leads=tuple(places),
    )


def _gathered(rows: Array, leads: NDArray[np.int64], axis: int) -> Array:
    """What belongs to a parameter and to those that follow it, added up in its place along the axis."""
    rows = np.moveaxis(rows, axis, 0)
    out = np.zeros_like(rows)
    np.add.at(out, leads, rows)
    return np.moveaxis(out, 0, axis)
