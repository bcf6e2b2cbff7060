"""Jobs that wait, and which of them are begun together."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path

from danlu import code
from danlu.lab.queue.job import Job
from danlu.lab.queue.places import Places
from danlu.spec import graph_key
from danlu.train.store import latest_step

Key = tuple[str, tuple[str, ...]]  # jobs of one experiment and the same measures are one


@dataclass(eq=False)
class Entry:
    """A job of the queue that has not ended."""

    job: Job
    folder: Path
    tries: int = 0  # processes that were given it
    stale: int = 0  # of these, how many had loaded other code
    excused: int = 0  # of the tries, how many went wrong in company
    most: int | None = None  # jobs that it may be carried out together with, itself counted; None: any number

    @property
    def key(self) -> Key:
        return self.job.hash, self.job.measures

    @cached_property
    def graph(self) -> str | None:
        """Jobs of one graph may be carried out together; None: it is carried out alone."""
        return graph_key(self.job.experiment) if self.job.processes == 1 else None


class Waiting(deque[Entry]):
    """In their order."""

    def __init__(self) -> None:
        super().__init__()
        self._alone: dict[str | None, bool] = {None: True}  # graphs, and whether they have no batched form

    def refused(self, entry: Entry) -> str | None:
        """Why runs of the graph of ``entry`` cannot be trained together: a sentence, the first time that one
        asks; else None."""
        if entry.graph in self._alone:
            return None
        from danlu.train.population import refusal

        said = refusal([entry.job.experiment])
        self._alone[entry.graph] = said is not None
        return said

    def alike(self, entry: Entry, running: Collection[str]) -> Iterator[Entry]:
        """``entry``, and what else waits that may be carried out together with it. ``running``: the hashes of
        jobs that are under way: a run's folder takes one process."""
        yield entry
        if entry.most == 1 or self._alone.get(entry.graph):
            return
        taken = {entry.job.hash, *running}
        for other in self:
            if (other.graph, other.most) == (entry.graph, entry.most) and other.job.hash not in taken:
                taken.add(other.job.hash)
                yield other

    def wanted(self, entry: Entry, running: Collection[str]) -> int:
        """How many could be begun together with ``entry``, itself counted."""
        return sum(1 for _ in islice(self.alike(entry, running), entry.most))

    def take(
        self, entry: Entry, room: int, running: Collection[str], places: Places, now: code.Code
    ) -> list[Entry]:
        """``entry`` and at most ``room`` − 1 others, to be begun together; their last checkpoints are of one
        step. They wait no longer."""
        some: list[Entry] = []
        at: int | None = None
        for one in list(self.alike(entry, running)) if room > 1 else [entry]:
            one.folder = places.folder(one.job, now)
            step = latest_step(one.folder) or 0
            at = step if at is None else at
            if step == at:
                some.append(one)
                self.remove(one)
            if len(some) == room:
                break
        return some
