"""The laws: one module for a law or a family, each with its formula, its derivatives and its paper.

A law is known by its name once its module is imported here; the usual ones are the first in a list.
"""

from danlu.laws.formulas import chinchilla, kaplan, power

# isort: split
from danlu.laws.formulas import (
    additive,
    batch,
    bnsl,
    chains,
    coupled,
    experts,
    farseer,
    mixtures,
    overtraining,
    precision,
    rates,
    repeated,
    smaller,
)

__all__ = [
    "additive",
    "batch",
    "bnsl",
    "chains",
    "chinchilla",
    "coupled",
    "experts",
    "farseer",
    "kaplan",
    "mixtures",
    "overtraining",
    "power",
    "precision",
    "rates",
    "repeated",
    "smaller",
]
