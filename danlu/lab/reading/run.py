"""One run as it is read: its experiment's fields, how it ended, what it reached. No torch, no numpy."""

from __future__ import annotations

import hashlib
import json
import math
import os
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from danlu.code import Verdict
from danlu.files.errors import Missing
from danlu.files.json import from_json, misfit, parse, read_object
from danlu.files.lock import holder, is_held
from danlu.files.read import LARGE, MIB, open_file, read_text
from danlu.lab.reading.code import ENVIRONMENT, mark, verdicts
from danlu.lab.reading.fields import Fields, read_fields
from danlu.lab.yardstick import why_apart
from danlu.train import shapes

# Names as in danlu.train.folder and danlu.lab.queue; importing those would cost more than reading the runs.
EXPERIMENT, SUMMARY, METRICS, LOCK = "experiment.yaml", "summary.json", "metrics.jsonl", ".lock"
FAILED, MEASURES, IMPORTED = "failed.json", "measures.json", "imported.json"
FILES = (EXPERIMENT, SUMMARY, METRICS, FAILED, MEASURES, ENVIRONMENT)  # what a record is made from

SEED = "train.seed"
COUNTS = ("steps", "tokens", "seconds", "flops", "parameters")
FACTS = ("name", "state", "code", *COUNTS, "loss", "metric", "best", "best_step")
AXES = ("step", "tokens", "seconds", "flops")  # of a row: where it was measured
NAMED = ("data.corpus", "data.held_out", "data.kind")  # what a hash of the examples stands for
ELSEWHERE = 3600.0  # seconds after which a silent run on another machine is not taken for running

Row = dict[str, Any]  # of metrics.jsonl
Record = dict[str, Any]  # the arguments of Run but for the first two, as JSON


@dataclass(frozen=True)
class Run:
    """A run's folder, read. Numbers that it does not hold (yet) are None.

    ``experiment``: its fields as JSON, which is parsed where ``fields`` are asked for: of most runs they
    are not. ``ended``: finished, stopped, imported (weights from elsewhere, or in few bits, that were not
    trained on), diverged, failed or damaged. ``metric``: the last held-out value of what ``metric_name``
    says, in ``unit``; ``better``: lower or higher. ``best``: the best so far, at ``best_step``.
    ``measures``: the other metrics too. ``examples``: a hash of the held-out examples.
    ``loss``: of training, last told. ``units``: how many it was trained on of what is ``counted``, tokens or
    images. ``seconds``: active ones. ``begun``: seconds since 1970. ``code``: what it is to the code that is
    here (``danlu.code.judge``); ``mark``: by which runs of equal code are known.
    """

    path: Path
    begun: float
    experiment: str = "{}"
    ended: str = "stopped"
    steps: int | None = None
    units: int | None = None
    counted: str = "tokens"
    seconds: float | None = None
    flops: float | None = None
    parameters: int | None = None
    loss: float | None = None
    metric_name: str | None = None
    unit: str = ""
    better: str = "lower"
    metric: float | None = None
    best: float | None = None
    best_step: int | None = None
    measures: Mapping[str, float] = field(default_factory=dict)
    error: str | None = None
    examples: str | None = None
    mark: str | None = None
    code: Verdict = "other"

    def __repr__(self) -> str:
        score = "" if self.metric is None else f", {self.metric:.4f} {self.unit or self.metric_name}"
        return f"<run {self.name}: {self.state}{score} after {self.steps or 0} steps>"

    def __fspath__(self) -> str:
        return os.fspath(self.path)

    @property
    def name(self) -> str:
        return os.fspath(self.path)

    @cached_property
    def fields(self) -> Fields:
        """The experiment: value by dotted name."""
        try:
            fields = parse(self.experiment)
        except ValueError:  # of an index that is not of our making
            fields = None
        # Thousands of runs share the names of their fields, and most of what they take in memory is that.
        return {sys.intern(name): value for name, value in fields.items()} if isinstance(fields, dict) else {}

    @cached_property
    def state(self) -> str:
        """``ended``, or running."""
        return "running" if self.ended != "finished" and _is_held(self.path) else self.ended

    def again(self) -> Run:
        """Itself; or where its state is another than when it was asked for, the same anew."""
        if self.ended == "finished":
            return self
        new = replace(self)
        return self if new.state == self.state else new

    @property
    def first(self) -> Run:
        """Itself, as of a group of runs the first."""
        return self

    @property
    def tokens(self) -> int | None:
        """Tokens that it was trained on; None of a run that counts something else."""
        return self.units if self.counted == "tokens" else None

    @property
    def seed(self) -> Any:
        return self.fields.get(SEED)

    @cached_property
    def but_for_seed(self) -> bytes:
        """Equal where all fields but the seed are: a digest. Of a run that cannot be read its own."""
        fields = {name: value for name, value in self.fields.items() if name != SEED}
        said = json.dumps(fields, sort_keys=True, default=str) if self.fields else self.name
        return hashlib.sha256(said.encode(errors="surrogateescape")).digest()

    @cached_property
    def yardstick(self) -> tuple[str, ...]:
        """What its metric is of, in words: where two runs agree in it, their values can be ranked."""
        fields = {name: value for name, value in self.fields.items() if why_apart(name)}
        if self.examples:  # the text itself, whatever it is called
            fields = {name: value for name, value in fields.items() if name not in NAMED}
            fields["held-out examples"] = self.examples[:8]
        return (self.metric_name or "metric", *(f"{name} {value}" for name, value in sorted(fields.items())))

    def value(self, name: str) -> Any:
        """A fact (see ``FACTS``), a measure, or a field of the experiment; None where there is none."""
        if name in self.fields:
            return self.fields[name]
        if name in FACTS:
            return getattr(self, name)
        if name == self.counted:
            return self.units
        return self.metric if name == self.metric_name else self.measures.get(name)


