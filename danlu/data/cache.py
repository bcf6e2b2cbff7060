"""The cache of prepared corpora: entries that are either whole or not there.

An entry is written in a folder aside, flushed to the disk and renamed into place. Two processes
may prepare the same corpus at once (the first to finish wins), and one that is killed leaves
only a folder aside, which is cleared away when it has grown old.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from danlu.code import UNSURE, loaded, together
from danlu.data.errors import DataError
from danlu.files.write import flush

_ASIDE = ".aside-"
_OLD = 86_400.0  # seconds without a write after which a folder aside has no writer any more


def entry_name(name: str, makers: Collection[str], parts: Sequence[Any]) -> str:
    """Names an entry of ``name`` by everything that its content depends on: ``parts``, in JSON, and the files
    of this room that make it, ``makers``."""
    fingerprint = hashlib.sha256(json.dumps([_digest(makers), *parts]).encode()).hexdigest()[:20]
    readable = "".join(c if c.isalnum() and c.isascii() else "-" for c in Path(name).stem)
    return f"{readable[:40].strip('-') or 'corpus'}-{fingerprint}"


def _digest(makers: Collection[str]) -> str:
    """A digest of code; where it may have been edited since it was imported, one that no other process
    has."""
    code = loaded()
    files = {file: code.of(f"data/{file}.py") for file in makers}
    return secrets.token_hex(8) if UNSURE in files.values() else together(files)


def version(package: str) -> str:
    """Of an installed package."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "missing"


@contextmanager
def new_entry(entry: Path) -> Iterator[Path]:
    """An empty folder to fill, which becomes ``entry`` when the block ends without an error.

    Raises DataError where the cache cannot be written, as on a full disk.
    """
    aside = None
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        _clear_old(entry.parent)
        aside = Path(tempfile.mkdtemp(prefix=_ASIDE, dir=entry.parent))
        yield aside
        for file in aside.iterdir():
            flush(file)
        flush(aside)
        try:
            os.rename(aside, entry)
        except OSError:
            # Another process was faster. What it wrote is the same, since the name says from what.
            if not entry.is_dir():
                raise
        flush(entry.parent)
    except OSError as error:
        raise DataError(
            f"cannot write the cache {entry.parent}: {error.strerror or error}; "
            "DANLU_CACHE may name another folder"
        ) from error
    finally:
        if aside is not None:
            shutil.rmtree(aside, ignore_errors=True)


def _clear_old(folder: Path) -> None:
    for aside in folder.glob(f"{_ASIDE}*"):
        with suppress(OSError):  # another process may be clearing it too
            newest = max(path.stat().st_mtime for path in [aside, *aside.iterdir()])
            if time.time() - newest > _OLD:
                shutil.rmtree(aside, ignore_errors=True)
