"""What can go wrong in a run's folder, said in one sentence."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

from danlu.spec.errors import DanluError


class RunError(DanluError):
    """Names the file or the field, what was found there, and what to do next."""


class Diverged(RunError):
    """A loss, a gradient or a weight is no longer finite: what a run came to, where nothing was broken."""


def cannot_write(path: Path, error: OSError, needed: int | None = None) -> RunError:
    """The sentence for an ``OSError`` met while writing ``path``, ``needed`` bytes in all."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    sentence = f"disk full while writing {path}"
    if not full:
        sentence = f"cannot write {path} ({error.strerror or error})"
    figures = [f"needs about {max(needed / 1e6, 0.1):.1f} MB"] if needed is not None else []
    existing = next((folder for folder in path.absolute().parents if folder.is_dir()), None)
    if existing is not None:
        figures.append(f"{shutil.disk_usage(existing).free / 1e6:.1f} MB free")
    advice = "free some space" if full else "make the folder writable"
    return RunError(f"{sentence}: {', '.join(figures)}; {advice} and run the same command again to resume")
