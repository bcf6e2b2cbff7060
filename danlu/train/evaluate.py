"""Metrics on held-out examples."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn as nn

from danlu import spec
from danlu.nn import counting, tell_rows
from danlu.objectives import HeldOut, Objective
from danlu.train.divide import own_positions
from danlu.train.parallel import Processes
from danlu.train.update import to_device

EVALUATION_UNITS = 4096  # tokens or images in one pass, where no gradients need memory

Score = Callable[[Any, Any], dict[str, torch.Tensor]]


class Stopped(Exception):
    """A signal came during the evaluation; nothing was recorded."""


def evaluation_rows(
    experiment: spec.Experiment, objective: Objective, processes: int = 1, members: int = 1
) -> int:
    """Examples in one pass of an evaluation, of each of so many ``members``: at least as many as in a pass of
    training."""
    train = experiment.train
    return max(train.microbatch or train.batch // processes, EVALUATION_UNITS // (objective.size * members))


@torch.no_grad()
def evaluate(
    model: nn.Module,
    objective: Objective,
    held_out: HeldOut,
    group: Processes,
    *,
    rows: int,
    stop: Callable[[], bool] = lambda: False,
    score: Score | None = None,
    padded: bool = False,
) -> dict[str, float]:
    """The metrics of ``model`` on ``held_out``, ``rows`` examples at a time, shared among the processes.

    What is random in an example depends on its place alone. ``score``: in place of the objective's own.
    ``padded``: every pass has ``rows`` rows, of which some may count for nothing. Raises ``Stopped`` when
    ``stop()`` turns true between two passes, those of its judgement too, such as of a sampler; with several
    processes it is only asked between evaluations.
    """

    def ask(*_: Any) -> None:
        if group.count == 1 and stop():
            raise Stopped

    training, score = model.training, score or objective.score
    model.eval()
    counted = counting(model)
    for module in counted:
        module.forget()
    judged: dict[str, float] = {}
    sums: dict[str, torch.Tensor] = {}
    try:
        # Every process makes as many passes as the others: sharded weights are gathered together.
        data = group.data
        for start in range(0, held_out.count, rows * data.count):
            ask()
            places = range(start, min(start + rows * data.count, held_out.count))[data.rank :: data.count]
            mine = own_positions(held_out.example(places, rows if padded else None), objective, group)
            example = to_device(mine, group.device)
            tell_rows(model, "row_weights", partial(_weights, len(places), example))
            tell_rows(model, "row_places", partial(_places, places, example))
            for name, value in score(model, example).items():
                sums[name] = sums[name] + value.double() if name in sums else value.double()
        for module in counted:
            judged |= module.told(group.sum_of_rows)
        hook = model.register_forward_pre_hook(ask)
        try:
            judged |= objective.judge(model)
        finally:
            hook.remove()
    finally:
        model.train(training)
    totals = group.sum_of_rows(torch.stack(list(sums.values()))).tolist()
    return {**objective.measure(dict(zip(sums, totals, strict=True))), **judged}


def _places(places: range, example: dict[str, torch.Tensor]) -> torch.Tensor:
    """Where the rows of the example stand in the held-out set; of those that only fill it the first: (rows,)
    int64."""
    some = next(iter(example.values()))
    stands = torch.zeros(len(some), dtype=torch.int64)
    stands[: len(places)] = torch.tensor(places, dtype=torch.int64)
    return stands.to(some.device)


def _weights(count: int, example: dict[str, torch.Tensor]) -> torch.Tensor:
    """1 of the first ``count`` rows of the example, 0 of those that only fill it: (rows,)."""
    some = next(iter(example.values()))
    return (torch.arange(len(some), device=some.device) < count).float()
