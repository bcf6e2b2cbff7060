"""How straight a flow's paths are: ∫E‖x₁ − x₀ − v(x_t, t)‖²dt on them (Liu et al. 2022)."""

from __future__ import annotations

import torch
from torch import Tensor

from danlu.flows.convert import Field
from danlu.flows.samplers import RungeKutta
from danlu.flows.shapes import rows, wide


@torch.no_grad()
def straightness(velocity: Field, noise: Tensor, steps: int = 50) -> Tensor:
    """For each row of ``noise`` (batch, …): (batch,), by ``steps`` of order 4 from t = 0 to 1.

    With ẋ = v it is ∫‖v‖²dt − ‖x₁ − x₀‖²; the integral by Simpson's rule over pairs of steps.
    """
    if steps < 2 or steps % 2:
        raise ValueError(f"steps = {steps}; allowed: an even number of 2 or more")

    def slope(x: Tensor, t: float) -> Tensor:
        return wide(velocity(x.to(noise.dtype), noise.new_full(noise.shape[:1], t)))

    times = [i / steps for i in range(steps + 1)]
    start = wide(noise)
    total = rows(slope(start, 0.0)).square().sum(1)
    for i, x in enumerate(RungeKutta().along(slope, start, times), start=1):
        weight = 1 if i == steps else 4 if i % 2 else 2
        total = total + weight * rows(slope(x, times[i])).square().sum(1)
    return total / (3 * steps) - rows(x - start).square().sum(1)
