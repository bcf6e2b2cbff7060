"""What a prediction of tokens costs: nats, the z-loss, bits per byte."""

from __future__ import annotations

import math

import torch
import torch.nn as nn
import torch.nn.functional as F

IGNORED = -100  # the target of a position that predicts nothing: what cross_entropy leaves out


def nats_sum(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The sum over the targets of −log p(target), in nats: a scalar of the logits' type.

    Shapes: ``logits`` (batch, positions, vocabulary); ``targets`` (batch, positions), int64, ``IGNORED``
    where nothing is predicted. A sum and not a mean, so that the loss per token of a global batch is the
    same however the batch is divided among passes and processes.
    """
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="sum")


def z_sum(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The sum over the targets of (ln Σe^z)² of the logits z (Chowdhery et al. 2022, PaLM, section 5):
    zero where the logits are the logarithms of probabilities. Shapes as in ``nats_sum``."""
    normaliser = logits.logsumexp(dim=-1)
    return normaliser.masked_fill(targets == IGNORED, 0.0).square().sum()


def loss_sum(model: nn.Module, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """``nats_sum`` of what ``model`` makes of ``inputs`` (batch, positions): the loss of a decoder that is
    used without an objective."""
    return nats_sum(model(inputs), targets)


def bits_per_byte(nats: float, bytes_: int) -> float:
    """Bits that the model needs for a byte of text: comparable across tokenizers."""
    return nats / math.log(2) / bytes_
