"""Rectified rotary positions: turned by the distance, but never by more than a window."""

from __future__ import annotations

import torch

from danlu import spec
from danlu.nn.contracts import ScorePosition
from danlu.nn.positions.rotary import Rotary, rotate
from danlu.nn.registry import builds


@builds(spec.ReRotary)
class ReRotary(ScorePosition):
    """Rotary positions of the distance min(i − j, ``window``) (Su 2023, ReRoPE, kexue.fm/archives/9708).

    Not the difference of two positions, so it can't be done to queries and keys one by one: near pairs
    are the product of both turned, far ones of the query turned by ``window`` and the key as it is. Keys
    are therefore cached unturned. Raises ValueError if ``head_size`` is odd.
    """

    def __init__(self, heads: int, head_size: int, *, base: float = 10000.0, window: int = 64) -> None:
        super().__init__()
        self.heads, self.size, self.window = heads, head_size, window
        self.rotary = Rotary(head_size, base=base)
        self.furthest = Rotary(head_size, base=base)  # apart, since each keeps its last table

    def products(self, q: torch.Tensor, k: torch.Tensor, offset: int = 0) -> torch.Tensor:
        """q·k of every pair, in place of q kᵀ: q (batch, heads, T, size) at positions offset …, k
        (batch, heads, keys, size) at 0 … → (batch, heads, T, keys)."""
        queries, keys = q.shape[-2], k.shape[-2]
        # Every query is far from the keys before `near`, none from those at `far` or after.
        near, far = max(0, offset - self.window + 1), min(keys, max(0, offset + queries - self.window))
        cos, sin = self.rotary.table(near, max(keys, offset + queries), q)
        turned = rotate(k[..., near:, :], cos[: keys - near], sin[: keys - near])
        own = slice(offset - near, offset - near + queries)
        close = rotate(q, cos[own], sin[own]) @ turned.transpose(-1, -2)
        if not far:
            return close
        flat = self._by_window(q) @ k[..., :far, :].transpose(-1, -2)
        i = torch.arange(offset, offset + queries, device=q.device)[:, None]
        distant = i - torch.arange(near, far, device=q.device) >= self.window
        mixed = torch.where(distant, flat[..., near:], close[..., : far - near])
        return torch.cat((flat[..., :near], mixed, close[..., far - near :]), dim=-1)

    def _by_window(self, q: torch.Tensor) -> torch.Tensor:
        """All queries turned by the window: as if each were the only one, at that position."""
        return self.furthest(q[..., None, :], self.window)[..., 0, :]

    def prepare(self, length: int, dtype: torch.dtype, device: torch.device) -> None:
        self.rotary.prepare(length, dtype, device)
        self.furthest.prepare(self.window + 1, dtype, device)

    def flops(self, batch: int, length: int) -> int:
        """FLOPs beyond those of q kᵀ: the far pairs' product."""
        return 2 * batch * self.heads * length * self.size * max(0, length - self.window)
