"""What a linear VAE forgets: its optimum in closed form."""

from __future__ import annotations

from typing import NamedTuple

import torch


class LinearVAE(NamedTuple):
    """``kl`` (size,): nats of each latent number, descending; ``error``: mean squared error, summed over
    dimensions, with latent vectors drawn; ``gains`` (size,): of the decoder's column along each eigenvector;
    ``variances`` (size,): of q(z|x)."""

    kl: torch.Tensor
    error: float
    gains: torch.Tensor
    variances: torch.Tensor


def linear_vae(eigenvalues: torch.Tensor, size: int, noise: float, beta: float = 1.0) -> LinearVAE:
    """The optimum of a VAE with linear encoder and decoder and ``size`` latent numbers, on data with these
    covariance ``eigenvalues`` (d,), in any order; ``noise``: the decoder's variance s².

    Reverse water-filling at the level θ = β·s²: KL_i = ½ ln(λ_i/θ) where λ_i > θ, else 0, the dimension has
    collapsed; error Σ min(λ_i, θ) over the first ``size`` and λ_i of the rest. Decoder W = U(Λ − θ)^½ up to a
    rotation (Tipping & Bishop 1999; Lucas et al. 2019, for β = 1), posterior variance θ/λ_i. At β = 1 with s²
    the mean of the eigenvalues left out, the ELBO is ln p(x) of probabilistic PCA.

    Raises ValueError where ``size`` is more than there are eigenvalues.

    >>> [round(float(nats), 3) for nats in linear_vae(torch.tensor([4.0, 1.0, 0.25]), 2, noise=0.5).kl]
    [1.04, 0.347]
    """
    if size > len(eigenvalues):
        raise ValueError(f"size = {size} is above the number of eigenvalues, {len(eigenvalues)}; lower it")
    level = beta * noise
    ordered = eigenvalues.sort(descending=True).values
    kept = ordered[:size].clamp(min=level)
    return LinearVAE(
        kl=0.5 * torch.log(kept / level),
        error=float(ordered.sum() - (kept - level).sum()),
        gains=(kept - level).sqrt(),
        variances=level / kept,
    )
