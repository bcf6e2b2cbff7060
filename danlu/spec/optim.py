"""Specifications of update rules; built by ``danlu.optim``.

Every rule has a rate ``lr`` that the schedule multiplies, a ``weight_decay`` that spares gains, biases and,
unless ``decay_embeddings``, embeddings; ``groups`` that make exceptions; and ``state``, the type in which it
remembers.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import field_validator, model_validator

from danlu.spec.base import (
    ByKind,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    Probability,
    Shorthand,
    Spec,
)
from danlu.spec.families import Family

Role = Literal["embedding", "readout", "kernel", "gain", "bias"]


class Group(Spec):
    """An exception: the parameters of a ``role``, or those whose name matches ``names`` (``*.q_norm.*``),
    have their rate multiplied by ``rate`` and, if given, a ``weight_decay`` of their own. ``rate`` 0 freezes
    them. Of several that match, all rates multiply and the last decay counts."""

    role: Role | None = None
    names: str | None = None
    rate: NonNegativeFloat = 1.0
    weight_decay: NonNegativeFloat | None = None

    @model_validator(mode="after")
    def _of_some(self) -> Group:
        if self.role is None and self.names is None:
            raise ValueError("a group needs a role or names; set one of the two")
        return self


class Rule(Spec):
    """What every rule has."""

    groups: tuple[Group, ...] = ()
    state: Literal["float32", "bfloat16"] = "float32"
    decay_embeddings: bool = True


class SGD(Rule):
    """Momentum B = μB + g; θ ← θ − η(B + λθ) (as ``torch.optim.SGD``); Nesterov's look ahead on request."""

    kind: Literal["sgd"] = "sgd"
    lr: PositiveFloat = 0.1
    momentum: Probability = 0.9
    nesterov: bool = False
    weight_decay: NonNegativeFloat = 0.0


class Adam(Rule):
    """Adam (Kingma & Ba 2015, algorithm 1); its ``weight_decay`` is L2, added to the gradient."""

    kind: Literal["adam"] = "adam"
    lr: PositiveFloat = 1e-3
    beta1: Probability = 0.9
    beta2: Probability = 0.95
    eps: PositiveFloat = 1e-8
    weight_decay: NonNegativeFloat = 0.0


class AdamW(Rule):
    """AdamW (Loshchilov & Hutter 2019, algorithm 2); ``weight_decay`` is multiplied by the rate."""

    kind: Literal["adamw"] = "adamw"
    lr: PositiveFloat = 1e-3
    beta1: Probability = 0.9
    beta2: Probability = 0.95
    eps: PositiveFloat = 1e-8
    weight_decay: NonNegativeFloat = 0.1


class LAMB(Rule):
    """LAMB (You et al. 2020, algorithm 2): Adam's direction and decay, scaled by ‖θ‖/‖direction‖."""

    kind: Literal["lamb"] = "lamb"
    lr: PositiveFloat = 1e-2
    beta1: Probability = 0.9
    beta2: Probability = 0.999
    eps: PositiveFloat = 1e-6
    weight_decay: NonNegativeFloat = 0.01


class Adafactor(Rule):
    """Adafactor (Shazeer & Stern 2018, algorithm 5): second moments factored into rows and columns, rates
    relative to each parameter's root mean square, no momentum. The step is
    max(``floor``, RMS θ)·min(``lr``, 1/√t)."""

    kind: Literal["adafactor"] = "adafactor"
    lr: PositiveFloat = 1e-2
    decay: NonNegativeFloat = 0.8  # β₂ at step t is 1 − t^−decay
    floor: PositiveFloat = 1e-3
    clip: PositiveFloat = 1.0
    weight_decay: NonNegativeFloat = 0.0


# What may update embeddings where the other parameters follow a sign.
ForEmbeddings = Annotated[Adam | AdamW, ByKind, Shorthand]


class Signs(Rule):
    """Rules that follow a sign. The row of a token that does not occur has no gradient, but its momentum
    keeps a sign and the row drifts to ±1/``weight_decay`` (Su 2023, kexue.fm/archives/9736): ``lazy_rows``
    leaves alone the rows of embeddings that no token of the batch touched; ``embeddings`` is another rule for
    embeddings (``adam`` or ``adamw``), whole, as Lion's authors have it."""

    lazy_rows: bool = False
    embeddings: ForEmbeddings | None = None

    @field_validator("embeddings")
    @classmethod
    def _plain(cls, embeddings: ForEmbeddings | None) -> ForEmbeddings | None:
        if embeddings is not None and (embeddings.groups or embeddings.state != "float32"):
            raise ValueError("groups and state are the optimizer's, not its embeddings'; move them there")
        return embeddings


