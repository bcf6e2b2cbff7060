"""A study's folder: what was asked, and what came out; and the pool of runs that all studies share.

studies/runs/NAME-KEY-CODE/  every run, named by its content: what was run once is found again
studies/STUDY/study.json   what was asked; the same command continues it
studies/STUDY/result.json  what came out
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import Any

from danlu.files.errors import cannot_write
from danlu.files.json import read_json, read_object, write_json
from danlu.lab.errors import LabError

STUDIES = Path("studies")  # where the lab keeps everything, if no other folder is named
RUNS = "runs"
LONGEST = 100  # characters of a name
ASKED, RESULT, REPORT = "study.json", "result.json", "report.html"


class Study:
    """The folder of one study; ``Study.open`` makes it or goes on with what is there."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def open(cls, studies: Path, name: str, asked: dict[str, Any]) -> Study:
        """The study ``name`` under ``studies``. ``asked``: the verb and the settings that must be the same
        when it is gone on with, as JSON. Raises ``LabError`` where the folder holds another study, or files
        that are no study's, ``FileError`` where it cannot be read or written."""
        study = cls(Path(studies) / folder_name(name))
        if study.path.name == RUNS:
            raise LabError(f"{study.path} holds the runs of all studies; name the study otherwise")
        if os.path.exists(study.path / ASKED):
            there = read_object(study.path / ASKED)
            differ = [key for key in {**there, **asked} if there.get(key) != asked.get(key)]
            if differ:
                said = "; ".join(f"{key} is {there.get(key)} there, {asked.get(key)} here" for key in differ)
                raise LabError(f"{study.path} holds another study: {said}; name another one for this")
            return study
        try:
            study.path.mkdir(parents=True, exist_ok=True)
            strangers = sorted(entry.name for entry in study.path.iterdir() if entry.name[0] != ".")
        except OSError as error:
            raise cannot_write(study.path, error) from error
        if strangers and ASKED not in strangers:  # another process may have made it just now
            raise LabError(
                f"{study.path} holds {strangers[0]!r} but no {ASKED}, so it is not a study's folder; "
                "name the study otherwise (--study)"
            )
        write_json(study.path / ASKED, asked)
        return study

    def result(self) -> Any | None:
        """What came out the last time; None where nothing has."""
        path = self.path / RESULT
        return read_json(path) if path.exists() else None

    def save(self, result: Any) -> None:
        """Write down what came out, in place of what came out before."""
        write_json(self.path / RESULT, result)

    @property
    def report(self) -> Path:
        """Where the drawing goes."""
        return self.path / REPORT


def folder_name(words: str) -> str:
    """A name that is a folder on every system: letters, digits, ``. _ + = -``. Of long words it is their
    beginning, and a digest that tells them from others."""
    name = re.sub(r"[^\w.+=-]+", "-", words).strip("-.") or "study"
    if len(words) < LONGEST:
        return name
    return f"{name[: LONGEST - 10]}-{hashlib.sha256(words.encode()).hexdigest()[:8]}"
