"""The files of a folder, as they were found."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class SourceFile(NamedTuple):
    """A file of a folder, as it was found: enough to notice that it has changed."""

    name: str  # relative to the folder, with forward slashes
    size: int  # bytes
    modified: int  # nanoseconds


def walk(root: Path, skip: frozenset[str] = frozenset()) -> Iterator[SourceFile]:
    """The files under ``root``, sorted by name; hidden files and folders are not looked at."""
    files = []
    folders = [""]
    while folders:
        folder = folders.pop()
        with os.scandir(root / folder) as entries:
            for entry in entries:
                if entry.name.startswith(".") or entry.name in skip:
                    continue
                # A link to a file is followed; a link to a folder is not, since it may lead in circles.
                if entry.is_dir(follow_symlinks=False):
                    folders.append(f"{folder}{entry.name}/")
                elif entry.is_file():
                    found = entry.stat()
                    files.append(SourceFile(folder + entry.name, found.st_size, found.st_mtime_ns))
    yield from sorted(files)
