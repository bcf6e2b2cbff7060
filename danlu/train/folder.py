"""A run's folder: its files and its lock.

No torch here: the verbs that only read (``danlu runs``, ``show``, ``compare``) use this module.
"""

from __future__ import annotations

import difflib
import os
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from danlu.files.errors import cannot_write, not_a_run
from danlu.files.lock import Lock
from danlu.files.read import read_text
from danlu.files.write import clean_aside, write_atomically
from danlu.train import store
from danlu.train.errors import RunError

EXPERIMENT, ENVIRONMENT, METRICS = "experiment.yaml", "environment.json", "metrics.jsonl"
SUMMARY, LOCK = "summary.json", ".lock"
THEIRS = "config.json"  # of a folder of transformers'
IMPORTED = "imported.json"  # in the folder of a run that an imported model became
SAMPLES = "samples"  # pictures of what the model made, by step
LONGEST = 200  # letters of a new run's name, before its date
_PICTURE = re.compile(r"step-([0-9]{1,18})\.(png|svg)")


def is_foreign(folder: Path) -> bool:
    """Whether a folder holds a model as transformers writes it, and no run."""
    return (folder / THEIRS).is_file() and not RunFolder(folder).experiment.is_file()


def check_imported(named: Path, run: Path | None) -> None:
    """Raises ``RunError`` where an experiment is ``named`` by the folder of an imported model, and the folder
    ``run`` has no weights to go on with (None: a new one): the run would begin with random ones."""
    if not (named / IMPORTED).is_file() or (run is not None and store.latest_step(run) is not None):
        return
    raise RunError(
        f"{named} has the weights of an imported model, but a run in another folder would begin with random "
        f"ones; train a copy of the folder (cp -r {named} COPY, then danlu train COPY --run COPY), or name "
        f"{named / EXPERIMENT} for random weights"
    )


class RunFolder:
    """The folder of one run. ``RunFolder(path)`` only names its files; it touches nothing."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.experiment = self.path / EXPERIMENT
        self.environment = self.path / ENVIRONMENT
        self.metrics = self.path / METRICS
        self.summary = self.path / SUMMARY
        self.checkpoints = self.path / store.CHECKPOINTS
        self.samples = self.path / SAMPLES
        self._lock: Lock | None = None

    def __repr__(self) -> str:
        return f"RunFolder({str(self.path)!r})"

    def pictures(self) -> list[Path]:
        """What the model made, as ``danlu.train.showing`` drew it, by step."""
        found = self.samples.glob("step-*") if self.samples.is_dir() else ()
        steps = {path: int(match[1]) for path in found if (match := _PICTURE.fullmatch(path.name))}
        return sorted(steps, key=steps.__getitem__)

    def check(self) -> None:
        """Raises ``RunError`` where the folder is no run's."""
        if not self.experiment.is_file():
            raise RunError(not_a_run(self.path, EXPERIMENT))

    @classmethod
    def create_or_open(
        cls,
        path: str | os.PathLike[str],
        experiment_yaml: str,
        difference: Callable[[str, str], str] | None = None,
    ) -> RunFolder:
        """Make the folder, or open it to resume, and hold its lock until ``close`` or the end of the process.

        ``difference(old, new)`` says in words how the experiment found differs from the one
        wanted, and returns "" where they mean the same; without it the texts are compared.
        Raises ``Held`` if another process holds the folder, ``RunError`` if it holds another experiment
        or files that are no run's, ``FileError`` if it cannot be written.
        """
        run = cls(path)
        try:
            os.fspath(path).encode()
        except UnicodeEncodeError:
            raise RunError(
                f"{run.path} is not UTF-8, which what reads checkpoints needs; name another folder"
            ) from None
        try:
            run.path.mkdir(parents=True, exist_ok=True)
            run._lock = Lock(run.path / LOCK, wait=0, named=True)
            run._settle(experiment_yaml, difference or first_difference)
        except BaseException as error:
            run.close()
            if isinstance(error, OSError):
                raise cannot_write(run.path, error) from error
            raise
        return run

    def _settle(self, experiment_yaml: str, difference: Callable[[str, str], str]) -> None:
        for folder in (self.path, self.samples):
            clean_aside(folder)  # left by a process that was killed: under the lock nobody else writes here
        store.clean(self.path)
        if self.experiment.exists():
            found = difference(read_text(self.experiment), experiment_yaml)
            if found:
                raise RunError(
                    f"{self.experiment} holds another experiment: {found}; "
                    "name another folder for this run, or repeat the experiment that is there"
                )
            return
        strangers = sorted(entry.name for entry in self.path.iterdir() if not entry.name.startswith("."))
        if strangers:
            raise RunError(
                f"{self.path} holds {strangers[0]!r} but no {EXPERIMENT}, so it is not a run's folder; "
                "name an empty or a new folder"
            )
        write_atomically(self.experiment, experiment_yaml.encode())

    def close(self) -> None:
        """Let another process open the folder."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def first_difference(old: str, new: str) -> str:
    """The first line that differs between two texts, in words; "" where they are equal."""
    if old == new:
        return ""
    lines = list(difflib.ndiff(old.splitlines(), new.splitlines()))
    there = next((line[2:].strip() for line in lines if line.startswith("- ")), None)
    here = next((line[2:].strip() for line in lines if line.startswith("+ ")), None)
    if there and here:
        return f"it says {there!r}, this one {here!r}"
    return f"only one of the two says {there or here!r}"


def new_run(root: str | os.PathLike[str], recipe: str) -> Path:
    """Make an empty folder ``root/<recipe>-<YYYYmmdd-HHMMSS>``, with ``-2``, ``-3``, ... if it is taken."""
    stem = re.sub(r"[^\w.+-]+", "-", recipe, flags=re.ASCII).strip("-.")[:LONGEST] or "run"
    stem = f"{stem}-{time.strftime('%Y%m%d-%H%M%S')}"
    count = 1
    while True:
        path = Path(root) / (stem if count == 1 else f"{stem}-{count}")
        try:
            path.mkdir(parents=True)  # atomic: two processes in one second get two folders
            return path
        except FileExistsError:
            count += 1
        except OSError as error:
            raise cannot_write(path, error) from error


def name_of(words: Sequence[str], shrink: str | None = None) -> str:
    """A name for the folder of the run that the words mean: the recipe, its new size and the ideas."""
    named = [word for word in words[:1] if "=" not in word and not word.startswith("+")] or ["tiny"]
    name = Path(named[0]).name.removesuffix(".yaml").removesuffix(".yml")
    ideas = (word for word in words if word.startswith("+"))
    return "".join([name, f"-{shrink}" if shrink else "", *ideas])
