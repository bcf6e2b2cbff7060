"""Chinchilla's three approaches to dividing compute: envelope of curves, IsoFLOP profiles, fitted law.

Each ends in a ``Frontier``: N_opt ∝ C^a and D_opt ∝ C^b with intervals (Hoffmann et al. 2022,
arXiv:2203.15556, section 3). ``sides`` puts them side by side and tests whether they contradict one another.
"""

from __future__ import annotations

from danlu.laws.approaches.budgets import budgets
from danlu.laws.approaches.envelope import envelope, runs_of
from danlu.laws.approaches.frontier import Frontier
from danlu.laws.approaches.isoflop import isoflop
from danlu.laws.approaches.parametric import parametric
from danlu.laws.approaches.sides import Pair, Sides, sides

__all__ = [
    "Frontier",
    "Pair",
    "Sides",
    "budgets",
    "envelope",
    "isoflop",
    "parametric",
    "runs_of",
    "sides",
]
