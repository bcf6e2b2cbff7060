"""An edit of danlu that is believed to change nothing: one run that depends on it is made again. Where it is
the same bit for bit, the runs by the old version are taken as by the new one, which is written down.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from danlu import code
from danlu.code.tiers import PACKAGE
from danlu.code.trust import TRUSTED, trusted
from danlu.files.json import write_json
from danlu.files.lock import Lock
from danlu.lab.errors import LabError
from danlu.lab.queue import Job, Queue
from danlu.lab.queue.job import finished
from danlu.lab.queue.places import key_of, made_by
from danlu.spec.errors import did_you_mean
from danlu.spec.words import resolve
from danlu.train import store
from danlu.train.folder import METRICS
from danlu.train.metrics import read


@dataclass(frozen=True)
class Trusted:
    """An edit of ``file`` from the digest ``old`` to ``new`` that changed nothing: ``run``, made ``again``,
    is the same. ``runs``: how many are by the old digest and are used again from now on."""

    file: str
    old: str
    new: str
    run: str
    again: str
    runs: int


def trust(file: str, queue: Queue) -> list[Trusted]:
    """Make a run again for each older version of ``file`` (``nn/block.py``) by which there are runs that
    depend on it and differ from the code here in nothing else; the cheapest each time.

    Returns what was written down, nothing where there is no such run. Raises ``LabError`` where one is not
    the same.
    """
    name = _named(file)
    now, studies = code.now(), queue.runs.parent
    found = []
    for old, runs in _by_version(name, queue, now).items():
        run = min(runs, key=lambda folder: sum((finished(folder) or {})["active_seconds"].values()))
        job = _job(run)
        outcome = queue.run([job])[0]
        if outcome.summary is None:
            raise LabError(f"{run} could not be made again: {outcome.error}")
        if said := _apart(run, outcome.folder):
            raise LabError(f"{run} is not the same when it is made again, as {outcome.folder}: {said}")
        found.append(Trusted(name, old, now.of(name), run.name, outcome.folder.name, len(runs)))
        _write(studies, found[-1])
    return found


def _named(file: str) -> str:
    """The file's name within danlu. Raises ``LabError`` for one that no run depends on."""
    known = code.now().files
    path = Path(file).resolve()
    name = path.relative_to(PACKAGE).as_posix() if path.is_relative_to(PACKAGE) else file
    name = name.removeprefix("danlu/")
    if name in known:
        return name
    if path.is_file() and not path.is_relative_to(PACKAGE):
        raise LabError(
            f"{file} is not danlu's: what a run is by an own part is told by the part's code alone"
        )
    hint = did_you_mean(name, known) or ";"
    raise LabError(f"no run depends on {file}{hint} name a file of danlu, such as nn/block.py")


def _by_version(name: str, queue: Queue, now: code.Code) -> dict[str, list[Path]]:
    """The runs that differ from the code here in the file alone, by its digest."""
    found: dict[str, list[Path]] = {}
    for folder in sorted(queue.runs.iterdir()) if queue.runs.is_dir() else ():
        record = made_by(folder)
        if code.edited(record) or code.differing(record, now) != [name] or finished(folder) is None:
            continue
        if key_of(folder) == queue.places.key(_job(folder)):  # of the same data, PyTorch and kind of device
            found.setdefault(code.manifest(record)[name], []).append(folder)
    return found


def _job(run: Path) -> Job:
    return Job(resolve([str(run)]), name=run.name.rsplit("-", 2)[0])


def _apart(one: Path, other: Path) -> str:
    """What differs between two runs; nothing where they are the same bit for bit but for the time taken."""
    rows = [[_timeless(row) for row in read(run / METRICS)] for run in (one, other)]
    if rows[0] != rows[1]:
        first = next((a["step"] for a, b in zip(*rows, strict=False) if a != b), "the end")
        return f"the metrics differ from step {first} on"
    steps = [store.latest_step(run) for run in (one, other)]
    if None in steps or steps[0] != steps[1]:
        return f"the last checkpoints are of step {steps[0]} and {steps[1]}"
    files = [
        store.read_content(run, step or 0)["files"] for run, step in zip((one, other), steps, strict=True)
    ]
    return "" if files[0] == files[1] else "the weights, or the state of the optimizer, differ"


def _timeless(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "seconds"}


def _write(studies: Path, one: Trusted) -> None:
    entry = {key: value for key, value in asdict(one).items() if key != "runs"}
    with Lock(studies / f".{TRUSTED}.lock"):
        write_json(studies / TRUSTED, [*trusted(studies), entry | {"date": time.strftime("%Y-%m-%d")}])
