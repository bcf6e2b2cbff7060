"""From a specification of data to the data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from danlu import spec as specs
from danlu.data.arrays import prepare_arrays
from danlu.data.coordinates import prepare_signal
from danlu.data.dataset import Progress, prepare_text
from danlu.data.errors import DataError
from danlu.data.folder import prepare_folder
from danlu.data.images import prepare_digits
from danlu.data.labelled import prepare_bigrams
from danlu.data.points import Points
from danlu.data.table import prepare_table
from danlu.spec import points, signals
from danlu.spec.families import Own, own_of


class Source(Protocol):
    """What an objective reads. ``record``: what it was made from, in JSON; it holds ``splits``, by which a
    resumed run knows its data."""

    @property
    def record(self) -> dict[str, Any]: ...


def prepare(spec: Any, *, cache: Path | None = None, progress: Progress | None = None) -> Any:
    """The source of ``spec``; text is tokenized, a folder of images made once, and then read from the cache.

    ``cache``: the cache's folder; by default ``$DANLU_CACHE`` or ``~/.cache/danlu``. ``progress``: is told,
    in one line each, what takes time and what was left out. Raises ``DataError``.
    """
    if (own := own_of(type(spec))) is not None:
        return _own_source(own, spec)
    for kinds, make in _HELD:
        if isinstance(spec, kinds):
            return make(spec)
    make_once = next((make for kind, make in _CACHED if isinstance(spec, kind)), prepare_text)
    return make_once(spec, cache=cache, progress=progress)


_HELD: tuple[tuple[Any, Callable[[Any], Any]], ...] = (  # in memory alone
    (specs.Digits, prepare_digits),
    (specs.Arrays, prepare_arrays),
    (specs.Table, prepare_table),
    (points.Points, Points),
    (signals.Signals, prepare_signal),
)
_CACHED: tuple[tuple[Any, Callable[..., Any]], ...] = (
    (specs.ImageFolder, prepare_folder),
    (specs.Bigrams, prepare_bigrams),
)


def _own_source(own: Own, spec: Any) -> Any:
    """The user's object, with what it need not have: its ``spec``, a ``record``, shape and classes."""
    try:
        source = own.makes(**own.settings(spec))
    except ValueError as error:
        raise DataError(f"{own}: {error}") from error
    had = {"spec": spec, "record": {"splits": {}}, "shape": spec.shape, "classes": spec.classes}
    for name, value in had.items():
        if not hasattr(source, name):
            setattr(source, name, value)
    return source
