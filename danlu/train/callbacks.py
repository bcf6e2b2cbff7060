"""What is done around an update: looks inside, averages, rows of metrics, evaluation, checkpoints.

The trainer calls its callbacks in their order (``danlu.train.standard``) at each of the moments that
``Callback`` names. One that carries something over updates gives it in ``state`` and ``tensors``: it is part
of every checkpoint, and a resumed run goes on with it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from danlu.curvature import noise_from_norms
from danlu.inspection.weighing import part
from danlu.train.averages import WeightsAverage
from danlu.train.errors import RunError
from danlu.train.evaluate import evaluate, evaluation_rows
from danlu.train.folding import FOLDED
from danlu.train.internals import Look

if TYPE_CHECKING:
    from danlu.train.trainer import Trainer

PATIENCE = 10.0  # seconds of an evaluation without a word
Tensors = dict[str, dict[str, torch.Tensor]]


class Callback:
    """Base class: does nothing. ``name`` is the key of its state in a checkpoint.

    On a GPU updates are made before the host knows their loss: ``run.loss`` and ``run.update.norm`` wait for
    the device, and ``run.settle()`` waits for it and raises ``Diverged`` where they are not finite.
    """

    name: ClassVar[str] = ""
    protects: Collection[int] = ()  # steps whose checkpoints are not removed
    ends: ClassVar[bool] = True  # whether it may end the run: processes then agree after its hooks

    def before_update(self, run: Trainer) -> None:
        """``run.moment`` is that of the update; rates are set."""

    def after_gradients(self, run: Trainer) -> None:
        """Gradients are filled, not yet clipped; ``run.loss`` and ``run.update.norm`` are theirs. Who sets
        ``run.skip``, alike in all processes, leaves the update out: weights, moments and running averages
        stay."""

    def after_update(self, run: Trainer) -> None:
        """``run.applied`` says whether weights were updated; gradients are still there; ``run.state`` stands
        before the update."""

    def after_step(self, run: Trainer) -> None:
        """``run.state`` stands after the update."""

    def between_updates(self, run: Trainer) -> None:
        """Before the first update, between updates, after the last (``run.last``). May raise
        ``danlu.train.evaluate.Stopped`` when a signal asks to stop."""

    def after_evaluation(self, run: Trainer, metrics: Mapping[str, float]) -> None:
        """Held-out metrics by name have been measured."""

    def before_save(self, run: Trainer) -> None:
        """A checkpoint is about to be written; the weights are those to save."""

    def state(self) -> Any:
        """What must be kept besides tensors, as JSON; None: nothing."""
        return None

    def load_state(self, state: Any) -> None:
        """Take over what ``state`` gave."""

    def tensors(self) -> Tensors:
        """What must be kept, by file and name."""
        return {}

    def load_tensors(self, tensors: Mapping[str, Mapping[str, torch.Tensor]]) -> None:
        """Take over what ``tensors`` gave."""


class Quantize(Callback):
    """From a share of the run on, which ``train.quantize`` says: weights are rounded where they are used."""

    name = "quantize"

    def __init__(self, run: Trainer) -> None:
        self._model, self._on = run.model, False

    def between_updates(self, run: Trainer) -> None:
        if self._on:
            return
        from danlu.train.rounding import begin, begins

        progress = run.group.share(run.progress())
        if progress >= begins(run.experiment, run.plan.at(run.state.step, run.state.units, progress)):
            self._on = True
            begin(self._model)

    def state(self) -> bool:
        return self._on

    def load_state(self, state: bool) -> None:
        from danlu.train.rounding import activate

        self._on = state
        if state:
            activate(self._model)


class Precise(Callback):
    """``train.precise_bn``: evaluations, and what is loaded from a checkpoint, have statistics of batch norms
    that are measured anew by the weights as they are. Those of training are not touched."""

    name = "precise"

    def __init__(self, run: Trainer) -> None:
        from danlu.train.precise import statistics

        run.measured_anew = lambda: self._anew(run)
        self.kept = {name: tensor.clone() for name, tensor in statistics(run.model).items()}

    def before_save(self, run: Trainer) -> None:
        with run.average.in_place(), self._anew(run) as found:
            for name, tensor in found.items():
                self.kept[name].copy_(tensor)

    def _anew(self, run: Trainer) -> AbstractContextManager[dict[str, torch.Tensor]]:
        from danlu.train.precise import precisely, training_passes

        count = run.experiment.train.precise_bn
        assert count is not None
        model = run.model
        return precisely(
            model, training_passes(model, run.experiment, run.objective, count, run.group.device)
        )

    def state(self) -> bool:
        return True

    def tensors(self) -> Tensors:
        return {"precise": self.kept}


class LookInside(Callback):
    """Every ``train.internals_every`` updates: what goes on inside the network, of several workers that train
    apart in that of the first."""

    def __init__(self) -> None:
        self._look: Look | None = None

    def before_update(self, run: Trainer) -> None:
        every = run.experiment.train.internals_every
        self._look = look = Look.due(every, run.state.step + 1, run.model, run.group)
        if look is None:
            return
        with run.clock("other"):
            mine, micro = run.update.rows(run.examples)
            example = run.update.example(run.draw(mine.start, mine.start + micro))
            logits = run.objective.output == "logits"
            with run.update.inside():
                look.activations(lambda: run.objective.loss(run.model, example), logits=logits)

    def after_gradients(self, run: Trainer) -> None:
        if self._look is not None:
            with run.clock("other"), run.update.inside():
                self._look.before(run.update.scale.scale)

    def after_step(self, run: Trainer) -> None:
        if self._look is None or not run.applied:
            return
        with run.recording.during("look"), run.clock("other"), run.update.inside():
            inside = self._look.after()
        run.write(run.where() | {"inside": inside})


class Noise(Callback):
    """Every ``train.noise_every`` updates: how noisy the gradient is, from that of the first microbatch (of
    each process), whose norm is read as it lies there, and that of the whole batch (McCandlish et al. 2018,
    appendix A.1). One norm more; nothing else changes."""

    def __init__(self, run: Trainer) -> None:
        train = run.experiment.train
        if train.noise_every is None:
            return
        mine, micro = run.update.rows(train.batch)
        if len(mine) == micro:
            raise run.group.once(
                RunError(
                    f"train.noise_every compares a microbatch with the whole batch, and train.microbatch = "
                    f"{micro} is all that falls to one of {run.group.count} processes; set train.microbatch "
                    "lower, or leave train.noise_every out"
                )
            )
        if run.update.folding.active:
            raise run.group.once(
                RunError(
                    f"train.noise_every needs the gradient of the whole batch, and {FOLDED}; leave "
                    "train.noise_every out, or set train.clip"
                )
            )

    def before_update(self, run: Trainer) -> None:
        every = run.experiment.train.noise_every
        run.update.keeps_first = every is not None and (run.state.step + 1) % every == 0

    def after_step(self, run: Trainer) -> None:
        first = run.update.first_pass
        if first is None or not run.applied:
            return
        square, examples = first
        small = float(run.group.sum(square) / run.group.count)
        found = noise_from_norms(small, examples, run.update.norm**2, run.examples)
        run.write(run.where() | {"noise": {"squared": found.squared, "trace": found.trace}})


class Average(Callback):
    """The average of the weights that ``train.average`` asks for."""

    name = "average"

    def __init__(self, run: Trainer) -> None:
        self.weights = run.average = WeightsAverage(run.experiment.train.average, run.model, run.made.named)

    def after_update(self, run: Trainer) -> None:
        if run.applied:
            with run.clock("optimizer"):
                self.weights.update(run.moment.progress)

    def state(self) -> int:
        return self.weights.seen

    def load_state(self, state: int) -> None:
        self.weights.seen = state

    def tensors(self) -> Tensors:
        return self.weights.tensors()

    def load_tensors(self, tensors: Mapping[str, Mapping[str, torch.Tensor]]) -> None:
        self.weights.load(tensors)


class Log(Callback):
    """Every ``train.log_every`` updates, and after the first: a row of metrics."""

    def after_step(self, run: Trainer) -> None:
        now, update = run.state, run.update
        if not run.logs(now.step):
            return
        run.settle()
        row = run.where() | {
            "flops": run.made.flops_per_unit * now.units,
            "loss": now.since[0] / now.since[1] if now.since[1] else math.nan,
            "grad_norm": update.norm,
            "lr": run.rate,
        }
        if run.made.precision == "float16":
            row["loss_scale"] = update.scale.scale
        now.since = [0.0, 0.0]
        run.report(update.folding.row(row | update.rounding.row(run.group.sum, part)))


class Evaluate(Callback):
    """Every ``train.evaluate_every`` updates, and at the end: the held-out metrics; whether they are the best
    so far. Asks nothing but the state, so that a resumed run repeats what an interrupted one left undone.

    ``together``: what measures a run in place of ``alone``, where it is a member of a population."""

    together: Callable[[Trainer], dict[str, float]] | None = None
    _told = False  # that it takes long

    def between_updates(self, run: Trainer) -> None:
        every, now = run.experiment.train.evaluate_every, run.state
        due = run.last or (every is not None and now.step % every == 0)
        if not due or now.evaluated >= now.step:
            return
        run.settle()
        with run.recording.during("evaluation"), run.clock("evaluation"), run.averaged():
            metrics = run.average.scores(lambda: (self.together or self.alone)(run), run.metric.name)
        value = metrics.get(f"{run.metric.name}_average", metrics[run.metric.name])
        now.evaluated, now.metric, run.measured = now.step, value, metrics
        run.report(run.where() | metrics)
        if improved := run.metric.improves(value, now.best):
            now.best, now.best_step = value, now.step
        # One that was saved when a signal cut the evaluation off does not know the outcome.
        run.must_save = improved or now.saved == now.step
        for callback in run.callbacks:
            callback.after_evaluation(run, metrics)

    def alone(self, run: Trainer) -> dict[str, float]:
        """The held-out metrics of the weights as they are."""
        began = time.perf_counter()

        def stop() -> bool:
            if not self._told and time.perf_counter() - began > PATIENCE:
                self._told = True
                run.reporter.message(
                    f"evaluating at step {run.state.step:,}: more than {PATIENCE:g} s so far"
                )
            return run.interrupt.requested is not None

        with run.measured_anew():
            return evaluate(
                run.made.wrapped,
                run.objective,
                run.held_out,
                run.group,
                rows=evaluation_rows(run.experiment, run.objective, run.group.data.count),
                stop=stop,
                score=run.score,
                padded=run.choices.compile,  # of other shapes there would be another graph
            )


class Checkpoint(Callback):
    """Every ``train.checkpoint_every`` and ``train.ring`` updates, at the best metric, and at the end."""

    def between_updates(self, run: Trainer) -> None:
        train, now = run.experiment.train, run.state
        due = run.last or any(
            every is not None and now.step % every == 0 for every in (train.checkpoint_every, train.ring)
        )
        if run.must_save or (due and now.saved < now.step):
            run.save()
