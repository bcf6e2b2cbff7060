"""The error that people can act on, and what can go wrong with a file, in one sentence."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path


class DanluError(Exception):
    """A mistake that a person can mend. Its text is one plain sentence for each problem, a line
    each; the command line prints it without a traceback and leaves with ``exit_code``."""

    exit_code = 2


class FileError(DanluError):
    """A file that cannot be read, written or locked: its name, what is wrong, and what to do next."""


class Missing(FileError):
    """There is no such file."""


def cannot_read(path: str | os.PathLike[str], error: OSError) -> FileError:
    """The sentence for an ``OSError`` met while reading ``path``."""
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return Missing(f"{path} is missing; restore it, or name another")
    what = "folder" if os.path.isdir(path) else "file"
    return FileError(f"{path} cannot be read ({error.strerror or error}); name a {what} that can be")


def not_a_run(path: Path, file: str) -> str:
    """The sentence for a ``path`` that is not a run's folder, in which there would be ``file``."""
    if not os.path.lexists(path):
        why = "there is no such folder"
    elif not path.is_dir():
        why = "it is no folder"
    else:
        why = f"it has no {file}" if any(path.iterdir()) else "it is empty"
    return f"{path} is not a run's folder: {why}; danlu runs lists those there are"


def cannot_write(path: Path, error: OSError, needed: int | None = None) -> FileError:
    """The sentence for an ``OSError`` met while writing ``path``, ``needed`` bytes in all."""
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        file = next((place for place in path.absolute().parents if os.path.isfile(place)), path)
        return FileError(
            f"cannot write {path}: {file} is a file, where a folder is needed; name another place"
        )
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    sentence = f"disk full while writing {path}"
    if not full:
        sentence = f"cannot write {path} ({error.strerror or error})"
    figures = [f"needs about {max(needed / 1e6, 0.1):.1f} MB"] if needed is not None else []
    existing = next((folder for folder in path.absolute().parents if folder.is_dir()), None)
    if existing is not None and (full or figures):
        figures.append(f"{shutil.disk_usage(existing).free / 1e6:.1f} MB free")
    if error.errno == errno.ENAMETOOLONG:
        advice = "choose a shorter name"
    elif error.errno == errno.ENOENT:
        advice = "name a folder that there is"
    else:
        advice = f"{'free some space' if full else 'make the folder writable'} and run the same command again"
    told = f": {', '.join(figures)}" if figures else ""
    return FileError(f"{sentence}{told}; {advice}")
