"""From a specification of data to the data."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from danlu import spec as specs
from danlu.data.dataset import Progress, prepare_text
from danlu.data.images import prepare_digits


class Source(Protocol):
    """What an objective reads. ``record``: what it was made from, in JSON; it holds ``splits``, by which a
    resumed run knows its data."""

    @property
    def record(self) -> dict[str, Any]: ...


def prepare(spec: Any, *, cache: Path | None = None, progress: Progress | None = None) -> Any:
    """The source of ``spec``; text is tokenized once and then read from the cache.

    ``cache``: the cache's folder; by default ``$DANLU_CACHE`` or ``~/.cache/danlu``. ``progress``: is told,
    in one line each, what takes time and what was left out. Raises ``DataError``.
    """
    if isinstance(spec, specs.Digits):
        return prepare_digits(spec)
    return prepare_text(spec, cache=cache, progress=progress)
