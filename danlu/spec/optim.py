"""Specifications of optimizers and schedules; built by ``danlu.optim``."""

from __future__ import annotations

from typing import Annotated, Literal

from danlu.spec.base import (
    ByKind,
    Fraction,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    Probability,
    Shorthand,
    Spec,
)


class AdamW(Spec):
    """AdamW (Loshchilov & Hutter 2019, algorithm 2); ``weight_decay`` is multiplied by the rate
    and spares gains, biases and, unless ``decay_embeddings``, embeddings."""

    kind: Literal["adamw"] = "adamw"
    lr: PositiveFloat = 1e-3
    beta1: Probability = 0.9
    beta2: Probability = 0.95
    eps: PositiveFloat = 1e-8
    weight_decay: NonNegativeFloat = 0.1
    decay_embeddings: bool = True


class Muon(Spec):
    """Muon (Jordan 2024) for the matrices inside the blocks, AdamW for everything else.

    ``lr`` is Muon's, scaled by √max(1, rows/columns); ``adamw_lr`` the rate of the rest.
    """

    kind: Literal["muon"] = "muon"
    lr: PositiveFloat = 0.02
    momentum: Probability = 0.95
    weight_decay: NonNegativeFloat = 0.0
    steps: PositiveInt = 5  # Newton–Schulz iterations
    adamw_lr: PositiveFloat = 3e-3
    beta1: Probability = 0.9
    beta2: Probability = 0.95
    eps: PositiveFloat = 1e-8


Optimizer = Annotated[AdamW | Muon, ByKind, Shorthand]


class Schedule(Spec):
    """The rate over the run: linear warm-up over the first ``warmup`` of it (a fraction, or
    ``warmup_steps``), then ``kind`` down to ``floor`` times the peak. ``decay`` is the share of
    the run in which ``linear`` falls (1 = all of it; less = warm-up, stable, decay)."""

    kind: Literal["constant", "linear", "cosine"] = "cosine"
    warmup: Fraction = 0.02
    warmup_steps: PositiveInt | None = None
    floor: Fraction = 0.1
    decay: Fraction = 1.0
