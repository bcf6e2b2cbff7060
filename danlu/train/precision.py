"""Loss scaling for float16, and the check that nothing non-finite reaches the weights."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from danlu.optim.base import local

GROW_AFTER = 2000  # good updates before the scale doubles (PyTorch's GradScaler)


class LossScale:
    """A power of two that lifts float16 gradients out of underflow (Micikevicius et al. 2018, §3.2).

    Halved and the update skipped when a gradient overflows; doubled after 2,000 good updates. In other
    precisions it stays 1. ``state()`` and ``LossScale(**state)`` carry it over a resume.
    """

    def __init__(self, scale: float = 1.0, good: int = 0) -> None:
        self.scale, self.good = scale, good

    @classmethod
    def of(cls, precision: str) -> LossScale:
        return cls(65536.0 if precision == "float16" else 1.0)

    def overflowed(self) -> None:
        """Halve. Raises FloatingPointError when the scale would fall below one: it is no overflow then."""
        if self.scale <= 1:
            raise FloatingPointError
        self.scale, self.good = self.scale / 2, 0

    def went_well(self, precision: str) -> None:
        if precision != "float16":
            return
        self.good += 1
        if self.good >= GROW_AFTER:
            self.scale, self.good = self.scale * 2, 0

    def state(self) -> dict[str, float]:
        return {"scale": self.scale, "good": self.good}


def total_norm(gradients: list[torch.Tensor]) -> torch.Tensor:
    """The Euclidean norm of all gradients together, a scalar on their device; over processes if sharded."""
    wide = torch.promote_types(gradients[0].dtype, torch.float32)  # a norm in bfloat16 would have eight bits
    norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients, 2, dtype=wide)))
    return norm.full_tensor() if hasattr(norm, "full_tensor") else norm


def clip_on_device(gradients: list[torch.Tensor], norm: torch.Tensor, clip: float) -> None:
    """Multiply by min(1, clip/(norm + 1e-6)) in place, ``norm`` being a float64 scalar on the device that the
    host doesn't wait for. Float32 gradients are those, bit for bit, that the factor as a float gives; in a
    shorter type the factor is rounded to it."""
    if gradients:
        factor = torch.full_like(norm, clip).div_(norm + 1e-6).clamp_(max=1.0)  # clip/norm would be a product
        torch._foreach_mul_([local(g) for g in gradients], factor.to(gradients[0].dtype))


def first_non_finite(named: Iterable[tuple[str, torch.Tensor]]) -> str | None:
    """A phrase on the first tensor that holds NaN or infinity: its name, what, how many, where."""
    for name, tensor in named:
        if hasattr(tensor, "full_tensor"):
            tensor = tensor.full_tensor()
        bad = ~torch.isfinite(tensor)
        count = int(bad.sum())
        if count:
            place = [int(i) for i in bad.nonzero()[0]]
            what = "NaN" if bool(torch.isnan(tensor).any()) else "infinite"
            return f"{name} is {what} at {count} of {tensor.numel()} places, the first at {place}"
    return None
