"""What may be written over: nothing but what danlu wrote itself, unless a person says ``--force``."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from danlu.files.errors import FileError, cannot_write
from danlu.files.read import open_file
from danlu.files.write import write_atomically

MARK = "<!-- written by danlu -->"  # a comment in HTML and in Markdown, near the beginning
ARCHIVE = ".npz"  # whose comment, at its end, is the mark
UNMARKED = (".npy", ".csv")  # that have no place for a mark: other programs would not read them
_NEAR = 1000  # bytes


def check_output(path: Path, force: bool = False) -> None:
    """Raises ``FileError`` unless ``path`` may be written: it is new, or holds ``MARK``, or ``force`` is set.
    What cannot hold a mark is never taken for danlu's own.

    A folder, a device or a pipe is refused in any case, and so is a folder above it that is not there or
    cannot be written. To be called before the work that fills the file.
    """
    if not os.path.lexists(path):
        above = path.absolute().parent
        if not os.path.lexists(above):
            raise cannot_write(path, FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)))
        if os.path.isdir(above) and not os.access(above, os.W_OK | os.X_OK):
            raise cannot_write(path, PermissionError(errno.EACCES, os.strerror(errno.EACCES)))
        return
    if not os.path.exists(path):
        raise FileError(f"{path} is a link that leads nowhere; remove it, or name another file")
    with open_file(path) as file:  # refuses what is no file
        ours = MARK.encode() in file.read(_NEAR)
        if path.suffix.lower() == ARCHIVE:
            file.seek(-min(len(MARK), file.seek(0, os.SEEK_END)), os.SEEK_END)
            ours = file.read() == MARK.encode()
    if not (ours or force):
        why = " and bears no mark of danlu"
        if path.suffix.lower() in UNMARKED:
            why = f", and nothing in a {path.suffix} file says whether danlu wrote it"
        raise FileError(f"{path} is there already{why}; name another file, or add --force to overwrite it")


def write_output(path: Path, text: str, force: bool = False) -> None:
    """``text``, which holds ``MARK``, as a file of its own. Raises ``FileError`` as ``check_output``."""
    check_output(path, force)
    write_atomically(path, text.encode(errors="replace"))
