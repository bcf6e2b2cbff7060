"""One part of every family, as a user would write them."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field

import danlu


@danlu.part("norm", "dyt", source="Zhu et al. 2025")
class DyT(torch.nn.Module):
    """y = gain · tanh(alpha x)."""

    def __init__(self, width: int, *, alpha: Annotated[float, Field(gt=0)] = 0.5) -> None:
        super().__init__()
        self.alpha = torch.nn.Parameter(torch.full((1,), alpha))
        self.gain = torch.nn.Parameter(torch.ones(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.gain * torch.tanh(self.alpha * x)


@danlu.part("activation", "snake", source="Liu et al. 2020")
def snake(x: torch.Tensor, *, a: float = 1.0) -> torch.Tensor:
    """x + sin²(ax)/a."""
    return x + torch.sin(a * x) ** 2 / a


@danlu.part("activation", "plain-mish")
class Mish(torch.nn.Module):
    """x · tanh(ln(1 + e^x))."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.tanh(torch.nn.functional.softplus(x))


@danlu.part("mixer", "mean")
class Mean(torch.nn.Module):
    """A map of the mean of all positions so far."""

    def __init__(self, width: int, bias: bool = False) -> None:
        super().__init__()
        self.out = danlu.nn.Linear(width, width, bias=bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        count = torch.arange(1, x.shape[1] + 1, device=x.device, dtype=x.dtype)
        return self.out(x.cumsum(1) / count[:, None])


@danlu.part("feed_forward", "low-rank")
class LowRank(torch.nn.Module):
    """W₂ gelu(W₁ x) through a narrow waist."""

    def __init__(self, width: int, *, rank: int = 8, form: Literal["gelu", "relu"] = "gelu") -> None:
        super().__init__()
        self.down = torch.nn.Linear(width, rank)
        self.out = torch.nn.Linear(rank, width)
        self.act = getattr(torch.nn.functional, form)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.act(self.down(x)))


@danlu.part("position", "decay")
class Decay(torch.nn.Module):
    """−slope · |distance| on every score."""

    acts_on = "scores"

    def __init__(self, heads: int, *, slope: float = 0.1) -> None:
        super().__init__()
        self.slopes = torch.nn.Parameter(torch.full((heads,), slope))

    def bias(self, q: torch.Tensor, keys: int, offset: int = 0, causal: bool = True) -> torch.Tensor:
        i = torch.arange(offset, offset + q.shape[2], device=q.device)
        distance = (i[:, None] - torch.arange(keys, device=q.device)).abs()
        return -self.slopes[:, None, None] * distance


@danlu.part("residual", "half")
class Half(torch.nn.Module):
    """(x + f(x)) / √2."""

    def forward(self, x: torch.Tensor, branch: torch.Tensor) -> torch.Tensor:
        return (x + branch) / math.sqrt(2)


@danlu.part("optimizer", "heavy-ball")
class HeavyBall(danlu.optim.Rule):
    """Momentum without decay of the gradient's share."""

    def __init__(self, params, lr: float = 0.05, momentum: float = 0.9, weight_decay: float = 0.0) -> None:  # type: ignore[no-untyped-def]
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    def new_state(self, p: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"velocity": self.zeros(p)}

    def update(self, group: dict, params: list[torch.Tensor]) -> None:  # type: ignore[type-arg]
        for p in params:
            velocity = self.state[p]["velocity"]
            velocity.mul_(group["momentum"]).add_(p.grad, alpha=group["lr"])
            p.mul_(1 - group["lr"] * group["weight_decay"]).sub_(velocity)


@danlu.part("optimizer", "sign-momentum")
class SignMomentum(torch.optim.Optimizer):
    """An ordinary optimizer of PyTorch's kind: the sign of the momentum."""

    def __init__(self, params: Any, *, lr: float = 1e-3, betas: tuple[float, ...] = (0.9,)) -> None:
        super().__init__(params, {"lr": lr, "betas": betas})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    m = self.state[p].setdefault("m", torch.zeros_like(p))
                    m.lerp_(p.grad, 1 - group["betas"][0])
                    p.sub_(m.sign(), alpha=group["lr"])


@danlu.part("schedule", "saw")
def saw(now: danlu.optim.Progress, *, teeth: int = 4) -> float:
    """Falls from 1 to ½ again and again."""
    return 1 - 0.5 * (now.progress * teeth % 1)


@danlu.part("objective", "focal", source="Lin et al. 2017")
class Focal(danlu.objectives.Causal):
    """The next token, those that are hard weighed more: −(1 − p)^gamma · ln p."""

    def __init__(self, source: Any, *, gamma: float = 1.0) -> None:
        super().__init__(source)
        self.gamma = gamma

    def loss(self, model: torch.nn.Module, example: Any) -> danlu.objectives.Losses:
        if not model.training:
            return super().loss(model, example)
        logits, targets = self.logits(model, example).flatten(0, 1), example["targets"].flatten()
        nats = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
        return danlu.objectives.Losses(((1 - (-nats).exp()) ** self.gamma * nats).sum())


@danlu.part("data", "stripes")
class Stripes:
    """Images of 8 × 8 pixels with stripes one way or the other, and noise."""

    like, unit, shape, classes = "digits", "image", (1, 8, 8), 2

    def __init__(self, *, noise: float = 0.3, count: int = 64) -> None:
        draw = np.random.default_rng(0)
        classes = draw.integers(2, size=count)
        stripes = np.broadcast_to(np.arange(8) % 2, (count, 1, 8, 8)).astype(np.float32)
        images = np.where(classes[:, None, None, None] == 1, stripes.swapaxes(2, 3), stripes)
        images = (images + noise * draw.standard_normal(images.shape)).clip(0, 1)
        self.train = images[16:].astype(np.float32), classes[16:]
        self.held_out = images[:16].astype(np.float32), classes[:16]

    def rows(self, seed: int, step: int, first: int, start: int, stop: int) -> tuple[Any, Any]:
        """The examples of a batch: a function of the seed and their places alone."""
        order = np.random.default_rng(seed % 2**63).permutation(len(self.train[0]))
        chosen = order[(first + np.arange(start, stop)) % len(order)]
        return self.train[0][chosen], self.train[1][chosen]
