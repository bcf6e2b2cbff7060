"""The loop: update, log, evaluate, checkpoint, until a bound is reached."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn as nn

from danlu import optim, spec
from danlu.code import Recording
from danlu.data import Batches, Dataset
from danlu.nn import after_update
from danlu.objectives import Objective, training_keys
from danlu.optim import Settings, rounding
from danlu.optim.base import Rule
from danlu.train import checkpoint, steps
from danlu.train.averages import WeightsAverage, averaged
from danlu.train.clock import Clock
from danlu.train.eagerly import run_eagerly
from danlu.train.environment import write_code
from danlu.train.errors import Diverged
from danlu.train.evaluate import Score, Stopped, Window, evaluate, to_device
from danlu.train.folder import RunFolder
from danlu.train.folding import Folding
from danlu.train.internals import Look
from danlu.train.interrupt import Interrupt
from danlu.train.metrics import MetricsFile
from danlu.train.parallel import Processes, hold_gradients
from danlu.train.plan import Plan
from danlu.train.precision import LossScale, first_non_finite, total_norm

EVALUATION_TOKENS = 4096  # in one pass of the evaluation, where no gradients need memory


class Reporter(Protocol):
    """Who is told how it goes; the command line draws it."""

    def row(self, row: dict[str, Any], progress: float, utilisation: float | None) -> None: ...
    def message(self, text: str) -> None: ...


@dataclass
class Position:
    """Where a run stands: all that a checkpoint must carry beside tensors."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0  # of updates: what train.seconds bounds
    evaluated: int = 0  # the last step evaluated
    saved: int = 0  # the last step saved
    loss: float = float("nan")  # of the last update, nats a token
    metric: float = float("nan")  # of the last evaluation
    best: float = float("inf")
    best_step: int = 0
    since: list[float] = field(default_factory=lambda: [0.0, 0.0])  # loss and updates since the last row


