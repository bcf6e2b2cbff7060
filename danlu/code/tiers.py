"""danlu's files that a run's numbers may depend on, by their place in the package: ``nn/norms.py``.

``now()`` is the code as it lies on the disk, ``loaded()`` as this process imported it. What is written of a
run may hold the user's own files too, by their whole path; which of them a run uses is known by its parts
(``danlu.parts``), not found out here.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping
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
    found, start = list(TABLES), len(os.fspath(PACKAGE)) + 1
    for room in ROOMS:
        for folder, _, files in os.walk(PACKAGE / room):
            place = folder[start:].replace(os.sep, "/")
            found += [f"{place}/{file}" for file in files if file.endswith(".py")]
    return found


def now() -> Code:
    """The code as it is on the disk; some milliseconds."""
    known = names()
    found = sources(f"{PACKAGE}{os.sep}{name}" for name in known)
    return Code({name: source.digest if source else GONE for name, source in zip(known, found, strict=True)})


@cache
def loaded() -> Code:
    """The code as this process has it: files were imported as they are at the first call, if nobody changed
    them since the process began. One that was changed is ``UNSURE``, equal to nothing."""
    found = now().files
    return Code({name: UNSURE if _changed(name) > BEGAN else digest for name, digest in found.items()})


def _changed(name: str) -> float:
    """When the file or anything about it changed: a copy may bring an old time of its content along."""
    try:
        stat = (PACKAGE / name).stat()
    except OSError:
        return float("inf")
    return max(stat.st_mtime, stat.st_ctime)
