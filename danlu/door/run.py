"""A run from Python: trained, opened, gone on with."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from danlu.door.experiment import Word, experiment, split_words
from danlu.door.history import History
from danlu.door.progress import follow
from danlu.door.samples import Samples
from danlu.draw import Chart, Displayed, Table
from danlu.draw.page import Part
from danlu.draw.picture import Stored
from danlu.files.json import read_object
from danlu.files.numbers import duration
from danlu.lab.reading import run as reading
from danlu.lab.reading.curves import read_curve
from danlu.spec import Experiment, resolve
from danlu.spec.metrics import Metric
from danlu.train import shapes
from danlu.train.errors import RunError
from danlu.train.folder import RunFolder, name_of
from danlu.train.metrics import read

if TYPE_CHECKING:
    import torch.nn as nn

    from danlu.train.callbacks import Callback
    from danlu.train.load import LoadedRun


class Value(float):
    """A number of a metric: a float that knows its ``name``, ``unit`` and which direction is ``better``."""

    name: str
    unit: str
    better: str

    @classmethod
    def of(cls, value: float, metric: Metric) -> Self:
        """``value`` of ``metric``."""
        found = cls(value)
        found.name, found.unit, found.better = metric.name, metric.unit, metric.better
        return found


class Run(Displayed):
    """A run's folder, of a run that is finished, stopped or under way: what it says is read anew each time.

    Raises ``RunError`` where the folder is no run's.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self._files = RunFolder(folder)
        self._files.check()

    @cached_property
    def experiment(self) -> Experiment:
        """What was trained."""
        return resolve([os.fspath(self._files.experiment)])

    @property
    def state(self) -> str:
        """``running``, ``finished``, ``stopped``, ``imported``, ``diverged``, ``failed`` or ``damaged``."""
        return self._read.state

    @property
    def metric(self) -> Value | None:
        """The last held-out value of the metric that decides; None where there is none yet."""
        run = self._read
        if run.metric is None or run.metric_name is None:
            return None
        about = {"name": run.metric_name, "unit": run.unit, "better": run.better}
        return Value.of(run.metric, Metric.read(about))

    @property
    def summary(self) -> dict[str, Any] | None:
        """What ``summary.json`` holds, which is written when a run ends; None before."""
        path = self._files.summary
        return read_object(path, shapes.SUMMARY) if path.exists() else None

    @property
    def history(self) -> History:
        """Everything that was measured on the way, as columns."""
        return History(read(self._files.metrics))

    @property
    def _read(self) -> reading.Run:
        return reading.Run(self.folder, 0.0, **reading.read_record(self.folder))

    def model(self, step: int | None = None, *, averaged: bool = True) -> nn.Module:
        """The trained network in evaluation mode, on the CPU, its weights without gradients: of the best
        checkpoint, or of ``step``; ``averaged``: the average of the weights where the run keeps one."""
        return self._load(step, averaged).model

    def _load(self, step: int | None, averaged: bool = True) -> LoadedRun:
        from danlu.train.load import load_run

        loaded = load_run(self.folder, step, averaged=averaged)
        if loaded.warning:
            warnings.warn(loaded.warning, stacklevel=3)
        return loaded

    def sample(
        self,
        prompt: str = "",
        tokens: int = 300,
        *,
        temperature: float = 0.8,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
        step: int | None = None,
    ) -> str:
        """What ``danlu sample`` prints: the prompt and the text that the model goes on with, so many
        ``tokens``; of a run on something else than text what its model shows, as text."""
        from danlu.objectives import Language
        from danlu.train.load import generate_text, shown

        loaded = self._load(step)
        if isinstance(loaded.objective, Language):
            how = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "seed": seed}
            return prompt + generate_text(loaded, prompt, count=tokens, **how)  # type: ignore[arg-type]
        return shown(loaded, self.folder).text

    def generate(
        self,
        count: int | None = None,
        *,
        steps: int | None = None,
        solver: str | None = None,
        label: str | int | None = None,
        guidance: float | None = None,
        seed: int = 0,
        step: int | None = None,
        way: bool = False,
    ) -> Samples:
        """Points or images of a run that generates them, as ``danlu sample`` makes them: in ``steps`` of the
        ``solver``, of the class ``label``, by ``guidance`` (left out: as the run says). ``way``: with how
        they come about, for a page. The samples are an array (``data``), are drawn in a notebook, and
        ``save`` themselves."""
        from danlu.train.samples import generate

        how = {"steps": steps, "solver": solver, "label": label, "guidance": guidance}
        return Samples(generate(self._load(step), self.folder, count=count, seed=seed, way=way, **how))  # type: ignore[arg-type]

    def resume(self, *, callbacks: Sequence[Callback] = (), progress: bool = True) -> Run:
        """Go on with the run where its last checkpoint stands; one that is finished stays as it is."""
        return train(self.experiment, self.folder, callbacks=callbacks, progress=progress)

    def __fspath__(self) -> str:
        return os.fspath(self.folder)

    def __repr__(self) -> str:
        return repr(self._read)

    def display(self) -> list[Part]:
        run = self._read
        rows: list[tuple[object, ...]] = [("run", run.name), ("state", run.state), ("steps", run.steps or 0)]
        if run.metric is not None:
            rows.append((run.metric_name, f"{run.metric:.4f} {run.unit}".rstrip()))
        if run.best is not None:
            rows.append(("best", f"{run.best:.4f} at step {run.best_step}"))
        rows.append(("active time", duration(run.seconds)))
        charts: Iterable[tuple[str | None, str]] = [("loss", "lower"), (run.metric_name, run.better)]
        last = self._files.pictures()[-1:]
        made = [Stored(path, f"what it made, {path.stem.replace('-', ' ')}") for path in last]
        return [Table(rows), *(self._curve(name, better) for name, better in charts if name), *made]

    def _curve(self, name: str, better: str) -> Chart:
        chart = Chart("steps", name, caption=f"{name} over steps", log_x=True, log_y=better == "lower")
        curve = read_curve(self.folder, name)
        return chart.line([x for x, _ in curve], [y for _, y in curve], name)


