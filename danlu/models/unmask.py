"""Generation of text by unmasking it."""

from __future__ import annotations

from collections.abc import Callable

import torch

from danlu.models.generate import pick


@torch.no_grad()
def unmask(
    logits: Callable[[torch.Tensor], torch.Tensor],
    tokens: torch.Tensor,
    masked: torch.Tensor,
    *,
    steps: int | None = None,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """``tokens``, int64 (batch, positions), of which those that are ``masked``, bool of that shape, are
    written and the others kept: ancestral sampling of masked diffusion (Sahoo et al. 2024).

    ``logits`` makes (batch, positions, vocabulary) of the tokens, and never predicts the mask. From time
    t to s a masked token is unmasked with probability 1 − s/t. So over ``steps`` equal steps each has its
    turn in any of them alike, and the model is asked only in those that unmask something. ``steps`` None:
    one position after another in random order, what many steps tend to. ``temperature``, ``top_k`` and
    ``top_p`` as ``pick``. All is drawn in float64, from a ``generator`` of the CPU: in float32 the rarest
    tokens are never drawn, as if the temperature were lower (Zheng et al. 2024).
    """
    tokens = tokens.clone()
    drawn = torch.rand(masked.shape, dtype=torch.float64, generator=generator).to(masked.device)
    if steps is None:
        turns = drawn.masked_fill(~masked, 2.0).argsort(1).argsort(1)
        steps = int(masked.sum(1).max())
    else:
        turns = (drawn * steps).long()
    for turn in range(steps):
        now = masked & (turns == turn)
        if now.any():
            found = logits(tokens)[now].double().cpu()
            tokens[now] = pick(found, temperature=temperature, top_k=top_k, top_p=top_p, generator=generator)[
                :, 0
            ].to(tokens.device)
    return tokens
