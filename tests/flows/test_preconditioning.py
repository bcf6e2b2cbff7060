"""Far out, where heavy-tailed noise is, preconditioning stays in bounds and loses nothing."""

from __future__ import annotations

import pytest
import torch

from danlu.flows import Preconditioning

REACH = 4.0
LEVELS = [0.01, 0.3, 5.0, 80.0]


def along(sigma: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Points on a ray, from the middle to a million levels out."""
    x = torch.logspace(-2, 6, 400, dtype=torch.float64)[:, None] * torch.tensor([[0.6, 0.8]]).double()
    return max(sigma, 0.5) * x, torch.full((400,), sigma, dtype=torch.float64)


def inputs(reach: float | None, sigma: float) -> tuple[torch.Tensor, torch.Tensor]:
    """What the network reads, and what is added to c_out times its answer."""
    seen: list[torch.Tensor] = []
    x, levels = along(sigma)
    added = Preconditioning(0.5, reach).denoised(
        lambda y, _: seen.append(y) or torch.zeros_like(y), x, levels
    )
    return seen[0], added


@pytest.mark.parametrize("sigma", LEVELS)
def test_within_reach_nothing_changes(sigma: float) -> None:
    x, levels = along(sigma)
    near = x.norm(dim=1) <= REACH * 2**0.5 * (levels.square() + 0.25).sqrt()
    assert near.any() and not near.all()
    for found, plain in zip(inputs(REACH, sigma), inputs(None, sigma), strict=True):
        torch.testing.assert_close(found[near], plain[near])
    assert torch.equal(Preconditioning(0.5).level(x, levels), levels)


@pytest.mark.parametrize("sigma", LEVELS)
def test_beyond_it_lengths_still_differ_and_nothing_is_large(sigma: float) -> None:
    """The input grows as the logarithm. With s ≥ ‖x‖/(reach √d) − σ_d, ‖c_skip x‖ = σ_d² ‖x‖/(s² + σ_d²) is
    at most reach √d σ_d (1 + √2)/2."""
    read, added = inputs(REACH, sigma)
    lengths = read.norm(dim=1)
    assert (lengths.diff() > 0).all() and lengths[-1] < REACH * 2**0.5 * (1 + 14)
    assert added.norm(dim=1).max() <= REACH * 2**0.5 * 0.5 * (1 + 2**0.5) / 2 + 1e-9
    assert inputs(None, 0.01)[1].norm(dim=1).max() > 1e5  # without it a network would have to undo this
