"""danlu's files that a run's numbers may depend on, by their place in the package: ``nn/norms.py``.

``now()`` is the code as it lies on the disk, ``loaded()`` as this process imported it. What is written of a
run may hold the user's own files too, by their whole path; which of them a run uses is known by its parts
(``danlu.parts``), not found out here.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import danlu
from danlu.code.digests import DIGITS, PYTHON, sources

PACKAGE = Path(os.path.abspath(danlu.__file__)).parent
ROOMS = (
    "curvature",
    "data",
    "distances",
    "flows",
    "inspection",
    "lab/measures",
    "lab/quantized",
    "maxent",
    "models",
    "nn",
    "objectives",
    "optim",
    "parts",
    "quantization",
    "spec",
    "train",
)
JUDGING = (  # what says of runs that are there what they mean: no number of a run depends on it
    "lab/across/rates.py",
    "lab/across/study.py",
    "lab/claims/checks.py",
    "lab/claims/course.py",
    "lab/claims/rules.py",
    "lab/claims/values.py",
    "lab/claims/verdict.py",
    "lab/referee/findings.py",
    "lab/referee/regime.py",
    "lab/referee/scale.py",
    "lab/referee/tuning.py",
    "lab/regime.py",
    "lab/statistics",
    "lab/trial/findings.py",
    "lab/tuning.py",
)
TABLES = ("catalog/kernels.yaml",)  # read by one of these rooms, and no specification says what they hold
GONE = "gone"  # in place of the digest of a file that is not there
UNSURE = "unsure"  # of one that may have changed since it was imported
SHORT = 8  # digits of a code in the name of a run's folder
BEGAN = time.time() - (time.perf_counter() - danlu.STARTED)  # when this process did, in seconds since 1970


@dataclass(frozen=True)
class Code:
    """Digests of danlu's files at one moment."""

    files: Mapping[str, str]

    @cached_property
    def tier_a(self) -> str:
        """One digest of all files."""
        return together(self.files)

    @property
    def short(self) -> str:
        """Eight digits of it, for a name."""
        return self.tier_a[:SHORT]

    def of(self, name: str) -> str:
        """The digest of a file by its name; one's own is looked for where it is."""
        if is_own(name):
            (source,) = sources([Path(name)])
            return source.digest if source else GONE
        return self.files.get(name, GONE)


def together(files: Mapping[str, str]) -> str:
    """One digest of files and their digests."""
    text = "\n".join([PYTHON, *(f"{name} {digest}" for name, digest in sorted(files.items()))])
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]


def is_own(name: str) -> bool:
    """Whether a file is the user's, by its name."""
    return os.path.isabs(name)


def names() -> list[str]:
    """danlu's files that numbers may depend on."""
    return [*TABLES, *_files(ROOMS)]


def _files(places: Iterable[str]) -> list[str]:
    """The Python files among these places, rooms and files."""
    found, start = [], len(os.fspath(PACKAGE)) + 1
    for room in places:
        if room.endswith(".py"):
            found.append(room)
        for folder, _, files in os.walk(PACKAGE / room):
            place = folder[start:].replace(os.sep, "/")
            found += [f"{place}/{file}" for file in files if file.endswith(".py")]
    return found


def now() -> Code:
    """The code as it is on the disk; some milliseconds."""
    return Code(_digests(names()))


def _digests(known: list[str]) -> dict[str, str]:
    found = sources(f"{PACKAGE}{os.sep}{name}" for name in known)
    return {name: source.digest if source else GONE for name, source in zip(known, found, strict=True)}


@cache
def loaded() -> Code:
    """The code as this process has it: files were imported as they are at the first call, if nobody changed
    them since the process began. One that was changed is ``UNSURE``, equal to nothing."""
    return Code(_imported(now().files))


def judging() -> str:
    """One digest of ``JUDGING`` as it is on the disk. A verdict keeps that of the process that judged
    (``judged``): where this is another, its runs are judged again, not made again."""
    return together(_digests(_files(JUDGING)))


@cache
def judged() -> str:
    """The same of the code as this process has it; equal to nothing where a file may have changed since."""
    return together(_imported(_digests(_files(JUDGING))))


def _imported(found: Mapping[str, str]) -> dict[str, str]:
    return {name: UNSURE if _changed(name) > BEGAN else digest for name, digest in found.items()}


def _changed(name: str) -> float:
    """When the file or anything about it changed: a copy may bring an old time of its content along."""
    try:
        stat = (PACKAGE / name).stat()
    except OSError:
        return float("inf")
    return max(stat.st_mtime, stat.st_ctime)
