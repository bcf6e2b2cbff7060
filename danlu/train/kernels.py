"""Which kernel runs each layer of an experiment, and why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from danlu import spec
from danlu.models import Transformer
from danlu.models.costs import stacks
from danlu.nn import LRU, Attention, AttentionMask, CrossAttention, NoMixer, VQAttention, flex
from danlu.nn.kernels import Choice, choose, flexible
from danlu.nn.masks import MaskPattern
from danlu.nn.scan import CHUNK
from danlu.train.assemble import outline
from danlu.train.machine import PRECISIONS


def try_flex(experiment: spec.Experiment, device: torch.device, say: Callable[[str], object]) -> None:
    """Try FlexAttention where a layer of ``experiment`` is to run it on a GPU. Where it fails, ``say`` why;
    the other kernels then run."""
    if device.type != "cuda" or all(row["kernel"] != "flex" for row in report(experiment)):
        return
    if (why := flex.missing() or flex.try_out(device)) is not None:
        say(f"FlexAttention does not run here ({why}): masks and scores take more memory")


def report(experiment: spec.Experiment) -> list[dict[str, Any]]:
    """For each group of a transformer's layers whose mixers run alike in training: ``of`` (``encoder`` or
    ``decoder``), ``layers`` (their numbers, from 0), ``mixer`` (its class), ``kernel``, ``why``, and what
    that rests on:
    ``measured``, the row of the table (None where it rests on none), and ``needs``, the part that no fused
    kernel can run (None: no part). Device and precision are those that the run would have here."""
    objective, model, device, precision = outline(experiment)
    dtype, separate = PRECISIONS[precision], getattr(experiment.data, "documents", "join") == "separate"
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    if not isinstance(model, Transformer):
        return []
    for stack, length, memory in stacks(model, *objective.lengths):
        of = "decoder" if stack.causal else "encoder"
        mask = AttentionMask(stack.causal, getattr(objective, "scope", {}).get("prefix", 0))
        for i, block in enumerate(stack.blocks):
            for part in (block.mixer, block.cross):
                if part is None or isinstance(part, NoMixer):
                    continue
                choice = _choice(part, mask, separate, device, dtype, length, memory)
                needs = part.needs() if isinstance(part, Attention) else None
                kind = type(part).__name__
                row: dict[str, Any] = {
                    "of": of,
                    "layers": [],
                    "mixer": kind,
                    "kernel": choice.kernel,
                    "why": choice.why,
                    "measured": None if choice.measured is None else choice.measured._asdict(),
                    "needs": needs,
                }
                found.setdefault((of, kind, choice, needs), row)["layers"].append(i)
    return list(found.values())


def _choice(
    part: Any, mask: AttentionMask, separate: bool, device: str, dtype: torch.dtype, length: int, memory: int
) -> Choice:
    """What ``attend`` chooses when it is called by ``part``, or what a mixer runs that does not call it."""
    if isinstance(part, LRU):
        return Choice(
            "scan", f"a recurrence in chunks of {CHUNK} positions: its time is linear in the length"
        )
    if isinstance(part, VQAttention):
        seen = f"each position looks at two blocks of {part.block} and {part.codes} codes"
        return Choice("blocks", f"{seen}: its time is linear in the length")
    if isinstance(part, CrossAttention):
        return choose(device, dtype, memory, needs=part.needs())
    if not isinstance(part, Attention):
        pattern = MaskPattern(length, length, mask.causal, mask.prefix)
        masked = separate or pattern.masked
        return choose(device, dtype, length, masked=masked, flexible=flexible(pattern, masked=masked))
    return part.choice(device, dtype, length, mask, separate)
