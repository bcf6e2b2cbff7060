"""Of denoised data D = E[x₁|x], noise ε̂, score and velocity one gives the rest, where the noise is normal.

With x = α x₁ + s ε: ε̂ = (x − αD)/s, score = −ε̂/s, v = α̇D + ṡε̂. Divisions by s are for t below 1, those by
α for t above 0: there t is clamped by ``END``, and nothing is added to a denominator. Neither D nor ε̂ of a
velocity divides by either.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from danlu.flows.paths import Path, Plain
from danlu.flows.shapes import over

Field = Callable[[Tensor, Tensor], Tensor]  # (x (batch, …), t or σ (batch,)) → as x
Kind = Literal["denoised", "noise", "score", "velocity"]

END = 1e-5  # how near to an end of a path a division is carried out


def convert(path: Path, x: Tensor, t: Tensor, value: Tensor, *, of: Kind, to: Kind) -> Tensor:
    """What ``value``, one ``of`` four things at x_t = ``x`` (batch, …) and ``t`` (batch,), says of
    another."""
    if of == to:
        return value
    if _divides(of, to) == "s":
        t = t.clamp(max=1 - END)
    elif _divides(of, to) == "alpha":
        t = t.clamp(min=END)
    alpha, s, dalpha, ds = (over(scale, x) for scale in path.total(t))
    if of == "velocity":
        wronskian = dalpha * s - ds * alpha
        if to == "denoised":
            return (s * value - ds * x) / wronskian
        noise = (dalpha * x - alpha * value) / wronskian
        return noise if to == "noise" else -noise / s
    if of == "denoised":
        denoised, noise = value, (x - alpha * value) / s
    else:
        noise = value if of == "noise" else -s * value
        if to in ("noise", "score"):
            return noise if to == "noise" else -noise / s
        denoised = (x - s * noise) / alpha
    match to:
        case "denoised":
            return denoised
        case "noise":
            return noise
        case "score":
            return -noise / s
        case _:
            return dalpha * denoised + ds * noise


def _divides(of: Kind, to: Kind) -> Literal["s", "alpha", ""]:
    """By which scale the way from one to the other divides."""
    if of == "denoised" or to == "score":
        return "s"
    if of in ("noise", "score") and to in ("denoised", "velocity"):
        return "alpha"
    return ""


def denoiser_of(path: Plain, velocity: Field) -> Field:
    """D(y, σ) at a noise level, y = x₁ + σ ε, that a velocity v(x, t) on ``path`` stands for: t is where the
    path's σ/α is the level, and x = α y. So samplers over levels serve flows."""

    def denoise(y: Tensor, sigma: Tensor) -> Tensor:
        t = path.time(torch.as_tensor(sigma, dtype=y.dtype, device=y.device)).expand(y.shape[:1])
        x = over(path.scales(t).alpha, y) * y
        return convert(path, x, t, velocity(x, t), of="velocity", to="denoised")

    return denoise


def velocity_of(path: Plain, denoise: Field) -> Field:
    """v(x, t) on ``path`` that a denoiser D(y, σ) over noise levels stands for."""

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        t = torch.as_tensor(t, dtype=x.dtype, device=x.device).expand(x.shape[:1]).clamp(END, 1 - END)
        alpha, sigma, _ = path.scales(t)
        denoised = denoise(x / over(alpha, x), sigma / alpha)
        return convert(path, x, t, denoised, of="denoised", to="velocity")

    return velocity
