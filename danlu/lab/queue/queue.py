"""The queue: which job is carried out when, and what becomes of it when a process dies."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from types import TracebackType

from danlu import code
from danlu.code.tiers import is_own
from danlu.files.lock import Lock, holder
from danlu.lab.errors import LabError
from danlu.lab.queue import sizes
from danlu.lab.queue.control import CONTROL, Control
from danlu.lab.queue.executors import Event, Executor, Start, make
from danlu.lab.queue.job import Job, Outcome, failed_outcome, outcome, write_failure
from danlu.lab.queue.journal import JOURNAL, Journal
from danlu.lab.queue.places import Places, content_of, depends_on, edited_in, made_by
from danlu.lab.queue.table import Running, State, Table
from danlu.lab.queue.waiting import Entry, Key, Waiting
from danlu.lab.study import RUNS, STUDIES
from danlu.parts import not_while_loading
from danlu.spec import Experiment
from danlu.train.interrupt import Interrupt

LOCK = ".lock"  # of a study
STALE = 5  # times that a job meets workers of other code, before it is given up
TURN = 0.25  # seconds at most between two looks at the table and at signals
BY_HAND = "stopped by hand"
EXIT = {"SIGTERM": 143, "SIGINT": 130, BY_HAND: 143}


class Interrupted(LabError):
    """A signal ended the study early; what was running is saved."""

    def __init__(self, text: str, exit_code: int) -> None:
        super().__init__(text)
        self.exit_code = exit_code


@dataclass
class _Ended:
    outcomes: dict[Key, Outcome] = field(default_factory=dict)  # not yet handed out, in the order of ending
    count: int = 0
    found: int = 0
    wrong: int = 0
    untouched: int = 0  # of those found: by other code that differs in nothing that they depend on


class Queue:
    """Carries out jobs side by side under ``studies``, each once: ``with Queue() as queue: queue.run(jobs)``.

    ``executor``: local, ray or slurm. ``workers``: jobs at a time (left out: one a core). ``retries``: how
    often a job is tried again whose process died. ``show``: tell how it goes on stderr. Entering starts
    nothing yet, leaving saves and stops what is running. The first Ctrl-C or SIGTERM is answered by that,
    too, in the next call. All that it carries out and finds is by the same code: an edit meanwhile that
    matters to what has ended is a ``LabError``. So are an unknown executor and a missing package.
    """

    def __init__(
        self,
        studies: Path = STUDIES,
        *,
        executor: str = "local",
        workers: int | None = None,
        retries: int = 2,
        show: bool = True,
    ) -> None:
        not_while_loading()
        studies = Path(studies)
        self.runs = studies / RUNS
        self._executor: Executor = make(executor, workers, studies)
        self._journal = Journal(studies / JOURNAL)
        self._control = Control(studies / CONTROL)
        self._retries = retries
        self._table = Table(show)
        self.places = Places(self.runs, self._executor.devices, self._table.message)
        self._manifest: dict[str, str] = {}
        self._interrupt = Interrupt()
        self._waiting = Waiting()
        self._running: dict[str, list[Entry]] = {}  # begun together, by the hash of the first
        self._held: list[Entry] = []  # paused by hand
        self._halted: set[str] = set()  # of those running: told to save and stop
        self._ended = _Ended()

    def __enter__(self) -> Queue:
        self._interrupt.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._stop()
            if self._ended.untouched:
                self._table.message(
                    f"of the runs found {self._ended.untouched} were made by other code, which differs in no "
                    "file that they depend on"
                )
        finally:
            self._interrupt.__exit__(kind, error, trace)
            self._journal.close()

    @property
    def manifest(self) -> dict[str, str]:
        """The digest of every file that what has ended depends on."""
        return dict(self._manifest)

    @property
    def pending(self) -> int:
        """Jobs submitted that ``next`` has not returned."""
        return len(self._waiting) + len(self._held) + self._under_way + len(self._ended.outcomes)

    @property
    def _under_way(self) -> int:
        return sum(map(len, self._running.values()))

    def submit(self, job: Job) -> None:
        """Have ``job`` carried out. One that is pending already is not taken twice; one that was ever carried
        out is found."""
        entry = Entry(job, self.folder(job))
        pending = {
            other.key for some in (self._waiting, self._held, *self._running.values()) for other in some
        }
        if entry.key in pending or entry.key in self._ended.outcomes:
            return
        found = outcome(job, entry.folder, tries=0)
        if found is None:
            self._waiting.append(entry)
        else:
            self._end(entry, found)

    def folder(self, job: Job) -> Path:
        """Where the run of ``job`` is, or will be, by the code that is here."""
        return self.places.folder(job, code.now())

    def next(self) -> Outcome:
        """One more of the jobs submitted, in the order of ending; waits for it. Raises ``LabError`` if none
        is pending, and ``Interrupted`` on a signal."""
        if not self.pending:
            raise LabError("nothing is pending in the queue: submit a job first")
        while not self._ended.outcomes:
            self._turn()
        self._table.close()  # the caller may have something to say
        return self._ended.outcomes.pop(next(iter(self._ended.outcomes)))

    def run(self, jobs: Iterable[Job]) -> list[Outcome]:
        """All of ``jobs``, in the order given. Raises ``Interrupted`` on a signal."""
        jobs = list(jobs)
        for job in jobs:
            self.submit(job)
        keys = [(job.hash, job.measures) for job in jobs]
        while not self._ended.outcomes.keys() >= set(keys):
            self._turn()
        self._table.close()
        taken = {key: self._ended.outcomes.pop(key) for key in set(keys)}
        return [replace(taken[key], job=job) for key, job in zip(keys, jobs, strict=True)]

    @contextmanager
    def alone(self, folder: Path) -> Iterator[None]:
        """Carry out the study in ``folder`` once no other process does: the same command twice at once is one
        that works and one that waits and then finds all. Raises ``Interrupted`` on a signal."""
        said = False

        def wait() -> None:
            nonlocal said
            self.check()
            if not said:
                self.say(f"waiting for {holder(folder / LOCK)}, which carries out {folder}")
                said = True

        with Lock(folder / LOCK, stop=wait, named=True):
            yield

    def say(self, text: str) -> None:
        """A line on stderr about how the study goes on, where the queue tells of it at all."""
        self._table.message(text)

    def faster(self, experiment: Experiment) -> float:
        """About how many times as fast many runs of this graph are here as the same one by one."""
        return sizes.faster(experiment) if self._executor.devices(experiment) == "cpu" else 1.0

    def check(self) -> None:
        """Raises ``Interrupted`` where a signal came: for what takes long between two calls."""
        if self._interrupt.requested is not None:
            self._leave(self._interrupt.requested)

    # ---------------------------------------------------------------- one turn

    def _turn(self) -> None:
        self.check()
        self._obey()
        self._start()
        self._draw()
        for event in self._executor.events(TURN):
            self._settle(event)

    def _start(self) -> None:
        for entry in list(self._waiting):
            running = {one.job.hash for some in self._running.values() for one in some}
            if entry.job.hash in running or entry not in self._waiting:
                continue
            waiting = len(self._waiting)
            jobs = waiting + sum(map(len, self._running.values()))
            room = self._executor.room(entry.job, waiting, jobs)
            if not room and entry.job.processes > 1:
                break  # jobs of one process would take each worker that comes free
            if not room:
                continue
            said = self._waiting.refused(entry) if room > 1 else None
            if said and self._executor.devices(entry.job.experiment) != "cpu":  # little is lost there
                self._table.message(f"{entry.folder.name} is trained alone, as all of its graph: {said}")
            if room > 1:
                room = self._executor.room(entry.job, self._waiting.wanted(entry, running), jobs)
            now = code.now()
            self._unedited(now)
            some = self._waiting.take(entry, room, running, self.places, now)
            more = {"together": len(some)} if len(some) > 1 else {}
            for one in some:
                one.tries += 1
                self._journal.write(one.folder.name, "started", **{"try": one.tries}, **more)
            self._running[entry.job.hash] = some
            self._executor.start([Start(one.job, one.folder, one.tries) for one in some], now.tier_a)

    def _obey(self) -> None:
        """Do what a person wants of the queue (``danlu.lab.queue.control``)."""
        before = self._control.all
        if self._control.look() and self._control.all != before:
            self._journal.write(
                "all", {"pause": "paused", "resume": "resumed", "stop": "stopped"}[self._control.all]
            )
        if self._control.all == "stop":
            self._leave(BY_HAND)
        if self._control.silent and not self._held:
            return
        for first, some in self._running.items():
            if first in self._halted or all(self._wish(entry) == "resume" for entry in some):
                continue
            self._halted.add(first)
            if not self._executor.halt(first):
                self._table.message(f"{some[0].folder.name} runs on to its end: it cannot be halted there")
        every = [*self._held, *self._waiting]
        self._held = [entry for entry in every if self._wish(entry) == "pause"]
        self._waiting.clear()
        self._waiting.extend(entry for entry in every if self._wish(entry) == "resume")
        for entry in every:
            if self._wish(entry) == "stop":
                said = f"{entry.folder.name} was {BY_HAND}; the same command continues it"
                write_failure(entry.folder, said, "failed", entry.tries)
                self._end(entry, failed_outcome(entry.job, entry.folder, entry.tries))

    def _wish(self, entry: Entry) -> str:
        return self._control.wish(entry.folder.name)

    def _settle(self, event: Event) -> None:
        some = self._running.pop(event.job)
        ends = event.ends or ["lost"] * len(some)
        if event.job in self._halted:
            self._halted.remove(event.job)
            ends = [end if end != "lost" else "stopped" for end in ends]
            for entry in [one for one, end in zip(some, ends, strict=True) if end == "stopped"]:
                entry.tries -= 1
                self._waiting.append(entry)  # where it does not stay, if it is paused
                self._journal.write(
                    entry.folder.name, "paused" if self._wish(entry) == "pause" else "stopped"
                )
            both = [pair for pair in zip(some, ends, strict=True) if pair[1] != "stopped"]
            some, ends = [entry for entry, _ in both], [end for _, end in both]
        reason = event.reason or "its process was told to stop"
        lost = [entry for entry, end in zip(some, ends, strict=True) if self._goes_on(entry, end)]
        if len(some) > 1 and lost:
            self._part(lost, len(some), reason)
        elif lost:
            self._lost(lost[0], reason)

    def _goes_on(self, entry: Entry, end: str) -> bool:
        """Whether the job of ``entry`` is to be tried again, having come to no end by ``end``."""
        job, folder = entry.job, entry.folder
        if end == "left":  # nothing was done
            entry.tries -= 1
            entry.most = 1
            self._waiting.append(entry)
            return False
        if end == "found":
            entry.tries = 0
        if end == "stale":
            self._stale(entry)
        elif edited := edited_in(folder):
            self._lost(entry, f"{', '.join(edited)} was edited while it ran", "it runs again")
        elif found := outcome(job, folder, entry.tries):
            self._end(entry, found)
        elif end == "failed":
            self._end(entry, failed_outcome(job, folder, entry.tries))
        else:
            return True
        return False

    def _part(self, lost: list[Entry], count: int, reason: str) -> None:
        """Jobs that went wrong in a company of ``count``, whose fault it may be, go on in half as large
        ones."""
        half = (count + 1) // 2
        self._table.message(
            f"{lost[0].folder.name} and {count - 1} more, trained together: {reason}; "
            f"{len(lost)} of them go on from their last checkpoints, {half} together at most"
        )
        for entry in reversed(lost):
            self._journal.write(entry.folder.name, "lost", **{"try": entry.tries, "reason": reason})
            entry.excused += 1
            entry.most = half
            self._waiting.appendleft(entry)

    def _stale(self, entry: Entry) -> None:
        """Another process is to take the job: what had it has loaded other code than there is now."""
        entry.tries -= 1
        entry.stale += 1
        if entry.stale > STALE:
            raise LabError(
                f"the workers load other code of danlu than there is at {code.tiers.PACKAGE}: see that all "
                "machines have the same, and that nobody edits it"
            )
        self._waiting.appendleft(entry)

    def _lost(self, entry: Entry, reason: str, then: str = "it goes on from its last checkpoint") -> None:
        self._journal.write(entry.folder.name, "lost", **{"try": entry.tries, "reason": reason})
        if entry.tries - entry.excused <= self._retries:
            self._table.message(f"{entry.folder.name}: {reason}; {then}")
            self._waiting.appendleft(entry)
            return
        said = f"{entry.folder.name} was given up after {entry.tries} tries: {reason}"
        write_failure(entry.folder, said, "failed", entry.tries)
        self._end(entry, failed_outcome(entry.job, entry.folder, entry.tries))

    def _end(self, entry: Entry, ended: Outcome) -> None:
        self._agree(entry, ended)
        what = "diverged" if ended.diverged else "failed" if ended.error is not None else "finished"
        self._journal.write(entry.folder.name, what, **{"try": entry.tries})
        if what != "finished" and entry.tries:
            self._table.message(f"{entry.folder.name}: {ended.error}")
        self._ended.outcomes[entry.key] = ended
        self._ended.count += 1
        self._ended.found += not entry.tries
        self._ended.wrong += what != "finished"

    def _agree(self, entry: Entry, ended: Outcome) -> None:
        """Raises ``LabError`` where a run is by other code, or of other data, than those before it."""
        if (said := made_by(ended.folder)) is None:
            return
        now = code.now()
        self._manifest |= {name: it for name, it in depends_on(ended.folder).items() if not is_own(name)}
        self._unedited(now)
        self._ended.untouched += not entry.tries and code.judge(said, now) == "untouched"
        data = content_of(ended.folder)
        if data is not None and data != self.places.content(entry.job.experiment):
            raise LabError(
                f"{ended.folder} was trained on other data than the study began with: the data changed "
                "meanwhile; the same command makes the affected runs again, and continues"
            )

    def _unedited(self, now: code.Code) -> None:
        """Raises ``LabError`` where a file was edited that what has ended depends on."""
        edited = [name for name, digest in self._manifest.items() if now.of(name) != digest]
        if edited:
            raise LabError(
                f"danlu/{', '.join(edited)} was edited while the study was under way, and "
                f"{self._ended.count} runs have ended before; the same command makes the affected runs "
                "again, and continues"
            )

    def _draw(self) -> None:
        running = [
            Running(some[0].job, some[0].folder, some[0].tries, len(some)) for some in self._running.values()
        ]
        ended = self._ended
        waiting = len(self._waiting) + len(self._held)
        self._table.draw(State(running, waiting, ended.count, ended.found, ended.wrong, len(self._held)))

    # ---------------------------------------------------------------- the end

    def _leave(self, signal: str) -> None:
        self._table.message(f"{signal}: what is running is being saved")
        total = self._ended.count + len(self._waiting) + len(self._held) + self._under_way
        self._stop()
        raise Interrupted(
            f"{signal}: {self._ended.count} of {total} runs are done, the others are saved; "
            "the same command continues with them",
            EXIT[signal],
        )

    def _stop(self) -> None:
        self._table.close()
        self._executor.stop()
        for entry in chain.from_iterable(self._running.values()):
            self._journal.write(entry.folder.name, "stopped", **{"try": entry.tries})
            self._waiting.append(entry)
        self._running.clear()
