"""Gradients of an expectation over categories: the unbiased reference, and the bias of straight-through."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch


def leave_one_out(log_probabilities: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """The mean of ``values``, with an unbiased gradient of their expectation: REINFORCE, where each draw has
    the mean of the others as its baseline (Kool, van Hoof & Welling 2019).

    Shapes: (draws, …) both → (…). ``log_probabilities``: ln p of each draw, with a gradient; ``values``: f of
    it. Gradients of the values pass too, so that f's own parameters learn from the same number. Raises
    ValueError for fewer than two draws.
    """
    draws = values.shape[0]
    if draws < 2:
        raise ValueError(f"leave-one-out needs the others: draws = {draws}; allowed: 2 and more")
    with torch.no_grad():
        advantage = (values - values.mean(0)) * (draws / (draws - 1))
    score = log_probabilities - log_probabilities.detach()  # 0, and the gradient of ln p
    return (values + advantage * score).mean(0)


def exact_gradient(logits: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """∂/∂logit of Σ π·f, by enumeration: π_k(f_k − f̄). Shapes: (…, n) both → the same."""
    probability = logits.softmax(-1)
    return probability * (values - (probability * values).sum(-1, keepdim=True))


class Moments(NamedTuple):
    """Of an estimate of a gradient by one draw: ``mean``, ``bias`` and ``variance``, (n,) each."""

    mean: torch.Tensor
    bias: torch.Tensor
    variance: torch.Tensor


def straight_through_moments(logits: torch.Tensor, f: Callable[[torch.Tensor], torch.Tensor]) -> Moments:
    """Of the straight-through estimate of ∂/∂logit E f(one-hot), exactly, by enumeration of the n draws.

    ``logits`` (n,); ``f`` maps (draws, n) to (draws,) and each row by itself. The draw i yields
    π_k(g_k − π·g) with g the gradient of f at the i-th corner. The bias is 0 for linear f; for
    f(b) = (b − c)² of a bit with P(1) = p it is (2p − 1)·dp/dθ, whatever c.
    """
    corners = torch.eye(logits.shape[-1], dtype=logits.dtype, device=logits.device, requires_grad=True)
    values = f(corners)
    (slopes,) = torch.autograd.grad(values.sum(), corners)
    probability = logits.detach().softmax(-1)
    estimates = exact_gradient(logits.detach().expand_as(slopes), slopes)
    mean = probability @ estimates
    variance = probability @ (estimates - mean).square()
    return Moments(mean, mean - exact_gradient(logits.detach(), values.detach()), variance)
