"""The files that a run's numbers may depend on: danlu's own, and those that the user brings.

``now()`` is the code as it lies on the disk, ``loaded()`` as this process imported it. A file of danlu is
named by its place in the package, ``nn/norms.py``, one's own by its whole path.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import danlu
from danlu.code.digests import DIGITS, PYTHON, Source, of_bytes, sources

PACKAGE = Path(os.path.abspath(danlu.__file__)).parent
ROOMS = ("data", "models", "nn", "objectives", "optim", "spec", "train")
TABLES = ("catalog/kernels.yaml",)  # read by one of these rooms, and no specification says what they hold
GONE = "gone"  # in place of the digest of a file that is not there
UNSURE = "unsure"  # of one that may have changed since it was imported
SHORT = 8  # digits of a code in the name of a run's folder
BEGAN = time.time() - (time.perf_counter() - danlu.STARTED)  # when this process did, in seconds since 1970


@dataclass(frozen=True)
class Code:
    """Digests of danlu's files and of one's own at one moment."""

    files: Mapping[str, str]

    @property
    def tier_a(self) -> str:
        """One digest of all of danlu's files."""
        return _together(item for item in self.files.items() if not is_own(item[0]))

    @property
    def short(self) -> str:
        """Eight digits of all files, for a name."""
        return _together(self.files.items())[:SHORT]

    def of(self, name: str) -> str:
        """The digest of a file by its name, one's own by its path if it was not loaded."""
        found = self.files.get(name)
        if found is None and is_own(name):
            (source,) = sources([Path(name)])
            found = source.digest if source else None
        return found or GONE


def names() -> list[str]:
    """danlu's files that numbers may depend on."""
    return [*TABLES, *(
        os.path.relpath(os.path.join(folder, file), PACKAGE).replace(os.sep, "/")
        for room in ROOMS
        for folder, _, files in os.walk(PACKAGE / room)
        for file in sorted(files)
        if file.endswith(".py")
    )]  # fmt: skip


def is_own(name: str) -> bool:
    """Whether a file is the user's, by its name."""
    return os.path.isabs(name)


def path_of(name: str) -> Path:
    """Where the file of this name is."""
    return PACKAGE / name  # an absolute name stays what it is


def now() -> Code:
    """The code as it is on the disk; some milliseconds."""
    return Code(_of_danlu() | _own_digests())


def loaded() -> Code:
    """The code as this process has it: files were imported as they are at the first call, if nobody changed
    them since the process began. One that was changed is ``UNSURE``, equal to nothing."""
    return Code(_loaded() | _own_digests())


@cache
def _loaded() -> dict[str, str]:
    found = _of_danlu()
    return {name: UNSURE if _changed(path_of(name)) > BEGAN else found[name] for name in found}


def _changed(path: Path) -> float:
    """When the file or anything about it changed: a copy may bring an old time of its content along."""
    try:
        stat = path.stat()
    except OSError:
        return float("inf")
    return max(stat.st_mtime, stat.st_ctime)


def _of_danlu() -> dict[str, str]:
    known = names()
    found = sources(map(path_of, known))
    return {name: source.digest if source else GONE for name, source in zip(known, found, strict=True)}


def _together(items: Iterable[tuple[str, str]]) -> str:
    text = "\n".join([PYTHON, *(f"{name} {digest}" for name, digest in sorted(items))])
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]


# ---------------------------------------------------------------- one's own files

_own: dict[str, bytes] = {}


def add_own(path: str | os.PathLike[str], source: bytes) -> None:
    """Say that this process runs ``source``, read from ``path``: to be called where the file is run, again
    when it is run anew."""
    _own[os.path.abspath(path)] = source


def own_files() -> dict[str, Source]:
    """The user's files that this process has loaded, as they were then, by their path."""
    return {name: of_bytes(source) for name, source in _own.items()}


def _own_digests() -> dict[str, str]:
    return {name: source.digest for name, source in own_files().items()}
