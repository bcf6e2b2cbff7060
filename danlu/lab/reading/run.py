"""One run as it is read: its experiment's fields, how it ended, what it reached. No torch, no numpy."""

from __future__ import annotations

import json
import math
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from danlu.files.lock import holder, is_held
from danlu.lab.reading.fields import Fields, read_fields

# Names as in danlu.train.folder and danlu.lab.queue; importing those would cost more than reading the runs.
EXPERIMENT, SUMMARY, METRICS, LOCK = "experiment.yaml", "summary.json", "metrics.jsonl", ".lock"
FAILED, MEASURES = "failed.json", "measures.json"
FILES = (EXPERIMENT, SUMMARY, METRICS, FAILED, MEASURES)  # what a record is made from

METRIC, SEED = "bits_per_byte", "train.seed"
COUNTS = ("steps", "tokens", "seconds", "flops", "parameters")
FACTS = ("name", "state", *COUNTS, "loss", "metric", "best", "best_step")
ELSEWHERE = 3600.0  # seconds after which a silent run on another machine is not taken for running

Row = dict[str, Any]  # of metrics.jsonl
Record = dict[str, Any]  # the arguments of Run but for the first two, as JSON


@dataclass(frozen=True)
class Run:
    """A run's folder, read. Numbers that it does not hold (yet) are None.

    ``experiment``: its fields as JSON, which is parsed where ``fields`` are asked for: of most runs they are
    not. ``ended``: finished, stopped, diverged, failed or damaged.
    ``metric``: the last held-out value of what ``metric_name`` says, ``best`` the lowest, at ``best_step``.
    ``loss``: of training, nats a token, last told. ``seconds``: active ones. ``begun``: seconds since 1970.
    """

    path: Path
    begun: float
    experiment: str = "{}"
    ended: str = "stopped"
    steps: int | None = None
    tokens: int | None = None
    seconds: float | None = None
    flops: float | None = None
    parameters: int | None = None
    loss: float | None = None
    metric_name: str = METRIC
    metric: float | None = None
    best: float | None = None
    best_step: int | None = None
    measures: Mapping[str, float] = field(default_factory=dict)
    error: str | None = None

    @property
    def name(self) -> str:
        return os.fspath(self.path)

    @cached_property
    def fields(self) -> Fields:
        """The experiment: value by dotted name."""
        fields: Fields = json.loads(self.experiment)
        return fields

    @cached_property
    def state(self) -> str:
        """``ended``, or running."""
        return "running" if self.ended != "finished" and _is_held(self.path) else self.ended

    @property
    def seed(self) -> Any:
        return self.fields.get(SEED)

    def value(self, name: str) -> Any:
        """A fact (see ``FACTS``), a measure, or a field of the experiment; None where there is none."""
        if name in self.fields:
            return self.fields[name]
        if name in FACTS:
            return getattr(self, name)
        return self.metric if name == self.metric_name else self.measures.get(name)

    def _repr_html_(self) -> str:
        from danlu.lab.reading.notebook import run_html

        return run_html(self)


def read_run(folder: Path) -> Run:
    """The run in ``folder``, past any index."""
    experiment = folder / EXPERIMENT
    begun = experiment.stat().st_mtime_ns / 1e9 if experiment.exists() else 0.0
    return Run(folder, begun, **read_record(folder))


def read_record(folder: str | os.PathLike[str]) -> Record:
    """What the files in ``folder`` say. A file that cannot be read makes the run damaged, never an error."""
    record: Record = {}
    try:
        with open(os.path.join(folder, EXPERIMENT), encoding="utf-8") as file:
            record["experiment"] = json.dumps(read_fields(file.read()))
        summary = _json(folder, SUMMARY)
        record["measures"] = {name: _number(value) for name, value in _json(folder, MEASURES).items()}
        failed = _json(folder, FAILED)
        if failed:
            record["error"] = str(failed.get("error"))
        if summary and summary.get("stopped") is None:
            return record | {"ended": "finished"} | _of_summary(summary)
        ended = "diverged" if failed.get("kind") == "diverged" else "failed" if failed else "stopped"
        return record | {"ended": ended} | _of_metrics(folder)
    except Exception as error:  # whatever it is, the other runs are still to be told
        return record | {"ended": "damaged", "error": f"{type(error).__name__}: {error}"}


def _of_summary(summary: Mapping[str, Any]) -> Record:
    return {
        **{name: _number(summary[name]) for name in ("loss", "flops")},
        **{name: summary[name] for name in ("steps", "tokens", "parameters")},
        "seconds": sum(summary["active_seconds"].values()),
        "metric_name": summary["metric"]["name"],
        "metric": _number(summary["metric"]["value"]),
        "best": _number(summary["best"]["value"]),
        "best_step": summary["best"]["step"],
    }


def _of_metrics(folder: str | os.PathLike[str]) -> Record:
    """Of a run without a summary: its last rows, and its evaluations."""
    try:
        with open(os.path.join(folder, METRICS), "rb") as file:
            lines = file.read().split(b"\n")[
                :-1
            ]  # what follows the last line break is being written, or torn
    except FileNotFoundError:
        return {}
    scored = [json.loads(line) for line in lines if b'"bits_per_byte"' in line]
    trained: Row = next((json.loads(line) for line in reversed(lines) if b'"loss"' in line), {})
    last: Row = json.loads(lines[-1]) if lines else {}
    record: Record = {"steps": last.get("step"), "tokens": last.get("tokens"), "seconds": last.get("seconds")}
    record |= {name: _number(trained.get(name)) for name in ("loss", "flops")}
    scores = {row["step"]: score(row) for row in scored}
    if scores:
        record["metric"] = list(scores.values())[-1]
        record["best_step"] = min(scores, key=lambda step: (math.isnan(scores[step]), scores[step]))
        record["best"] = scores[record["best_step"]]
    if record["loss"] is not None and not math.isfinite(record["loss"]):
        record["ended"] = "diverged"
    return record


def score(row: Mapping[str, Any]) -> float:
    """The held-out score of an evaluation: of the average where one is kept, as in the summary."""
    return float(row.get(f"{METRIC}_average", row[METRIC]))


def _json(folder: str | os.PathLike[str], name: str) -> dict[str, Any]:
    """A small file's mapping; an empty one where there is no such file."""
    try:
        with open(os.path.join(folder, name), "rb") as file:
            return dict(json.loads(file.read()))
    except FileNotFoundError:
        return {}


def _number(value: Any) -> float | None:
    return None if value is None else float(value)  # "NaN" is how JSON is written here where it has no word


def _is_held(folder: Path) -> bool:
    """Whether a process holds the run's lock; of another machine's, whether it wrote something of late."""
    words = holder(folder / LOCK).split()  # "process 123 on host"; empty when free
    if not words:
        return False
    here = words[-1] == socket.gethostname()
    held = is_held(folder / LOCK) if here else None
    if held is not None:
        return held
    changed = max((p.stat().st_mtime for p in (folder / METRICS, folder / LOCK) if p.exists()), default=0)
    return time.time() - changed < ELSEWHERE