def read_run(folder: Path) -> Run:
    """The run in ``folder``, past any index."""
    experiment = folder / EXPERIMENT
    begun = experiment.stat().st_mtime_ns / 1e9 if experiment.exists() else 0.0
    record = read_record(folder)
    mark = record.get("mark")
    return Run(folder, begun, **record, code=verdicts([(mark, os.fspath(folder))])[mark])


def read_record(folder: str | os.PathLike[str]) -> Record:
    """What the files in ``folder`` say. A file that cannot be read makes the run damaged, never an error."""
    return begin(folder)[0]


def begin(folder: str | os.PathLike[str]) -> tuple[Record, Measured | None]:
    """``read_record``; and of a run without a summary what reads on in its metrics."""
    record: Record = {}
    try:
        fields = read_fields(read_text(os.path.join(folder, EXPERIMENT)))
        if not fields:
            raise ValueError(f"{EXPERIMENT} is empty")
        record["experiment"] = json.dumps({_renamed(name): value for name, value in fields.items()})
        environment = _json(folder, ENVIRONMENT, shapes.ENVIRONMENT)
        record["examples"], record["mark"] = _examples(environment), mark(environment.get("code"))
        summary = _json(folder, SUMMARY, shapes.SUMMARY)
        record["measures"] = _json(folder, MEASURES, shapes.MEASURES)
        failed = _json(folder, FAILED, shapes.FAILED)
        if failed:
            record["error"] = failed["error"]
        if summary and summary.get("stopped") is None:
            told = (summary.get("metrics") or {}).items()
            others = {name: about["value"] for name, about in told}
            others |= {f"{name}_error": about["error"] for name, about in told if "error" in about}
            record["measures"] = others | record["measures"]
            return record | {"ended": "finished"} | _of_summary(summary), None
        ended = "diverged" if failed.get("kind") == "diverged" else "failed" if failed else "stopped"
        measured = Measured(os.path.join(folder, METRICS), environment, record | {"ended": ended})
        return measured.read(), measured
    except Exception as error:  # whatever it is, the other runs are still to be told
        return record | {"ended": "damaged", "error": f"{type(error).__name__}: {error}"}, None


def _of_summary(summary: Mapping[str, Any]) -> Record:
    counted = _counted(summary)
    return {
        **{name: summary[name] for name in ("steps", "parameters", "loss", "flops")},
        "units": int(summary[counted]),
        "counted": counted,
        "seconds": sum(summary["active_seconds"].values()),
        **_about(summary["metric"]),
        "metric": summary["metric"]["value"],
        "best": summary["best"]["value"],
        "best_step": summary["best"]["step"],
    }


def _about(metric: Mapping[str, Any]) -> Record:
    """Name, unit and direction; runs of before danlu 0.4 give the name alone, and lower is better."""
    return {
        "metric_name": metric["name"],
        "unit": metric.get("unit") or "",
        "better": metric.get("better") or "lower",
    }


def _counted(about: Mapping[str, Any]) -> str:
    """What a run counts: tokens, unless its summary or environment say otherwise."""
    return f"{about.get('unit') or 'token'}s"


