"""The folder that is watched: its runs, studies, ledger and queue. Everything in it has an id, by which alone
a page names it: no address holds a path."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from danlu.files.errors import FileError
from danlu.files.json import read_object
from danlu.lab.reading.looked import Looked
from danlu.lab.reading.run import FILES, Run
from danlu.lab.study import ASKED, RUNS, STUDIES

FRESH = 1.0  # seconds that what was read of the runs is shown without another look
LEDGER = "ledger.yaml"
DIGITS = 12  # of an id


class StudyFolder:
    """A study's folder. ``asked``: its ``study.json``, of which ``verb`` says what it is."""

    def __init__(self, path: Path, asked: dict[str, object]) -> None:
        self.path, self.asked = path, asked
        self.id = id_of(path)

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def verb(self) -> str:
        return str(self.asked.get("verb", "study"))


class Place:
    """``folder``: one that holds ``runs``, ``studies`` or both, as where danlu is called; or one of the two.

    What is in it may be made, grow and go while one looks.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.folder = Path(os.path.realpath(folder))
        self._clock, self._lock = clock, threading.Lock()
        self._read, self._looked = -FRESH, Looked(clock)
        self._runs: list[Run] = []
        self._by_id: dict[str, Run] = {}
        self._version = 0

    # ---------------------------------------------------------------- runs

    @property
    def roots(self) -> list[Path]:
        """Where runs are looked for."""
        usual = [self.folder / RUNS, self.folder / STUDIES / RUNS]
        return [root for root in usual if root.is_dir()] or [self.folder]

    def runs(self) -> list[Run]:
        """The runs, newest first, at most ``FRESH`` seconds old. One that is as it was is the same object."""
        with self._lock:
            if self._clock() - self._read >= FRESH:
                if (found := self._looked.look(self.roots)) is not self._runs:
                    self._runs, self._by_id = found, {}
                    self._version += 1
                self._read = self._clock()
            return self._runs

    def version(self) -> int:
        """Another number where ``runs`` are others than the last time that one asked."""
        self.runs()
        return self._version

    def run(self, id: str) -> Run | None:
        """The run of that id, as it is now; None where there is none, or where a file of it leads out."""
        runs = self.runs()
        if not self._by_id:
            self._by_id = {id_of(run.path): run for run in runs}
        run = self._by_id.get(id)
        if run is None or not self.holds(run.path, *(run.path / name for name in FILES)):
            return None
        return run

    def by_name(self) -> dict[str, Run]:
        """The newest run of each folder's name, by which studies and journals call it."""
        return {run.path.name: run for run in reversed(self.runs())}

    def shown(self, path: Path) -> str:
        """The path as a person names it: from the folder on."""
        try:
            return os.fspath(Path(path).relative_to(self.folder))
        except ValueError:
            return os.fspath(path)

    def holds(self, *paths: Path) -> bool:
        """Whether these lie in the folder, links followed; what is not there lies nowhere else."""
        inside = os.path.join(self.folder, "")
        return all(os.path.realpath(path).startswith(inside) for path in paths)

    # ---------------------------------------------------------------- studies

    @property
    def studies_folder(self) -> Path | None:
        """The folder of all studies."""
        from danlu.lab.queue.journal import JOURNAL  # with every specification, of which runs need none

        for folder in (self.folder / STUDIES, self.folder):
            if (folder / JOURNAL).is_file() or any(_studies(folder)):
                return folder
        return None

    def studies(self) -> list[StudyFolder]:
        """The studies, the last changed first."""
        if (folder := self.studies_folder) is None:
            return []
        found = []
        for path in _studies(folder):
            try:
                if self.holds(path / ASKED):
                    found.append((path.stat().st_mtime, StudyFolder(path, read_object(path / ASKED))))
            except (OSError, FileError):  # gone, or damaged: the others are still to be shown
                continue
        return [study for _, study in sorted(found, key=lambda pair: -pair[0])]

    def study(self, id: str) -> StudyFolder | None:
        """The study of that id."""
        return next((study for study in self.studies() if study.id == id), None)

    @property
    def ledger(self) -> Path | None:
        """The ledger, where there is one."""
        path = self.folder / LEDGER
        return path if path.is_file() and self.holds(path) else None


def id_of(path: Path) -> str:
    """Twelve hex digits that name a folder."""
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:DIGITS]


def _studies(folder: Path) -> Iterable[Path]:
    try:
        with os.scandir(folder) as entries:
            listed = [Path(e.path) for e in entries if e.is_dir(follow_symlinks=False) and e.name != RUNS]
    except OSError:
        return []
    return [path for path in listed if (path / ASKED).is_file()]
