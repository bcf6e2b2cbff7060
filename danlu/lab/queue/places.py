"""Where runs are: ``runs/NAME-KEY-CODE``.

KEY, sixteen digits, is what a run is of: the experiment with its own parts, the data by its content, PyTorch,
the kind of device. CODE, eight digits, is all code of danlu that numbers may depend on. A run by other code
is as good where no file that it depends on differs; else it stays what it is, and the new one gets a folder
of its own.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from danlu.code import REUSED, Code, edited, judge, manifest, now
from danlu.code.tiers import is_own
from danlu.code.trust import renewed
from danlu.files.json import read_json, to_json
from danlu.lab.queue.job import MEASURED, Job
from danlu.lab.study import folder_name
from danlu.spec import Experiment
from danlu.spec.errors import DanluError
from danlu.train.folder import ENVIRONMENT, SUMMARY

KEY = 16  # digits


class Places:
    """The pool of runs ``runs``. ``devices``: the kind of device that an experiment is carried out on.
    ``progress``: is told what takes time, where data is prepared."""

    def __init__(
        self,
        runs: Path,
        devices: Callable[[Experiment], str],
        progress: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.runs = runs
        self._devices, self._progress = devices, progress
        self._content: dict[str, str] = {}  # of data, by its specification

    def key(self, job: Job) -> str:
        """Sixteen hex digits of what the run is of."""
        parts = [job.hash, self.content(job.experiment), self._devices(job.experiment)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:KEY]

    def content(self, experiment: Experiment) -> str:
        """Of the data, which is prepared for it; the same for as long as the study takes. Data that cannot be
        had has none: the run will say why."""
        asked = experiment.data.model_dump_json()
        if asked not in self._content:
            from danlu import data

            try:
                record = data.prepare(experiment.data, progress=self._progress).record
            except DanluError:
                return "none"
            self._content[asked] = content(record)
        return self._content[asked]

    def folder(self, job: Job, code: Code) -> Path:
        """Where the run of ``job`` by ``code`` is, under whatever name, or will be. The best of several: by
        the very code, and finished."""
        key = self.key(job)
        kept = [self.runs / name for name in _listed(self.runs) if _parts(name)[0] == key]
        fit = [folder for folder in sorted(kept) if fits(folder, code)]
        if fit:
            return max(fit, key=lambda path: (_parts(path.name)[1] == code.short, (path / SUMMARY).exists()))
        first = self.runs / f"{folder_name(job.name)[:80]}-{key}-{code.short}"
        path, count = first, 1
        while path.exists() and not fits(path, code):  # it was tainted
            count += 1
            path = first.with_name(f"{first.name}.{count}")
        return path


def fits(folder: Path, code: Code) -> bool:
    """Whether the run in ``folder`` may stand for one by ``code``. One that has written nothing yet is by the
    code that its name says."""
    if (said := made_by(folder)) is None:
        return _parts(folder.name)[1] == code.short
    files = {name: digest for name, digest in manifest(said).items() if not is_own(name)}  # those KEY holds
    return isinstance(said, dict) and judge(said | {"files": files}, code) in REUSED


def made_by(folder: Path) -> Any:
    """What the run in ``folder`` wrote down of its code; None where it wrote nothing down yet."""
    environment = _environment(folder)
    return None if environment is None else renewed(environment.get("code", {}), folder.parent.parent)


def depends_on(folder: Path) -> dict[str, str]:
    """The files that the run in ``folder`` depends on, and what was measured of it, and their digests. What
    was measured by other code is not used, and so counts for nothing."""
    found, measured = manifest(made_by(folder)), (_environment(folder) or {}).get(MEASURED)
    if measured is not None and judge(measured, now()) in REUSED:
        found |= manifest(measured)
    return found


def edited_in(folder: Path) -> list[str]:
    """The files that were edited while the run in ``folder`` used them: then nobody knows what made it."""
    return edited(made_by(folder))


def content_of(folder: Path) -> str | None:
    """``content`` of what the run in ``folder`` was trained on; None where it wrote nothing down yet."""
    said = (_environment(folder) or {}).get("data")
    return content(said) if isinstance(said, dict) else None


def content(record: Any) -> str:
    """Sixteen digits of the content of data, as its record or a run's ``environment.json`` says."""
    said = {name: record.get(name) for name in ("tokenizer", "splits", "sha256")}
    return hashlib.sha256(to_json(said).encode()).hexdigest()[:KEY]


def _environment(folder: Path) -> dict[str, Any] | None:
    try:
        environment = read_json(folder / ENVIRONMENT)
    except DanluError:
        return None
    return environment if isinstance(environment, dict) else {}


def _listed(runs: Path) -> Iterable[str]:
    try:
        return os.listdir(runs)
    except OSError:
        return ()


def key_of(folder: Path) -> str:
    """What the run in ``folder`` is of, by its name; empty of one that the queue did not name."""
    return _parts(folder.name)[0]


def _parts(name: str) -> tuple[str, str]:
    """Key and code of a folder by its name; empty of one that has none."""
    parts = name.rsplit("-", 2)
    return (parts[1], parts[2].split(".")[0]) if len(parts) == 3 else ("", "")