@cache  # of few names, asked for each of thousands of runs
def _renamed(field: str) -> str:
    """A field by its name of today: an objective was a task until danlu 0.4."""
    return f"objective{field.removeprefix('task')}" if field.split(".")[0] == "task" else field


def _examples(environment: Mapping[str, Any]) -> str | None:
    """A hash of the held-out examples, where the run wrote down what they are."""
    data = environment.get("data") or {}
    found = (data.get("splits") or {}).get("held_out")
    if not found:
        return None
    said = str(found.get("text_sha256") or json.dumps([data.get("sha256"), found], sort_keys=True))
    return hashlib.sha256(said.encode()).hexdigest()


class Measured:
    """What the metrics of a run without a summary say, read on as they grow: its last rows, and its
    evaluations by the metric that ``environment`` names; where that was not written down, by the first name
    of an evaluation's row. ``record``: what the other files say."""

    def __init__(self, path: str, environment: Mapping[str, Any], record: Record) -> None:
        self._path, self._record = path, record
        self._metric, self._counted = environment.get("metric"), _counted(environment)
        self._file: tuple[int, int] | None = None
        self._offset = 0  # bytes of whole lines that were read
        self._last: Row = {}
        self._trained: Row = {}
        self._scores: dict[int, float] = {}

    def read(self) -> Record:
        """The record with what is there now. Raises where the file is damaged, or not the one that it was and
        more."""
        try:
            with open_file(self._path) as file:
                found = os.fstat(file.fileno())
                if self._file not in (None, (found.st_dev, found.st_ino)) or found.st_size < self._offset:
                    raise ValueError(f"{METRICS} is another file")
                self._file = found.st_dev, found.st_ino
                file.seek(self._offset)
                text = file.read(LARGE + 1 - self._offset)
        except Missing:
            given = os.path.exists(os.path.join(os.path.dirname(self._path), IMPORTED))
            return self._record | ({"ended": "imported"} if given and not self._record.get("error") else {})
        if self._offset + len(text) > LARGE:
            raise ValueError(f"{METRICS} is larger than the {LARGE / MIB:g} MiB allowed here")
        *lines, rest = text.split(b"\n")  # the last: torn, or to come
        self._take(lines)
        self._offset += len(text) - len(rest)
        return self._record | self._told()

    def _take(self, lines: Sequence[bytes]) -> None:
        self._metric = self._metric or _first_of_evaluation(lines)
        if self._metric:
            name = self._metric["name"]
            key = json.dumps(name).encode()
            scored = [_row(line) for line in lines if key in line]
            self._scores |= {row["step"]: float(score(row, name)) for row in scored}
        self._trained = next((_row(line) for line in reversed(lines) if b'"loss"' in line), self._trained)
        self._last = _row(lines[-1]) if lines else self._last

    def _told(self) -> Record:
        last, scores = self._last, self._scores
        record: Record = {"steps": last.get("step"), "seconds": last.get("seconds")}
        record |= {"units": last.get(self._counted), "counted": self._counted}
        record |= {name: self._trained.get(name) for name in ("loss", "flops")}
        if self._metric and scores:
            record |= _about(self._metric)
            sign = -1 if record["better"] == "higher" else 1
            record["metric"] = list(scores.values())[-1]
            record["best_step"] = min(
                scores, key=lambda step: (math.isnan(scores[step]), sign * scores[step])
            )
            record["best"] = scores[record["best_step"]]
        if record["loss"] is not None and not math.isfinite(record["loss"]):
            record["ended"] = "diverged"
        return record


def score(row: Mapping[str, Any], metric: str) -> Any:
    """A held-out value of an evaluation: of the average where one is kept, as in the summary."""
    return row.get(f"{metric}_average", row[metric])


def _first_of_evaluation(lines: Sequence[bytes]) -> Row | None:
    """The first name of the first row that tells neither of training nor of what is inside."""
    line = next((line for line in lines if b'"loss"' not in line and b'"inside"' not in line), None)
    names = [name for name in _row(line) if name not in AXES] if line else []
    return {"name": names[0]} if names else None


def _row(line: bytes) -> Row:
    row: Row = from_json(line)
    if wrong := misfit(row, shapes.ROW):
        raise ValueError(f"{METRICS}: {wrong}")
    return row


def _json(folder: str | os.PathLike[str], name: str, shape: Mapping[Any, Any]) -> dict[str, Any]:
    """A small file's mapping; an empty one where there is no such file."""
    try:
        return read_object(os.path.join(folder, name), shape)
    except Missing:
        return {}


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
