"""A run's updates again, from a checkpoint, in one process.

A batch is a function of (seed, step) and so is every random number of an update, so that a checkpoint from
before is all that it takes. Nothing in the run's folder changes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import torch

from danlu import data, parts
from danlu.files.json import read_object
from danlu.inspection.watching import Values, activations
from danlu.nn.kernels import kernel_choice
from danlu.objectives import Draw, HeldOut
from danlu.spec.words import resolve
from danlu.spikes.trace import Moment, Trace
from danlu.train import checkpoint, store
from danlu.train.assemble import assemble, objective_of
from danlu.train.callbacks import Checkpoint, Evaluate, Log, LookInside, Noise, Tensors
from danlu.train.choices import Choices
from danlu.train.clock import Clock
from danlu.train.errors import Diverged, RunError
from danlu.train.folder import RunFolder
from danlu.train.interrupt import Interrupt
from danlu.train.load import check_data
from danlu.train.machine import pick_device, pick_precision
from danlu.train.parallel import Processes
from danlu.train.reporter import Silent
from danlu.train.state import seed_of
from danlu.train.teacher import teach
from danlu.train.trainer import Trainer

WATCHING = Log, Evaluate, Checkpoint, LookInside, Noise  # callbacks that do not touch what trains
ROWS = 4  # of a batch, that are looked at inside
Told = Callable[[], None]


def _silent() -> None:
    pass


class State:
    """Where training stood: tensors of its own, and what else a checkpoint holds."""

    def __init__(self, tensors: Tensors, kept: dict[str, Any]) -> None:
        self.tensors, self.kept = tensors, kept

    @property
    def step(self) -> int:
        """After how many updates."""
        return int(self.kept["position"]["step"])


class Replay:
    """The run in ``folder``, ready to be repeated; a context. ``notes``: why what is repeated may not be
    equal to the last bit. Raises ``RunError`` where it is no run that was trained here, or its data changed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = RunFolder(folder)
        self.folder.check()
        if not self.folder.environment.is_file():
            raise RunError(f"{folder} holds no run that was trained here; danlu runs lists those there are")
        self.experiment = resolve([str(self.folder.experiment)])
        record = read_object(self.folder.environment, {"data": dict, "choices": Choices.shape()})
        self.choices = Choices.read(record["choices"])
        self.device = pick_device(self.experiment.train.device)
        source = data.prepare(self.experiment.data)
        check_data(self.folder, record["data"], source.record, self.experiment)
        self.objective = objective_of(self.experiment, source)
        teach(self.experiment, self.objective, Processes(0, 1, self.device))
        self.notes = list(filter(None, [parts.changed(self.experiment, folder)]))
        if self.choices.compile:
            self.notes.append("the run was compiled and is repeated eagerly: the last digits may differ")
        if self.experiment.train.seconds is not None:
            self.notes.append(
                "train.seconds bounds the run: its rates followed the clock and are repeated roughly"
            )
        self._kept = ExitStack()

    def __enter__(self) -> Self:
        self._kept.enter_context(kernel_choice(self.choices.attention))
        return self

    def __exit__(self, *_: object) -> None:
        self._kept.close()

    def before(self, step: int) -> list[int]:
        """The steps below ``step`` from which one can go, ascending: checkpoints, and 0, the initial weights,
        which follow from the seed."""
        return [0, *(one for one in store.list_steps(self.folder.path) if one < step)]

    def trainer(self, words: Sequence[str] = ()) -> Trainer:
        """A trainer of the run, at step 0, with the changes to optimizer and training that ``words`` say."""
        experiment, precision = self.experiment, self.choices.precision
        if words:
            experiment = resolve([str(self.folder.experiment), *words])
            if experiment.train.precision != self.experiment.train.precision:
                precision = pick_precision(experiment.train.precision, self.device)
        made = assemble(experiment, self.objective, precision, Processes(0, 1, self.device))
        choices = Choices(self.device.type, precision, False, self.choices.attention, 1.0)
        nothing = HeldOut(0, lambda places, rows: {})  # nothing is evaluated
        trainer = Trainer(made, nothing, Clock(), self.folder, Interrupt(), Silent(), choices)
        trainer.callbacks = [one for one in trainer.callbacks if not isinstance(one, WATCHING)]
        return trainer

    def state(self, step: int) -> State:
        """Of the checkpoint of ``step``, or of the beginning. Raises ``RunError`` for a damaged one."""
        if step == 0:
            return taken(self.trainer())
        state = State(*checkpoint.load(self.folder.path, step))
        if (count := state.kept.get("processes", 1)) > 1:
            said = f"{count} processes made the run and one repeats it: sums of another order, other dropout"
            self.notes += [said] * (said not in self.notes)
        return state

    def at(self, state: State, words: Sequence[str] = ()) -> Trainer:
        """A trainer that stands at ``state``, with the changes that ``words`` say."""
        trainer = self.trainer(words)
        put(trainer, state)
        if trainer.choices.precision == "float16" and trainer.update.scale.scale == 1:
            trainer.update.scale = type(trainer.update.scale).of("float16")
        elif trainer.choices.precision != "float16":
            trainer.update.scale = type(trainer.update.scale)()
        return trainer


