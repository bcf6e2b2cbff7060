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
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from types import BuiltinFunctionType, CodeType, FrameType, FunctionType, ModuleType
from typing import Any

from danlu.code.digests import Source, sources
from danlu.code.tiers import GONE, PACKAGE, TABLES, Code, loaded

TOOL = 4  # of sys.monitoring's numbers, one that no kind of tool has a claim to
NO_CONSTANTS = {"typing", "types", "typing_extensions", "__future__"}  # modules of such types


class Recording:
    """Collects, phase by phase; entering a phase that is under way already does nothing. ``own``: files of
    the user that count anyway, and their digests."""

    def __init__(self, own: Mapping[str, str] | None = None) -> None:
        self._own = dict(own or {})
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
        """The digest, as loaded, of each file that counts: executed, or the home of a constant that such a
        one uses."""
        self.unwritten = False
        code = loaded()
        ran = {_name(path) for path in self._seen} & code.files.keys()
        return {name: code.of(name) for name in sorted(_with_constants(ran, code) | set(TABLES))} | self._own

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


@cache  # of a few hundred paths, asked for at the end of every run
def _name(path: str) -> str:
    """A file's name by its path: as in ``danlu.code.tiers``."""
    path = os.path.abspath(path)
    package = os.fspath(PACKAGE) + os.sep
    return path.removeprefix(package).replace(os.sep, "/") if path.startswith(package) else path


@contextmanager
def _profiled(seen: set[str]) -> Iterator[None]:
    add = seen.add

    def look(frame: FrameType, event: str, _: Any) -> None:
        if event == "call":  # a million times: what ``_file_of`` does, without calling it
            name = frame.f_code.co_filename
            add(name if name[:1] != "<" else _file_of(frame.f_code, frame))

    before: Any = sys.getprofile()
    sys.setprofile(look)
    try:
        yield
    finally:
        # cProfile's is an object that is switched on again, not a function.
        sys.setprofile(before) if before is None or callable(before) else before.enable()


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


def _with_constants(files: Iterable[str], code: Code) -> set[str]:
    """The files, and those in which a constant that one of them imports has its value."""
    found, todo = set(files), list(files)
    while todo:
        source = _source(todo.pop())
        for alias, (module, name) in source.imports.items():
            taken = [attribute for of, attribute in source.attributes if of == alias]
            new = code.files.keys() & _homes(module, name, taken) - found
            found |= new
            todo += new
    return found


def _homes(module: str, name: str, attributes: Iterable[str]) -> set[str | None]:
    """Of a name that a file imports; of the ``attributes`` that it takes of it, where it is a module."""
    value = vars(sys.modules[module]).get(name) if name and module in sys.modules else sys.modules.get(module)
    if isinstance(value, ModuleType):
        return {_home(value.__name__, attribute) for attribute in attributes}
    return {_home(module, name)}


def _home(module: str, name: str) -> str | None:
    """The file in which the constant ``name`` of ``module`` has its value; None for what is none, such as a
    function, whose file counts when it runs, and for what is not danlu's. A function with a cache is one: of
    many runs of a process it may run for the first alone."""
    if module not in sys.modules or name not in vars(sys.modules[module]):
        return None
    value = vars(sys.modules[module])[name]
    kinds = (type, FunctionType, BuiltinFunctionType, ModuleType)
    if isinstance(value, kinds) or type(value).__module__ in NO_CONSTANTS:
        return None
    file = _name(getattr(sys.modules[module], "__file__", None) or "")
    imported = _source(file).imports.get(name)
    return _home(*imported) if imported is not None else file


def _source(name: str) -> Source:
    (found,) = sources([PACKAGE / name])
    return found or Source(GONE)
