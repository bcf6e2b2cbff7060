"""Specifications of training by workers that talk once a round; built by ``danlu.optim.outer``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from danlu.spec.base import ByKind, Fraction, PositiveFloat, PositiveInt, Probability, Shorthand, Spec
from danlu.spec.norms import BatchNorm, BatchRenorm
from danlu.spec.quantize import Quantize

if TYPE_CHECKING:
    from danlu.spec.experiment import Experiment
    from danlu.spec.train import Train


def _whole(value: Any) -> Any:
    """A number as a word of a command gives it, which ``Literal`` would compare as a string."""
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value


Bits = Annotated[Literal[2, 4, 8], BeforeValidator(_whole)]


class Rounds(Spec):
    """What every kind has. Each of ``workers`` trains weights of its own on its own share of the batch, with
    an optimizer state that it never shares; every ``every`` updates ends a round, and an outer step with the
    rate ``lr`` and ``momentum`` is made of what changed in it. The optimizer and its schedule are the inner
    ones. What is evaluated and saved for use are the global weights."""

    workers: PositiveInt = 4
    every: PositiveInt = 30
    lr: PositiveFloat = 0.7
    momentum: Probability = 0.9

    def sent(self, parameters: int, tensors: int = 0) -> float:
        """Bytes that a worker gives away in a round, of so many numbers in so many tensors."""
        return 4.0 * parameters


class DiLoCo(Rounds):
    """DiLoCo (Douillard et al. 2023, arXiv:2311.08105, algorithm 1): Δ = θ − mean θₘ; v ← μv + Δ;
    θ ← θ − η(Δ + μv), and all workers go on from θ. With ``lr`` 1 and ``momentum`` 0 it is plain averaging
    (FedAvg, local SGD).

    Streaming DiLoCo (Douillard et al. 2025, arXiv:2501.18512): ``fragments`` of the network take turns,
    layer i being of fragment i mod ``fragments``; a difference arrives ``delay`` updates after it was sent,
    and a worker then keeps the share ``mix`` of its own weights.

    ``bits``: of a number that is sent, which is then one of a tensor's ``levels``: ``powers``, a sign and an
    exponent (E3M0 of streaming DiLoCo, with four bits); ``linear``, equal distances; ``statistical``, means
    of equal bins within six standard deviations (both: MuLoCo, Thérien et al. 2025, arXiv:2505.23725).
    ``feedback``: the share of what rounding left out so far that is added to the next difference (error
    feedback, β; there 0.9; 0: none).
    """

    kind: Literal["diloco"] = "diloco"
    fragments: PositiveInt = 1
    delay: Annotated[int, Field(ge=0)] = 0
    mix: Fraction = 0.0
    bits: Bits | None = None
    levels: Literal["powers", "linear", "statistical"] = "powers"
    feedback: Fraction = 0.0

    def sent(self, parameters: int, tensors: int = 0) -> float:
        if self.bits is None:
            return 4.0 * parameters
        table = {"powers": 1, "linear": 2, "statistical": 2**self.bits}[self.levels]  # numbers of a tensor's
        return parameters * self.bits / 8 + 4.0 * table * tensors

    @model_validator(mode="after")
    def _in_few_bits(self) -> Self:
        for name, value, none in (("levels", self.levels, "powers"), ("feedback", self.feedback, 0.0)):
            if self.bits is None and value != none:
                raise ValueError(
                    f"{name} = {value} is of differences in few bits, and bits is none; set bits to 2, 4 or 8"
                )
        return self

    @model_validator(mode="after")
    def _in_turn(self) -> Self:
        if self.fragments > self.every:
            raise ValueError(
                f"fragments = {self.fragments} cannot take turns in every = {self.every} updates; "
                f"allowed: 1 to {self.every}"
            )
        if self.delay * self.fragments >= self.every:
            most = (self.every - 1) // self.fragments
            raise ValueError(
                f"delay = {self.delay}: a fragment must arrive before the next one is sent, "
                f"every / fragments = {self.every / self.fragments:g} updates later; allowed: 0 to {most}"
            )
        return self


class Eager(Rounds):
    """Eager updates (Kale et al. 2025, arXiv:2502.12996): differences travel for a whole round, and each
    worker makes its outer step at once, with its own difference of this round and those of the others of the
    round before."""

    kind: Literal["eager"] = "eager"


class NoLoCo(Rounds):
    """NoLoCo (Kolehmainen et al. 2025, arXiv:2506.10911): no sum over all workers. In each round a worker
    exchanges difference and slow weights with one other, drawn anew, and steps by the mean of the two,
    towards their mean."""

    kind: Literal["noloco"] = "noloco"
    every: PositiveInt = 50
    momentum: Probability = 0.5

    def sent(self, parameters: int, tensors: int = 0) -> float:
        return 8.0 * parameters  # difference and slow weights

    @model_validator(mode="after")
    def _in_pairs(self) -> Self:
        if self.workers % 2:
            raise ValueError(f"workers = {self.workers} cannot be paired; allowed: an even number")
        return self


Outer = Annotated[DiLoCo | Eager | NoLoCo, ByKind, Shorthand]

# What a run of one network can do, and why one of several workers does not.
_REFUSED = {
    "parallel": ("fsdp", "each worker holds its whole network; set train.parallel = ddp"),
    "precision": ("float16", "its loss scale is one for all; set train.precision = bfloat16 or float32"),
}
_LEFT_OUT = {
    "average": "the global weights are an average already",
    "quantize": "workers would begin to round apart",
    "precise_bn": "running averages cannot be averaged over workers",
    "noise_every": "each worker has a gradient of its own",
    "skip": "each worker has spikes of its own",
    "ring": "danlu spikes repeats the updates of one network",
}


def check_outer(train: Train) -> None:
    """Raises ValueError for what does not go together with ``train.outer``, or cannot be shared."""
    outer = train.outer
    if outer is None:
        return
    kind = f"outer.kind = {outer.kind}"
    if not train.mesh.plain:
        axis = next(name for name, size in train.mesh if size != 1)
        raise ValueError(
            f"mesh.{axis} = {getattr(train.mesh, axis)} does not go with {kind}: each worker holds its whole "
            "network; leave one out"
        )
    for name, (value, why) in _REFUSED.items():
        if getattr(train, name) == value:
            raise ValueError(f"{name} = {value} does not go with {kind}: {why}")
    if train.weights != "float32":
        raise ValueError(
            f"weights = {train.weights} does not go with {kind}, whose differences are small beside them; "
            "set train.weights = float32"
        )
    for name, why in _LEFT_OUT.items():
        value = getattr(train, name)
        if value is not None:
            if isinstance(value, Quantize):
                name, value = f"{name}.format", value.format
            raise ValueError(
                f"{name} = {getattr(value, 'kind', value)} does not go with {kind}: {why}; leave one out"
            )
    for name, count in train.batches().items():
        if count % outer.workers:
            raise ValueError(
                f"{name} = {count} cannot be shared among outer.workers = {outer.workers}; allowed: "
                f"multiples of {outer.workers}"
            )
        if train.microbatch is not None and count // outer.workers % train.microbatch:
            raise ValueError(
                f"microbatch = {train.microbatch} does not divide the {count // outer.workers} sequences of "
                f"a worker ({name} = {count} over outer.workers = {outer.workers})"
            )


def check_workers(experiment: Experiment) -> None:
    """Raises ValueError where the network or the optimizer cannot be one of several workers' own."""
    outer, optimizer = experiment.train.outer, experiment.optimizer
    if outer is None:
        return
    if optimizer.kind in ("gis", "iis", "lbfgs", "schedule-free"):
        why = "averages weights itself" if optimizer.kind == "schedule-free" else "sees all data at once"
        raise ValueError(
            f"optimizer.kind = {optimizer.kind} {why}, which does not go with train.outer.kind = "
            f"{outer.kind}; use another optimizer, or leave train.outer out"
        )
    norm = getattr(experiment.model, "norm", None)
    if isinstance(norm, BatchNorm | BatchRenorm):
        raise ValueError(
            f"model.norm.kind = {norm.kind} has running averages, which do not go with train.outer.kind = "
            f"{outer.kind}: each worker would have its own; use another norm, or leave train.outer out"
        )
    layers = getattr(experiment.model, "layers", 1)
    if isinstance(outer, DiLoCo) and outer.fragments > layers:
        raise ValueError(
            f"train.outer.fragments = {outer.fragments} are of whole layers, and the network has {layers}; "
            f"allowed: 1 to {layers}"
        )
