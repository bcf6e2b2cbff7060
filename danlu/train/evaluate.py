"""The metric: bits per byte on held-out text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn as nn

from danlu.data import Dataset, held_out_windows
from danlu.objectives import IGNORED, Example, Objective, bits_per_byte, held_out_keys
from danlu.train.errors import RunError
from danlu.train.parallel import Processes

Window = tuple[np.ndarray, np.ndarray, np.ndarray]


class Score(NamedTuple):
    """What held-out text costs: bits a byte, nats a token."""

    bits_per_byte: float
    loss: float


class Stopped(Exception):
    """A signal came during the evaluation; nothing was recorded."""


def held_out(objective: Objective, dataset: Dataset, limit_tokens: int | None) -> list[Window]:
    """The windows of held-out text of which ``objective`` predicts something: (inputs, targets, mask), arrays
    (context,). Raises ``RunError`` if there is none."""
    windows = held_out_windows(dataset.held_out, objective.context, limit_tokens=limit_tokens)
    taken = [window for window in windows if objective.takes(window[2])]
    if not taken:
        raise RunError(
            f"nothing of the held-out text can be scored: it has {len(dataset.held_out)} tokens, of which "
            f"train.evaluate_tokens = {limit_tokens or 'none'} are read, and the objective needs more of one "
            f"window of {objective.context}; lower data.context or raise data.held_out"
        )
    return taken


@torch.no_grad()
def evaluate(
    model: nn.Module,
    objective: Objective,
    windows: Sequence[Window],
    group: Processes,
    *,
    rows: int,
    stop: Callable[[], bool] = lambda: False,
) -> Score:
    """Score ``model`` at ``objective`` on ``windows`` of held-out text, ``rows`` at a time, shared among the
    processes.

    What is random in a window depends on its place alone. Raises ``Stopped`` when ``stop()`` turns true
    between two passes; with several processes it is only asked between evaluations.
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
            places = range(start, min(start + rows * group.count, len(windows)))
            example = _example(objective, windows, places[group.rank :: group.count], spare=start)
            nats += _nats(model, objective, example, group.device)
            tokens += int((example["targets"] != IGNORED).sum())
            bytes_ += objective.bytes_of(example["targets"])
    finally:
        model.train(training)
    sums = group.sum(torch.tensor([float(nats), tokens, bytes_], dtype=torch.float64, device=group.device))
    total, count, size = sums.tolist()
    return Score(bits_per_byte(total, int(size)), total / count)


def _example(objective: Objective, windows: Sequence[Window], places: Sequence[int], spare: int) -> Example:
    """The windows at ``places``; where there are none, the one at ``spare`` with nothing to predict."""
    mine = places or [spare]
    inputs, targets, mask = (np.stack(part) for part in zip(*(windows[i] for i in mine), strict=True))
    example = objective.example(inputs, targets, held_out_keys(mine), mask)
    if not places:
        example["targets"] = np.full_like(example["targets"], IGNORED)
    return example


def _nats(model: nn.Module, objective: Objective, example: Example, device: torch.device) -> torch.Tensor:
    return objective.loss(model, to_device(example, device)).nats.double().cpu()


def to_device(example: Example, device: torch.device) -> dict[str, torch.Tensor]:
    """The example's arrays as tensors on ``device``."""
    return {name: torch.from_numpy(part).to(device, non_blocking=True) for name, part in example.items()}
