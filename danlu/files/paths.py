"""Names of files as people write them."""

from __future__ import annotations

import os
from pathlib import Path

from danlu.files.errors import FileError


def expanded(path: str | os.PathLike[str]) -> Path:
    """``path`` with ``~`` and ``~user`` written out. Raises ``FileError`` where there is no such home."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise FileError(
            f"{os.fspath(path)}: there is no such home folder here; write the path in full"
        ) from None


def cache_folder() -> Path:
    """Where danlu keeps what it can make again: ``$DANLU_CACHE``, or ``~/.cache/danlu``. Raises ``FileError``
    where there is no home."""
    return expanded(os.environ.get("DANLU_CACHE") or "~/.cache/danlu")
