"""One job carried out in this process: the same function in a local worker, a task of Ray, a job of Slurm."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from danlu import code, parts, spec
from danlu.files.lock import Lock
from danlu.lab.queue.job import FAILED, Job, Kind, measures, outcome, write_failure, write_measures
from danlu.lab.queue.places import edited_in, fits, made_by
from danlu.lab.queue.quiet import at_work
from danlu.parts.measures import key
from danlu.spec.errors import DanluError
from danlu.train.errors import Diverged
from danlu.train.interrupt import Interrupt

LOCK = ".queue.lock"  # beside the trainer's, which is taken and left within: the measuring is included

End = Literal["finished", "diverged", "failed", "found", "stopped", "stale", "tainted"]


class Stopped(Exception):
    """A signal, or the queue's end, came while the run was waited for."""


def to_task(job: Job, folder: Path, number: int, code: str, device: int | None = None) -> dict[str, Any]:
    """A job as JSON: what ``carry_out`` takes, on whatever machine. ``number``: of the try, from 1. ``code``:
    the digest of danlu's code by which it is to be carried out."""
    return {
        "code": code,
        "parts": parts.pack(job.experiment, measures=job.measures),
        "experiment": job.experiment.model_dump_json(),
        "measures": list(job.measures),
        "name": job.name,
        "processes": job.processes,
        "folder": os.fspath(folder.absolute()),
        "from": os.getcwd(),  # what a corpus's path is relative to
        "try": number,
        "device": device,
    }


def job_of(task: dict[str, Any]) -> Job:
    """The job of a task whose own parts are loaded."""
    experiment = spec.Experiment.model_validate_json(task["experiment"])
    return Job(experiment, tuple(task["measures"]), task["name"], task["processes"])


def carry_out(task: dict[str, Any], interrupt: Interrupt | None = None) -> End:
    """Train the run where it is not trained, measure what is not measured; how it ended. What came out is in
    the run's folder.

    ``found``: another process had done it. ``stopped``: a signal came; the run is saved. ``stale``: nothing
    was done, since this process has loaded other code, or other code has begun the run meanwhile.
    ``tainted``: the code was edited while it ran. Raises what is no ``DanluError``: a defect, or a machine's
    failure.
    """
    if (end := unready(task)) is not None:
        return end
    job, folder = job_of(task), Path(task["folder"])
    interrupt = interrupt or Interrupt()

    def stop() -> None:
        if interrupt.requested is not None:
            raise Stopped

    with interrupt:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with Lock(folder / LOCK, stop=stop):  # against a killed queue's orphan, and other queues
                stop()
                return settled(job, folder) or _try(job, folder, task, interrupt, stop)
        except Stopped:
            return "stopped"


def unready(task: dict[str, Any]) -> End | None:
    """How the job ends that this process cannot carry out; None where it can: its own parts are loaded."""
    if code.loaded().tier_a != task["code"]:
        return "stale"
    try:
        parts.unpack(task["parts"])
    except DanluError as error:
        return went_wrong(Path(task["folder"]), task["try"], "failed", error)
    return None


def settled(job: Job, folder: Path) -> End | None:
    """How the job ended before anything was done, for who holds its lock; None where it is to be done."""
    if made_by(folder) is not None and not fits(folder, code.loaded()):
        return "stale"
    return "found" if outcome(job, folder, tries=0) is not None else None


def _try(job: Job, folder: Path, task: dict[str, Any], interrupt: Interrupt, stop: Callable[[], None]) -> End:
    (folder / FAILED).unlink(missing_ok=True)
    try:
        with at_work(stop):
            return concluded(job, folder, task["try"], lambda: _train(job, folder, interrupt, task["device"]))
    except DanluError as error:
        return went_wrong(folder, task["try"], "failed", error)


def concluded(job: Job, folder: Path, number: int, train: Callable[[], dict[str, Any]]) -> End:
    """How the run ended of which ``train`` returns the summary, or raises why there is none; measured, and
    what went wrong in try ``number`` written down."""
    try:
        try:
            summary = train()
        except (OverflowError, FloatingPointError) as error:
            raise Diverged(f"{type(error).__name__}: {error}") from error
        if summary["stopped"]:
            return "stopped"
        _check(summary)
        if edited_in(folder):
            return "tainted"
        _measure(job, folder)
    except Diverged as error:
        return went_wrong(folder, number, "diverged", error)
    except DanluError as error:
        return went_wrong(folder, number, "failed", error)
    return "finished"


def went_wrong(folder: Path, number: int, kind: Kind, error: Exception) -> End:
    """Say in the run's folder how it ended."""
    write_failure(folder, str(error) or type(error).__name__, kind, number)
    return kind


def _train(job: Job, folder: Path, interrupt: Interrupt, device: int | None) -> dict[str, Any]:
    use(device)
    summary = trained(job, folder, interrupt)
    assert summary is not None  # one process
    return summary


def trained(job: Job, folder: Path, interrupt: Interrupt) -> Any:
    """The summary of the run, trained; None in a process that is not the first of several."""
    from danlu.train.reporter import Silent
    from danlu.train.run import train

    now = time.perf_counter()
    # The queue reads how far a run is from its metrics; warnings are in environment.json.
    return train(job.experiment, folder, Silent(), interrupt=interrupt, started=now, sample=False)


def use(device: int | None) -> None:
    """Train on this GPU, where there is one."""
    import torch

    if device is not None and torch.cuda.is_available():
        torch.cuda.set_device(device)


def _check(summary: dict[str, Any]) -> None:
    metric = summary["metric"]
    if not math.isfinite(metric["value"]):  # the last update did it
        raise Diverged(
            f"step {summary['steps']}: {metric['name']} is {metric['value']} after the last update"
        )


def _measure(job: Job, folder: Path) -> None:
    known = measures(folder)
    missing = [name for name in job.measures if key(name) not in known]
    if missing:
        from danlu.lab.measures import of_run

        recording = code.Recording()
        with recording.during("measure"):
            found = of_run(folder, missing)
        write_measures(folder, {key(name): value for name, value in found.items()}, recording)
