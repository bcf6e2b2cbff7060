"""A tree of files made ready to run, and brought back to that after each run: checked out, inputs linked,
set up once."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from glob import glob
from pathlib import Path
from typing import Any

from danlu.files.errors import cannot_write
from danlu.files.json import read_object, write_json
from danlu.files.paths import expanded
from danlu.files.read import open_file
from danlu.lab.errors import LabError
from danlu.lab.referee import process
from danlu.lab.referee.errors import Failed, Void
from danlu.lab.referee.git import Repository

READY = "ready.json"
CHUNK = 1 << 20


# ---------------------------------------------------------------- inputs


class Inputs:
    """Files that git does not hold, by content. Those within the program's ``folder`` are copied into the
    study once, so that no run can write to the user's; others are used where they are."""

    def __init__(self, patterns: Sequence[str], folder: Path) -> None:
        self._digests = {file: _digest(file) for pattern in patterns for file in _matching(pattern, folder)}
        self._folder = folder
        self._places = {file: file for file in self._digests}
        self._seen: dict[Path, tuple[int, ...] | None] = {}
        self.links: dict[str, Path] = {}  # place within the folder: the copy

    def bring(self, copies: Path) -> None:
        """Copy what is within the folder, and remember how everything looks before the first run."""
        for file, digest in self._digests.items():
            if file.is_relative_to(self._folder):
                name = file.relative_to(self._folder)
                self.links[name.as_posix()] = self._places[file] = _copied(file, copies / name, digest)
        self._seen = {place: _stamp(place) for place in self._places.values()}

    @property
    def digest(self) -> str:
        """One digest of all, by their places."""
        rows = sorted(f"{file.name} {digest}" for file, digest in self._digests.items())
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


# ---------------------------------------------------------------- trees


class Tree:
    """The tree ``digest``, checked out at ``place`` under the study."""

    def __init__(self, repository: Repository, digest: str, place: Path, protect: Sequence[str]) -> None:
        self.digest, self.place, self._repository, self._protect = digest, place, repository, protect
        self.folder = place / "files" / repository.prefix  # where the program runs
        self._made: dict[str, list[int]] = {}  # files that git does not hold: size and time

    def make_ready(
        self, inputs: Inputs, setup: Sequence[str] | None, variables: Mapping[str, str], limit: float
    ) -> None:
        """Check out, link the inputs, run ``setup``; nothing where that was done before. Raises ``Failed``
        where the setup fails, ``Void`` where it changes what is protected."""
        top = self.place / "files"
        if (self.place / READY).exists() and (top / ".git").exists():
            shape: dict[Any, Any] = {...: [int]}
            self._made = read_object(self.place / READY, shape)
            self.restore()
            return
        shutil.rmtree(self.place, ignore_errors=True)
        self.place.mkdir(parents=True)
        self._repository.check_out(self.digest, top)
        for name, copy in inputs.links.items():
            link = self.folder / name
            if os.path.lexists(link):
                raise LabError(
                    f"inputs: {name} is in the tree of an arm already; inputs are files that git ignores"
                )
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(copy.absolute())
        if setup is not None:
            ended = process.run(setup, self.folder, variables, self.place, limit, f"setup-{self.digest}")
            if ended.exit or ended.stopped:
                said = (
                    ended.stopped or process.last_line(self.place / "stderr.txt") or f"exit code {ended.exit}"
                )
                raise Failed(f"setup failed: {said}; its output is in {self.place}")
            if changed := self.changed():
                raise Void(f"setup changed {changed[0]}, which is protected")
            self._git("add", "--update")  # what it changed otherwise belongs to the tree from now on
        self._made = self._others()
        write_json(self.place / READY, self._made)

    def changed(self) -> list[str]:
        """The protected files that are not as they were checked out or set up: changed, gone or new."""
        specs = self._repository.specs(self._protect)
        if not specs:
            return []
        found = self._names("diff", "-z", "--name-only", "--no-ext-diff", "--", *specs)
        others = set(self._names("ls-files", "--others", "-z", "--", *specs))
        now = {name: stamp for name, stamp in self._others().items() if name in others}
        known = {name: stamp for name, stamp in self._made.items() if name in others}
        return found + sorted(name for name in now if known.get(name) != now[name])

    def restore(self) -> list[str]:
        """Bring the files back to what they were; those that cannot be: what setup made and a run changed."""
        self._git("restore", "--worktree", "--", ":(top)")
        now = self._others()
        for name in now.keys() - self._made.keys():
            path = self.place / "files" / name
            with suppress(OSError):
                shutil.rmtree(path) if name.endswith("/") else path.unlink()
                for above in path.parents:
                    above.rmdir()
        return [name for name, stamp in self._made.items() if now.get(name) != stamp]

    def _others(self) -> dict[str, list[int]]:
        """The files that git does not hold, ignored ones too, with their sizes and times."""
        found = {}
        for name in self._names("ls-files", "--others", "-z"):
            with suppress(OSError):
                stat = (self.place / "files" / name).lstat()
                found[name] = [stat.st_size, stat.st_mtime_ns]
        return found

    def _names(self, *words: str) -> list[str]:
        return [name for name in self._git(*words).split("\0") if name]

    def _git(self, *words: str) -> str:
        return self._repository.git(words, self.place / "files")
