"""One job carried out by several processes, of which this is one: torchrun's environment says which.

The first of them holds the lock, measures, and says how the job ended, as if it were alone; the others train.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from danlu.files.lock import Lock
from danlu.lab.queue.carry_out import (
    LOCK,
    End,
    Stopped,
    concluded,
    job_of,
    settled,
    trained,
    unready,
    went_wrong,
)
from danlu.lab.queue.job import FAILED
from danlu.lab.queue.quiet import at_work
from danlu.spec.errors import DanluError
from danlu.train.interrupt import Interrupt


def environment(rank: int, count: int, address: str, port: int, on_node: int | None = None) -> dict[str, str]:
    """What torchrun would tell the process ``rank`` of ``count``. ``on_node``: its number on its machine,
    which is that of its GPU (left out: the same)."""
    return {
        "RANK": str(rank),
        "WORLD_SIZE": str(count),
        "LOCAL_RANK": str(rank if on_node is None else on_node),
        "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": address,
        "MASTER_PORT": str(port),
    }


def free_port() -> int:
    """A port that nobody uses now. Where somebody takes it meanwhile the group dies and is tried again."""
    with socket.socket() as asked:
        asked.bind(("", 0))
        return int(asked.getsockname()[1])


@contextmanager
def told(variables: dict[str, str]) -> Iterator[None]:
    """Within, the process's environment has these too."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def carry_out_as_one_of(task: dict[str, Any], interrupt: Interrupt | None = None) -> End:
    """``carry_out`` in one of the processes of a group; called in all of them. What the first returns is how
    the job ended."""
    from danlu.train.machine import pick_device
    from danlu.train.parallel import processes

    folder, number, interrupt = Path(task["folder"]), task["try"], interrupt or Interrupt()
    experiment = json.loads(task["experiment"])

    def stop() -> None:
        if interrupt.requested is not None:
            raise Stopped

    with ExitStack() as held, interrupt, processes(pick_device(experiment["train"]["device"])) as group:
        end = unready(task)
        if group.any(end is not None):  # in one of them: nobody waits for it
            return end or "stale"
        job = job_of(task)

        def begin() -> End | None:
            folder.mkdir(parents=True, exist_ok=True)
            held.enter_context(Lock(folder / LOCK, stop=stop))
            stop()
            if (end := settled(job, folder)) is None:
                (folder / FAILED).unlink(missing_ok=True)
            return end

        try:
            if (end := group.on_first(begin)) is not None:
                return end
            held.enter_context(at_work(stop))
            if group.first:
                return concluded(job, folder, number, lambda: trained(job, folder, interrupt))
            trained(job, folder, interrupt)
        except Stopped:
            return "stopped"
        except DanluError as error:
            return went_wrong(folder, number, "failed", error) if group.first else "failed"
        return "finished"
