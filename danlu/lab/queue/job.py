"""A job, an experiment to be carried out once, and its outcome, read from the run's folder. No torch here."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import danlu
from danlu import parts, spec
from danlu.files.json import read_object, write_json
from danlu.lab.study import folder_name
from danlu.spec.replay import to_yaml
from danlu.train import shapes
from danlu.train.folder import SUMMARY

MEASURES, FAILED = "measures.json", "failed.json"
DIGITS = 10  # of the hash

Kind = Literal["diverged", "failed"]


@dataclass(frozen=True)
class Job:
    """``experiment``: complete, with seed and bound. ``measures``: names of ``danlu.lab.measures``, beyond
    what a run's summary and metrics hold. ``name``: the readable beginning of the folder's name."""

    experiment: spec.Experiment
    measures: tuple[str, ...] = ()
    name: str = "run"

    @cached_property
    def hash(self) -> str:
        """Ten hex digits: the experiment, its own parts, and the versions that it is carried out by."""
        text = "\n".join([to_yaml(self.experiment), *versions(), *parts.digests(self.experiment)])
        return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]

    @property
    def id(self) -> str:
        """``NAME-HASH``, the name of the run's folder. Jobs of one experiment are one run."""
        return f"{folder_name(self.name)[:80]}-{self.hash}"

    def folder(self, runs: Path) -> Path:
        """Where the run is, or will be: under whatever name, a run of this content is this run."""
        path = runs / self.id
        return path if path.is_dir() else next(iter(sorted(runs.glob(f"*-{self.hash}"))), path)


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


@cache
def versions() -> tuple[str, str]:
    """Of danlu and of PyTorch, which is not imported for it."""
    try:
        torch = metadata.version("torch")
    except metadata.PackageNotFoundError:
        torch = "none"
    return f"danlu {danlu.__version__}", f"torch {torch}"


def outcome(job: Job, folder: Path, tries: int) -> Outcome | None:
    """How the run in ``folder`` ended; None where it has not, or where a measure is still missing."""
    failed = failure(folder)
    if failed and failed["kind"] == "diverged":
        return Outcome(job, folder, None, error=failed["error"], diverged=True, tries=tries)
    summary, known = finished(folder), measures(folder)
    if summary is not None and all(name in known for name in job.measures):
        return Outcome(job, folder, summary, {name: known[name] for name in job.measures}, tries=tries)
    return None


def failed_outcome(job: Job, folder: Path, tries: int) -> Outcome:
    """Of a run that could not be finished, or not measured: another queue will try it again."""
    known, failed = measures(folder), failure(folder)
    there = {name: known[name] for name in job.measures if name in known}
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
    """What was measured of the run so far."""
    path = folder / MEASURES
    return read_object(path, shapes.MEASURES) if path.exists() else {}


def failure(folder: Path) -> dict[str, Any] | None:
    """``error``, ``kind`` and ``tries`` of a run that went wrong the last time."""
    path = folder / FAILED
    return read_object(path, shapes.FAILED) if path.exists() else None


def write_failure(folder: Path, error: str, kind: Kind, tries: int) -> None:
    """Say in the run's folder what went wrong."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / FAILED, {"error": error, "kind": kind, "tries": tries})
