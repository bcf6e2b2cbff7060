"""Specifications of averages of the weights over updates; built by ``danlu.optim.averages``."""

from __future__ import annotations

from typing import Annotated, Literal

from danlu.spec.base import ByKind, PositiveInt, Probability, Shorthand, Spec


class EMA(Spec):
    """Exponential moving average ē ← D_t ē + (1 − D_t) θ of every update, over about 1/(1 − D) of them.
    ``decay``: D. At first D_t = (t − 1)/(t + 8), which averages the last tenth of the run so far, until D is
    reached (Shamir & Zhang 2013); with ``none`` it stays so to the end, however long the run (Karras et al.
    2024, section 3.1)."""

    kind: Literal["ema"] = "ema"
    decay: Probability | None = 0.999


class SWA(Spec):
    """Stochastic weight averaging (Izmailov et al. 2018, algorithm 1): the mean of the weights after every
    ``every``-th update from the share ``start`` of the run on. Until then there is no average."""

    kind: Literal["swa"] = "swa"
    start: Probability = 0.75
    every: PositiveInt = 10


Average = Annotated[EMA | SWA, ByKind, Shorthand]
