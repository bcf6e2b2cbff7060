"""Language modelling: batch → loss, and loss → bits per byte."""

from __future__ import annotations

import math

import torch
import torch.nn as nn
import torch.nn.functional as F


def loss_sum(
    model: nn.Module,
    inputs: torch.Tensor,
    targets: torch.Tensor,
    *,
    documents: torch.Tensor | None = None,
    mask: torch.Tensor | None = None,
) -> torch.Tensor:
    """The sum over tokens of −log p(target), in nats: a float32 scalar.

    Shapes: ``inputs``, ``targets`` (batch, positions), int64; ``mask`` the same, bool: which targets
    count. A sum and not a mean, so that the loss per token of a global batch is the same however the
    batch is divided among passes and processes.
    """
    logits = model(inputs, documents=documents)
    if mask is not None:
        targets = targets.masked_fill(~mask, -100)
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-100, reduction="sum")


def bits_per_byte(nats: float, bytes_: int) -> float:
    """Bits that the model needs for a byte of text: comparable across tokenizers."""
    return nats / math.log(2) / bytes_
