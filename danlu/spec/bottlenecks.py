"""Specifications of bottlenecks: what a representation must pass through; built by ``danlu.nn.bottlenecks``.

``plain`` is only narrow; ``gaussian`` adds noise and pays for information; ``gumbel`` and ``binary`` draw
categories and bits; ``vq``, ``fsq`` and ``lfq`` quantise. Each says its own sizes: what surrounds it brings
its vectors to ``takes`` numbers, and goes on from ``gives``.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, model_validator

from danlu.spec.base import Fraction, NonNegativeFloat, PositiveFloat, PositiveInt, Spec
from danlu.spec.families import Family

MOST_CODES = 2**62  # a code is one number of 64 bits

Relaxation = Literal["soft", "hard", "straight-through"]


class Plain(Spec):
    """``size`` numbers, as they are: what a narrow place alone costs."""

    kind: Literal["plain"] = "plain"
    size: PositiveInt = 16


class Gaussian(Spec):
    """Diagonal Gaussian of ``size`` numbers (Kingma & Welling 2014): a VAE's latent vector, and the
    variational information bottleneck (Alemi et al. 2017), where ``beta`` is their β.

    ``beta``: weight of KL(N(μ, σ²)‖N(0, 1)), summed over dimensions. ``free_nats``: λ of free bits (Kingma et
    al. 2016): a dimension whose mean KL over the batch is below λ pays λ, and is not drawn lower.
    """

    kind: Literal["gaussian"] = "gaussian"
    size: PositiveInt = 16
    beta: NonNegativeFloat = 1.0
    free_nats: NonNegativeFloat = 0.0


class Gumbel(Spec):
    """``groups`` categories out of ``codes`` each, drawn by Gumbel noise (Jang et al. 2017; Maddison et al.
    2017).

    ``estimator``: ``soft``, the relaxed vector at ``temperature``; ``hard``, the category drawn, with the
    gradient of the relaxed vector; ``straight-through``, the category drawn, with the gradient of its
    probabilities. ``beta``: weight of KL(π‖uniform), summed over groups; it bounds nothing for ``soft``.
    """

    kind: Literal["gumbel"] = "gumbel"
    groups: PositiveInt = 8
    codes: Annotated[int, Field(ge=2)] = 16
    temperature: PositiveFloat = 1.0
    estimator: Relaxation = "hard"
    beta: NonNegativeFloat = 0.0


class Binary(Spec):
    """``size`` bits, drawn by logistic noise (binary Concrete, Maddison et al. 2017, appendix B); other
    fields as for ``gumbel``."""

    kind: Literal["binary"] = "binary"
    size: PositiveInt = 16
    temperature: PositiveFloat = 1.0
    estimator: Relaxation = "hard"
    beta: NonNegativeFloat = 0.0


class VQ(Spec):
    """Vector quantisation (van den Oord et al. 2017): the nearest of ``codes`` words of ``size`` numbers,
    which are moving averages.

    ``decay``: γ of the averages; ``smoothing``: ε of their counts; ``commitment``: weight of ‖z − e‖², summed
    over dimensions. ``restart``: a code with less than this share of the mean count begins again at a vector
    of the batch (0: never). ``estimator``: ``straight-through``, or ``rotation`` (Fifty et al. 2024).
    """

    kind: Literal["vq"] = "vq"
    size: PositiveInt = 16
    codes: Annotated[int, Field(ge=2)] = 64
    decay: Fraction = 0.99
    smoothing: PositiveFloat = 1e-5
    commitment: NonNegativeFloat = 0.25
    restart: Fraction = 0.01
    estimator: Literal["straight-through", "rotation"] = "straight-through"


class FSQ(Spec):
    """Finite scalar quantisation (Mentzer et al. 2023): each number to one of its ``levels``; no codebook is
    learned. The paper's: 8,6,5 for about 2⁸ codes, 8,5,5,5 for 2¹⁰, 7,5,5,5,5 for 2¹²."""

    kind: Literal["fsq"] = "fsq"
    levels: Annotated[tuple[Annotated[int, Field(ge=3)], ...], Field(min_length=1)] = (8, 5, 5, 5)

    @model_validator(mode="after")
    def _countable(self) -> FSQ:
        if (codes := math.prod(self.levels)) > MOST_CODES:
            raise ValueError(
                f"levels make {codes:.1e} codes; allowed: at most 2^62; take fewer or lower levels"
            )
        return self


class LFQ(Spec):
    """Look-up-free quantisation (Yu et al. 2024, MAGVIT-v2): the signs of ``size`` numbers.

    ``entropy``: weight of E H(p) − ``diversity``·H(E p), where p is the softmax over codes of
    −‖z − code‖²/``temperature``; ``commitment``: weight of ‖z − sign z‖², summed over dimensions. H(E p) is
    exact over ``group`` bits together and summed over such groups, which is an upper bound.
    """

    kind: Literal["lfq"] = "lfq"
    size: Annotated[int, Field(ge=1, le=62)] = 10
    entropy: NonNegativeFloat = 0.1
    diversity: NonNegativeFloat = 1.0
    temperature: PositiveFloat = 0.01
    commitment: NonNegativeFloat = 0.25
    group: Annotated[int, Field(ge=1, le=16)] = 10


BOTTLENECK = Family("bottleneck", base=Spec)
Bottleneck = Annotated[Plain | Gaussian | Gumbel | Binary | VQ | FSQ | LFQ, BOTTLENECK]
