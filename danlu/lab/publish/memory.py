"""What was published already: a file for each run, beside what was written, in the folder ``.danlu``."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from danlu.files.errors import cannot_write
from danlu.files.json import read_object, to_json
from danlu.files.lock import Lock
from danlu.files.write import write_atomically
from danlu.lab.publish.rows import Mark
from danlu.lab.study import folder_name

FOLDER = ".danlu"
SHAPE = {"run": str, "rows": [[int, str]], "ended": bool, "kept": dict}


@dataclass
class Memory:
    """Of one run in one target. ``name``: what it is called there. ``marks``: of the rows that are there.
    ``ended``: its end is there, too. ``kept``: what the exporter keeps. ``fresh``: nothing is there yet."""

    path: Path
    run: str
    name: str
    marks: list[Mark] = field(default_factory=list)
    ended: bool = False
    kept: dict[str, Any] = field(default_factory=dict)
    fresh: bool = True

    @classmethod
    def open(cls, out: Path, run: Path) -> Self:
        """What is remembered of ``run`` in ``out``. It is called as its folder; where another run is called
        so there, a digest of its place follows. Raises ``FileError``."""
        place = os.path.realpath(run)
        name = folder_name(os.path.basename(place))
        digest = hashlib.sha256(place.encode(errors="surrogateescape")).hexdigest()[:8]
        for called in (name, f"{name}-{digest}"):
            path = out / FOLDER / f"{called}.json"
            if not path.exists():
                return cls(path, place, called)
            found = read_object(path, SHAPE)
            if found["run"] == place:
                marks = [(step, mark) for step, mark in found["rows"]]
                return cls(path, place, called, marks, found["ended"], found["kept"], fresh=False)
        raise AssertionError("a place has one digest")

    def save(self, marks: Sequence[Mark], ended: bool) -> None:
        """Remember that these rows are there. Raises ``FileError``."""
        self.marks, self.ended, self.fresh = list(marks), ended, False
        said = {"run": self.run, "rows": self.marks, "ended": ended, "kept": self.kept}
        write_atomically(self.path, to_json(said).encode())

    def lock(self) -> Lock:
        """Held while the run is published there. Raises ``Held`` where another process does that."""
        return Lock(
            self.path.with_suffix(".lock"), wait=0, named=True, of=self.path.parent.parent / self.name
        )


def prepare(out: Path) -> None:
    """Make the target's folder. Raises ``FileError``."""
    try:
        (out / FOLDER).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(out, error) from error
