"""Jobs of one graph carried out in this process as one: trained in the same kernels, each for itself after.

Each has its folder, locks, failure, measures and summary as if it were carried out alone.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal, NamedTuple

from danlu import code, parts
from danlu.files.lock import Held, Lock, is_held
from danlu.lab.queue.carry_out import (
    LOCK,
    End,
    Stopped,
    carry_out,
    concluded,
    job_of,
    settled,
    use,
    went_wrong,
)
from danlu.lab.queue.group import carry_out_as_one_of
from danlu.lab.queue.job import FAILED, Job
from danlu.lab.queue.quiet import at_work
from danlu.spec.errors import DanluError
from danlu.train import store
from danlu.train.interrupt import Interrupt

PATIENCE = 20.0  # seconds in all for who holds folders: a killed queue's orphan is saving what it has

# ``left``: another process is at it, or its last checkpoint is of another step than the others'. ``lost``:
# what was wrong may be the company.
Fate = End | Literal["left", "lost"]


class Ended(NamedTuple):
    """How each job ended, and why, where the reason is common to them."""

    ends: list[Fate]
    reason: str = ""


class _Member(NamedTuple):
    place: int  # among the tasks
    job: Job
    folder: Path
    number: int


def carry_out_all(tasks: list[dict[str, Any]], interrupt: Interrupt | None = None) -> Ended:
    """``carry_out`` for each of ``tasks``, which are of one graph, together; raises what is no
    ``DanluError``. One is carried out alone, or by this process among others."""
    if len(tasks) == 1:
        one = carry_out if tasks[0]["processes"] == 1 else carry_out_as_one_of
        return Ended([one(tasks[0], interrupt)])
    if any(code.loaded().tier_a != task["code"] for task in tasks):
        return Ended(["stale"] * len(tasks))
    interrupt = interrupt or Interrupt()

    def stop() -> None:
        if interrupt.requested is not None:
            raise Stopped

    ends: dict[int, Fate] = {}
    reason = ""
    with interrupt, ExitStack() as locks:
        try:
            members = list(_begun(tasks, ends, locks, stop))
            use(tasks[0]["device"])
            reason = _population(members, ends, interrupt, stop)
        except Stopped:
            pass
    return Ended([ends.get(place, "stopped") for place in range(len(tasks))], reason)


def _begun(
    tasks: list[dict[str, Any]], ends: dict[int, Fate], locks: ExitStack, stop: Callable[[], None]
) -> Iterator[_Member]:
    """The jobs that are to be trained here, their folders made and locked. Nobody is waited for longer than
    ``PATIENCE``, all together: two groups may want the same folders."""
    until = time.monotonic() + PATIENCE
    for place, task in enumerate(tasks):
        folder = Path(task["folder"])
        try:
            parts.unpack(task["parts"])
            job = job_of(task)
            folder.mkdir(parents=True, exist_ok=True)
            left = max(0.0, until - time.monotonic())
            if not left and is_held(folder / LOCK):  # at once, where a lock has patience
                ends[place] = "left"
                continue
            locks.enter_context(Lock(folder / LOCK, wait=left, stop=stop))
        except Held:
            ends[place] = "left"
            continue
        except DanluError as error:
            ends[place] = went_wrong(folder, task["try"], "failed", error)
            continue
        if (end := settled(job, folder)) is not None:
            ends[place] = end
        else:
            yield _Member(place, job, folder, task["try"])


def _population(
    members: list[_Member], ends: dict[int, Fate], interrupt: Interrupt, stop: Callable[[], None]
) -> str:
    """Train those that stand at one step, and conclude each; a reason that is common to them."""
    from danlu.train.population import train_together

    steps = {member.place: store.latest_step(member.folder) or 0 for member in members}
    if not members:
        return ""
    ((step, _),) = Counter(steps.values()).most_common(1)
    ends |= {place: "left" for place, at in steps.items() if at != step}
    some = [member for member in members if steps[member.place] == step]
    experiments = [member.job.experiment for member in some]
    for member in some:
        (member.folder / FAILED).unlink(missing_ok=True)
    try:
        with at_work(stop):
            found = train_together(experiments, [member.folder for member in some], interrupt=interrupt)
            reasons = [_conclude(member, it, ends) for member, it in zip(some, found, strict=True)]
    except DanluError as error:
        ends |= {member.place: "lost" for member in some}
        return str(error)
    return next(filter(None, reasons), "")


def _conclude(member: _Member, result: dict[str, Any] | Exception, ends: dict[int, Fate]) -> str:
    """Note how one ended by its summary, or the error in place of it. What is no ``DanluError`` is not its
    end: it is returned, as a reason to do it again."""

    def trained() -> dict[str, Any]:
        if isinstance(result, Exception):
            raise result
        return result

    try:
        ends[member.place] = concluded(member.job, member.folder, member.number, trained)
    except Exception as error:
        ends[member.place] = "lost"
        return f"{type(error).__name__}: {error}".splitlines()[0]
    return ""


def carry_out_anywhere(tasks: list[dict[str, Any]], interrupt: Interrupt | None = None) -> Ended:
    """``carry_out_all`` in a process that is not the queue's child: as a local worker would do it."""
    os.chdir(tasks[0]["from"])
    import torch

    torch.set_num_threads(1)
    return carry_out_all(tasks, interrupt)
