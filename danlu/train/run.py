"""One run, from an experiment to its summary."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import danlu
from danlu import data, parts, spec
from danlu.code import Recording
from danlu.files.json import read_object, write_json
from danlu.nn.kernels import kernel_choice, to_keep
from danlu.objectives import HeldOut, check_passes
from danlu.objectives.hidden import without_maps
from danlu.train import compiling, machine, shapes, store, taught
from danlu.train.assemble import assemble, objective_of, outline
from danlu.train.callbacks import Callback
from danlu.train.choices import Choices
from danlu.train.clock import Clock
from danlu.train.communication import sent
from danlu.train.environment import differs, environment, write_code
from danlu.train.errors import RunError
from danlu.train.folder import RunFolder
from danlu.train.interrupt import Ended, Interrupt
from danlu.train.kernels import try_flex
from danlu.train.load import TOKENIZER, check_data, load_run
from danlu.train.machine import PRECISIONS, keep_memory, pick_device, pick_precision
from danlu.train.memory import check_memory
from danlu.train.metrics import MetricsFile
from danlu.train.metrics import read as metrics_of
from danlu.train.opened import open_folder
from danlu.train.parallel import Processes, processes
from danlu.train.plan import check_counts
from danlu.train.regime import regime
from danlu.train.reporter import Reporter
from danlu.train.showing import Show
from danlu.train.summary import Summary
from danlu.train.teacher import check_teacher, teach
from danlu.train.trainer import Trainer

ceiling = cache(machine.ceiling)  # measured once a process, which may train many runs
SIGNAL_EXIT = {"SIGTERM": 143, "SIGINT": 130}


def train(
    experiment: spec.Experiment,
    folder: Path | None,
    reporter: Reporter,
    *,
    name: str = "run",
    interrupt: Interrupt | None = None,
    started: float = danlu.STARTED,
    sample: bool = True,
    callbacks: Sequence[Callback] = (),
    counts: Collection[int] = (),
) -> dict[str, Any] | None:
    """Carry out ``experiment`` in ``folder`` (a new one under ``runs/`` if None); resume what is there.

    ``started``: from when start-up is counted, on ``time.perf_counter``; a process that trains one run after
    another says so. ``sample``: whether the summary shows what the model makes. ``callbacks``: a user's own,
    called beside danlu's (``danlu.train.callbacks``). ``counts``: see ``danlu.train.plan.check_counts``.

    Returns what is also written to ``summary.json``: ``Summary.record``. Of a run that a signal ended before
    its training began only ``run`` (None where there is no folder yet), ``steps``, ``sample`` and ``stopped``
    are known, and nothing is written. Of several processes the first returns it, the others None. Raises
    ``RunError`` or ``DataError`` with one sentence.
    """
    parts.not_while_loading()
    clock = Clock()
    clock.add("startup", time.perf_counter() - started)
    with interrupt or Interrupt() as heard, clock("startup"):
        device = pick_device(experiment.train.device)
        keep_memory()
        with machine.multiplying(experiment.train, device), processes(device, experiment.train.mesh) as group:
            check_counts(experiment, counts, group)
            shows = [Show()] if sample else []
            run = Run(experiment, group, clock, heard, reporter, started, [*callbacks, *shows])
            try:
                return run.carry_out(folder, name, sample)
            except Ended:
                return run.unbegun(folder) if group.first else None


class Run:
    """One run on its way: what ``train`` does one after another. ``members``: of a population that the run is
    one of."""

    def __init__(
        self,
        experiment: spec.Experiment,
        group: Processes,
        clock: Clock,
        interrupt: Interrupt,
        reporter: Reporter,
        started: float,
        callbacks: Sequence[Callback] = (),
        members: int | None = None,
    ) -> None:
        self.members = members
        self.experiment, self.group, self.clock, self.interrupt = experiment, group, clock, interrupt
        self.reporter, self.started, self.callbacks = reporter, started, callbacks
        self.recording = Recording(parts.own_files(experiment))
        self.path: Path | None = None  # of its folder, once that is there

    def carry_out(self, folder: Path | None, name: str, sample: bool) -> dict[str, Any] | None:
        """Everything, from the data to the summary. Raises ``Ended`` where a signal comes before the first
        update."""
        with self.interrupt.at_once():
            held_out = self.prepare()
        opened = self.open(folder, name)
        try:
            return self._train(opened, held_out, sample)
        finally:
            opened.close()

    def unbegun(self, folder: Path | None) -> dict[str, Any]:
        """The summary of a run, which was to be in ``folder``, that a signal ended before it trained."""
        here: dict[str, Any] = {"run": None, "steps": 0}
        path = self.path or folder
        if path is not None and RunFolder(path).experiment.is_file():
            here = {"run": os.fspath(path), "steps": store.latest_step(path) or 0}
        return here | {"sample": None, "stopped": self.interrupt.requested}

    def open(self, folder: Path | None, name: str) -> RunFolder:
        """Its folder, made and locked: ``folder``, or a new one under ``runs/``."""
        opened = open_folder(self.experiment, folder, name, self.group)
        self.path = opened.path
        return opened

    def prepare(self, source: Any = None) -> HeldOut:
        """The data, unless they are given as ``source``, and what is made of them."""
        experiment, group = self.experiment, self.group
        try:
            taught.check(experiment, group.count)  # before the data, which take longer
        except spec.DanluError as error:
            raise group.once(error) from None
        # Before the folder, so that a mistake in the data leaves none behind. The first process prepares
        # the data, the others find it prepared.
        if source is None:
            told = self.reporter.message
            source = group.only_first(lambda: data.prepare(experiment.data, progress=told))
        self.source = source or data.prepare(experiment.data)
        with self.recording.during("objective"):
            self.objective = objective_of(experiment, self.source)
        try:
            self.teacher = teach(experiment, self.objective, group, self.clock)
            with self.recording.during("held out"):
                held_out = self.objective.held_out(experiment.train.evaluate_tokens)
            self._check_passes()
            check_memory(experiment, self.objective, group.device)
        except spec.DanluError as error:
            raise group.once(error) from None
        return held_out

    def _check_passes(self) -> None:
        train = self.experiment.train
        shares = train.shares(self.group.data.count)
        try:
            train.check_shared(shares)
        except ValueError as error:
            raise RunError(str(error)) from None
        for name, batch in train.batches().items():
            try:
                check_passes(self.objective, batch, train.microbatch or batch // shares)
                train.check_stages(batch // shares)
            except ValueError as error:
                raise RunError(f"train.{name} = {batch}: {error}") from None

    def _train(self, folder: RunFolder, held_out: HeldOut, sample: bool) -> dict[str, Any] | None:
        group = self.group
        with self.interrupt.at_once():
            record = group.on_first(lambda: self.earlier(folder))
            chosen = group.share(record["choices"] if record else asdict(self.choose()))
        choices = Choices.read(chosen).on(self.experiment.train.mesh)
        with ExitStack() as kept:
            try:
                kept.enter_context(kernel_choice(choices.attention))
            except ValueError as error:
                raise RunError(f"{folder.environment}: {error}; restore it, or start again") from None
            with self.interrupt.at_once():
                trainer = self.trainer(folder, held_out, choices)
            finished, signal = self._fit(folder, record, trainer)
        if finished is not None:
            return finished if group.first else None
        summary = self.summary(trainer, signal, sample) if group.first else None
        group.wait()  # nobody takes the group down while another still works
        return summary

    def choose(self) -> Choices:
        """What the experiment left open, settled once: a resumed run takes the same."""
        experiment, device = self.experiment, self.group.device
        precision = pick_precision(experiment.train.precision, device)
        _, model, *_ = outline(experiment, self.source)
        peak = ceiling(device, precision, machine.convolves(model), experiment.train.products)
        compile = experiment.train.compile
        if compile == "auto" and experiment.train.quantize is not None:
            compile = False  # the graph would change when rounding begins
        if compile == "auto" and getattr(getattr(experiment.objective, "teacher", None), "hidden", None):
            compile = False  # the graph would hold what comes out of blocks
        if compile == "auto":
            flops = 3 * self.objective.flops(model, experiment.train.batch)
            compile = compiling.pays(experiment, flops, peak, bool(self._known(precision)))
            if compile and (missing := compiling.missing(device.type)):
                compile = False
                if self.group.first:
                    self.reporter.message(f"{missing}: the run goes on without compiling, which is slower")
        kernels = to_keep(device.type, PRECISIONS[precision])
        return Choices(device.type, precision, compile, kernels, peak)

    def _known(self, precision: str) -> compiling.Known:
        return compiling.Known(self.experiment, self.objective, precision, self.group.device.type)

    def trainer(self, folder: RunFolder, held_out: HeldOut, choices: Choices) -> Trainer:
        """The trainer, standing where the last checkpoint was, compiled where that was chosen."""
        experiment, group = self.experiment, self.group
        resumed = group.share(store.latest_step(folder.path) is not None)
        try_flex(experiment, group.device, self.reporter.message)
        with self.recording.during("build"):
            made = assemble(experiment, self.objective, choices.precision, group)
            whole = choices.compile and group.count == 1
            passes = compiling.compiled(experiment, self.objective) if whole else None
            if choices.compile and not whole:
                compiling.compile_blocks(experiment, made.model.blocks)
            trainer = Trainer(
                made, held_out, self.clock, folder, self.interrupt, self.reporter, choices,
                own=self.callbacks, recording=self.recording, passes=passes,
            )  # fmt: skip
        if resumed:
            trainer.resume()
        return trainer

    def _fit(
        self, folder: RunFolder, record: dict[str, Any] | None, trainer: Trainer
    ) -> tuple[dict[str, Any] | None, str | None]:
        """Train to the end; the summary of a run that had nothing left to do, and the signal that ended it
        early."""
        group, reporter, resumed = self.group, self.reporter, trainer.state.step > 0
        summary = group.on_first(lambda: finished(trainer) if resumed else None)
        if summary is not None:
            if group.first:
                reporter.message(
                    f"{folder.path} is finished, {summary['steps']:,} steps: nothing left to train"
                )
            return summary, None
        if group.first:
            self._announce(trainer, resumed)
        if trainer.choices.compile and trainer.warm_up():
            group.on_first(self._known(trainer.choices.precision).remember)
        metrics = group.only_first(lambda: self.record(folder, record, trainer))
        try:
            return None, trainer.fit(metrics)
        finally:
            if metrics is not None:
                self.close(folder, metrics)

    def close(self, folder: RunFolder, metrics: MetricsFile) -> None:
        """Nothing more is measured."""
        metrics.close()
        for name in write_code(folder.environment, self.recording):
            self.reporter.message(
                f"warning: {name} was edited meanwhile: parts of the run used different code"
            )

    def earlier(self, folder: RunFolder) -> dict[str, Any] | None:
        """What an earlier process wrote down about this run. Raises ``RunError`` if the data differs."""
        if not folder.environment.exists():
            return None
        shape = {"data": dict, "choices": Choices.shape(), "parts": (parts.RECORD, None)}
        record = read_object(folder.environment, shape | {"teacher": (dict, None)})
        check_teacher(folder, record.get("teacher"), self.teacher)
        check_data(folder, record["data"], self.source.record, self.experiment)
        parts.check(record.get("parts") or (), self.experiment, folder.path)
        return record

    def record(self, folder: RunFolder, record: dict[str, Any] | None, trainer: Trainer) -> MetricsFile:
        """Write down where the run happens, or compare it with where it began; open its metrics."""
        now = environment(self.source.record, asdict(trainer.choices))
        if record is None:
            if isinstance(self.source, data.Dataset):
                self.source.tokenizer.save(folder.path / TOKENIZER)
            now |= {"metric": trainer.metric.record(), "unit": self.objective.unit}
            if self.teacher is not None:
                now |= {"teacher": self.teacher}
            if self.members is not None:
                now |= {"population": {"members": self.members}}
            write_json(folder.environment, now | {"parts": parts.keep(self.experiment, folder.path)})
        else:
            for sentence in differs(record, now | {"data": record["data"]}):
                self.reporter.message(f"warning: {sentence}")
        metrics = MetricsFile(folder.metrics)
        metrics.truncate_after(trainer.state.step)
        # If a signal cut an evaluation off, and kill -9 the saving of its repetition, its row is there
        # already.
        name = trainer.metric.name
        rows = {row["step"]: row for row in metrics_of(folder.metrics) if name in row}
        trainer.reported = set(rows)
        trainer.measured = rows.get(trainer.state.evaluated, {})  # where its end was evaluated before
        return metrics

    def _announce(self, trainer: Trainer, resumed: bool) -> None:
        choices = trainer.choices
        self.reporter.message(
            f"{sum(_tensors(trainer)) / 1e6:.2f} M parameters · {self.objective.about()} · "
            f"{choices.precision} on {choices.device} · {trainer.folder.path}"
        )
        if resumed:
            self.reporter.message(f"resuming after step {trainer.state.step}")

    def summary(self, trainer: Trainer, signal: str | None, sample: bool) -> dict[str, Any]:
        now, clock, folder = trainer.state, self.clock, trainer.folder
        tensors = _tensors(trainer)
        with clock("other"):
            loaded = load_run(folder.path, now.step) if sample and not signal else None
            shown = None if loaded is None else loaded.objective.sample(loaded.model.to(self.group.device))
            reached = regime(
                self.experiment,
                self.objective,
                trainer.held_out,
                measured=trainer.measured,
                parameters=sum(tensors),
                steps=now.step,
                units=now.units,
                whole=signal is None,
            )
        metric, every, told = trainer.metric, self.experiment.objective.metrics, trainer.measured
        error = told.get(f"{metric.name}_average_error", told.get(metric.error))
        found = Summary(
            run=os.fspath(folder.path),
            metric=metric.record(now.metric, error),
            best={"step": now.best_step, "value": now.best},
            metrics={m.name: m.record(told.get(m.name), told.get(m.error)) for m in every},
            loss=now.loss,
            term=self.objective.term,
            loss_unit=self.objective.loss_unit,
            steps=now.step,
            unit=self.objective.unit,
            units=now.units,
            units_per_second=now.units / now.seconds if now.seconds else None,
            utilisation=trainer.utilisation(),
            mfu=machine.of_published(trainer.utilisation(), trainer.choices, self.experiment.train.products),
            flops=trainer.made.flops_per_unit * now.units,
            parameters=sum(tensors),
            active_seconds={part: round(value, 3) for part, value in clock.seconds.items()},
            wall_seconds=round(time.perf_counter() - self.started, 3),
            sample=None if shown is None else shown.text,
            stopped=signal,
            sent=sent(self.experiment.train, tensors, self.objective.size),
            regime=reached,
        ).record()
        write_json(folder.summary, found)
        return found


def _tensors(trainer: Trainer) -> list[int]:
    """How many numbers each parameter of the network has; what a teacher's hidden states are mapped by is
    none of it."""
    return [p.numel() for p in without_maps(dict(trainer.made.whole.named_parameters())).values()]


def finished(trainer: Trainer) -> dict[str, Any] | None:
    """The summary of a run that has nothing left to do."""
    now, path = trainer.state, trainer.folder.summary
    if trainer.progress() < 1 or now.evaluated < now.step or not path.exists():
        return None
    summary = read_object(path, shapes.SUMMARY)
    whole = summary.get("steps") == now.step and summary.get("stopped") is None
    return summary | {"run": os.fspath(trainer.folder.path)} if whole else None
