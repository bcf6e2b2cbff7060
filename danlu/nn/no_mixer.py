"""A block without a mixer."""

from __future__ import annotations

from typing import Any

import torch

from danlu import spec
from danlu.nn.context_parallel import ContextParallel
from danlu.nn.contracts import Mixer
from danlu.nn.linear import Linear
from danlu.nn.registry import builds


@builds(spec.NoMixer)
class NoMixer(Mixer):
    """Stands where a block has no mixer; the block leaves the branch out. It costs and keeps nothing."""

    def __init__(self, width: int, position: Any = None, *, bias: bool = False) -> None:
        super().__init__()

    def divide(self, over: ContextParallel) -> None:
        """Nothing is mixed, wherever positions lie."""

    def cache_bytes(self, length: int, element: int) -> int:
        return 0

    def value_path(self) -> list[torch.Tensor]:
        return []

    def readers(self) -> list[Linear]:
        return []

    def flops(self, batch: int, length: int) -> int:
        return 0
