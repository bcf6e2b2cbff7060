"""From scores to attention weights: softmax and what lets a head attend to nothing."""

from __future__ import annotations

import torch
import torch.nn as nn

from danlu import spec
from danlu.nn.registry import builds
from danlu.nn.stacked import each


def softmax_with_sink(scores: torch.Tensor, sink: torch.Tensor) -> torch.Tensor:
    """e^s / (e^b + Σe^s): softmax over the scores (…, S) and one more, ``sink`` (broadcast to (…, 1)), that
    has no value. Equal to softmax(s) · σ(ln Σe^s − b)."""
    sink = sink.to(scores.dtype).expand(*scores.shape[:-1], 1)
    return torch.cat((scores, sink), dim=-1).softmax(dim=-1)[..., :-1]


@builds(spec.SoftmaxOne)
class SoftmaxOne(nn.Module):
    """e^s / (1 + Σe^s) (Miller 2023): as if a key and value of zeros were there. Shapes: (B, heads, T, S),
    −∞ where hidden → the same."""

    def __init__(self, heads: int) -> None:
        super().__init__()

    def sink(self, like: torch.Tensor) -> torch.Tensor:
        """The b that stands for it, (1,), on the device of ``like``."""
        return torch.zeros(1, device=like.device)

    def forward(self, scores: torch.Tensor) -> torch.Tensor:
        return softmax_with_sink(scores, self.sink(scores))


@builds(spec.Sinks)
class Sinks(nn.Module):
    """e^s / (e^b + Σe^s), b learned for each head and 0 at the start (GPT-OSS). Shapes as ``SoftmaxOne``."""

    stackable = True

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.sinks = nn.Parameter(torch.zeros(heads))

    def sink(self, like: torch.Tensor) -> torch.Tensor:
        """b, (heads,)."""
        return self.sinks

    def forward(self, scores: torch.Tensor) -> torch.Tensor:
        return each(softmax_with_sink, self.sinks[..., None, None], 3, scores)


@builds(spec.Clipped)
class Clipped(nn.Module):
    """clip((ζ − γ) · softmax + γ, 0, 1) with γ = −α/n over the n visible keys of a query (Bondarenko et al.
    2023, eq. 4, there with n fixed). Shapes as ``SoftmaxOne``."""

    def __init__(self, heads: int, *, alpha: float = 3.2, zeta: float = 1.0) -> None:
        super().__init__()
        self.alpha, self.zeta = alpha, zeta

    def forward(self, scores: torch.Tensor) -> torch.Tensor:
        seen = (scores > float("-inf")).sum(dim=-1, keepdim=True).to(scores.dtype)
        gamma = -self.alpha / seen  # one key at least is visible: a position sees itself
        return ((self.zeta - gamma) * scores.softmax(dim=-1) + gamma).clamp(0, 1)


@builds(spec.ReLUWeights)
class ReLUWeights(nn.Module):
    """max(s, 0)/n over the n visible keys of a query (Wortsman et al. 2023, section 3, there with n fixed).
    Shapes as ``SoftmaxOne``."""

    def __init__(self, heads: int) -> None:
        super().__init__()

    def forward(self, scores: torch.Tensor) -> torch.Tensor:
        seen = (scores > float("-inf")).sum(dim=-1, keepdim=True).to(scores.dtype)
        return scores.relu() / seen
