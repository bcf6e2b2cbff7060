"""Loss and gradient norm of an update, on their way from the device to the host."""

from __future__ import annotations

from functools import cached_property

import torch


class Reading:
    """``loss`` of an update, by term, and the ``norm`` of its gradients before clipping: floats. The first
    look at either waits for the device; what it computes after them need not be done.

    ``pair``: float64 (2,), on the device: the loss times ``terms`` and the norm times ``scale``.
    """

    def __init__(self, pair: torch.Tensor, terms: int = 1, scale: float = 1.0) -> None:
        self.pair, self._terms, self._scale = pair, terms, scale
        self._copy = pair.to("cpu", non_blocking=True)  # from a GPU into pinned memory
        self._copied = torch.cuda.Event() if pair.is_cuda else None
        if self._copied is not None:
            self._copied.record()

    @cached_property
    def _values(self) -> tuple[float, float]:
        if self._copied is not None:
            self._copied.synchronize()
        total, length = self._copy.tolist()
        return total / self._terms, length / self._scale

    @property
    def loss(self) -> float:
        return self._values[0]

    @property
    def norm(self) -> float:
        return self._values[1]
