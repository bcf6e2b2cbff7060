"""One run, from an experiment to its summary."""

from __future__ import annotations

import os
import time
from functools import cache
from pathlib import Path
from typing import Any

import torch

import danlu
from danlu import data, objectives, optim, parts, spec
from danlu.code import Recording
from danlu.models import Model, build
from danlu.nn.kernels import choose
from danlu.optim.rounding import to_bfloat16
from danlu.spec.replay import difference, to_yaml
from danlu.spec.words import resolve
from danlu.train import machine, steps
from danlu.train.clock import Clock
from danlu.train.environment import differs, environment, write_code
from danlu.train.errors import RunError
from danlu.train.evaluate import Window, held_out
from danlu.train.folder import RunFolder, new_run, read_json, write_atomically, write_json
from danlu.train.interrupt import Interrupt
from danlu.train.load import TOKENIZER, generate_text, load_run
from danlu.train.machine import PRECISIONS, check_seed, keep_memory, pick_device, pick_precision
from danlu.train.metrics import MetricsFile
from danlu.train.metrics import read as metrics_of
from danlu.train.parallel import Processes, distribute, processes
from danlu.train.plan import updates_of
from danlu.train.trainer import Reporter, Trainer

ceiling = cache(machine.ceiling)  # measured once a process, which may train many runs
SIGNAL_EXIT = {"SIGTERM": 143, "SIGINT": 130}
SAMPLE_TOKENS = 200
COMPILE_PAYS_AFTER = 500  # updates on a GPU: a compilation costs some tens of seconds there


def train(
    experiment: spec.Experiment,
    folder: Path | None,
    reporter: Reporter,
    *,
    name: str = "run",
    interrupt: Interrupt | None = None,
    started: float = danlu.STARTED,
    sample: bool = True,
) -> dict[str, Any] | None:
    """Carry out ``experiment`` in ``folder`` (a new one under ``runs/`` if None); resume what is there.

    ``started``: from when start-up is counted, on ``time.perf_counter``; a process that trains one run after
    another says so. ``sample``: whether a text is written at the end, where the objective continues one.

    Returns the summary that is also written to ``summary.json``: ``run``, ``metric`` {name, value}, ``best``
    {step, value}, ``loss`` (nats a token of the last update), ``steps``, ``tokens``, ``tokens_per_second``,
    ``utilisation`` (of the machine's measured ceiling of matrix products), ``flops``, ``parameters``,
    ``active_seconds`` by part, ``wall_seconds``, ``sample``, and ``stopped``: the signal that ended it early.
    Of several processes the first returns it, the others None. Raises ``RunError`` or ``DataError`` with one
    sentence.
    """
    parts.not_while_loading()
    clock = Clock()
    clock.add("startup", time.perf_counter() - started)
    with interrupt or Interrupt() as heard, clock("startup"):
        check_seed(experiment.train.seed)
        device = pick_device(experiment.train.device)
        keep_memory()
        with processes(device) as group:
            # Before the folder, so that a mistake in the data leaves none behind. The first process prepares
            # the data, the others find it prepared.
            dataset = group.only_first(lambda: data.prepare(experiment.data, progress=reporter.message))
            dataset = dataset or data.prepare(experiment.data)
            objective: objectives.Objective = objectives.build(
                experiment.objective, dataset.tokenizer, experiment.data
            )
            try:
                windows = held_out(objective, dataset, experiment.train.evaluate_tokens)
            except RunError as error:
                raise group.told(error) from None
            opened = _open(experiment, folder, name, group)
            try:
                return _train(
                    experiment,
                    objective,
                    dataset,
                    windows,
                    opened,
                    group,
                    clock,
                    heard,
                    reporter,
                    started,
                    sample,
                )
            finally:
                opened.close()


def _open(experiment: spec.Experiment, folder: Path | None, name: str, group: Processes) -> RunFolder:
    """The run's folder, which the first process makes and locks."""
    opened: list[RunFolder] = []

    def make() -> Path:
        path = folder or new_run("runs", name)
        text = to_yaml(experiment)
        opened.append(RunFolder.create_or_open(path, text, lambda old, new: _differs(path, experiment)))
        return path

    path = group.on_first(make)
    return opened[0] if opened else RunFolder(path)


def _differs(folder: Path, experiment: spec.Experiment) -> str:
    """What this experiment would change in the run that is there, in words."""
    there = RunFolder(folder)
    if not there.environment.exists() and steps.latest_step(folder) is None:
        write_atomically(there.experiment, to_yaml(experiment).encode())  # it never began: nothing to protect
        return ""
    before = resolve([str(there.experiment)])
    return "; ".join(
        f"{field} is {old} there and {new} here" for field, old, new in difference(before, experiment)
    )


