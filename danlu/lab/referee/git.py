"""The trees of a git repository: what is committed, what lies in the folder, either with a diff laid over.

Nothing in the repository is written: objects that are new, and the working trees, belong to a repository of
the lab's own that borrows the user's objects.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from danlu.files.errors import cannot_write
from danlu.files.write import write_atomically
from danlu.lab.errors import LabError

STORE = "referee.git"  # under the folder of all studies
QUIETLY = (
    "-c",
    "core.hooksPath=/dev/null",
    "-c",
    "core.fsmonitor=false",
    "-c",
    "advice.addEmbeddedRepo=false",
)
HERE = "."  # in place of a commit: the working tree as it is
NOBODY = {
    f"GIT_{who}_{what}": said
    for who in ("AUTHOR", "COMMITTER")
    for what, said in (("NAME", "danlu"), ("EMAIL", "danlu"), ("DATE", "2000-01-01T00:00:00Z"))
}


class Repository:
    """The repository that ``folder`` is in; what is new is written to ``store``. Raises ``LabError`` where
    there is none."""

    def __init__(self, folder: Path, store: Path) -> None:
        if shutil.which("git") is None:
            raise LabError("the referee needs git, which is not installed here")
        self.store = store.absolute()
        self._folder = folder
        try:
            said = self._ask("rev-parse", "--show-toplevel", "--show-prefix", "--git-path", "objects")
        except LabError as error:
            raise LabError(
                f"{folder} is in no git repository, by which the referee knows one program from another "
                f"({error}); run git init and git add there"
            ) from None
        top, prefix, objects = said.split("\n")[:3]
        self.top, self.prefix = Path(top), prefix.rstrip("/")
        self._objects = Path(os.path.realpath(folder / objects))
        self._open_store()

    def tree(self, reference: str) -> str:
        """The tree of a branch, tag or commit. Raises ``LabError``."""
        spelled = f"{reference}^{{tree}}"
        try:
            return self._ask("rev-parse", "--verify", "--quiet", "--end-of-options", spelled).strip()
        except LabError:
            known = self._ask("for-each-ref", "--format=%(refname:short)").split()
            from danlu.spec.errors import did_you_mean

            hint = (
                did_you_mean(reference, known)
                or "; name a branch, a tag or a commit, or . for the files as they are"
            )
            raise LabError(f"git = {reference!r} is nothing that {self.top} knows{hint}") from None

    def working_tree(self) -> str:
        """The tree of the files that git tracks, as they are now in the folder."""
        with tempfile.TemporaryDirectory() as aside:
            index = Path(aside, "index")
            there = Path(
                os.path.realpath(self._folder / self._ask("rev-parse", "--git-path", "index").strip())
            )
            if there.exists():  # with it git need not read every file again
                shutil.copy2(there, index)  # its date tells git which files may have changed since
            with_index = {"GIT_INDEX_FILE": str(index)}
            self._ask("add", "--update", "--", ":(top)", new=with_index)
            return self._ask("write-tree", new=with_index).strip()

    def untracked(self, without: Sequence[Path] = ()) -> list[str]:
        """The files in the folder that git neither tracks nor ignores, but for the paths ``without``."""
        words = ("ls-files", "--others", "--exclude-standard", "-z", "--full-name", "--", ":(top)")
        left_out = [f":(top,exclude,literal){name}" for name in self._within(without)]
        return self._names(self._ask(*words, *left_out))

    def without(self, tree: str, paths: Sequence[Path]) -> str:
        """The tree without these files and folders."""
        names = self._within(paths)
        if not names:
            return tree
        with tempfile.TemporaryDirectory() as aside:
            with_index = {"GIT_INDEX_FILE": os.path.join(aside, "index")}
            self._ask("read-tree", tree, new=with_index)
            gone = [f":(top,literal){name}" for name in names]
            self._ask("rm", "-r", "--cached", "--quiet", "--ignore-unmatch", "--", *gone, new=with_index)
            return self._ask("write-tree", new=with_index).strip()

    def patched(self, tree: str, patch: Path) -> str:
        """The tree with a diff laid over. Raises ``LabError`` where it does not fit."""
        if not patch.is_file():
            raise LabError(f"{patch} is missing; write a diff there, as git diff > {patch.name} does")
        with tempfile.TemporaryDirectory() as aside:
            with_index = {"GIT_INDEX_FILE": os.path.join(aside, "index")}
            self._ask("read-tree", tree, new=with_index)
            try:
                self._ask(
                    "apply",
                    "--cached",
                    "--3way",
                    "--whitespace=nowarn",
                    os.path.abspath(patch),
                    new=with_index,
                )
            except LabError as error:
                raise LabError(f"{patch} does not fit the tree that it is laid over: {error}") from None
            return self._ask("write-tree", new=with_index).strip()

    def differing(self, one: str, other: str, patterns: Sequence[str] = ()) -> list[str]:
        """The files in which two trees differ, of those that the patterns name."""
        words = ("diff-tree", "-r", "-z", "--name-only", "--no-renames", one, other, "--")
        return self._names(self._ask(*words, *self.specs(patterns), new={}))

    def files(self, tree: str, patterns: Sequence[str] = ()) -> list[str]:
        """The files of a tree that the patterns name."""
        empty = self._ask("hash-object", "-t", "tree", "-w", os.devnull, new={}).strip()
        return self.differing(empty, tree, patterns)

    def submodules(self, tree: str) -> list[str]:
        """Folders of the tree that are repositories of their own."""
        rows = self._ask("ls-tree", "-r", "-z", tree, new={}).split("\0")
        return [row.partition("\t")[2] for row in rows if row.startswith("160000 ")]

    def diff(self, one: str, other: str, *words: str) -> str:
        """The changes between two trees, as git tells them."""
        return self._ask("diff", "--no-color", "--no-ext-diff", *words, one, other, "--", new={})

    def check_out(self, tree: str, place: Path) -> None:
        """The files of a tree in a working tree of their own, of a commit without a past."""
        commit = self.git(["commit-tree", tree, "-m", "an arm"], self.store, NOBODY).strip()
        self.git(["worktree", "prune"], self.store)
        self.git(["worktree", "add", "--force", "--detach", "--quiet", str(place), commit], self.store)

    # ------------------------------------------------------------ calling git

    def specs(self, patterns: Sequence[str]) -> list[str]:
        """Patterns as pathspecs: relative to the folder, ``**`` for any folders."""
        above = f"{self.prefix}/" if self.prefix else ""
        return [f":(top,glob){above}{pattern}" for pattern in patterns]

    def _within(self, paths: Sequence[Path]) -> list[str]:
        """Those of the paths that are in the repository, as git names them."""
        real = (Path(os.path.realpath(path)) for path in paths)
        return [
            p.relative_to(self.top).as_posix() for p in real if p.is_relative_to(self.top) and p != self.top
        ]

    @staticmethod
    def _names(said: str) -> list[str]:
        return [name for name in said.split("\0") if name]

    def _ask(self, *words: str, new: Mapping[str, str] | None = None) -> str:
        """What git says of the user's repository. ``new``: it may write objects, which go to the store, with
        these variables besides."""
        variables: dict[str, str] = {}
        if new is not None:
            variables = {"GIT_OBJECT_DIRECTORY": str(self.store / "objects"), **new}
        return self.git(words, self._folder, variables)

    @staticmethod
    def git(words: Sequence[str], folder: Path, variables: Mapping[str, str] | None = None) -> str:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        said = {"GIT_OPTIONAL_LOCKS": "0", "GIT_LFS_SKIP_SMUDGE": "1", "LC_ALL": "C", **(variables or {})}
        done = subprocess.run(
            ["git", *QUIETLY, *words], cwd=folder, env=inherited | said, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, errors="surrogateescape", check=False,
        )  # fmt: skip
        if done.returncode:
            lines = done.stderr.strip().splitlines() or [f"git {words[0]} ended with {done.returncode}"]
            raise LabError(lines[-1].removeprefix("fatal: ").removeprefix("error: "))
        return done.stdout

    def _open_store(self) -> None:
        """The lab's own bare repository, which borrows the objects of the user's."""
        try:
            self.store.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(self.store, error) from error
        if not (self.store / "HEAD").exists():
            kind = self._ask("rev-parse", "--show-object-format").strip()
            self.git(
                ["init", "--quiet", "--bare", f"--object-format={kind}", str(self.store)], self.store.parent
            )
            self.git(["config", "gc.auto", "0"], self.store)
        lenders = self.store / "objects" / "info" / "alternates"
        known = lenders.read_text().splitlines() if lenders.exists() else []
        if str(self._objects) not in known:
            write_atomically(lenders, "\n".join([*known, str(self._objects), ""]).encode())
