"""How far the loss rises in one step upwards."""

from __future__ import annotations

import torch

from danlu.curvature.products import Hessian, split


@torch.no_grad()
def ascent(function: Hessian, radius: float) -> float:
    """L(θ + ρ g/‖g‖) − L(θ), what sharpness-aware minimisation looks at (Foret et al. 2021, eq. 2), of which
    ½ρ² gᵀHg/gᵀg + ρ‖g‖ is the beginning. The parameters are as before afterwards; 0 where the gradient is."""
    with torch.enable_grad():
        slope = function.gradient()
    size = slope.norm()
    if size == 0:
        return 0.0
    before, start = function.value(), [p.clone() for p in function.parameters]
    try:
        for p, part in zip(
            function.parameters, split(slope * (radius / size), function.parameters), strict=True
        ):
            p.add_(part)
        return function.value() - before
    finally:
        for p, old in zip(function.parameters, start, strict=True):
            p.copy_(old)
