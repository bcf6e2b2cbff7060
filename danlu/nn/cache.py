"""Keys and values of the positions already seen."""

from __future__ import annotations

import torch


class KVCache:
    """Keys and values of one attention layer, filled from the left.

    Holds at most ``length`` positions of ``heads`` heads of ``size`` numbers for ``batch`` sequences.
    """

    def __init__(self, batch: int, heads: int, length: int, size: int) -> None:
        self.shape = (batch, heads, length, size)
        self.length = 0
        self._keys: torch.Tensor | None = None
        self._values: torch.Tensor | None = None

    def append(self, k: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Add (batch, heads, new, size) keys and values; return those of all positions so far.

        Raises ValueError when the new positions do not fit.
        """
        if self._keys is None or self._values is None:
            self._keys, self._values = k.new_empty(self.shape), v.new_empty(self.shape)
        stop = self.length + k.shape[2]
        if stop > self.shape[2]:
            raise ValueError(f"the cache holds {self.shape[2]} positions; {stop} were asked for")
        self._keys[:, :, self.length : stop] = k
        self._values[:, :, self.length : stop] = v
        self.length = stop
        return self._keys[:, :, :stop], self._values[:, :, :stop]

    @property
    def bytes(self) -> int:
        """Bytes held by keys and values."""
        held = [t for t in (self._keys, self._values) if t is not None]
        return sum(t.numel() * t.element_size() for t in held)
