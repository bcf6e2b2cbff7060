"""Which runs were made by the code that is here: what is kept of a run's record, and what becomes of it.

A manifest has dozens of files, and thousands of runs have few manifests: of each run its ``mark`` is kept,
and of runs of one mark one is looked at.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from danlu import code
from danlu.code import Verdict
from danlu.code.trust import renewed
from danlu.files.errors import FileError
from danlu.files.json import read_object

ENVIRONMENT = "environment.json"
NOT_OURS = ("other", "tainted")  # what a study runs again


def mark(record: Any) -> str | None:
    """By which runs of the same code are known: all code, the files that the run depends on, what was edited.
    None where nothing was written down, as by danlu 0.3."""
    if not isinstance(record, Mapping):
        return None
    return f"{record.get('tier_a')} {code.together(code.manifest(record))} {' '.join(code.edited(record))}"


def verdicts(marked: Iterable[tuple[str | None, str]]) -> dict[str | None, Verdict]:
    """What the runs of each mark are to the code that is here, from pairs of a mark and a run's folder."""
    of_mark = dict(marked)
    if not of_mark:
        return {}
    now = code.now()
    return {mark: "other" if mark is None else code.judge(_record(of_mark[mark]), now) for mark in of_mark}


def apart(folders: Iterable[str | os.PathLike[str]]) -> list[str]:
    """The files of which these runs, taken together, used more than one version."""
    found: dict[str, set[str]] = {}
    for folder in folders:
        for name, digest in code.manifest(_record(folder)).items():
            found.setdefault(name, set()).add(digest)
    return sorted(name for name, digests in found.items() if len(digests) > 1)


def _record(folder: str | os.PathLike[str]) -> Any:
    try:
        record = read_object(os.path.join(folder, ENVIRONMENT)).get("code")
    except FileError:
        return None
    return renewed(record, Path(folder).parent.parent)
