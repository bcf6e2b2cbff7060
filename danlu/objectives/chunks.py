"""How many positions' logits are there at once."""

from __future__ import annotations

from typing import Any

import torch.nn as nn

from danlu.models.ends import Ends
from danlu.nn.fused import META
from danlu.objectives.base import unwrapped

# Bytes of all logits in float32 from which on they are made in parts, by device. A pass has several of that
# size: logits, their logarithms of probabilities, and the gradients of both.
LARGE = {"cpu": 2**29, "cuda": 2**31}
PARTS = 8  # of these bytes, at the most in a part
FLOAT = 4


def positions_at_once(device: str, positions: int, vocabulary: int) -> int | None:
    """Of how many of ``positions`` the logits are made at once: parts of equal size, but the last; None: of
    all. By sizes and the kind of device alone, so that a run is the same on any machine of the kind. Making
    logits twice costs a matrix product, which is little where memory is what counts.

    >>> positions_at_once("cuda", 16 * 1024, 50304), positions_at_once("cuda", 8 * 1024, 50304)
    (1261, None)
    """
    device = META.get() if device == "meta" else device
    large = LARGE.get(device, LARGE["cpu"])
    if positions * vocabulary * FLOAT <= large:
        return None
    most = max(1, large // PARTS // (vocabulary * FLOAT))
    parts = -(-positions // most)
    return -(-positions // parts)


def can_be_read_in_parts(model: nn.Module) -> bool:
    """Whether it is one of danlu's models of text, and nobody looks at what it returns."""
    network: Any = unwrapped(model)
    one = isinstance(network, Ends) and getattr(model, "members", None) is None
    return one and network.reads_singly and not network._forward_hooks