class Lion(Signs):
    """Lion (Chen et al. 2023, algorithm 2): the sign of an interpolated momentum."""

    kind: Literal["lion"] = "lion"
    lr: PositiveFloat = 3e-4
    beta1: Probability = 0.95
    beta2: Probability = 0.98
    weight_decay: NonNegativeFloat = 0.3


class Tiger(Signs):
    """Tiger (Su 2023): the sign of the momentum, rates scaled by each parameter's root mean square (at least
    ``floor``, so that a kernel of zeros can leave zero), half of it for gains and biases, which don't decay.
    Where ``train.microbatch`` makes several passes of an update and ``train.clip`` is 0, gradients are
    averaged inside the momentum and freed as they are made."""

    kind: Literal["tiger"] = "tiger"
    lr: PositiveFloat = 2e-3
    beta: Probability = 0.965
    weight_decay: NonNegativeFloat = 0.01
    floor: PositiveFloat = 1e-3


class Amos(Rule):
    """Amos (Tian & Parikh 2022, algorithm 1). ``lr`` is ξ (left out: 1/√(updates of the run)), the scale of
    each parameter is that of its initial weights, decay follows from both. ``momentum``: of the update; none:
    no memory but one number a row."""

    kind: Literal["amos"] = "amos"
    lr: PositiveFloat | None = None
    beta: Probability = 0.999
    momentum: Probability | None = None
    extra_decay: NonNegativeFloat = 0.0


class Muon(Rule):
    """Muon (Jordan 2024) for the matrices inside the blocks, AdamW for everything else.

    ``lr`` is Muon's, scaled by √max(1, rows/columns) (``scale: spectral``) or by 0.2·√max(rows, columns),
    which gives updates AdamW's size (``scale: rms``; Liu et al. 2025); ``adamw_lr`` the rate of the rest.
    """

    kind: Literal["muon"] = "muon"
    lr: PositiveFloat = 0.02
    momentum: Probability = 0.95
    weight_decay: NonNegativeFloat = 0.0
    steps: PositiveInt = 5  # Newton–Schulz iterations
    scale: Literal["spectral", "rms"] = "spectral"
    adamw_lr: PositiveFloat = 3e-3
    beta1: Probability = 0.9
    beta2: Probability = 0.95
    eps: PositiveFloat = 1e-8


class ScheduleFreeAdamW(Rule):
    """Schedule-Free AdamW (Defazio et al. 2024, algorithm 1): gradients are taken at an interpolation of two
    sequences, and the average is what is evaluated; the schedule should be constant after its warm-up."""

    kind: Literal["schedule-free"] = "schedule-free"
    lr: PositiveFloat = 2.5e-3
    beta1: Probability = 0.9
    beta2: Probability = 0.999
    eps: PositiveFloat = 1e-8
    weight_decay: NonNegativeFloat = 0.1
    power: NonNegativeFloat = 0.0  # r: the weight of step t in the average is t^r · lr²


class SOAP(Rule):
    """SOAP (Vyas et al. 2024, algorithm 3): Adam in the slowly turning eigenbasis of Shampoo's statistics, a
    new basis ``every`` steps; sides longer than ``longest`` keep their own."""

    kind: Literal["soap"] = "soap"
    lr: PositiveFloat = 3e-3
    beta1: Probability = 0.95
    beta2: Probability = 0.95
    eps: PositiveFloat = 1e-8
    weight_decay: NonNegativeFloat = 0.01
    every: PositiveInt = 10
    longest: PositiveInt = 10_000


class Solver(Rule):
    """What finds the weights of a model of maximum entropy by whole passes over its data. ``lr``: the share
    of its step that is taken; with 1, a pass of GIS or IIS never lowers the likelihood."""

    lr: PositiveFloat = 1.0


class GIS(Solver):
    """Generalised iterative scaling (Darroch & Ratcliff 1972)."""

    kind: Literal["gis"] = "gis"


class IIS(Solver):
    """Improved iterative scaling (Della Pietra, Della Pietra & Lafferty 1997, section 4)."""

    kind: Literal["iis"] = "iis"


class LBFGS(Solver):
    """L-BFGS (Liu & Nocedal 1989) on the last 20 steps; each update looks at one point of a search along a
    line. ``lr``: the share of the step that a search begins with."""

    kind: Literal["lbfgs"] = "lbfgs"


OPTIMIZER = Family(
    "optimizer", ("params", "state_dtype", "compiled"), base=Rule, place="optimizer", needs=("lr",)
)
Optimizer = Annotated[
    SGD
    | Adam
    | AdamW
    | LAMB
    | Adafactor
    | Lion
    | Tiger
    | Amos
    | Muon
    | ScheduleFreeAdamW
    | SOAP
    | GIS
    | IIS
    | LBFGS,
    OPTIMIZER,
]
