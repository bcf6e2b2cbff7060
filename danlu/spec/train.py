"""Specification of a training run; carried out by ``danlu.train``."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, model_validator

from danlu.files.system import NO_MPS
from danlu.spec.averages import Average
from danlu.spec.base import NonNegativeFloat, PositiveFloat, PositiveInt, Spec
from danlu.spec.durations import Duration, Length, length
from danlu.spec.mesh import Mesh
from danlu.spec.outer import Outer, check_outer
from danlu.spec.quantize import Quantize

BOUNDS = ("steps", "tokens", "seconds")


def check_seed(value: int) -> int:
    """``value`` itself. Raises ValueError for a number beyond 64 bits."""
    if not -(2**63) <= value < 2**63:
        raise ValueError(f"{value} is no seed for PyTorch; allowed: {-(2**63)} to {2**63 - 1}")
    return value


def check_device(value: object) -> object:
    """``value`` itself. Raises ValueError for a device that people have and danlu does not support."""
    if value == "mps":
        raise ValueError(f"{value} is not supported: {NO_MPS}; allowed: auto, cpu, cuda")
    return value


class Stage(Spec):
    """A batch of ``batch`` sequences until a moment counted from the run's beginning. With ``by`` it grows in
    equal parts of the time, by so many sequences at once, to the batch of what follows."""

    batch: PositiveInt
    until: Duration
    by: PositiveInt | None = None


class Train(Spec):
    """How long, how large the batch, how often to look.

    ``steps``, ``tokens``, ``seconds`` (active seconds of training): any one bounds the run; if
    several are given the first reached does. ``batch``: sequences in one update, over all
    processes; ``ramp``: smaller ones before it; ``microbatch``: sequences in one forward pass of one
    process (left out: as many as fall to a process). ``evaluate_every``, ``checkpoint_every``: updates
    (left out: at the end only). ``evaluate_tokens``: held-out tokens looked at each time (left out: all).
    ``internals_every``: updates between looks inside the network (left out: none; ``danlu.train.internals``).
    ``skip``: leave out an update whose loss, norm of the gradients, or either, is a spike, or not finite; at
    most ten in a row (``danlu.train.spikes``). ``ring``: updates between checkpoints of which the two newest
    stay, and the two before each of the first three spikes, for ``danlu spikes``.
    ``noise_every``: updates between measurements of the gradient's noise, which compare the first microbatch
    with the whole batch (left out: none).
    ``weights``: the type in which they are kept between updates, and how updates are rounded to it.
    ``products``: ``tf32`` lets a GPU round what it multiplies in float32 to ten bits; ``float8`` multiplies
    in eight bits in the blocks' linear maps (left out: in ``precision``).
    ``average``: of the weights over updates, kept and evaluated beside them. ``precise_bn``: evaluate, and
    save for use, with statistics of batch norms over so many batches of training, of the weights as they are;
    the running averages of training are not touched. ``quantize``: weights in few
    bits from some moment on. ``gradient_sync``: when sharded gradients (``parallel = fsdp``) are summed over
    processes: once an ``update``, until when every process keeps those of the whole network, or after each
    ``pass``, which sends more and keeps shards alone. ``outer``: workers that train apart and average once a
    round (left out: one).
    ``mesh``: what several processes divide among them beside rows and weights.
    """

    steps: PositiveInt | None = None
    tokens: PositiveInt | None = None
    seconds: PositiveFloat | None = None
    batch: PositiveInt = 16
    ramp: tuple[Stage, ...] = ()
    microbatch: PositiveInt | None = None
    seed: Annotated[int, AfterValidator(check_seed)] = 0
    clip: NonNegativeFloat = 1.0  # 0: none
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    weights: Literal["float32", "bfloat16", "bfloat16-stochastic"] = "float32"
    products: Literal["tf32", "float8"] | None = None
    average: Average | None = None
    precise_bn: PositiveInt | None = None
    quantize: Quantize | None = None
    outer: Outer | None = None
    compile: Literal["auto"] | bool = "auto"
    recompute: bool = False
    evaluate_every: PositiveInt | None = None
    evaluate_tokens: PositiveInt | None = 100_000
    checkpoint_every: PositiveInt | None = None
    keep: PositiveInt = 2  # newest checkpoints kept, beside the best
    log_every: PositiveInt = 10
    internals_every: PositiveInt | None = None
    skip: Literal["loss", "norm", "either"] | None = None
    ring: PositiveInt | None = None
    noise_every: PositiveInt | None = None
    device: Annotated[Literal["auto", "cpu", "cuda"], BeforeValidator(check_device)] = "auto"
    parallel: Literal["ddp", "fsdp"] = "ddp"
    gradient_sync: Literal["update", "pass"] = "update"
    mesh: Mesh = Mesh()

    def check_stages(self, rows: int) -> None:
        """Raises ValueError where the ``rows`` of a process are too few passes for ``mesh.pipeline``."""
        stages, passes = self.mesh.pipeline, rows // (self.microbatch or rows)
        if passes < stages:
            fits = next((n for n in range(rows // stages, 0, -1) if rows % n == 0), None)
            raise ValueError(
                f"train.mesh.pipeline = {stages} takes {stages} passes or more in every update, and {rows} "
                f"sequences of a process in passes of {self.microbatch or rows} make {passes}; "
                f"{'raise train.batch' if fits is None else f'set train.microbatch = {fits} or less'}"
            )

    @property
    def rows(self) -> int:
        """Sequences in one forward pass, where there is one process."""
        return self.microbatch or self.batch // self.shares(1)

    def shares(self, processes: int) -> int:
        """Into how many a batch is divided: a share of it is all that falls to a process, or to a worker."""
        return processes if self.outer is None else self.outer.workers

    def batches(self) -> dict[str, int]:
        """The batches of which all others are sums and differences, by the field that says so."""
        said = {}
        for i, stage in enumerate(self.ramp):
            said[f"ramp.{i}.batch"] = stage.batch
            if stage.by is not None:
                said[f"ramp.{i}.by"] = stage.by
        return said | {"batch": self.batch}

    def check_shared(self, processes: int) -> None:
        """Raises ValueError where a batch cannot be shared among so many data parallel ``processes``."""
        for name, count in self.batches().items():
            each, left = divmod(count, processes)
            if left:
                raise ValueError(
                    f"train.{name} = {count} cannot be shared among {processes} processes; allowed: "
                    f"multiples of {processes}"
                )
            if self.microbatch is not None and each % self.microbatch:
                raise ValueError(
                    f"train.microbatch = {self.microbatch} does not divide the {each} sequences "
                    f"of a process (train.{name} = {count} over {processes})"
                )

    @model_validator(mode="after")
    def _quantizes_alone(self) -> Self:
        if self.quantize is None:
            return self
        method = self.quantize.method
        if self.parallel == "fsdp" and self.compile is True:
            raise ValueError(
                "compile = true with parallel = fsdp does not go with quantize: gathered blocks would be "
                "compiled anew when rounding begins; leave one out"
            )
        formats = (self.quantize.format, self.quantize.activations or "")
        if self.compile is True and any(name.startswith("mx") for name in formats):
            raise ValueError(
                "compile = true does not go with quantize in an mx format, whose scales (float8_e8m0fnu) the "
                "compiler does not know; leave compile out, or take another format"
            )
        if method != "straight-through" and self.average is not None:
            raise ValueError(
                f"quantize.method = {method} does not go with average = {self.average.kind}: its scales "
                "begin to be learned late, and their average would lag; leave one out"
            )
        return self

    @model_validator(mode="after")
    def _replicas_are_of_shards(self) -> Self:
        if self.mesh.replicate > 1 and self.parallel != "fsdp":
            raise ValueError(
                f"mesh.replicate = {self.mesh.replicate} is of sharded weights, and parallel = "
                f"{self.parallel} has replicas alone; set parallel = fsdp, or leave mesh.replicate out"
            )
        return self

    @model_validator(mode="after")
    def _shards_are_scattered(self) -> Self:
        if self.gradient_sync == "pass" and self.parallel != "fsdp":
            raise ValueError(
                "gradient_sync = pass keeps shards of gradients alone, and parallel = "
                f"{self.parallel} has whole ones; set parallel = fsdp, or leave gradient_sync out"
            )
        return self

    @model_validator(mode="after")
    def _ramp_leads_to_the_batch(self) -> Self:
        following = [*(stage.batch for stage in self.ramp), self.batch][1:]
        for i, (stage, after) in enumerate(zip(self.ramp, following, strict=True)):
            if stage.by is not None and (after <= stage.batch or (after - stage.batch) % stage.by):
                raise ValueError(
                    f"ramp.{i}.by = {stage.by} does not lead from {stage.batch} sequences to {after}; "
                    "it must divide the difference"
                )
        before = Length(0, length(self.ramp[0].until).unit) if self.ramp else None
        for i, stage in enumerate(self.ramp):
            end = length(stage.until)
            if before is not None and (before.unit != end.unit or end.amount <= before.amount):
                raise ValueError(
                    f"ramp.{i}.until = {stage.until} must be later than what comes before it, and in its unit"
                )
            before = end
        for name, count in self.batches().items():
            if self.microbatch is not None and count % self.microbatch:
                raise ValueError(f"microbatch = {self.microbatch} does not divide {name} = {count}")
        return self

    @model_validator(mode="after")
    def _trains_apart(self) -> Self:
        check_outer(self)
        return self

    @model_validator(mode="after")
    def _noise_needs_passes(self) -> Self:
        if self.noise_every is not None and (self.microbatch is None or self.microbatch >= self.batch):
            raise ValueError(
                f"noise_every = {self.noise_every} compares the gradient of a microbatch with that of the "
                f"whole batch; set microbatch to a part of batch = {self.batch}"
            )
        if self.noise_every is not None and self.parallel == "fsdp":
            raise ValueError(
                f"noise_every = {self.noise_every} needs all of a microbatch's gradient, which no process "
                "has under parallel = fsdp; leave it out, or set parallel = ddp"
            )
        return self
