"""Specification of a training run; carried out by ``danlu.train``."""

from __future__ import annotations

from typing import Literal

from danlu.spec.base import NonNegativeFloat, PositiveFloat, PositiveInt, Spec

BOUNDS = ("steps", "tokens", "seconds")


class Train(Spec):
    """How long, how large the batch, how often to look.

    ``steps``, ``tokens``, ``seconds`` (active seconds of training): any one bounds the run; if
    several are given the first reached does. ``batch``: sequences in one update, over all
    processes; ``microbatch``: sequences in one forward pass of one process (left out: as many
    as fall to a process). ``evaluate_every``, ``checkpoint_every``: updates (left out: at the
    end only). ``evaluate_tokens``: held-out tokens looked at each time (left out: all).
    """

    steps: PositiveInt | None = None
    tokens: PositiveInt | None = None
    seconds: PositiveFloat | None = None
    batch: PositiveInt = 16
    microbatch: PositiveInt | None = None
    seed: int = 0
    clip: NonNegativeFloat = 1.0  # 0: none
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    compile: Literal["auto"] | bool = "auto"
    recompute: bool = False
    evaluate_every: PositiveInt | None = None
    evaluate_tokens: PositiveInt | None = 100_000
    checkpoint_every: PositiveInt | None = None
    keep: PositiveInt = 2  # newest checkpoints kept, beside the best
    log_every: PositiveInt = 10
    device: Literal["auto", "cpu", "cuda"] = "auto"
    parallel: Literal["ddp", "fsdp"] = "ddp"
