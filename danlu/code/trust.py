"""Edits that were found to change nothing: a run made again by the new code was the same bit for bit.

``trusted.json`` in a folder of studies lists them, an object each: ``file``, its digests ``old`` and ``new``,
the ``run`` by the old one, the run ``again``, ``date``. Runs of these studies by the one digest are as good
as by the other. ``danlu.lab.trust`` writes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from danlu.code.tiers import now
from danlu.code.verdict import manifest
from danlu.files.errors import FileError
from danlu.files.json import misfit, read_json

TRUSTED = "trusted.json"
SHAPE = [{"file": str, "old": str, "new": str, "run": str, "again": str, "date": str}]


def trusted(studies: Path) -> list[dict[str, str]]:
    """The edits that are listed; none where there is no list, or none that can be read."""
    path = studies / TRUSTED
    if not path.exists():
        return []
    try:
        found: list[dict[str, str]] = read_json(path)
    except FileError:
        return []
    return [] if misfit(found, SHAPE) else found


def renewed(record: Any, studies: Path) -> Any:
    """A record (``danlu.code.record``) with the digests that files have here in place of those that are as
    good by the list of ``studies``."""
    known = trusted(studies)
    if not known or not isinstance(record, Mapping):
        return record
    here = now()
    files = {
        name: here.of(name) if here.of(name) in _as_good(known, name, digest) else digest
        for name, digest in manifest(record).items()
    }
    return {**record, "files": files}


def _as_good(known: Iterable[Mapping[str, str]], name: str, digest: str) -> set[str]:
    """The digests of a file that are as good as ``digest``, itself among them."""
    pairs = [{one["old"], one["new"]} for one in known if one["file"] == name]
    found, before = {digest}, set[str]()
    while found != before:
        before = set(found)
        found = found.union(*(pair for pair in pairs if pair & found))
    return found