def _train(
    experiment: spec.Experiment,
    objective: objectives.Objective,
    dataset: data.Dataset,
    windows: list[Window],
    folder: RunFolder,
    group: Processes,
    clock: Clock,
    interrupt: Interrupt,
    reporter: Reporter,
    started: float,
    sample: bool,
) -> dict[str, Any] | None:
    resumed = group.share(steps.latest_step(folder.path) is not None)
    record = group.on_first(lambda: _earlier(folder, dataset, experiment))
    choices = group.share(record["choices"] if record else _choose(experiment, group))
    recording = Recording()
    with recording.during("build"):
        torch.manual_seed(experiment.train.seed)
        model: Model = build(experiment.model, objective.vocabulary, max(objective.lengths))
        model.to(group.device)
        model.compute = PRECISIONS[choices["precision"]]
        model.recompute = experiment.train.recompute
        if experiment.train.weights != "float32":
            to_bfloat16(model)
        parameters = sum(p.numel() for p in model.parameters())
        if choices["compile"]:
            for block in model.blocks:
                block.compile()
        wrapped = distribute(model, experiment.train.parallel, group, choices["precision"])
        trainer = Trainer(
            experiment,
            objective,
            dataset,
            windows,
            model,
            wrapped,
            optim.build(experiment.optimizer, model, updates_of(experiment)),
            group,
            clock,
            folder,
            interrupt,
            reporter,
            choices,
            recording,
        )
    if resumed:
        trainer.resume()
    finished = group.on_first(lambda: _finished(trainer) if resumed else None)
    if finished is not None:
        if group.first:
            reporter.message(f"{folder.path} is finished, {finished['steps']:,} steps: nothing left to train")
        return finished if group.first else None
    metrics = group.only_first(lambda: _record(folder, dataset, choices, record, trainer, reporter))
    if group.first:
        _announce(experiment, dataset, parameters, choices, trainer, reporter, resumed)
    try:
        signal = trainer.fit(metrics)
    finally:
        if metrics is not None:
            metrics.close()
            write_code(folder.environment, recording)
    summary = _summary(trainer, parameters, signal, started, sample) if group.first else None
    group.wait()  # nobody takes the group down while another still works
    return summary


def _earlier(folder: RunFolder, dataset: data.Dataset, experiment: spec.Experiment) -> dict[str, Any] | None:
    """What an earlier process wrote down about this run. Raises ``RunError`` if the data is not the same."""
    if not folder.environment.exists():
        return None
    record: dict[str, Any] = read_json(folder.environment)
    # By content: where the corpus lies does not matter.
    if any(record["data"].get(part) != dataset.record[part] for part in ("tokenizer", "splits")):
        raise RunError(
            f"{folder.path} was trained on other data: the corpus {experiment.data.corpus} or its split "
            "changed since; name another folder, or bring the corpus back"
        )
    parts.check(record.get("parts", ()), experiment, folder.path)
    return record


def _finished(trainer: Trainer) -> dict[str, Any] | None:
    """The summary of a run that has nothing left to do."""
    now, path = trainer.position, trainer.folder.summary
    if trainer.progress() < 1 or now.evaluated < now.step or not path.exists():
        return None
    summary: dict[str, Any] = read_json(path)
    whole = summary.get("steps") == now.step and summary.get("stopped") is None
    return summary | {"run": os.fspath(trainer.folder.path)} if whole else None


def _choose(experiment: spec.Experiment, group: Processes) -> dict[str, Any]:
    """What the experiment left open, settled once: a resumed run takes the same."""
    train = experiment.train
    precision = pick_precision(train.precision, group.device)
    kernel = choose(group.device.type, PRECISIONS[precision], masked=False)
    compiled = train.compile
    if compiled == "auto":
        # On the CPU eager steps were measured as fast as compiled ones (bench/results/).
        long = train.steps is None or train.steps >= COMPILE_PAYS_AFTER
        compiled = group.device.type == "cuda" and long
    return {
        "device": group.device.type,
        "precision": precision,
        "compile": compiled,
        "attention": kernel.kernel,
        "ceiling_flops": ceiling(group.device, precision),
    }


def _record(
    folder: RunFolder,
    dataset: data.Dataset,
    choices: dict[str, Any],
    record: dict[str, Any] | None,
    trainer: Trainer,
    reporter: Reporter,
) -> MetricsFile:
    """Write down where the run happens, or compare it with where it began; open its metrics."""
    now = environment(dataset.record, choices)
    if record is None:
        dataset.tokenizer.save(folder.path / TOKENIZER)
        write_json(folder.environment, now | {"parts": parts.keep(trainer.experiment, folder.path)})
    else:
        for sentence in differs(record, now | {"data": record["data"]}):
            reporter.message(f"warning: {sentence}")
    metrics = MetricsFile(folder.metrics)
    metrics.truncate_after(trainer.position.step)
    # If a signal cut an evaluation off, and kill -9 the saving of its repetition, its row is there already.
    trainer.told = {row["step"] for row in metrics_of(folder.metrics) if "bits_per_byte" in row}
    return metrics


def _announce(
    experiment: spec.Experiment,
    dataset: data.Dataset,
    parameters: int,
    choices: dict[str, Any],
    trainer: Trainer,
    reporter: Reporter,
    resumed: bool,
) -> None:
    reporter.message(
        f"{parameters / 1e6:.2f} M parameters · "
        f"{len(dataset.train):,} training tokens of {experiment.data.corpus} · "
        f"{choices['precision']} on {choices['device']} · {trainer.folder.path}"
    )
    if resumed:
        reporter.message(f"resuming after step {trainer.position.step}")


def _summary(
    trainer: Trainer, parameters: int, signal: str | None, started: float, sample: bool
) -> dict[str, Any]:
    now, clock, folder = trainer.position, trainer.clock, trainer.folder
    with clock("other"):
        writes = sample and trainer.objective.continues and not signal
        text = generate_text(load_run(folder.path, now.step), "", count=SAMPLE_TOKENS) if writes else None
    summary = {
        "run": os.fspath(folder.path),
        "metric": {"name": "bits_per_byte", "value": now.metric},
        "best": {"step": now.best_step, "value": now.best},
        "loss": now.loss,
        "steps": now.step,
        "tokens": now.tokens,
        "tokens_per_second": now.tokens / now.seconds if now.seconds else None,
        "utilisation": trainer.utilisation(),
        "flops": trainer.flops_per_token * now.tokens,
        "parameters": parameters,
        "active_seconds": {part: round(value, 3) for part, value in clock.seconds.items()},
        "wall_seconds": round(time.perf_counter() - started, 3),
        "sample": text,
        "stopped": signal,
    }
    write_json(folder.summary, summary)
    return summary
