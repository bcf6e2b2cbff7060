"""The loop: updates, and callbacks around them, until a bound is reached."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, replace
from typing import Any

import torch

from danlu import optim, spec
from danlu.code import Recording
from danlu.objectives import Draw, HeldOut
from danlu.optim import Progress, Settings
from danlu.train import apart, checkpoint, store
from danlu.train.assemble import Assembly
from danlu.train.averages import WeightsAverage
from danlu.train.callbacks import Callback, Tensors
from danlu.train.choices import Choices
from danlu.train.clock import Clock
from danlu.train.compiling import Compiled, run_eagerly, warm_up
from danlu.train.environment import write_code
from danlu.train.errors import Diverged, RunError
from danlu.train.evaluate import Stopped, evaluation_rows
from danlu.train.folder import RunFolder
from danlu.train.interrupt import Interrupt
from danlu.train.metrics import MetricsFile
from danlu.train.plan import Plan
from danlu.train.precision import LossScale
from danlu.train.reading import Reading
from danlu.train.reporter import Reporter
from danlu.train.saving import Saver
from danlu.train.standard import standard
from danlu.train.state import TrainerState, seed_of
from danlu.train.update import to_device


class Trainer:
    """Trains ``made`` in ``folder``; see ``danlu.train.run.train``, which puts one together.

    ``own``: callbacks of the user's; ``passes``: compiled forms of the objective's loss and score.
    """

    average: WeightsAverage  # set by the callback that keeps it

    def __init__(
        self,
        made: Assembly,
        held_out: HeldOut,
        clock: Clock,
        folder: RunFolder,
        interrupt: Interrupt,
        reporter: Reporter,
        choices: Choices,
        *,
        own: Sequence[Callback] = (),
        recording: Recording | None = None,
        passes: Compiled | None = None,
    ) -> None:
        experiment = made.experiment
        self.made, self.experiment, self.objective = made, experiment, made.objective
        self.model, self.group = made.model, made.group
        self.held_out, self.clock, self.folder = held_out, clock, folder
        self.interrupt, self.reporter, self.choices = interrupt, reporter, choices
        self.recording = recording or Recording()
        self.metric = experiment.objective.metrics[0]
        self.unit = f"{made.objective.unit}s"
        try:
            self.plan = Plan(experiment.train, made.objective.size, self.group.data.count)
            self.settings = Settings(made.rules, experiment.optimizer, experiment.schedule, experiment.vary)
        except spec.DanluError as error:
            raise self.group.once(error) from None
        self.passes = passes
        self.update = apart.updates(made, part=self._part, loss=passes.loss if passes else None)
        self.score = passes.score if passes else made.score
        self.state = TrainerState()
        self.rate = math.nan
        self.ended_by: str | None = None  # the signal that ended it early
        self.applied = self.skip = self.last = self.must_save = self.warm = False
        self.unread: list[tuple[int, Reading]] = []  # updates whose loss and norm were not looked at, by step
        self.metrics: MetricsFile | None = None
        self.measured: dict[str, float] = {}  # the metrics of the last evaluation
        self.reported: set[int] = set()  # steps whose evaluation is in the metrics already
        # Within, what is evaluated has statistics of batch norms that are its own (``train.precise_bn``).
        self.measured_anew: Callable[[], AbstractContextManager[Any]] = nullcontext
        self.callbacks = standard(self, own)
        self.own = any(callback.ends for callback in own)  # the user's, that may end the run
        self.saver = Saver(self)

    # ---------------------------------------------------------------- the loop

    def fit(self, metrics: MetricsFile | None) -> str | None:
        """Run to the end; returns the name of a signal if one ended it early. Raises ``RunError``."""
        self.metrics = metrics
        try:
            with self.clock("other"):  # what is no part of its own, such as a callback
                return self._loop()
        except Diverged as error:
            self.note(error)
            raise
        finally:
            self.saver.rest()

    def note(self, error: Diverged) -> None:
        """Write the last row of a run that has diverged."""
        self.saver.rest()
        if self.metrics is not None:
            self.metrics.append(self.where() | {"step": error.step, "diverged": str(error)})

    def _loop(self) -> str | None:
        while self.due():
            with self.recording.during("update", times=2):
                self.step()
        return self.ended_by

    def due(self) -> bool:
        """Do what comes between two updates. Whether there is another; if not, ``ended_by`` tells why."""
        while True:
            finished, signal = self._agreed()
            self.last, before = finished, (self.state.evaluated, self.state.saved)
            try:
                self._each(lambda callback: callback.between_updates(self))
            except Stopped:
                self.save()
                return self._end(self.interrupt.requested)
            # Asked again where that may have ended the run, or taken long: every process knows that alike.
            if self.own or before != (self.state.evaluated, self.state.saved):
                finished, signal = self._agreed()
            if finished and not self.last:
                continue  # a callback ended it just now: it is evaluated and saved as at any end
            if finished or signal:
                if self.state.saved < self.state.step:
                    self.save()
                return self._end(None if finished else signal)
            return True

    def _agreed(self) -> tuple[bool, str | None]:
        """Whether the run is at its end, and the signal that it got, as the first process sees them."""
        return self.group.share((self.progress() >= 1, self.interrupt.requested))

    def _end(self, signal: str | None) -> bool:
        self.ended_by = signal
        with self.clock("checkpoint"):
            self.saver.finish()
        return False

    def warm_up(self) -> bool:
        """Compile before the first update. False where that fails: the run says so and goes on eagerly."""
        with self.clock("compile"):
            mine, micro = self.update.rows(self.plan.batch(self.plan.at(0, 0, 0.0)))
            training = self.update.example(
                Draw(self.experiment.train.seed, 0, 0, mine.start, mine.start + micro)
            )
            with self.recording.during("eagerly"):
                run_eagerly(self.model, lambda: self.objective.loss(self.model, training))
            if self.passes is None:
                return False
            rows = evaluation_rows(self.experiment, self.objective)
            held_out = to_device(self.held_out.example([0], rows), self.group.device)
            parameters = [p for _, p in self.update.named]
            try:
                warm_up(self.passes, self.model, parameters, training, held_out)
            except Exception as error:
                reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
                self.reporter.message(f"compiling failed ({reason[:200]}); the run continues without it")
                self.passes, self.update.loss, self.score = None, self.objective.loss, self.objective.score
                self.choices = replace(self.choices, compile=False)
                return False
        return True

    def end(self) -> None:
        """Let this update be the last; the run is evaluated, saved and finished."""
        self.state.ended = True

    def progress(self) -> float:
        """The share of the run that is done, by the bound that is nearest."""
        now = self.state
        return 1.0 if now.ended else self.plan.progress(now.step, now.units, now.seconds)

    def _each(self, do: Callable[[Callback], None]) -> None:
        for callback in self.callbacks:
            do(callback)

    # ---------------------------------------------------------------- one update

    def step(self) -> None:
        """One update and what the callbacks do around it."""
        self.begin()
        read = self.update.gradients(self.state.step, self.draw(0, 0).first, self.examples)
        self.judge(read)
        with self.clock("optimizer"):
            self.apply(read)
        self.finish(read)

    def begin(self) -> None:
        """Before the gradients of an update: its moment and its rates."""
        now, train = self.state, self.experiment.train
        # Every random stream is derived from the seed: dropout in step 7 is the same after a resume.
        torch.manual_seed(seed_of(train.seed, now.step, self.group.stream))
        progress = self.group.share(self.progress()) if train.seconds is not None else self.progress()
        self.moment: Progress = self.plan.at(now.step, now.units, progress)
        self.rate = self.settings.set(self.moment) * float(self.made.rules[0].param_groups[0]["peak"])
        self._each(lambda callback: callback.before_update(self))

    def judge(self, read: Reading) -> None:
        """After the gradients, whose reading is ``read``: whether the callbacks ``skip`` the update."""
        self.warm = True
        if not self.update.late:
            with self.clock("train"):
                _ = read.loss  # waits for the device, which no callback is charged with
        self.skip = False
        self._each(lambda callback: callback.after_gradients(self))

    def apply(self, read: Reading) -> None:
        """The rules' step, unless the update is left out. Raises ``Diverged``."""
        step, losses = self.state.step, self.logs(self.state.step + 1)
        self.applied = not self.skip and self.update.apply(step, read, count_losses=losses, note=self.saved())
        if self.skip:
            self.update.leave_out()

    def finish(self, read: Reading) -> None:
        """After the rules' step, or where it was left out (``applied``)."""
        now = self.state
        self._each(lambda callback: callback.after_update(self))
        self.update.clear()
        self.unread.append((now.step, read))
        now.step += 1
        now.units += self.moment.batch
        self.settle(but=1 if self.update.late else 0)
        self._each(lambda callback: callback.after_step(self))

    def settle(self, but: int = 0) -> None:
        """Take in loss and norm of the updates so far, the last ``but`` left out, which the device may still
        compute. Whatever is written, evaluated or saved comes after. Raises ``Diverged`` where one is not
        finite."""
        now = self.state
        while len(self.unread) > but:
            step, read = self.unread[0]
            with self.clock("train"):
                self.update.check(step, read, self.saved())
            now.loss = read.loss
            if math.isfinite(read.loss):  # one that is not was skipped
                now.since[0] += read.loss
                now.since[1] += 1
            del self.unread[0]
        seconds = self.clock.seconds
        now.seconds = sum(seconds[part] for part in ("data", "train", "optimizer"))

    @property
    def loss(self) -> float:
        """Of the last update, by term. Waits for the device: ask for it where it is needed."""
        return self.update.reading.loss

    @property
    def examples(self) -> int:
        """Examples of the update at hand, over all processes."""
        return self.moment.batch // self.objective.size

    def draw(self, start: int, stop: int) -> Draw:
        """Rows ``start`` to ``stop`` of the update at hand."""
        now = self.state
        return Draw(self.experiment.train.seed, now.step, now.units // self.objective.size, start, stop)

    def _part(self, part: str) -> AbstractContextManager[Any]:
        if part in ("forward", "backward"):
            # Several processes compile block by block at the first update.
            part = "compile" if self.choices.compile and self.passes is None and not self.warm else "train"
        return self.clock(part)  # type: ignore[arg-type]

    def saved(self) -> str:
        """A sentence on the last checkpoint."""
        saved = self.state.saved
        return f"The last checkpoint is of step {saved}. " if saved else "There is no checkpoint yet. "

    # ---------------------------------------------------------------- metrics and checkpoints

    def logs(self, step: int) -> bool:
        """Whether there is a row of metrics after update ``step``."""
        return step % self.experiment.train.log_every == 0 or step == 1

    def where(self) -> dict[str, Any]:
        """The beginning of every row of metrics."""
        now = self.state
        return {"step": now.step, self.unit: now.units, "seconds": round(self.clock.active, 4)}

    def report(self, row: dict[str, Any]) -> None:
        """Write a row, once, and report it."""
        if not (self.metric.name in row and row["step"] in self.reported):
            self.write(row)
        if self.group.first:
            self.reporter.row(row, self.progress(), self.utilisation())

    def write(self, row: dict[str, Any]) -> None:
        """Write a row of metrics, in the process that keeps them."""
        self.settle()
        if self.metrics is not None:
            self.metrics.append(row)

    def utilisation(self) -> float | None:
        """FLOP/s of the updates so far as a share of the machine's measured ceiling."""
        now, ceiling = self.state, self.choices.ceiling_flops * self.group.count
        return self.made.flops_per_unit * now.units / now.seconds / ceiling if now.seconds else None

    def averaged(self) -> AbstractContextManager[None]:
        """Within, the weights are those to evaluate and to save."""
        return apart.averaged(self.update)

    def save(self) -> None:
        """Write a checkpoint of where the run stands."""
        self.settle()
        now = self.state
        with self.recording.during("save"), self.clock("checkpoint"), self.averaged():
            metrics = self.metrics
            self.group.on_first(lambda: metrics.flush(durable=True) if metrics is not None else None)
            self._each(lambda callback: callback.before_save(self))
            before, now.saved = now.saved, now.step
            try:
                self.saver.save(self.standing())
            except BaseException:
                now.saved = before
                raise
        self.must_save = False
        if self.group.first and self.recording.unwritten:
            write_code(self.folder.environment, self.recording)

    def protected(self) -> set[int]:
        """The steps whose checkpoints stay beside the newest: the best, and those that callbacks name."""
        best = {self.state.best_step} if self.state.best_step else set()
        return best.union(*(callback.protects for callback in self.callbacks))

    def standing(self) -> dict[str, Any]:
        """All that a checkpoint must hold beside ``tensors``, as JSON."""
        return {
            "position": asdict(self.state),
            "scale": self.update.scale.state(),
            "clock": self.clock.state(),
            "processes": self.group.count,
            **{c.name: kept for c in self.callbacks if (kept := c.state()) is not None},
        }

    def tensors(self) -> Tensors:
        """Everything that must be kept, by file and name."""
        kept = {
            "model": dict(self.model.state_dict()),
            "optimizer": optim.state_tensors(self.made.rules),
        }
        for callback in self.callbacks:
            more = callback.tensors()
            if twice := sorted(kept.keys() & more.keys()):
                what = type(callback).__name__
                raise RunError(f"{what}.tensors: a checkpoint has a file {twice[0]!r} already; name another")
            kept |= more
        return kept

    def resume(self) -> None:
        """Stand where the latest checkpoint was. Raises ``RunError`` if it is damaged."""
        path = self.folder.path
        if self.update.sharded:
            from danlu.train import sharded

            for rule in self.made.rules:
                self.update.rounding.prepare(rule)
            with self.averaged():  # leaving it undoes what saving within it did
                tensors = self.tensors()
                state = sharded.load_sharded(path, sharded.flatten(tensors))
            self._each(lambda callback: callback.load_tensors(tensors))  # what it gave may be a copy
            self._stand(state)
        else:
            tensors, state = checkpoint.load(path)
            if kept := state.get("quantized"):
                raise RunError(f"{path} is in few bits, which cannot be trained on; go on with {kept['run']}")
            self.stand(tensors, state, where=str(path))
        if self.group.first:  # a process that died after its last checkpoint may not have come to this
            store.prune(path, self.experiment.train.keep, self.protected())
        for part, seconds in state["clock"].items():
            self.clock.add(part, seconds)

    def stand(self, tensors: Tensors, state: dict[str, Any], *, where: str = "") -> None:
        """Stand where ``tensors`` and ``state`` were kept, whole, of this experiment or of one that differs
        in settings alone."""
        with self.averaged():
            checkpoint.fill(self.model, tensors.get("model", {}), where)
            optim.load_state_tensors(self.made.rules, tensors.get("optimizer", {}))
        self._each(lambda callback: callback.load_tensors(tensors))
        self._stand(state)

    def _stand(self, state: dict[str, Any]) -> None:
        self.state = TrainerState.read(state["position"])
        self.update.scale = LossScale(state["scale"]["scale"], state["scale"]["good"])
        for callback in self.callbacks:
            if callback.name in state:
                callback.load_state(state[callback.name])
