"""Runs of a program: each is known by all that its numbers may depend on, made once, and kept as a file.

study/runs/ARM-NUMBER-KEY/record.json   how it ended and what it told; without it the run is made again
study/runs/ARM-NUMBER-KEY/stdout.txt, stderr.txt, out/
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from danlu.files.errors import FileError
from danlu.files.json import read_object, write_json
from danlu.lab.referee import machine, process
from danlu.lab.referee.errors import Spent, Void
from danlu.lab.referee.inputs import Inputs
from danlu.lab.referee.plan import Plan
from danlu.lab.referee.reading import Unread, read
from danlu.lab.referee.trees import Tree
from danlu.lab.referee.words import count, fill

RECORD = "record.json"
OUT_OF_MEMORY = ("out of memory", "outofmemory", "memoryerror", "cannot allocate memory", "bad_alloc")
TRIES = 2  # of a run that a signal or the lack of memory ended

End = Literal["ended", "diverged", "failed"]


@dataclass(frozen=True)
class Run:
    """One run that is asked for: of ``arm``, with the words ``set``. ``seed``: None where the program takes
    none. ``number``: what tells runs of the same words and seed apart. ``purpose``: ``pair`` or ``tune``."""

    arm: str
    set: tuple[str, ...]
    seed: int | None
    number: int = 0
    purpose: str = "pair"


@dataclass(frozen=True)
class Record:
    """How a run ended.

    ``value``: of the metric, NaN where it diverged or failed; ``why``: what went wrong. ``exit``: the code,
    or minus the signal. ``seconds`` by the clock, ``cpu`` of the program's processes, ``others``: the share
    of the machine that other work took. ``also``: further numbers that the plan reads, those of the premises
    by ``premise NAME``.
    """

    arm: str
    end: End
    value: float
    why: str
    folder: str
    exit: int
    seconds: float
    cpu: float
    others: float
    tries: int
    also: Mapping[str, float] = field(default_factory=dict)

    @property
    def failed(self) -> bool:
        return self.end == "failed"


class Runs:
    """Carries out what is missing, one run at a time."""

    def __init__(
        self,
        plan: Plan,
        study: Path,
        trees: Mapping[str, Tree],
        inputs: Inputs,
        tell: Callable[[str], None],
    ) -> None:
        self.plan, self.study, self._trees, self._inputs, self._tell = plan, study, trees, inputs, tell
        self._words = plan.words
        self._variables = machine.variables(plan.env)
        self._machine = machine.here()
        self._packages = {tree.digest: self._packages_of(tree) for tree in trees.values()}
        self.done: dict[str, tuple[Run, Record]] = {}  # by folder: one that is found again counts once

    def _packages_of(self, tree: Tree) -> str:
        """A digest of the packages that a program finds in this tree, which are written down. Raises ``Void``
        where one of them is the user's folder itself, which every arm would import."""
        found = machine.packages(self._words, tree.folder, tree.variables(self._variables))
        write_json(tree.place / "packages.json", found.names)
        for name, place in found.elsewhere.items():
            if tree.is_the_users(place):
                raise Void(
                    f"Python imports {name} from {place}, your own folder, so that every arm would run its "
                    "code; let setup install it within the copy, or uninstall it and set PYTHONPATH instead"
                )
        return machine.digest(found.names)

    def argv(self, run: Run, out: str) -> list[str]:
        """The command of a run."""
        return fill(self._words, {"seed": str(run.seed), "set": run.set, "out": out})

    def about(self, run: Run) -> dict[str, Any]:
        """All that the numbers of a run may depend on."""
        tree = self._trees[run.arm]
        return {
            "tree": tree.digest,
            "folder": self.plan.folder,
            "setup": self.plan.setup,
            "argv": self.argv(run, "{out}"),
            "environment": machine.telling(self.plan.env),
            "inputs": self._inputs.digest,
            "packages": self._packages[tree.digest],
            "machine": self._machine,
            "seed": run.seed,
            "number": run.number,
        }

    def carry_out(self, run: Run, words: str) -> Record:
        """The record of a run, which is made where there is none. ``words``: what is told of it. Raises
        ``Void`` where it changed what must not change, ``Spent`` where the budget is used up."""
        about = self.about(run)
        key = machine.digest(about)
        folder = self.study / "runs" / f"{run.arm}-{run.number}-{key}"
        record = _kept(folder)
        if record is None:
            self._within_budget()
            record = self._make(run, folder, words)
            write_json(
                folder / RECORD,
                {**asdict(record), "purpose": run.purpose, "key": key, **self._captured(about, folder)},
            )
        self.done.setdefault(record.folder, (run, record))
        return record

    def _make(self, run: Run, folder: Path, words: str) -> Record:
        process.end_left(folder)
        tree, tries = self._trees[run.arm], 0
        while True:
            tries += 1
            shutil.rmtree(folder, ignore_errors=True)
            (folder / "out").mkdir(parents=True)
            tree.restore()
            argv = self.argv(run, str((folder / "out").absolute()))
            limit = self.plan.budget.kill_seconds
            ended = process.run(argv, tree.folder, tree.variables(self._variables), folder, limit)
            record = self._read(run, folder, ended, tries)
            self._unchanged(run, tree, folder)
            if not (record.failed and tries < TRIES and _worth_another(ended, folder)):
                self._tell(f"{words}: {_told(record, self.plan)}")
                return record
            self._tell(f"{words}: {record.why}; once more")

    def _read(self, run: Run, folder: Path, ended: process.Ended, tries: int) -> Record:
        about = (str(folder), ended.exit, ended.seconds, ended.cpu, ended.others, tries)
        if ended.stopped or ended.exit:
            why = (
                ended.stopped
                or f"{_exit(ended.exit)}: {process.last_line(folder / 'stderr.txt') or 'it says nothing'}"
            )
            return Record(run.arm, "failed", math.nan, why, *about)
        place, out = self._trees[run.arm].folder, (folder / "out").absolute()
        readings = {
            **self.plan.also,
            **{f"premise {p.name}": p for p in self.plan.premises if p.arm in (None, run.arm)},
        }
        try:
            value = read(self.plan.metric.name, self.plan.metric, place, out, folder)
            also = {name: read(name, reading, place, out, folder) for name, reading in readings.items()}
        except Unread as error:
            return Record(run.arm, "failed", math.nan, str(error), *about)
        if not math.isfinite(value):
            return Record(run.arm, "diverged", math.nan, f"{self.plan.metric.name} is {value}", *about, also)
        return Record(run.arm, "ended", value, "", *about, also)

    def _unchanged(self, run: Run, tree: Tree, folder: Path) -> None:
        """Raises ``Void`` where a run wrote to what must stay as it is; the files are brought back before."""
        changed, inputs = tree.changed(), self._inputs.changed()
        altered = tree.restore()
        if changed:
            raise Void(f"a run of {run.arm} changed {changed[0]}, which is protected; see {folder}")
        if inputs:
            raise Void(f"a run of {run.arm} changed the input {inputs[0]}; see {folder}")
        if altered:
            self._tell(f"{run.arm} changed {altered[0]}, which setup had made: later runs find it so")

    def _within_budget(self) -> None:
        limit, spent = self.plan.budget.seconds, sum(record.seconds for _, record in self.done.values())
        if limit is not None and spent >= limit:
            raise Spent(
                f"{spent:.0f} s are spent of budget.seconds = {limit:g}, after "
                f"{count(len(self.done), 'run')}; set more, and the same command goes on"
            )

    def _captured(self, about: Mapping[str, Any], folder: Path) -> dict[str, Any]:
        return {
            "about": about,
            "at": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "stdout": process.tail(folder / "stdout.txt"),
            "stderr": process.tail(folder / "stderr.txt"),
        }


def _kept(folder: Path) -> Record | None:
    if not (folder / RECORD).exists():
        return None
    shape = {
        "arm": str, "end": str, "value": float, "why": str, "exit": int, "seconds": float, "cpu": float,
        "others": float, "tries": int, "also": {...: float},
    }  # fmt: skip
    try:
        said = read_object(folder / RECORD, shape)
    except FileError:  # damaged: it is made again
        return None
    return Record(**{name: said[name] for name in shape}, folder=str(folder))


def _worth_another(ended: process.Ended, folder: Path) -> bool:
    """Whether a run failed for what may be gone the next time."""
    said = process.tail(folder / "stderr.txt").lower()
    return ended.killed or (ended.exit != 0 and any(words in said for words in OUT_OF_MEMORY))


def _exit(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def _told(record: Record, plan: Plan) -> str:
    said = record.why if record.end != "ended" else f"{plan.metric.name} {record.value:.6g}"
    return f"{said}, {record.seconds:.1f} s"
