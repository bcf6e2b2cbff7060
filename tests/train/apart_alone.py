"""Updates of workers that train apart, in float64 and beside a trainer; alone or under torchrun. argv: the
folder, which gets the global weights and what the processes gave one another; the updates; the words."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors.torch import save_file

from danlu import data
from danlu.objectives import Objective
from danlu.spec import resolve
from danlu.spec.experiment import Experiment
from danlu.train.apart import updates
from danlu.train.assemble import assemble, objective_of
from danlu.train.parallel import ALONE, Processes, processes
from danlu.train.state import seed_of
from danlu.train.update import Update


def as_said(experiment: Experiment, objective: Objective) -> Update:
    """The updates of ``experiment`` in float32."""
    return updates(assemble(experiment, objective))


def exactly(experiment: Experiment, objective: Objective | None = None, group: Processes = ALONE) -> Update:
    """The updates of ``experiment`` in float64."""
    objective = objective or objective_of(experiment, data.prepare(experiment.data))
    made = assemble(experiment, objective, group=group)
    made.model.double()
    made.model.compute = torch.float64
    return updates(made)


def train_(update: Update, steps: int) -> list[tuple[float, float]]:
    """So many updates at the peak rate, with the random numbers that a trainer gives them; loss and norm of
    each."""
    train, seen = update.made.experiment.train, []
    for step in range(steps):
        torch.manual_seed(seed_of(train.seed, step, 0))
        read = update.gradients(step, step * train.batch, train.batch)
        update.apply(step, read)
        update.clear()
        seen.append((read.loss, read.norm))
    return seen


def go(update: Update, steps: int) -> None:
    """So many updates, the last rounds ended."""
    train_(update, steps)
    if finish := getattr(update, "finish", None):
        finish(steps)
    update.gather()


def weights(update: Update) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in update.named}


def main(folder: Path, steps: int, words: list[str]) -> None:
    given: dict[str, int] = {}  # bytes by kind, of tensors longer than what is said of loss and norm

    def count(kind: str, tensor: torch.Tensor) -> None:
        if tensor.numel() > 2:
            given[kind] = given.get(kind, 0) + tensor.nbytes

    sum_up, talk = dist.all_reduce, dist.batch_isend_irecv

    def all_reduce(tensor: torch.Tensor, *args: Any, **more: Any) -> Any:
        count("all_reduce", tensor)
        return sum_up(tensor, *args, **more)

    def batch_isend_irecv(ops: list[Any]) -> Any:
        for op in ops:
            if op.op is dist.isend:
                count("isend", op.tensor)
        return talk(ops)

    dist.all_reduce, dist.batch_isend_irecv = all_reduce, batch_isend_irecv
    with processes(torch.device("cpu")) as group:
        update = exactly(resolve(words), group=group)
        train_(update, steps)
        inside = dict(given)  # without what ends with the run
        finish = getattr(update, "finish", None)
        assert finish is not None
        finish(steps)
        update.gather()
        if group.first:
            save_file(weights(update), folder / "weights.safetensors")
            (folder / "given.json").write_text(json.dumps(inside))
        group.wait()


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
