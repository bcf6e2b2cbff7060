"""A job, an experiment to be carried out once, and its outcome, read from the run's folder. No torch here."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from danlu import code, parts, spec
from danlu.files.json import read_object, write_json
from danlu.lab.errors import LabError
from danlu.lab.study import folder_name
from danlu.parts.measures import key
from danlu.spec.replay import to_yaml
from danlu.train import shapes, taught
from danlu.train.folder import ENVIRONMENT, SUMMARY

MEASURES, FAILED = "measures.json", "failed.json"
MEASURED = "measured"  # in environment.json: the code that took the measures
DIGITS = 16  # of the hash

Kind = Literal["diverged", "failed"]


@dataclass(frozen=True)
class Job:
    """``experiment``: complete, with seed and bound. ``measures``: names of ``danlu.lab.measures``, beyond
    what a run's summary and metrics hold. ``name``: the readable beginning of the folder's name.
    ``processes``: that carry it out together (0: as many as ``train.mesh`` takes), in equal parts on
    ``nodes`` machines. Raises ``LabError`` where they cannot be divided so."""

    experiment: spec.Experiment
    measures: tuple[str, ...] = ()
    name: str = "run"
    processes: int = 0
    nodes: int = 1

    def __post_init__(self) -> None:
        train, mesh = self.experiment.train, self.experiment.train.mesh
        if not self.processes:
            count = mesh.tensor * mesh.pipeline * mesh.context * mesh.replicate
            object.__setattr__(self, "processes", count)
        if self.processes < 1 or self.nodes < 1 or self.processes % self.nodes:
            raise LabError(
                f"a job of {self.processes} processes on {self.nodes} nodes; allowed: a multiple of the nodes"
            )
        try:
            train.check_shared(mesh.data(self.processes))
        except ValueError as error:
            raise LabError(str(error)) from None

    @cached_property
    def hash(self) -> str:
        """Sixteen hex digits: the experiment, its own parts, PyTorch, and how many processes, if several; a
        teacher counts by its weights and not by where it lies. What else decides where its run is stands in
        ``danlu.lab.queue.places``."""
        text = "\n".join(
            [to_yaml(taught.by_content(self.experiment)), torch_build(), *parts.digests(self.experiment)]
            + ([f"processes {self.processes}"] if self.processes > 1 else [])
        )
        return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]

    @property
    def id(self) -> str:
        """``NAME-HASH``, which tells it from others. Jobs of one experiment are one."""
        return f"{folder_name(self.name)[:80]}-{self.hash}"


@dataclass(frozen=True)
class Outcome:
    """What became of a job: ``summary`` and ``measures`` of a run that finished; else ``error``, a sentence.

    ``diverged``: not finite, a result and no mishap. ``tries``: processes that worked on it; 0: it was found.
    """

    job: Job
    folder: Path
    summary: dict[str, Any] | None
    measures: dict[str, float] = field(default_factory=dict)
    error: str | None = None
    diverged: bool = False
    tries: int = 1

    def check(self) -> None:
        """Raises ``LabError`` where the run failed; that it diverged is a result."""
        if self.summary is None and not self.diverged:
            raise LabError(f"{self.folder}: {self.error}; finished runs are kept; the same command continues")

    @property
    def metric(self) -> float:
        """The last held-out value of the first metric; nan where the run diverged. Raises as ``check``."""
        self.check()
        return math.nan if self.summary is None else float(self.summary["metric"]["value"])


@cache
def torch_build() -> str:
    """PyTorch's version and what it is built for, without importing it."""
    found = find_spec("torch")
    said = Path(found.origin).with_name("version.py") if found is not None and found.origin else None
    if said is None or not said.is_file():
        return "no torch"
    lines = re.findall(r"^(__version__|cuda|hip)\b.*= (.+)$", said.read_text(encoding="utf-8"), re.MULTILINE)
    return "torch " + ", ".join(f"{name} {value}" for name, value in lines)


def outcome(job: Job, folder: Path, tries: int) -> Outcome | None:
    """How the run in ``folder`` ended; None where it has not, or where a measure is still missing."""
    failed = failure(folder)
    if failed and failed["kind"] == "diverged":
        return Outcome(job, folder, None, error=failed["error"], diverged=True, tries=tries)
    summary, known = finished(folder), measures(folder)
    if summary is not None and all(key(name) in known for name in job.measures):
        return Outcome(job, folder, summary, {name: known[key(name)] for name in job.measures}, tries=tries)
    return None


def failed_outcome(job: Job, folder: Path, tries: int) -> Outcome:
    """Of a run that could not be finished, or not measured: another queue will try it again."""
    known, failed = measures(folder), failure(folder)
    there = {name: known[key(name)] for name in job.measures if key(name) in known}
    error = failed["error"] if failed else "it failed, and another process has begun it again"
    return Outcome(job, folder, finished(folder), there, error=error, tries=tries)


def finished(folder: Path) -> dict[str, Any] | None:
    """The summary of a run that came to its end by itself."""
    path = folder / SUMMARY
    if not path.exists():
        return None
    summary = read_object(path, shapes.SUMMARY)
    return summary if summary.get("stopped") is None else None


def measures(folder: Path) -> dict[str, float]:
    """What was measured of the run so far, by ``danlu.parts.measures.key``; nothing where it was measured by
    other code than is here."""
    path, environment = folder / MEASURES, folder / ENVIRONMENT
    if not path.exists():
        return {}
    measured = read_object(environment).get(MEASURED) if environment.exists() else None
    if environment.exists() and code.judge(measured, code.now()) not in code.REUSED:
        return {}
    return read_object(path, shapes.MEASURES)


def write_measures(folder: Path, found: Mapping[str, float], recording: code.Recording) -> None:
    """Add to what was measured of the run, and to the code that did it, which ``environment.json`` holds."""
    known, environment = measures(folder), folder / ENVIRONMENT
    write_json(folder / MEASURES, {**known, **found})
    if environment.exists():
        said = read_object(environment)
        before = said.get(MEASURED) if known else None
        write_json(environment, said | {MEASURED: code.record(recording.files, before)})


def failure(folder: Path) -> dict[str, Any] | None:
    """``error``, ``kind`` and ``tries`` of a run that went wrong the last time."""
    path = folder / FAILED
    return read_object(path, shapes.FAILED) if path.exists() else None


def write_failure(folder: Path, error: str, kind: Kind, tries: int) -> None:
    """Say in the run's folder what went wrong."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / FAILED, {"error": error, "kind": kind, "tries": tries})
