"""The specification of a teacher: what a network learns from another beside its data."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from danlu.spec.base import ByKind, Fraction, PositiveFloat, PositiveInt, Shorthand, Spec


class Forward(Spec):
    """KL(p‖q) of the teacher's p from the student's q: q must cover all that p gives (Hinton et al. 2015)."""

    kind: Literal["forward"] = "forward"


class Reverse(Spec):
    """KL(q‖p): q may leave out what p gives, and must give nothing that p does not (Gu et al. 2023)."""

    kind: Literal["reverse"] = "reverse"


class JSD(Spec):
    """βKL(p‖m) + (1 − β)KL(q‖m) with m = βp + (1 − β)q; β = 0 stands for ``forward``, 1 for ``reverse``
    (GKD, Agarwal et al. 2023, arXiv:2306.13649, eq. 1)."""

    kind: Literal["jsd"] = "jsd"
    beta: Fraction = 0.5


Divergence = Annotated[Forward | Reverse | JSD, ByKind, Shorthand]


Pairs = Literal["uniform", "middle", "last"]


class Hidden(Spec):
    """Hidden states as targets too: ``weight`` · Σ MSE(W h_S, h_T) over pairs of blocks, W a linear map from
    the student's width to the teacher's that is learned with the student and then dropped (TinyBERT, Jiao et
    al. 2020, arXiv:1909.10351, eq. 8; the hint of FitNets, Romero et al. 2015, arXiv:1412.6550, eq. 3).

    ``pairs``: every block of the student with one of the teacher, ``uniform`` over the depth (TinyBERT); the
    ``middle`` one alone (FitNets); or the ``last``."""

    weight: PositiveFloat = 1.0
    pairs: Pairs = "uniform"


class Teacher(Spec):
    """Another network's probabilities as targets (Hinton et al. 2015, arXiv:1503.02531): of each token
    λT²D(p, q) + (1 − λ)(−ln q of the token), λ being ``weight``, T the ``temperature`` that divides the
    logits of both, and D the ``divergence``.

    ``run``: the folder of a finished run or of an imported model with the same tokenizer; or in quotes the
    words of an experiment, which is then trained first, once, at this run's seed + 10,000 unless they say
    one. ``top``: of the teacher only so many likeliest tokens, and the rest as one class (left out: all);
    ``cache`` keeps these on the disk, for runs that read the same texts again.
    ``on_policy``: the share of updates whose texts the student continues itself, from their middle, and then
    learns from D alone (GKD). ``copy_weights``: begin with the teacher's weights where names and shapes are
    the same. ``blocks``: so many updates first bring each block's output to the teacher's, on the teacher's
    inputs (MOHAWK, Bick et al. 2024, arXiv:2408.10189, step 2). ``hidden``: outputs of blocks as targets
    beside the probabilities (left out: none)."""

    run: str
    weight: Fraction = 0.5
    temperature: PositiveFloat = 2.0
    divergence: Divergence = Forward()
    top: PositiveInt | None = None
    cache: bool = False
    on_policy: Fraction = 0.0
    copy_weights: bool = False
    blocks: Annotated[int, Field(ge=0)] = 0
    hidden: Hidden | None = None

    @model_validator(mode="after")
    def _keeps_few(self) -> Teacher:
        if self.cache and self.top is None:
            raise ValueError(
                "cache = true would keep the probabilities of all tokens; set top to some, such as 16"
            )
        if self.cache and self.hidden is not None:
            raise ValueError(
                "cache = true keeps probabilities alone, and hidden needs the teacher's pass; leave one out"
            )
        return self