def train(
    words: Word | Experiment = "tiny",
    folder: str | os.PathLike[str] | None = None,
    *,
    callbacks: Sequence[Callback] = (),
    progress: bool = True,
    shrink: str | None = None,
    **settings: Any,
) -> Run:
    """Train an experiment, as ``danlu train`` does; what is in ``folder`` already is gone on with.

    ``words``, ``shrink``, ``settings``: see ``danlu.experiment``. ``folder``: the run's (left out: a new
    one under ``runs/``). ``callbacks``: a user's own (``danlu.Callback``). ``progress``: report on stderr, or
    in a notebook's cell, how it goes. Ctrl-C, or a notebook's stop button, saves the run and returns it;
    ``resume()`` goes on. Raises ``DanluError`` with the sentences of the command line, one of them where the
    run was stopped before it had a folder. Of several processes
    all return the run, in a folder that must be named.

    >>> import danlu
    >>> small = {"model.layers": 1, "context": 32, "steps": 3, "evaluate_tokens": 1000}
    >>> run = danlu.train("nano", "runs/first", progress=False, corpus="synthetic:reverse-3", **small)
    >>> run.state, run.metric.name, run.metric.unit, run.history["step"]
    ('finished', 'bits_per_byte', 'bits/byte', [1, 3])
    """
    started = time.perf_counter()
    wanted = experiment(words, shrink=shrink, **settings)
    if folder is None and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise RunError("of a run in several processes the folder must be named: danlu.train(…, 'runs/first')")
    from danlu.train.run import train as carry_out

    reporter = follow(wanted.objective.metrics[0], wanted.unit, progress)
    name = "run" if isinstance(words, Experiment) else name_of(split_words([words]), shrink)
    try:
        summary = carry_out(
            wanted, None if folder is None else Path(folder), reporter,
            name=name, started=started, callbacks=callbacks,
        )  # fmt: skip
    finally:
        reporter.close()
    if summary is None:  # not the first of several processes
        assert folder is not None
        return Run(folder)
    if summary["run"] is None:
        raise RunError(f"{summary['stopped']}: nothing was trained yet; the same call begins anew")
    if summary["stopped"]:
        done = f"saved step {summary['steps']}" if summary["steps"] else "nothing was trained yet"
        reporter.message(f"{summary['stopped']}: {done}; danlu.run({summary['run']!r}).resume() continues")
    return Run(summary["run"])


def run(folder: str | os.PathLike[str]) -> Run:
    """The run in a folder. Raises ``RunError`` where there is none."""
    return Run(folder)
