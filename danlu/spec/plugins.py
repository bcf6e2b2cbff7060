"""Packages that offer parts: entry points of the group ``danlu.parts``, each a module that registers some.

They are imported only when a kind is unknown or parts are listed. ``DANLU_PLUGINS=0`` turns them off.
"""

from __future__ import annotations

import os
from importlib.metadata import EntryPoint, entry_points

from danlu.spec.errors import SpecError

GROUP = "danlu.parts"

importing: str | None = None  # the package whose parts are being registered, ``name version``
_done = False


def offered(group: str = GROUP) -> list[EntryPoint]:
    """The entry points of installed packages, nothing imported; none where they are turned off."""
    return [] if os.environ.get("DANLU_PLUGINS") == "0" else sorted(entry_points(group=group))


def package(entry: EntryPoint) -> str:
    """``name version`` of the package that an entry point belongs to."""
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else entry.module


def load() -> bool:
    """Import what installed packages offer, once; whether anything was imported now. Raises ``SpecError`` for
    one that cannot be imported."""
    global importing, _done
    if _done:
        return False
    _done = True  # first: what is imported may ask again
    for entry in offered():
        importing = package(entry)
        try:
            entry.load()
        except (Exception, SystemExit) as error:
            _done = False
            raise SpecError(
                f"the package {importing} offers parts, and importing {entry.module} failed "
                f"({type(error).__name__}: {error}); correct it, uninstall it, or set DANLU_PLUGINS=0"
            ) from error
        finally:
            importing = None
    return bool(offered())
