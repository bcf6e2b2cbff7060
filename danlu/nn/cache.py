"""What mixers keep of the positions already seen."""

from __future__ import annotations

from typing import ClassVar, Protocol

import torch


class Cache(Protocol):
    """What a mixer keeps of the positions already seen."""

    length: int  # positions seen

    @property
    def bytes(self) -> int:
        """Bytes held."""
        ...


class InputCache:
    """The inputs (batch, positions, width) of all positions seen: the cache of a mixer without one of its
    own, which then mixes all of them anew."""

    def __init__(self) -> None:
        self.length = 0
        self._held: torch.Tensor | None = None

    def append(self, x: torch.Tensor) -> torch.Tensor:
        """Add (batch, new, width); return those of all positions so far."""
        self._held = x if self._held is None else torch.cat((self._held, x), dim=1)
        self.length = self._held.shape[1]
        return self._held

    @property
    def bytes(self) -> int:
        """Bytes held."""
        return 0 if self._held is None else self._held.numel() * self._held.element_size()


class KVCache:
    """Keys and values of one attention layer, filled from the left.

    Holds at most ``length`` positions of ``heads`` heads for ``batch`` sequences, keys of ``size`` numbers
    and values of ``value_size`` (left out: the same); with a ``window`` no more than the next query sees.
    ``unturned``: whether keys are to come as they are before norms and positions.
    """

    unturned: ClassVar[bool] = False

    def __init__(
        self,
        batch: int,
        heads: int,
        length: int,
        size: int,
        value_size: int | None = None,
        window: int | None = None,
    ) -> None:
        self.shape = (batch, heads, min(length, window or length))
        self.sizes = (size, value_size or size)
        self.limit = length
        self.length = 0  # positions seen, those that a window has let go included
        self._keys: torch.Tensor | None = None
        self._values: torch.Tensor | None = None

    def append(self, k: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Add (batch, heads, new, size) keys and values; return those that the new positions may see, the
        new ones last.

        Raises ValueError when the new positions do not fit.
        """
        if self._keys is None or self._values is None:
            self._keys, self._values = (k.new_empty(*self.shape, size) for size in self.sizes)
        held, stop = min(self.length, self.shape[2]), self.length + k.shape[2]
        if stop > self.limit:
            raise ValueError(f"the cache holds {self.limit} positions; {stop} were asked for")
        self.length = stop
        if stop <= self.shape[2]:
            self._keys[:, :, held:stop] = k
            self._values[:, :, held:stop] = v
            return self._keys[:, :, :stop], self._values[:, :, :stop]
        keys, values = (
            torch.cat((old[:, :, :held], new), dim=2) for old, new in ((self._keys, k), (self._values, v))
        )
        self._keys.copy_(keys[:, :, -self.shape[2] :])
        self._values.copy_(values[:, :, -self.shape[2] :])
        return keys, values

    @property
    def bytes(self) -> int:
        """Bytes held by keys and values."""
        held = [t for t in (self._keys, self._values) if t is not None]
        return sum(t.numel() * t.element_size() for t in held)
