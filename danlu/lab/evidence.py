"""The code that a study's or a claim's result stands on: ``code.json`` beside it, manifests by their digest.

The ledger holds the digest alone; from it and the evidence's folder ``danlu ledger due`` knows what was
edited since.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from danlu import code
from danlu.code.trust import renewed
from danlu.files.errors import FileError
from danlu.files.json import read_object, write_json
from danlu.files.lock import Lock
from danlu.lab.queue.places import depends_on

CODE = "code.json"
KEPT = 1000  # manifests of a folder: the newest


def keep(folder: Path, runs: Iterable[Path]) -> str | None:
    """Write down in ``folder`` which files the runs depend on, all together; the digest of that. None where
    no run says."""
    files: dict[str, str] = {}
    for run in runs:
        files |= depends_on(run)
    if not files:
        return None
    digest = code.together(files)
    folder.mkdir(parents=True, exist_ok=True)
    with Lock(folder / f".{CODE}.lock"):
        known = _read(folder)
        if digest not in known:
            write_json(folder / CODE, dict([*known.items(), (digest, files)][-KEPT:]))
    return digest


def edited_since(evidence: Iterable[str], digest: str) -> list[str]:
    """The files that are others now than what ``digest`` stands for; none where the evidence is not here."""
    for place in map(Path, evidence):
        folder = place if place.is_dir() else place.parent
        files = _read(folder).get(digest)
        if files is not None and code.together(files) == digest:
            return code.differing(renewed({"files": files}, folder.parent), code.now())
    return []


def _read(folder: Path) -> dict[str, dict[str, str]]:
    shape: dict[Any, Any] = {...: {...: str}}
    try:
        return read_object(folder / CODE, shape)
    except FileError:  # missing, or damaged: what is found anew takes its place
        return {}
