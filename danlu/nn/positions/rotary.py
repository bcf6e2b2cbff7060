"""Rotary positions: queries and keys turned, so that their product depends on the distance."""

from __future__ import annotations

from typing import Any

import torch

from danlu import spec
from danlu.nn.contracts import HeadPosition
from danlu.nn.derivatives import by_operators
from danlu.nn.kept import lasting
from danlu.nn.positions.scaling import frequencies
from danlu.nn.registry import build, builds


class _Rotate(torch.autograd.Function):
    """x · cos + swapped x · sin, with (−sin, sin) over the two halves: three passes over memory.

    The backward pass is the rotation by the opposite angle, so nothing but cos and sin is kept.
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(cos, sin)
        x = x.contiguous()
        both = torch.cat((-sin, sin), dim=-1)
        # Whole rows: operators on halves of a head are four times slower on a CPU (measured).
        return torch.addcmul(x * torch.cat((cos, cos), dim=-1), x.roll(x.shape[-1] // 2, -1), both)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        cos, sin = ctx.saved_tensors
        return _Rotate.apply(grads[0], cos, -sin), None, None


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Turn the pair (x_i, x_{i+d/2}) by the angle with the given cosine and sine.

    Shapes: ``x`` (…, positions, d); ``cos``, ``sin`` (positions, d/2) → (…, positions, d).
    """
    if by_operators(x):
        x1, x2 = x.chunk(2, dim=-1)
        return torch.cat((x1 * cos - x2 * sin, x2 * cos + x1 * sin), dim=-1)
    return _Rotate.apply(x, cos, sin)


@builds(spec.Rotary)
class Rotary(HeadPosition):
    """Rotary positions (Su et al. 2021, arXiv:2104.09864, eq. 34): pair i turns by position · base^(−2i/d).

    Args:
        size: of a head; even, unless only a fraction of it turns.
        base: of the frequencies.
        layout: ``half`` pairs i with i + d/2 (LLaMA, NeoX), ``interleaved`` 2i with 2i + 1 (GPT-J); the same
            up to a permutation of the dimensions of q and k.
        fraction: only the first d = ⌊size · fraction⌋ dimensions turn, rounded down to an even number
            (NeoX, GPT-J, Phi); that d is also the one in the angles.
        scaling: of the angles, for contexts longer than the one trained at.
    Raises ValueError where no pair is left to turn.

    >>> rotary, q, k = Rotary(8), torch.randn(1, 1, 1, 8), torch.randn(1, 1, 1, 8)
    >>> near, far = ((rotary(q, i) * rotary(k, i + 2)).sum() for i in (0, 500))
    >>> torch.allclose(near, far, atol=1e-4)  # the distance alone counts
    True
    """

    def __init__(
        self,
        size: int,
        *,
        base: float = 10000.0,
        layout: str = "half",
        fraction: float = 1.0,
        scaling: spec.Scaling | None = None,
    ) -> None:
        super().__init__()
        if fraction == 1 and size % 2:
            raise ValueError(f"size = {size}: rotary positions turn pairs, so a head's size must be even")
        self.size, self.base, self.layout = size, base, layout
        self.turned = int(size * fraction) // 2 * 2
        if not self.turned:
            raise ValueError(f"fraction = {fraction} of a head of {size} leaves no pair to turn")
        self.scaling = None if scaling is None else build(scaling)
        self._cache: tuple[Any, torch.Tensor, torch.Tensor] | None = None
        self._prepared: tuple[torch.Tensor, torch.Tensor] | None = None

    def angles(self, positions: torch.Tensor) -> torch.Tensor:
        """Angles in radians, float32: positions (T,) → (T, d/2) for the d dimensions that turn."""
        of = frequencies if self.scaling is None else self.scaling.frequencies
        return positions.float()[:, None] * of(self.base, self.turned, positions.device)

    def table(self, start: int, stop: int, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Cosines and sines (stop − start, d/2) in the type of ``like``; a scaling may multiply both by a
        factor. Taken from what was ``prepare``d, else made, and the last ones kept; but a compiled graph
        keeps none, for which it would be compiled anew."""
        if self._prepared is not None:
            cos, sin = self._prepared
            if stop <= len(cos) and cos.dtype == like.dtype and cos.device == like.device:
                whole = start == 0 and stop == len(cos)
                return (cos, sin) if whole else (cos[start:stop], sin[start:stop])
        if torch.compiler.is_compiling():
            return self._made(start, stop, like.dtype, like.device)
        key = (start, stop, like.dtype, like.device)
        if self._cache is None or self._cache[0] != key:
            with lasting():
                self._cache = (key, *self._made(*key))
        return self._cache[1], self._cache[2]

    def prepare(self, length: int, dtype: torch.dtype, device: torch.device) -> None:
        with lasting():
            self._prepared = self._made(0, length, dtype, device)

    def _made(
        self, start: int, stop: int, dtype: torch.dtype, device: torch.device
    ) -> tuple[torch.Tensor, torch.Tensor]:
        angles = self.angles(torch.arange(start, stop, device=device))
        cos, sin = angles.cos(), angles.sin()
        if self.scaling is not None:
            cos, sin = cos * self.scaling.amplitude, sin * self.scaling.amplitude
        return cos.to(dtype), sin.to(dtype)

    def forward(self, x: torch.Tensor, start: int = 0) -> torch.Tensor:
        """Rotate ``x`` (batch, heads, positions, size), whose first position is ``start``."""
        if self.turned < self.size:
            return torch.cat((self._turn(x[..., : self.turned], start), x[..., self.turned :]), dim=-1)
        return self._turn(x, start)

    def _turn(self, x: torch.Tensor, start: int) -> torch.Tensor:
        cos, sin = self.table(start, start + x.shape[-2], x)
        if self.layout == "half":
            return rotate(x, cos, sin)
        apart = torch.cat((x[..., 0::2], x[..., 1::2]), dim=-1)
        return rotate(apart, cos, sin).unflatten(-1, (2, -1)).transpose(-1, -2).flatten(-2)
