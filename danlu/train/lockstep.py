"""A population on its way: trainers of one graph whose gradients are made as one.

Each member has a trainer of its own, with its callbacks, folder, schedule and update rules: those of a run
alone. But its weights are views of a stack's (``danlu.nn.stacked``), whose one forward and backward pass
gives the gradients of all.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from copy import copy
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from danlu import parts, spec
from danlu.nn.kernels import kernel_choice
from danlu.spec.errors import DanluError
from danlu.train.choices import Choices
from danlu.train.clock import Pool, Share
from danlu.train.errors import Diverged, RunError
from danlu.train.folder import RunFolder
from danlu.train.interrupt import Ended, Interrupt
from danlu.train.machine import keep_memory, multiplying, pick_device
from danlu.train.members import Stacked
from danlu.train.metrics import MetricsFile
from danlu.train.parallel import Processes
from danlu.train.reading import Reading
from danlu.train.reporter import Reporter, Silent
from danlu.train.run import Run, finished
from danlu.train.trainer import Trainer

Result = dict[str, Any] | Exception


class Lockstep:
    """Members of a population, by their place in it. ``ended``: told of each that ends, by a signal's name,
    an error, or None at its bound."""

    def __init__(self, trainers: dict[int, Trainer], ended: Callable[[int, str | Exception | None], None]):
        self.going, self.ended = dict(trainers), ended
        self.stacked: Stacked | None = None
        self._ends: dict[int, str | Exception | None] = {}

    def run(self) -> None:
        """To the end of the last. Who is behind, after a death between two members' checkpoints, goes
        first."""
        while self.going:
            behind = min(trainer.state.step for trainer in self.going.values())
            those = {place: t for place, t in self.going.items() if t.state.step == behind}
            due = {place: t for place, t in those.items() if self._tried(place, partial(_begun, t))}
            if due:
                with next(iter(due.values())).recording.during("update", times=2):
                    self._step(due)
            for place, end in self._ends.items():
                del self.going[place]
                self.ended(place, end)
            self._ends.clear()

    def _tried(self, place: int, work: Callable[[], bool]) -> bool:
        """Whether the member goes on by what ``work`` says. Where that fails, only this member ends."""
        trainer = self.going[place]
        try:
            if work():
                return True
            self._ends[place] = trainer.ended_by
        except (DanluError, OverflowError, FloatingPointError) as error:
            trainer.saver.rest()
            if isinstance(error, Diverged):
                trainer.note(error)
            self._ends[place] = error.with_traceback(None)  # whose frames hold the stack
        return False

    def _step(self, due: dict[int, Trainer]) -> None:
        trainers = list(due.values())
        stacked = self._of(trainers)
        readings = dict(zip(due, stacked.gradients(trainers), strict=True))
        if stacked.rules is None:
            for place, trainer in due.items():
                self._tried(place, partial(_updated, trainer, readings[place]))
            return
        judged = {p: t for p, t in due.items() if self._tried(p, partial(_judged, t, readings[p]))}
        stacked.apply([trainer for trainer in judged.values() if trainer.applied])
        for place, trainer in judged.items():
            self._tried(place, partial(_finished, trainer, readings[place]))

    def _of(self, working: list[Trainer]) -> Stacked:
        """The stack of those at work, and of some that are not. It is made anew, of those at work alone,
        where half of its members have nothing to do."""
        if self.stacked is None or not _serves(self.stacked, working):
            if self.stacked is not None:
                self.stacked.leave()
            self.stacked = None  # before there are two
            gc.collect()  # trainers that have ended, and their callbacks, which know each other
            self.stacked = Stacked(working)
        return self.stacked


def _serves(stacked: Stacked, working: list[Trainer]) -> bool:
    there = set(stacked.trainers)
    return there.issuperset(working) and 2 * len(working) > len(there)


def _begun(trainer: Trainer) -> bool:
    """Whether there is another update, which has begun then."""
    if not trainer.due():
        return False
    trainer.begin()
    return True


def _updated(trainer: Trainer, read: Reading) -> bool:
    trainer.judge(read)
    with trainer.clock("optimizer"):
        trainer.apply(read)
    return _finished(trainer, read)


def _judged(trainer: Trainer, read: Reading) -> bool:
    """Whether its update is to be applied; nothing is."""
    trainer.judge(read)
    if trainer.skip:
        trainer.applied = False
        trainer.update.leave_out()
    else:
        trainer.applied = trainer.update.finite(trainer.state.step, read, trainer.saved())
    return True


def _finished(trainer: Trainer, read: Reading) -> bool:
    trainer.finish(read)
    return True


class _Begun(NamedTuple):
    run: Run
    folder: RunFolder
    trainer: Trainer
    metrics: MetricsFile
    share: Share


def carry_out(
    experiments: Sequence[spec.Experiment],
    folders: Sequence[Path],
    interrupt: Interrupt | None,
    reporter: Reporter | None,
) -> list[Result]:
    """See ``danlu.train.population.train_together``."""
    parts.not_while_loading()
    started = time.perf_counter()
    pool, reporter = Pool(), reporter or Silent()
    with interrupt or Interrupt() as heard, ExitStack() as kept, pool.clock("startup"):
        device = pick_device(experiments[0].train.device)
        keep_memory()
        kept.enter_context(multiplying(experiments[0].train, device))
        group = Processes(0, 1, device)
        members = len(experiments)
        runs = [Run(e, group, Share(pool), heard, reporter, started, members=members) for e in experiments]
        for run in runs[1:]:
            run.recording = copy(runs[0].recording)  # of what all have in common
            run.recording.unwritten = True
        return _Population(runs, folders, kept).carry_out()


class _Population:
    def __init__(self, runs: list[Run], folders: Sequence[Path], kept: ExitStack) -> None:
        self.runs, self.folders, self.kept = runs, folders, kept
        self.interrupt = runs[0].interrupt
        self.choices: Choices | None = None
        self.begun: dict[int, _Begun] = {}  # and not ended
        self.results: dict[int, Result] = {}

    def carry_out(self) -> list[Result]:
        try:
            for place in range(len(self.runs)):
                try:
                    self._begin(place)
                except DanluError as error:
                    self._result(place, error)
            lockstep = Lockstep({place: one.trainer for place, one in self.begun.items()}, self._ended)
            with self.runs[0].clock("other"):
                lockstep.run()
        except Ended:
            pass
        finally:
            for one in self.begun.values():  # what was measured is not lost
                one.trainer.saver.rest()
                one.run.close(one.folder, one.metrics)
        for place, (run, folder) in enumerate(zip(self.runs, self.folders, strict=True)):
            if place not in self.results:
                self._result(place, run.unbegun(folder))
        return [self.results[place] for place in range(len(self.runs))]

    def _begin(self, place: int) -> None:
        """Make everything that the member has of its own, standing where its last checkpoint was."""
        run, share = self.runs[place], self.runs[place].clock
        with self.interrupt.at_once():
            held_out = run.prepare(getattr(self.runs[0], "source", None))
        folder = run.open(self.folders[place], "run")
        self.kept.callback(folder.close)
        with self.interrupt.at_once():
            record = run.earlier(folder)
            if self.choices is None:
                self.choices = self._chosen(run, record)
            trainer = run.trainer(folder, held_out, self.choices)
        if trainer.made.precision == "float16":
            raise RunError("a population is not trained in float16; set train.precision, or train alone")
        trainer.update.late = False
        if (summary := finished(trainer)) is not None:
            self._result(place, summary)
            return
        metrics = trainer.metrics = run.record(folder, record, trainer)
        assert isinstance(share, Share)
        self.begun[place] = _Begun(run, folder, trainer, metrics, share)

    def _chosen(self, run: Run, record: dict[str, Any] | None) -> Choices:
        """What all members take, from the first: chosen now, or when it began."""
        said = asdict(run.choose()) if record is None else record["choices"]
        choices = replace(Choices.read(said), compile=False)
        self.kept.enter_context(kernel_choice(choices.attention))
        return choices

    def _ended(self, place: int, end: str | Exception | None) -> None:
        """A member has ended: close what it has open, write its summary, and hold its trainer no longer."""
        one = self.begun.pop(place)
        one.run.close(one.folder, one.metrics)
        if isinstance(end, Exception):
            self._result(place, end)
        else:
            self._result(place, one.run.summary(one.trainer, end, False))
        one.folder.close()

    def _result(self, place: int, result: Result) -> None:
        self.results[place] = result
        share = self.runs[place].clock
        assert isinstance(share, Share)
        share.leave()
