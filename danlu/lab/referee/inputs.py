"""Files that a program reads and git does not hold."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Sequence
from glob import glob
from pathlib import Path

from danlu.files.errors import cannot_write
from danlu.files.paths import expanded
from danlu.files.read import open_file
from danlu.lab.errors import LabError

CHUNK = 1 << 20


class Inputs:
    """Files that git does not hold, by content. Those within the program's ``folder`` are copied into the
    study once, so that no run can write to the user's; others are used where they are."""

    def __init__(self, patterns: Sequence[str], folder: Path) -> None:
        self._digests = {file: _digest(file) for pattern in patterns for file in _matching(pattern, folder)}
        self._folder = folder
        self._places = {file: file for file in self._digests}
        self._seen: dict[Path, tuple[int, ...] | None] = {}
        self.links: dict[str, Path] = {}  # place within the folder: the copy

    @property
    def files(self) -> list[Path]:
        """All of them, where they are the user's."""
        return [*self._digests]

    def bring(self, copies: Path) -> None:
        """Copy what is within the folder, and remember how everything looks before the first run."""
        for file, digest in self._digests.items():
            if file.is_relative_to(self._folder):
                name = file.relative_to(self._folder)
                self.links[name.as_posix()] = self._places[file] = _copied(file, copies / name, digest)
        self._seen = {place: _stamp(place) for place in self._places.values()}

    @property
    def digest(self) -> str:
        """One digest of all, by their places as seen from the program's folder."""
        rows = sorted(
            f"{os.path.relpath(file, self._folder)} {digest}" for file, digest in self._digests.items()
        )
        return hashlib.sha256("\n".join(rows).encode()).hexdigest()[:16]

    def changed(self) -> list[str]:
        """Those that are others than at the start: a run wrote to them."""
        suspects = [file for file, place in self._places.items() if _stamp(place) != self._seen[place]]
        return [
            str(file)
            for file in suspects
            if not self._places[file].exists() or _digest(self._places[file]) != self._digests[file]
        ]


def _matching(pattern: str, folder: Path) -> list[Path]:
    place = expanded(pattern)
    found = sorted(glob(str(place if place.is_absolute() else folder / place), recursive=True))
    files: list[Path] = []
    for path in map(Path, found):
        files += sorted(inner for inner in path.rglob("*") if inner.is_file()) if path.is_dir() else [path]
    if not files:
        raise LabError(f"inputs: {pattern!r} names no file in {folder}; make it first, or leave it out")
    return files


def _digest(file: Path) -> str:
    found = hashlib.sha256()
    with open_file(file) as data:
        while part := data.read(CHUNK):
            found.update(part)
    return found.hexdigest()


def _stamp(file: Path) -> tuple[int, ...] | None:
    try:
        stat = file.stat()
    except OSError:
        return None
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def _copied(file: Path, to: Path, digest: str) -> Path:
    if not (to.exists() and _digest(to) == digest):
        try:
            to.parent.mkdir(parents=True, exist_ok=True)
            to.unlink(missing_ok=True)
            shutil.copyfile(file, to)
            to.chmod(0o444)
        except OSError as error:
            raise cannot_write(to, error, file.stat().st_size) from error
    return to
