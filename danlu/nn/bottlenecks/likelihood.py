"""What a decoder's mean is scored by: a Gaussian with one noise for all numbers."""

from __future__ import annotations

import math

import torch
import torch.nn as nn


class GaussianNoise(nn.Module):
    """ln N(x; mean, s²), summed over the last dimension: −½Σ((x − mean)²/s² + ln 2πs²).

    Args: ``deviation`` s at first; ``learned``: whether it is a parameter, ``log_deviation``, of one number.
    Shapes: x and mean (…, d) → (…), float32 or above.

    A fixed s is a second β: the squared error weighs 1/2s² beside the KL. A learned one goes to the root mean
    square of the error. Its value belongs in a report.
    """

    log_deviation: torch.Tensor

    def __init__(self, *, deviation: float = 1.0, learned: bool = False) -> None:
        super().__init__()
        self.deviation = deviation
        start = torch.empty(1)
        if learned:
            self.log_deviation = nn.Parameter(start)
        else:
            self.register_buffer("log_deviation", start)
        self.initialise_own()

    @torch.no_grad()
    def initialise_own(self) -> None:
        """s is ``deviation``."""
        self.log_deviation.fill_(math.log(self.deviation))

    def forward(self, x: torch.Tensor, mean: torch.Tensor) -> torch.Tensor:
        exact = torch.promote_types(mean.dtype, torch.float32)
        log_s = self.log_deviation.to(exact).squeeze(0)
        error = (x.to(exact) - mean.to(exact)).square().sum(-1)
        return -0.5 * error * torch.exp(-2 * log_s) - x.shape[-1] * (log_s + 0.5 * math.log(2 * math.pi))
