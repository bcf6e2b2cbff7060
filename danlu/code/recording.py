"""Which files a run's numbers depend on: those whose code ran, and those whose constants they use.

    recording = Recording()
    with recording.during("build"):
        ...
    with recording.during("update", times=2):  # does nothing from the third time on
        ...
    recording.files  # {file: digest}

Imports do not tell: ``danlu.nn`` and ``danlu.optim`` import every part that there is. So Python is asked
which functions run (``sys.monitoring``; before Python 3.12 ``sys.setprofile``, which costs some tenths of a
microsecond a call, hence the few phases).
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import BuiltinFunctionType, CodeType, FrameType, FunctionType, ModuleType
from typing import Any

from danlu.code.digests import Source, sources
from danlu.code.tiers import GONE, PACKAGE, ROOMS, TABLES, is_own, loaded, own_files, path_of

TOOL = 4  # of sys.monitoring's numbers, one that no kind of tool has a claim to
NO_CONSTANTS = {"typing", "types", "typing_extensions", "__future__"}  # modules of such types


class Recording:
    """Collects, phase by phase; entering a phase that is under way already does nothing."""

    def __init__(self) -> None:
        self._seen: set[str] = set()  # names of files, whatever ran
        self._times: Counter[str] = Counter()
        self._open = False
        self.unwritten = False  # whether something was recorded since ``files`` was asked for

    def during(self, phase: str, times: int = 1) -> AbstractContextManager[None]:
        """Record what runs inside, the first ``times`` that this ``phase`` is entered."""
        if self._open or self._times[phase] >= times:
            return nullcontext()
        self._times[phase] += 1
        return self._recorded()

    @property
    def files(self) -> dict[str, str]:
        """The digest, as loaded, of each file that counts: executed, or the home of a constant that an
        executed one uses; of one's own those, and all that do more at import than define."""
        self.unwritten = False
        found = {_name(path) for path in self._seen}
        found |= {name for name, source in own_files().items() if not source.defines}
        found = _with_constants({name for name in found if _counts(name)})
        code = loaded()
        return {name: code.of(name) for name in sorted(found | set(TABLES))}

    @contextmanager
    def _recorded(self) -> Iterator[None]:
        frame: FrameType | None = sys._getframe()
        while frame is not None:  # who called began before anybody looked
            self._seen.add(frame.f_code.co_filename)
            frame = frame.f_back
        self._open = self.unwritten = True
        try:
            with _monitored(self._seen) if sys.version_info >= (3, 12) else _profiled(self._seen):
                yield
        finally:
            self._open = False


def _name(path: str) -> str:
    """A file's name by its path: as in ``danlu.code.tiers``."""
    path = os.path.abspath(path)
    package = os.fspath(PACKAGE) + os.sep
    return path.removeprefix(package).replace(os.sep, "/") if path.startswith(package) else path


def _counts(name: str) -> bool:
    """Whether a file is of danlu and may matter, or the user's: one that was loaded, or beside such a one."""
    if not is_own(name):
        return name.split("/")[0] in ROOMS
    own = own_files()
    return name in own or (
        not (name.startswith(_LIBRARIES) or os.path.basename(name).startswith("<"))
        and any(name.startswith(os.path.dirname(other) + os.sep) for other in own)
    )


# Where what is installed is: a virtual environment may well lie beside one's own file.
_LIBRARIES = (sys.prefix + os.sep, sys.base_prefix + os.sep)


@contextmanager
def _profiled(seen: set[str]) -> Iterator[None]:
    def look(frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            seen.add(_file_of(frame.f_code, frame))

    before = sys.getprofile()
    sys.setprofile(look)
    try:
        yield
    finally:
        sys.setprofile(before)


@contextmanager
def _monitored(seen: set[str]) -> Iterator[None]:
    """As ``_profiled``, but each function is looked at once, and in all threads."""
    monitoring: Any = sys.monitoring  # type: ignore[attr-defined,unused-ignore]

    def look(code: CodeType, _: int) -> Any:
        seen.add(_file_of(code, sys._getframe(1)))
        return monitoring.DISABLE

    if monitoring.get_tool(TOOL) is not None:
        with _profiled(seen):
            yield
        return
    monitoring.use_tool_id(TOOL, "danlu")
    start = monitoring.events.PY_START
    try:
        monitoring.register_callback(TOOL, start, look)
        monitoring.set_events(TOOL, start)
        monitoring.restart_events()  # what an earlier recording was told once counts again
        yield
    finally:
        monitoring.set_events(TOOL, 0)
        monitoring.register_callback(TOOL, start, None)
        monitoring.free_tool_id(TOOL)


def _file_of(code: CodeType, frame: FrameType) -> str:
    """Where code stands; what dataclasses make has no file of its own, but its module has."""
    name = code.co_filename
    return name if name[:1] != "<" else str(frame.f_globals.get("__file__", name))


# ---------------------------------------------------------------- constants


def _with_constants(files: Iterable[str]) -> set[str]:
    """The files, and those in which a constant that one of them imports has its value."""
    found, todo = set(files), list(files)
    while todo:
        source = _source(todo.pop())
        for alias, (module, name) in source.imports.items():
            taken = [attribute for of, attribute in source.attributes if of == alias]
            new = {home for home in _homes(module, name, taken) if home is not None} - found
            found |= new
            todo += new
    return found


def _homes(module: str, name: str, attributes: Iterable[str]) -> list[str | None]:
    """Of a name that a file imports; of the ``attributes`` that it takes of it, where it is a module."""
    value = vars(sys.modules[module]).get(name) if name and module in sys.modules else sys.modules.get(module)
    if isinstance(value, ModuleType):
        return [_home(value.__name__, attribute) for attribute in attributes]
    return [_home(module, name)]


def _home(module: str, name: str) -> str | None:
    """The file in which the constant ``name`` of ``module`` has its value; None for what is none, such as a
    function, whose file counts when it runs, and for what is not danlu's. A function with a cache is one: in a
    process that trains many runs it ran for the first."""
    value = vars(sys.modules[module]).get(name) if module in sys.modules else None
    kinds = (type(None), type, FunctionType, BuiltinFunctionType, ModuleType)
    if isinstance(value, kinds) or type(value).__module__ in NO_CONSTANTS:
        return None
    file = _name(getattr(sys.modules[module], "__file__", None) or "<")
    if not _counts(file):
        return None
    imported = _source(file).imports.get(name)
    return _home(*imported) if imported is not None else file


def _source(name: str) -> Source:
    (on_disk,) = sources([path_of(name)])
    return own_files().get(name) or on_disk or Source(GONE)
