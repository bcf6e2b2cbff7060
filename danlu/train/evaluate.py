"""The metric: bits per byte on held-out text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn as nn

from danlu.tasks import bits_per_byte, loss_sum
from danlu.train.parallel import Processes

Window = tuple[np.ndarray, np.ndarray, np.ndarray]


class Score(NamedTuple):
    """What held-out text costs: bits a byte, nats a token."""

    bits_per_byte: float
    loss: float


class Stopped(Exception):
    """A signal came during the evaluation; nothing was recorded."""


@torch.no_grad()
def evaluate(
    model: nn.Module,
    windows: Sequence[Window],
    token_bytes: np.ndarray,
    group: Processes,
    *,
    rows: int,
    documents: Callable[[np.ndarray], torch.Tensor | None] = lambda inputs: None,
    stop: Callable[[], bool] = lambda: False,
) -> Score:
    """Score ``model`` on windows of held-out text, ``rows`` at a time, shared among the processes.

    Each window is (inputs, targets, mask), three arrays (context,); ``token_bytes`` (vocabulary,) gives the
    bytes of text that a token stands for. Raises ``Stopped`` when ``stop()`` turns true between two passes;
    with several processes it is only asked between evaluations.
    """
    training = model.training
    model.eval()
    nats = torch.zeros((), dtype=torch.float64)
    tokens = bytes_ = 0
    try:
        # Every process makes as many passes as the others: sharded weights are gathered together.
        for start in range(0, len(windows), rows * group.count):
            if group.count == 1 and stop():
                raise Stopped
            whole = windows[start : start + rows * group.count]
            mine = whole[group.rank :: group.count] or [_blank(whole[0])]
            inputs, targets, mask = (np.stack(part) for part in zip(*mine, strict=True))
            loss = loss_sum(
                model,
                torch.from_numpy(inputs).to(group.device),
                torch.from_numpy(targets).to(group.device),
                mask=torch.from_numpy(mask).to(group.device),
                documents=documents(inputs),
            )
            nats += loss.double().cpu()
            tokens += int(mask.sum())
            bytes_ += int(token_bytes[targets[mask]].sum())
    finally:
        model.train(training)
    sums = group.sum(torch.tensor([float(nats), tokens, bytes_], dtype=torch.float64, device=group.device))
    total, count, size = sums.tolist()
    return Score(bits_per_byte(total, int(size)), total / count)


def _blank(window: Window) -> Window:
    inputs, targets, mask = window
    return inputs, targets, np.zeros_like(mask)
