"""An executor that carries out jobs in this process, at once."""

from __future__ import annotations

import json
from collections.abc import Sequence

from danlu.lab.queue.carry_out import to_task
from danlu.lab.queue.executors import Event, Start
from danlu.lab.queue.job import Job
from danlu.lab.queue.together import carry_out_all
from danlu.spec import Experiment


class Here:
    """``most``: jobs that it takes together. ``kind``: of its devices. ``started``: the seeds of the jobs of
    each start. An event names its process dead where it ran out of memory."""

    kind = "cpu"

    def __init__(self, most: int = 1) -> None:
        self.most = most
        self.events_: list[Event] = []
        self.started: list[list[int]] = []

    def room(self, job: Job, wanted: int, jobs: int) -> int:
        return 0 if self.events_ else min(self.most, wanted)

    def devices(self, experiment: Experiment) -> str:
        return self.kind

    def start(self, some: Sequence[Start], code: str) -> None:
        self.started.append([one.job.experiment.train.seed for one in some])
        first = some[0].job.hash
        try:
            ended = carry_out_all([to_task(*one, code) for one in some])
        except MemoryError as error:
            self.events_.append(Event(first, reason=str(error)))
        else:
            self.events_.append(Event(first, *json.loads(json.dumps(ended))))

    def events(self, seconds: float) -> list[Event]:
        found, self.events_ = self.events_, []
        return found

    def stop(self) -> None: ...
