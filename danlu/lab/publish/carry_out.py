"""Publishing: each run's news to its exporter, what was published remembered, what fails told."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from danlu.files.errors import FileError
from danlu.files.lock import Lock
from danlu.files.paths import expanded
from danlu.lab.errors import LabError
from danlu.lab.publish import memory
from danlu.lab.publish.exporter import Exporter, find
from danlu.lab.publish.memory import Memory
from danlu.lab.publish.rows import News, Tail
from danlu.lab.reading.index import find as find_runs
from danlu.lab.reading.run import EXPERIMENT, Run, read_run

OUT = Path("published")
PAUSE = 1.0  # seconds between two looks at runs that train


@dataclass
class Published:
    """What became of one run. ``name``: in the target. ``rows``: written now; ``rewound``: times that rows
    were taken back; ``failed``: why it was given up, if it was."""

    folder: Path
    name: str = ""
    rows: int = 0
    rewound: int = 0
    failed: str = ""


def pause() -> None:
    """Until the next look."""
    time.sleep(PAUSE)


def publish(
    runs: Iterable[Path],
    to: str,
    out: Path | None = None,
    *,
    follow: bool = False,
    wait: Callable[[], None] = pause,
    warn: Callable[[str], None] = lambda sentence: None,
) -> list[Published]:
    """Write runs for another tool: what was not written before, of each.

    ``runs``: folders of runs, or folders that hold some. ``to``: the name of an exporter. ``out``: the
    target, left out ``published/NAME``. ``follow``: go on until no run trains any more; ``wait`` is called
    between looks. ``warn``: is told of each run that cannot be published, with the target; the others go on.
    Raises ``LabError`` where there is no such exporter, no run, or what the exporter needs is not installed.
    """
    exporter = find(to)
    folders = named(runs)
    out = OUT / to if out is None else expanded(out)
    if (out / EXPERIMENT).exists():
        raise LabError(f"{out} is a run's folder, in which nothing else is written; name another (--out)")
    memory.prepare(out)
    going = [_One(folder, exporter, out, follow) for folder in folders]
    everything = list(going)
    try:
        while going:
            for one in going:
                try:
                    one.look()
                except Exception as error:  # whatever another tool raises, the other runs are still published
                    one.failed(error)
                    warn(f"{one.told.folder} is not published to {to} in {out}: {one.told.failed}")
            going = [one for one in going if not one.over]
            if going:
                wait()
    finally:
        for one in everything:
            one.release()
    return [one.told for one in everything]


def named(places: Iterable[Path]) -> list[Path]:
    """The folders of the runs at and below ``places``, each once. Raises ``LabError`` where there is none."""
    found: dict[Path, None] = {}
    for place in places:
        if not place.is_dir():
            raise LabError(f"{place} is not a folder; name a run's folder or a folder of runs")
        inside = sorted(name for name, _ in find_runs(str(place)))
        if not inside:
            raise LabError(f"{place} holds no run; danlu runs lists what there is")
        found |= dict.fromkeys(place / name if name else place for name in inside)
    if not found:
        raise LabError(
            "no run is named; name a run's folder or a folder of runs: danlu publish runs --to csv"
        )
    return list(found)


@dataclass
class _One:
    """One run on its way to one target."""

    folder: Path
    kind: type[Exporter]
    out: Path
    follow: bool
    over: bool = False
    told: Published = field(init=False)
    _lock: Lock | None = None
    _memory: Memory = field(init=False)
    _tail: Tail = field(init=False)
    _open: Exporter | None = None

    def __post_init__(self) -> None:
        self.told = Published(self.folder)

    def look(self) -> None:
        """Publish what is new; the run is over where it trains no more, or is not followed."""
        if self._lock is None:
            self._begin()
        run = read_run(self.folder)  # before its rows: where it has ended, they are all there
        ended = run.state != "running"
        news = self._tail.news()
        kept = self._memory
        due = news or kept.fresh or (ended and not kept.ended)
        if due and (ended or not self.follow or self.kind.wants != "ended"):
            self._write(run, news, ended)
            kept.save(self._tail.marks, ended)
        self._tail.forget()
        self.over = ended or not self.follow

    def _begin(self) -> None:
        found = Memory.open(self.out, self.folder)
        self._lock = found.lock()
        self._memory = Memory.open(self.out, self.folder)  # as it is now that no other process writes it
        self._tail = Tail(self.folder, self._memory.marks)
        self.told.name = self._memory.name

    def _write(self, run: Run, news: News, ended: bool) -> None:
        again = self.kind.wants != "new"
        if self._open is None or again:
            self._open = self.kind(self.out)
            self._open.open(run, self._memory.name, self._memory.kept)
        if news.back is not None:
            self.told.rewound += 1
            again = again or not self._open.rewind(news.back)
        rows = self._tail.all() if again else news.rows
        for row in rows:
            self._open.row(row)
        self.told.rows += len(rows)
        self._open.flush()
        if ended or not self.follow or self.kind.wants != "new":
            self._open.close(run)

    def failed(self, error: Exception) -> None:
        self.told.failed = str(error) if isinstance(error, FileError) else f"{type(error).__name__}: {error}"
        self.over = True

    def release(self) -> None:
        if self._lock is not None:
            self._lock.release()