def taken(trainer: Trainer) -> State:
    """A copy of where the trainer stands."""
    with trainer.averaged():
        copies = {
            group: {name: tensor.detach().clone() for name, tensor in named.items()}
            for group, named in trainer.tensors().items()
        }
    return State(copies, trainer.standing())


def put(trainer: Trainer, state: State) -> None:
    """Let the trainer stand at ``state``."""
    for rule in trainer.made.rules:
        rule.state.clear()
    copies = {
        group: {name: tensor.clone() for name, tensor in named.items()}
        for group, named in state.tensors.items()
    }
    trainer.stand(copies, state.kept, where=f"step {state.step}")


def go(trainer: Trainer, step: int, told: Told = _silent) -> list[Moment]:
    """Train on until ``step`` updates are made, or one diverges, which is then the last of those returned.
    ``told`` is called after each."""
    trace = Trace()
    trainer.callbacks.append(trace)
    try:
        while trainer.state.step < step:
            for callback in trainer.callbacks:
                callback.between_updates(trainer)
            trainer.step()
            told()
    except Diverged:
        trainer.unread.clear()
    finally:
        trainer.callbacks.remove(trace)
        trainer.update.clear()
    return trace.moments


def draw_of(trainer: Trainer, step: int, start: int, stop: int) -> Draw:
    """Rows ``start`` to ``stop`` of the batch of update ``step`` (from 1)."""
    first = round(trainer.plan.tokens_at(step - 1)) // trainer.objective.size
    return Draw(trainer.experiment.train.seed, step - 1, first, start, stop)


def rows_of(trainer: Trainer, step: int) -> int:
    """The examples of the batch of update ``step`` (from 1)."""
    plan, units = trainer.plan, round(trainer.plan.tokens_at(step - 1))
    progress = plan.progress(step - 1, units, trainer.state.seconds)
    return plan.batch(plan.at(step - 1, units, progress))


@torch.no_grad()
def loss_of(trainer: Trainer, step: int) -> float:
    """The loss by term, as training has it, of the batch of update ``step`` (from 1) where the trainer
    stands. What a forward pass itself changes (running statistics) is changed."""
    rows = rows_of(trainer, step)
    mine, micro = trainer.update.rows(rows)
    torch.manual_seed(seed_of(trainer.experiment.train.seed, step - 1, 0))
    return sum(_sum(trainer, step, start, start + micro) for start in mine[::micro]) / (
        rows * trainer.objective.count
    )


@torch.no_grad()
def row_losses(trainer: Trainer, step: int) -> list[float]:
    """The loss by term of each example of the batch of update ``step``; none where a term spans several."""
    if trainer.objective.group is not None:
        return []
    torch.manual_seed(seed_of(trainer.experiment.train.seed, step - 1, 0))
    count = trainer.objective.count
    return [_sum(trainer, step, row, row + 1) / count for row in range(rows_of(trainer, step))]


def _sum(trainer: Trainer, step: int, start: int, stop: int) -> float:
    example = trainer.update.example(draw_of(trainer, step, start, stop))
    return float(trainer.objective.loss(trainer.made.wrapped, example).total)


def inside(trainer: Trainer, step: int) -> Values:
    """What goes on in the network where the trainer stands, on the first rows of the batch of ``step``."""
    rows = min(ROWS, rows_of(trainer, step))
    example = trainer.update.example(draw_of(trainer, step, 0, rows))
    objective = trainer.objective
    return activations(
        trainer.model,
        lambda: objective.loss(trainer.model, example),
        logits=objective.output == "logits",
    )
