"""A tree of files made ready to run, and brought back to that after each run: checked out, inputs linked,
set up once."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from danlu.files.json import read_object, write_json
from danlu.lab.errors import LabError
from danlu.lab.referee import process
from danlu.lab.referee.errors import Failed, Void
from danlu.lab.referee.git import Repository
from danlu.lab.referee.inputs import Inputs

READY = "ready.json"


class Tree:
    """The tree ``digest``, checked out at ``place`` under the study; ``protect``: patterns of files that no
    run may change. ``folder``: where the program runs."""

    def __init__(
        self, repository: Repository, digest: str, place: Path, protect: Sequence[str], inputs: Inputs
    ) -> None:
        self.digest, self.place, self._repository, self._protect = digest, place, repository, protect
        self.folder = place / "files" / repository.prefix
        self._links = {self.folder / name: copy.absolute() for name, copy in inputs.links.items()}
        self._made: dict[str, list[int]] = {}  # files that git does not hold: size and time

    def make_ready(self, setup: Sequence[str] | None, variables: Mapping[str, str], limit: float) -> None:
        """Check out, link the inputs, run ``setup``; nothing where that was done before. Raises ``Failed``
        where the setup fails, ``Void`` where it changes what is protected."""
        top = self.place / "files"
        if (self.place / READY).exists() and (top / ".git").exists():
            shape: dict[Any, Any] = {...: [int]}
            self._made = read_object(self.place / READY, shape)
            self.restore()
            return
        process.end_left(self.place)
        shutil.rmtree(self.place, ignore_errors=True)
        self.place.mkdir(parents=True)
        self._repository.check_out(self.digest, top)
        for link in self._links:
            if os.path.lexists(link):
                name = link.relative_to(self.folder)
                raise LabError(
                    f"inputs: {name} is a file of the program; inputs are files that git does not hold"
                )
        self._link()
        if setup is not None:
            self._set_up(setup, variables, limit)
        self._made = self._others()
        write_json(self.place / READY, self._made)

    def variables(self, given: Mapping[str, str]) -> dict[str, str]:
        """Variables in which Python finds this tree where it would find the user's files."""
        said = given.get("PYTHONPATH")
        if not said:
            return dict(given)
        entries = [self._mine(entry) for entry in said.split(os.pathsep)]
        return {**given, "PYTHONPATH": os.pathsep.join(entries)}

    def is_the_users(self, place: str) -> bool:
        """Whether a folder belongs to the repository that the trees come from, and to no copy of it."""
        path = Path(os.path.realpath(place))
        return path.is_relative_to(self._repository.top) and not path.is_relative_to(self.place)

    def changed(self) -> list[str]:
        """The protected files that are not as they were checked out or set up: changed, gone or new."""
        specs = self._repository.specs(self._protect)
        if not specs:
            return []
        found = self._names("diff", "-z", "--name-only", "--no-ext-diff", "--", *specs)
        others = self._others(*specs)
        return found + sorted(name for name, stamp in others.items() if self._made.get(name) != stamp)

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
        self._link()
        return [name for name, stamp in self._made.items() if now.get(name) != stamp]

    def _set_up(self, setup: Sequence[str], variables: Mapping[str, str], limit: float) -> None:
        ended = process.run(setup, self.folder, self.variables(variables), self.place, limit)
        if ended.exit or ended.stopped:
            last = process.last_line(self.place / "stderr.txt")
            raise Failed(
                f"setup failed: {ended.stopped or last or f'exit code {ended.exit}'}; see {self.place}"
            )
        if changed := self.changed():
            raise Void(f"setup changed {changed[0]}, which is protected")
        self._git("add", "--update")  # what it changed otherwise belongs to the tree from now on

    def _link(self) -> None:
        """Put each input in its place, also where a run has put something else there."""
        for link, copy in self._links.items():
            if not (link.is_symlink() and os.readlink(link) == str(copy)):
                link.parent.mkdir(parents=True, exist_ok=True)
                link.unlink(missing_ok=True)
                link.symlink_to(copy)

    def _mine(self, entry: str) -> str:
        path = Path(os.path.realpath(entry))
        top = self._repository.top
        return str(self.place / "files" / path.relative_to(top)) if path.is_relative_to(top) else entry

    def _others(self, *specs: str) -> dict[str, list[int]]:
        """The files that git does not hold, ignored ones too, with their sizes and times; not the inputs."""
        found = {}
        for name in self._names("ls-files", "--others", "-z", "--", *specs):
            path = self.place / "files" / name
            if path not in self._links:
                with suppress(OSError):
                    stat = path.lstat()
                    found[name] = [stat.st_size, stat.st_mtime_ns]
        return found

    def _names(self, *words: str) -> list[str]:
        return [name for name in self._git(*words).split("\0") if name]

    def _git(self, *words: str) -> str:
        return self._repository.git(words, self.place / "files")
