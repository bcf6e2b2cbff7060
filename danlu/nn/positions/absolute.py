"""Absolute positions: a vector for each, added to the embedding."""

from __future__ import annotations

import torch
import torch.nn as nn

from danlu import spec
from danlu.nn.contracts import EmbeddingPosition
from danlu.nn.kept import lasting
from danlu.nn.registry import builds


@builds(spec.Learned)
class Learned(nn.Embedding, EmbeddingPosition):
    """A learned vector for each of ``length`` positions, by default ``context`` (Radford et al. 2019).

    The table has ``offset`` rows more, which stand unused before the first position (OPT: 2).
    """

    stackable = True

    def __init__(self, width: int, context: int, *, length: int | None = None, offset: int = 0) -> None:
        super().__init__((length or context) + offset, width)
        self.length, self.offset = length or context, offset

    def at(self, start: int, count: int) -> torch.Tensor:
        """The vectors of positions start … start + count − 1, shape (count, width), of members (K, count,
        width), in the weight's type. Raises ValueError beyond ``length``."""
        if start + count > self.length:
            raise ValueError(f"position {start + count - 1} is beyond the {self.length} learned ones")
        return self.weight[..., self.offset + start : self.offset + start + count, :]


@builds(spec.Sinusoidal)
class Sinusoidal(EmbeddingPosition):
    """sin(t/base^(2i/width)) and cos of the same for position t (Vaswani et al. 2017, arXiv:1706.03762,
    section 3.5), in pairs (``interleaved``) or all sines first (``half``), times ``scale``.

    The table is computed once for ``context`` positions, and anew for more when they are asked for.
    """

    stackable = True
    table: torch.Tensor

    def __init__(
        self,
        width: int,
        context: int,
        *,
        base: float = 10000.0,
        layout: str = "interleaved",
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.width, self.base, self.layout, self.scale = width, base, layout, scale
        self.register_buffer("table", self.vectors(torch.arange(context)), persistent=False)

    def vectors(self, positions: torch.Tensor) -> torch.Tensor:
        """The vectors of ``positions`` (T,), float32, shape (T, width); an odd width has a sine more."""
        exponents = torch.arange(0, self.width, 2, dtype=torch.float32, device=positions.device) / self.width
        angles = positions.float()[:, None] / self.base**exponents
        sin, cos = angles.sin(), angles.cos()[:, : self.width // 2]
        if self.layout == "half":
            return torch.cat((sin, cos), dim=-1) * self.scale
        vectors = angles.new_empty(len(positions), self.width)
        vectors[:, 0::2], vectors[:, 1::2] = sin, cos
        return vectors * self.scale

    def at(self, start: int, count: int) -> torch.Tensor:
        """The vectors of positions start … start + count − 1, shape (count, width)."""
        if start + count > len(self.table):
            self._extend(max(start + count, 2 * len(self.table)))
        return self.table[start : start + count]

    def _extend(self, length: int) -> None:
        with lasting():
            self.table = self.vectors(torch.arange(length, device=self.table.device)).to(self.table.dtype)
