"""Positions that act on the scores of attention: a number added to each, by the distance i − j.

All have ``bias(q, keys, offset, causal)``: for queries ``q`` (batch, heads, T, head size), of which the i-th
stands at position offset + i, and keys at positions 0 … keys − 1, the numbers to be added to scale · q·k, in
the type of ``q``, of shape (heads, T, keys), or (batch, heads, T, keys) where they depend on ``q`` or are of
several members (``danlu.nn.stacked``). What a mask hides is not theirs to hide. Parameters are float32. Where
the distance alone decides, ``numbers`` has what ``bias`` spreads over the pairs: (heads, T + keys − 1), of
members (K, heads, T + keys − 1), float32, in the order of ``distances``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import ClassVar

import torch
import torch.nn as nn

from danlu import spec
from danlu.nn.contracts import ScorePosition
from danlu.nn.kept import kept
from danlu.nn.registry import builds
from danlu.nn.stacked import beside, linear

SMALLEST = 0.01  # of KERPLE's parameters, as in the paper's code


def distances(queries: int, keys: int, offset: int, device: torch.device) -> torch.Tensor:
    """Every distance i − j that occurs, falling: offset + queries − 1 … offset − keys + 1."""
    return torch.arange(offset + queries - 1, offset - keys, -1, device=device)


def spread(numbers: torch.Tensor, queries: int, keys: int) -> torch.Tensor:
    """Numbers by distance (…, queries + keys − 1), in the order of ``distances``, to every pair of positions:
    (…, queries, keys). So a function of the distance is computed once for each, not for each pair."""
    return numbers.unfold(-1, keys, 1).flip(-2)


def alibi(distance: torch.Tensor, heads: int, scale: float = 1.0) -> torch.Tensor:
    """−scale·m·|i − j| with the slopes m of ``ALiBi``: distances (n,) → (heads, n), float32."""
    full = 2 ** math.ceil(math.log2(heads))
    slopes = [2 ** (-8 * h / full) for h in range(1, full + 1)]
    if full > heads:
        slopes = (slopes[1::2] + slopes[0::2])[:heads]
    return -scale * torch.tensor(slopes, device=distance.device)[:, None] * distance.abs()


def sandwich(distance: torch.Tensor, heads: int, size: int, weight: float) -> torch.Tensor:
    """λ_h Σ (cos(distance · ω) − 1) of ``Sandwich``: distances (n,) → (heads, n), float32."""
    index = torch.arange(0, size, 2, dtype=torch.float32, device=distance.device)
    product = (torch.cos(distance[:, None] / 10000.0 ** (index / size)) - 1).sum(-1)
    head = torch.arange(1, heads + 1, device=distance.device)
    return (weight * heads / (8 * head))[:, None] * product


@kept
def _numbers(
    of: Callable[..., torch.Tensor],
    settings: tuple[float, ...],
    queries: int,
    keys: int,
    offset: int,
    device: torch.device,
) -> torch.Tensor:
    return of(distances(queries, keys, offset, device), *settings)


@kept
def _made(
    of: Callable[..., torch.Tensor],
    settings: tuple[float, ...],
    queries: int,
    keys: int,
    offset: int,
    dtype: torch.dtype,
    device: torch.device,
) -> torch.Tensor:
    return spread(_numbers(of, settings, queries, keys, offset, device).to(dtype), queries, keys)


class ByDistance(ScorePosition):
    """A number for each head and distance."""

    def numbers(self, q: torch.Tensor, keys: int, offset: int = 0, causal: bool = True) -> torch.Tensor:
        """(heads, T + keys − 1)."""
        raise NotImplementedError

    def bias(self, q: torch.Tensor, keys: int, offset: int = 0, causal: bool = True) -> torch.Tensor:
        """(heads, T, keys)."""
        return beside(spread(self.numbers(q, keys, offset, causal).to(q.dtype), q.shape[-2], keys), q, 3)


class Fixed(ByDistance):
    """Numbers without parameters, ``of(distances, *settings)``: spread once for all layers."""

    of: ClassVar[Callable[..., torch.Tensor]]
    settings: tuple[float, ...]

    def numbers(self, q: torch.Tensor, keys: int, offset: int = 0, causal: bool = True) -> torch.Tensor:
        """(heads, T + keys − 1), the same in both directions."""
        return _numbers(type(self).of, self.settings, q.shape[-2], keys, offset, q.device)

    def bias(self, q: torch.Tensor, keys: int, offset: int = 0, causal: bool = True) -> torch.Tensor:
        """(heads, T, keys), the same in both directions."""
        return _made(type(self).of, self.settings, q.shape[-2], keys, offset, q.dtype, q.device)


@builds(spec.ALiBi)
class ALiBi(Fixed):
    """−scale·m·|i − j|, m = 2^(−8h/H) for head h = 1 … H (Press et al. 2022, arXiv:2108.12409, section 3).

    Where H is no power of two, every second slope of the next power comes first, and the slopes between
    them fill up (as in the authors' code, BLOOM and MPT). No parameters; ``head_size`` plays no part.
    """

    of = staticmethod(alibi)

    def __init__(self, heads: int, head_size: int, *, scale: float = 1.0) -> None:
        super().__init__()
        self.heads, self.scale = heads, scale
        self.settings = heads, scale


@builds(spec.Sandwich)
class Sandwich(Fixed):
    """λ_h (p_i·p_j − p_i·p_i) of the sinusoids p of ``size`` (Chi et al. 2023, arXiv:2212.10356, section 5).

    λ_h = weight · H/(8h) for head h = 1 … H. The product depends on the distance alone. What is taken off,
    size/2, changes no softmax; but it keeps softcaps and sinks, and low precision, at the scale of the other
    scores. No parameters; ``head_size`` plays no part.
    """

    of = staticmethod(sandwich)

    def __init__(self, heads: int, head_size: int, *, size: int = 128, weight: float = 1.0) -> None:
        super().__init__()
        self.heads, self.size, self.weight = heads, size, weight
        self.settings = heads, size, weight


@builds(spec.Kerple)
class Kerple(ByDistance):
    """A learned kernel of d = |i − j| for each head (Chi et al. 2022, arXiv:2205.09921, section 4.2).

    ``log``: −r₁ ln(1 + r₂ d), drawn r₁ ~ U(0, 2), r₂ ~ U(0, 1). ``power``: −r₁ d^r₂, drawn r₁ ~ U(0, 1),
    r₂ ~ U(0, 2), r₂ ≤ 2. All are at least 0.01, which keeps the kernel conditionally positive definite.
    """

    stackable = True

    def __init__(self, heads: int, head_size: int, *, form: str = "log") -> None:
        super().__init__()
        self.form = form
        first, second = (2.0, 1.0) if form == "log" else (1.0, 2.0)
        self.r1 = nn.Parameter(torch.rand(heads) * first)
        self.r2 = nn.Parameter(torch.rand(heads) * second)
        self.after_update()

    @torch.no_grad()
    def after_update(self) -> None:
        """Put the parameters back among the allowed ones: further out, they would get no gradient."""
        for parameter, allowed in zip((self.r1, self.r2), self._allowed(), strict=True):
            parameter.copy_(allowed)

    def _allowed(self) -> tuple[torch.Tensor, torch.Tensor]:
        highest = 2.0 if self.form == "power" else None
        return self.r1.clamp(min=SMALLEST), self.r2.clamp(SMALLEST, highest)

    def numbers(self, q: torch.Tensor, keys: int, offset: int = 0, causal: bool = True) -> torch.Tensor:
        """(heads, T + keys − 1), the same in both directions."""
        d = distances(q.shape[-2], keys, offset, q.device).abs()
        r1, r2 = (r[..., None] for r in self._allowed())
        if self.form == "log":
            return -r1 * torch.log1p(r2 * d)
        # 0^r₂ is 0, and not a power: its second derivative would be NaN
        return -r1 * (d.clamp(min=1) ** r2).masked_fill(d == 0, 0)


@builds(spec.T5Buckets)
class T5Buckets(ByDistance):
    """A learned number for each head and bucket of distances (Raffel et al. 2020, arXiv:1910.10683, section
    2.1): (heads, buckets), drawn with variance 1/(heads · head_size), as T5's.

    Causally half of the ``buckets`` are exact and half logarithmic up to ``distance``, beyond which all are
    one. Otherwise half of the buckets serve each direction, in the same way. That one such module serves all
    layers if ``shared`` is the model's doing.
    """

    stackable = True
    parameter_roles: ClassVar[dict[str, str]] = {"table": "embedding"}

    def __init__(
        self, heads: int, head_size: int, *, buckets: int = 32, distance: int = 128, shared: bool = True
    ) -> None:
        super().__init__()
        self.buckets, self.distance, self.shared = buckets, distance, shared
        self.table = nn.Parameter(torch.randn(heads, buckets) * (heads * head_size) ** -0.5)

    def bucket(self, distance: torch.Tensor, causal: bool) -> torch.Tensor:
        """The bucket of each distance i − j (int64): causally those after the query share that of 0;
        otherwise the second half is theirs."""
        count = self.buckets if causal else self.buckets // 2
        exact, far = count // 2, distance.clamp(min=0) if causal else distance.abs()
        # In float32 and in this order, the edges of the buckets fall where T5's do.
        scale = torch.log(far.clamp(min=1).float() / exact) / math.log(self.distance / exact)
        logarithmic = exact + (scale * (count - exact)).long()
        bucket = torch.where(far < exact, far, logarithmic.clamp(max=count - 1))
        return bucket if causal else bucket + count * (distance < 0)

    def numbers(self, q: torch.Tensor, keys: int, offset: int = 0, causal: bool = True) -> torch.Tensor:
        """(heads, T + keys − 1)."""
        return self.table[..., self.bucket(distances(q.shape[-2], keys, offset, q.device), causal)]


@builds(spec.Relative)
class Relative(ScorePosition):
    """q_i·a_{j−i}/√head_size with a learned vector a for each relative position, clipped at ± ``distance``
    (Shaw et al. 2018, arXiv:1803.02155, eq. 4; keys only); the heads share the vectors."""

    stackable = True
    parameter_roles: ClassVar[dict[str, str]] = {"table": "embedding"}

    def __init__(self, heads: int, head_size: int, *, distance: int = 16) -> None:
        super().__init__()
        self.heads, self.size, self.distance = heads, head_size, distance
        self.table = nn.Parameter(nn.init.xavier_uniform_(torch.empty(2 * distance + 1, head_size)))

    def bias(self, q: torch.Tensor, keys: int, offset: int = 0, causal: bool = True) -> torch.Tensor:
        """(batch, heads, T, keys): each query times every vector, then for each key the one of its place."""
        i = torch.arange(q.shape[-2], device=q.device)[:, None] + offset
        place = (torch.arange(keys, device=q.device) - i).clamp(-self.distance, self.distance) + self.distance
        products = linear(q * self.size**-0.5, self.table.to(q.dtype))
        return products.gather(-1, place.expand(*q.shape[:-2], -1, -1))

    def flops(self, batch: int, length: int) -> int:
        """FLOPs of the queries times the vectors."""
        return 2 * batch * self.heads * length * self.size * (2 * self.distance + 1)