class Trainer:
    """Trains ``model`` in ``folder``; see ``danlu.train.run.train``, which puts one together."""

    def __init__(
        self,
        experiment: spec.Experiment,
        objective: Objective,
        dataset: Dataset,
        windows: Sequence[Window],
        model: nn.Module,
        wrapped: nn.Module,
        optimizers: list[Rule],
        group: Processes,
        clock: Clock,
        folder: RunFolder,
        interrupt: Interrupt,
        reporter: Reporter,
        choices: dict[str, Any],
        recording: Recording | None = None,
    ) -> None:
        self.experiment, self.objective, self.windows = experiment, objective, windows
        self.model, self.wrapped, self.optimizers = model, wrapped, optimizers
        self.group, self.clock, self.folder = group, clock, folder
        self.interrupt, self.reporter = interrupt, reporter
        self.recording = recording or Recording()
        self.precision, self.compiled = choices["precision"], choices["compile"]
        self.ceiling = choices["ceiling_flops"] * group.count
        train, data = experiment.train, experiment.data
        try:
            self.plan = Plan(train, data.context, group.count)
            self.settings = Settings(optimizers, experiment.optimizer, experiment.schedule, experiment.vary)
        except spec.DanluError as error:
            raise group.told(error) from None
        self.micro = train.microbatch or train.batch // group.count  # sequences of the largest pass
        self.batches = Batches(dataset.train, context=data.context, seed=train.seed)
        self.position = Position()
        self.scale = LossScale.of(self.precision)
        self.named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        self.sharded = any(hasattr(p, "full_tensor") for _, p in self.named)
        self.average = WeightsAverage(train.average, model, self.named)
        self.steps = rounding.steps(train.weights, train.seed, group.rank if self.sharded else 0)
        self.folding = Folding(train, optimizers, group.count, self.precision)
        self.warm = False
        self.told: set[int] = set()  # steps whose evaluation is in the metrics already

    # ---------------------------------------------------------------- the loop

    def fit(self, metrics: MetricsFile | None) -> str | None:
        """Run to the end; returns the name of a signal if one ended it early. Raises ``RunError``."""
        self.metrics = metrics
        if self.compiled:
            with self.recording.during("eagerly"), self.clock("compile"):
                run_eagerly(self.model, lambda: self.objective.loss(self.model, self._example(0, 1)))
        while True:
            try:
                self._look()
            except Stopped:
                self._save()
                return self.interrupt.requested
            finished, signal = self.group.share((self.progress() >= 1, self.interrupt.requested))
            if finished or signal:
                if self.position.saved < self.position.step:
                    self._save()
                return None if finished else signal
            with self.recording.during("update", times=2):
                self._update()

    def progress(self) -> float:
        """The share of the run that is done, by the bound that is nearest."""
        now = self.position
        return self.plan.progress(now.step, now.tokens, now.seconds)

    def _look(self) -> None:
        """Evaluate and save where it is due. Asks nothing but the position, so that a resumed run repeats
        what an interrupted one left undone."""
        train, now = self.experiment.train, self.position
        last = self.group.share(self.progress() >= 1)
        due = last or (train.evaluate_every is not None and now.step % train.evaluate_every == 0)
        evaluates = due and now.evaluated < now.step
        improved = evaluates and self._evaluate()
        due = last or (train.checkpoint_every is not None and now.step % train.checkpoint_every == 0)
        if now.saved < now.step:
            if due or improved:
                self._save()
        elif evaluates:
            # Saved when a signal cut the evaluation off: that checkpoint does not know the outcome.
            self._save()

    # ---------------------------------------------------------------- one update

    def _update(self) -> None:
        train, now = self.experiment.train, self.position
        before = self.clock.seconds
        # Every random stream is derived from the seed: dropout in step 7 is the same after a resume.
        torch.manual_seed(hash((train.seed, now.step, self.group.rank)) & 0x7FFFFFFF)
        progress = self.group.share(self.progress()) if train.seconds is not None else self.progress()
        self.moment = self.plan.at(now.step, now.tokens, progress)
        factor = self.settings.set(self.moment)
        look = self._look_inside()
        loss = self._gradients()
        with self.clock("optimizer"):
            if look is not None:
                with self.clock("other"):
                    look.before(self.scale.scale)
            skipped = not self._check_and_clip(loss)
            self.steps.begin(now.step, count=self._logs(now.step + 1))
            if not skipped:
                for optimizer in self.optimizers:
                    self.steps.step(optimizer)
                after_update(self.model)
                self.average.update(progress)
            for _, p in self.named:
                p.grad = None
        now.step += 1
        now.tokens += self.moment.batch
        after = self.clock.seconds
        now.seconds += sum(after[part] - before[part] for part in ("data", "train", "optimizer"))
        now.loss = loss
        now.since[0] += loss
        now.since[1] += 1
        if self._logs(now.step):
            self._log(factor)
        if look is not None and not skipped:
            with self.recording.during("look"), self.clock("other"):
                inside = look.after()
            if self.metrics is not None:
                self.metrics.append(self._here() | {"inside": inside})

    def _look_inside(self) -> Look | None:
        """A look at the update to come, where one is due and this process has to take it."""
        train = self.experiment.train
        look = Look.due(train.internals_every, self.position.step + 1, self.model, self.group)
        if look is None:
            return None
        mine = self.moment.batch // self.plan.context // self.group.count
        rows = train.microbatch or mine
        with self.clock("other"):
            example = self._example(self.group.rank * mine, rows)
            look.activations(lambda: self.objective.loss(self.model, example))
        return look

    def _gradients(self) -> float:
        """Fill the gradients; the loss of the global batch in nats a predicted token, penalties left out."""
        train = self.experiment.train
        batch = self.moment.batch // self.plan.context
        mine = batch // self.group.count  # sequences that fall to this process
        micro = train.microbatch or mine
        first = self.group.rank * mine
        tokens = batch * self.objective.count
        share = self.folding.begin(mine // micro) / tokens
        total = torch.zeros((), device=self.group.device)
        for start in range(first, first + mine, micro):
            with self.clock("data"):
                example = self._example(start, micro)
            last = start + micro == first + mine
            part = "train" if self.warm or not self.compiled else "compile"
            with self.clock(part), hold_gradients(self.wrapped, hold=not last):  # type: ignore[arg-type]
                nats, penalty = self.objective.loss(self.wrapped, example)
                loss = nats if penalty is None else nats + penalty
                # DDP and FSDP2 average over processes; the loss is a sum over all of them
                (loss * (self.scale.scale * self.group.count * share)).backward()
                total += nats.detach()
            self.warm = True
        with self.clock("train"):
            return float(self.group.sum(total)) / tokens

    def _example(self, start: int, count: int) -> dict[str, torch.Tensor]:
        """The sequences ``start`` to ``start + count`` of this update, over all processes, on the device."""
        now = self.position
        keys = training_keys(self.experiment.train.seed, now.step, start, start + count)
        rows = self.batches.rows(now.tokens // self.plan.context + start, count)
        return to_device(self.objective.example(*rows, keys), self.group.device)

    def _check_and_clip(self, loss: float) -> bool:
        """Make the gradients those of the loss, clipped; False when an overflow in float16 skips the update.

        Raises ``RunError`` that names the tensor when something is not finite: the weights are untouched.
        """
        gradients = [p.grad for _, p in self.named if p.grad is not None]
        # Folded into the momentum there are none left, and each was looked at.
        norm = 0.0 if self.folding.active else float(total_norm(gradients)) / self.scale.scale
        self.norm = norm
        if not (np.isfinite(norm) and np.isfinite(loss)):
            if np.isfinite(loss):
                try:
                    self.scale.overflowed()  # in float16: halve the scale, skip the update
                    return False
                except FloatingPointError:
                    pass
            raise self.group.told(Diverged(self._not_finite(loss)))
        self.scale.went_well(self.precision)
        clip = self.experiment.train.clip
        factor = min(1.0, clip / (norm + 1e-6)) if clip else 1.0
        if factor != 1.0 or self.scale.scale != 1.0:
            torch._foreach_mul_(gradients, factor / self.scale.scale)
        return True

    def _not_finite(self, loss: float) -> str:
        grads = ((name, p.grad) for name, p in self.named if p.grad is not None)
        found = first_non_finite(grads)
        weights = first_non_finite((name, p.detach()) for name, p in self.named)
        if weights:
            what = f"the weight {weights}"
        elif found:
            what = f"the gradient of {found}"
        elif np.isfinite(loss):
            what = "every gradient is finite, but their norm overflowed"
        else:
            what = f"the loss is {loss}"
        saved = self.position.saved
        return (
            f"step {self.position.step + 1}: {what}; nothing was updated. "
            + (f"The last checkpoint is of step {saved}. " if saved else "There is no checkpoint yet. ")
            + "A lower optimizer.lr, a longer warm-up or train.precision=float32 often help"
        )

    # ---------------------------------------------------------------- what is kept

    def _logs(self, step: int) -> bool:
        return step % self.experiment.train.log_every == 0 or step == 1

    def _log(self, factor: float) -> None:
        now = self.position
        row = self._here() | {
            "flops": self.flops_per_token * now.tokens,
            "loss": now.since[0] / now.since[1],
            "grad_norm": self.norm,
            "lr": factor * float(self.optimizers[0].param_groups[0]["peak"]),
        }
        now.since = [0.0, 0.0]
        self._tell(self.folding.row(row | self.steps.row(self.group.sum)))

    def _here(self) -> dict[str, Any]:
        now = self.position
        return {"step": now.step, "tokens": now.tokens, "seconds": round(self.clock.active, 4)}

    def _tell(self, row: dict[str, Any]) -> None:
        if self.metrics is not None and not ("bits_per_byte" in row and row["step"] in self.told):
            self.metrics.append(row)
        if self.group.first:
            self.reporter.row(row, self.progress(), self.utilisation())

    @property
    def flops_per_token(self) -> int:
        """FLOPs of forward and backward for one token of text: three times the forward pass."""
        return 3 * self.model.flops(1, *self.objective.lengths) // self.objective.context  # type: ignore[operator]

    def utilisation(self) -> float | None:
        """FLOP/s of the updates so far as a share of the machine's measured ceiling."""
        now = self.position
        return self.flops_per_token * now.tokens / now.seconds / self.ceiling if now.seconds else None

    def _evaluate(self) -> bool:
        """Score held-out text; whether it is the best so far. Where there is an average, its score counts."""
        now = self.position
        recorded = self.recording.during("evaluation")
        with recorded, self.clock("evaluation"), averaged(self.optimizers, self.model):
            score, metrics = self.average.scores(self._score)
        now.evaluated, now.metric = now.step, list(metrics.values())[-1]
        self._tell(self._here() | metrics | {"held_out_loss": score.loss})
        if now.metric < now.best:
            now.best, now.best_step = now.metric, now.step
            return True
        return False

    def _score(self) -> Score:
        return evaluate(
            self.wrapped,
            self.objective,
            self.windows,
            self.group,
            rows=max(self.micro, EVALUATION_TOKENS // self.objective.context),
            stop=lambda: self.interrupt.requested is not None,
        )

    def _save(self) -> None:
        now, keep = self.position, self.experiment.train.keep
        recorded = self.recording.during("save")
        with recorded, self.clock("checkpoint"), averaged(self.optimizers, self.model):
            metrics = self.metrics
            self.group.on_first(lambda: metrics.flush(durable=True) if metrics is not None else None)
            before, now.saved = now.saved, now.step
            best = {now.best_step} if now.best_step else set()
            state = {
                "position": asdict(now),
                "scale": self.scale.state(),
                "clock": self.clock.state(),
                "processes": self.group.count,
                "average": self.average.seen,
            }
            try:
                if self.sharded:
                    from danlu.train import sharded  # imports torch.distributed

                    flat = sharded.flatten(self.tensors())
                    sharded.save_sharded(self.folder.path, now.step, flat, state, keep=keep, protect=best)
                else:
                    path, tensors = self.folder.path, self.tensors()
                    self.group.on_first(
                        lambda: checkpoint.save(path, now.step, tensors, state, keep=keep, protect=best)
                    )
            except BaseException:
                now.saved = before
                raise
        if self.group.first and self.recording.unwritten:
            write_code(self.folder.environment, self.recording)

    def tensors(self) -> dict[str, dict[str, torch.Tensor]]:
        """Everything that must be kept, by file and name."""
        return {
            "model": dict(self.model.state_dict()),
            "optimizer": optim.state_tensors(self.optimizers),
            **self.average.tensors(),
        }

    def resume(self) -> None:
        """Stand where the latest checkpoint was. Raises ``RunError`` if it is damaged."""
        path = self.folder.path
        if self.sharded:
            from danlu.train import sharded

            for optimizer in self.optimizers:
                self.steps.prepare(optimizer)
            with averaged(self.optimizers, self.model):  # leaving it undoes what saving within it did
                state = sharded.load_sharded(path, sharded.flatten(self.tensors()))
        else:
            tensors, state = checkpoint.load(path)
            with averaged(self.optimizers, self.model):
                self.model.load_state_dict(tensors["model"])
                optim.load_state_tensors(self.optimizers, tensors.get("optimizer", {}))
            self.average.load(tensors)
        self.position = Position(**state["position"])
        self.scale = LossScale(**state["scale"])
        self.average.seen = state["average"]
        if self.group.first:  # a process that died after its last checkpoint may not have come to this
            now = self.position
            steps.prune(path, self.experiment.train.keep, {now.best_step} if now.best_step else set())
        for part, seconds in state["clock"].items():
            self.clock.add(part, seconds)
