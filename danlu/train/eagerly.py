"""A pass without the compiler, so that a recording sees which functions a compiled one is made of."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn as nn


def run_eagerly(model: nn.Module, forward: Callable[[], object]) -> None:
    """``forward`` as Python, with nothing compiled; the model's buffers are left as they were."""
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    with torch.compiler.set_stance("force_eager"):
        forward()
    with torch.no_grad():
        for buffer, before in buffers:
            buffer.copy_(before)
