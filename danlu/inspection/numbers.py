"""Statistics of activations and matrices: plain functions of a tensor.

Shapes: a stream is (batch, positions, width). Results are scalars. Moments and ranks are in float64.
"""

from __future__ import annotations

import torch
from torch import Tensor

MASSIVE = 100.0, 1000.0  # above this, and above so many medians (Sun et al. 2024, section 2)
DORMANT = 0.025  # of the mean activity of a layer (Sokar et al. 2023, arXiv:2302.12902, definition 3.1)
QUALCOMM_EPS = 1e-6  # beside std⁴ (Bondarenko et al. 2023, their code)


def rms(x: Tensor) -> Tensor:
    """Root mean square. Squares have the type of ``x``: PyTorch adds float32 pairwise, good to six digits."""
    return x.square().mean().sqrt()


def excess_kurtosis(x: Tensor) -> Tensor:
    """E(x − μ)⁴/σ⁴ − 3 over all numbers of ``x``: 0 of normal ones, large where few are far out."""
    x = x.double() - x.double().mean()
    return x.pow(4).mean() / x.square().mean().square() - 3


def sequence_kurtosis(x: Tensor) -> Tensor:
    """Mean over sequences of Σ(x − μ)⁴/n / (std⁴ + 10⁻⁶) of all numbers of one, std unbiased: 3 for normal
    numbers (Bondarenko et al. 2023, arXiv:2306.12929, and their code)."""
    x = x.double().flatten(1)
    fourth = (x - x.mean(1, keepdim=True)).pow(4).mean(1)
    return (fourth / (x.std(1).pow(4) + QUALCOMM_EPS)).mean()


def token_kurtosis(x: Tensor) -> Tensor:
    """Mean over positions of E(x − μ)⁴/σ⁴ over the channels of one: 3 for normal numbers, nearly the width
    for a single channel (Kaul et al. 2024, arXiv:2410.17174). Constant positions are left out."""
    x = x.double().flatten(0, -2)
    x = x - x.mean(1, keepdim=True)
    square = x.square().mean(1)
    there = square > 0
    return (x.pow(4).mean(1)[there] / square[there].square()).mean()


def sequence_max(x: Tensor) -> Tensor:
    """Mean over sequences of the largest |x| of one (Bondarenko et al. 2023: max ∞-norm)."""
    return x.double().abs().flatten(1).amax(1).mean()


def massive(x: Tensor) -> Tensor:
    """Massive activations of a sequence, mean over sequences: how many |x| exceed 100 and a thousand times
    the median |x| of the layer (Sun et al. 2024, arXiv:2402.17762)."""
    x = x.abs()
    above, medians = MASSIVE
    return (x > max(above, medians * float(x.median()))).double().sum() / len(x)


def first_to_others(x: Tensor) -> Tensor:
    """The norm of the vector at position 0 over the mean norm of the others; ``x`` (…, positions, size),
    mean over the rest. NaN where there is one position."""
    norms = x.double().norm(dim=-1)
    return (norms[..., 0] / norms[..., 1:].mean(-1)).mean()


def mean_cosine(x: Tensor) -> Tensor:
    """Mean cosine of all pairs of different positions of all sequences: 1 where all point the same way."""
    units = torch.nn.functional.normalize(x.double().flatten(0, -2), dim=-1)
    n = len(units)
    return (units.sum(0).square().sum() - n) / (n * (n - 1))


def cosine_of_rows(x: Tensor) -> Tensor:
    """Mean cosine of two different rows at the same position: (rows, …, width), two rows or more."""
    unit = torch.nn.functional.normalize(x.double(), dim=-1)
    rows = unit.shape[0]
    together = unit.sum(0).square().sum(-1) - unit.square().sum((0, -1))
    return (together / (rows * (rows - 1))).mean()


def influence(before: Tensor, after: Tensor) -> Tensor:
    """1 − cos of the stream before and after a block, mean over positions: near 0, the block does next to
    nothing (Men et al. 2024, arXiv:2403.03853, equation 1)."""
    return 1 - torch.nn.functional.cosine_similarity(before.double(), after.double(), dim=-1).mean()


def singular_values(x: Tensor) -> Tensor:
    """Of a matrix (…, columns), as the roots of the eigenvalues of the smaller of xᵀx and xxᵀ in float64:
    those below 10⁻⁸ of the largest are noise."""
    x = x.double().flatten(0, -2)
    gram = x.T @ x if x.shape[0] >= x.shape[1] else x @ x.T
    values: Tensor = torch.linalg.eigvalsh(gram).clamp_min(0).sqrt()
    return values


def effective_rank(values: Tensor) -> Tensor:
    """exp of the entropy of σ/Σσ, of singular values σ: their number where all are equal (Roy & Vetterli
    2007)."""
    return torch.special.entr(values / values.sum()).sum().exp()


def stable_rank(values: Tensor) -> Tensor:
    """‖A‖_F²/‖A‖₂² = Σσ²/max σ² (Rudelson & Vershynin 2007)."""
    return values.square().sum() / values.max().square()


def dead(x: Tensor) -> Tensor:
    """The share of units that are zero at every place; ``x`` (…, units)."""
    return (x == 0).flatten(0, -2).all(0).double().mean()


def dormant(x: Tensor, threshold: float = DORMANT) -> Tensor:
    """The share of units whose mean |h| is at most ``threshold`` of the mean over units; ``x`` (…, units)
    (Sokar et al. 2023, arXiv:2302.12902: τ-dormant)."""
    activity = x.double().abs().flatten(0, -2).mean(0)
    return (activity <= threshold * activity.mean()).double().mean()


def log_partition(logits: Tensor) -> Tensor:
    """log Z = log Σ exp of the logits (…, classes), mean over places (Chowdhery et al. 2022: the z-loss keeps
    it near 0)."""
    return logits.logsumexp(-1).mean()
