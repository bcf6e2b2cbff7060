"""The code of own parts: found, run once, run again where it changed.

What runs is the text that was read, under the name of its file: what a run records is what it ran, and a
worker runs what the queue was given.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.machinery
import importlib.util
import linecache
import os
import re
import sys
import traceback
from collections.abc import Iterator, Sequence
from importlib.abc import Loader, MetaPathFinder
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

from danlu.files.read import read_bytes
from danlu.spec import catalog, plugins
from danlu.spec.errors import SpecError
from danlu.spec.families import FAMILIES, SESSION, Origin

IDEAS: dict[str, tuple[Origin, str]] = {}  # where an idea comes from, and its family
_running: list[Origin] = []  # the innermost last
_loaded: dict[Origin, _Finder] = {}


def load(path: str | os.PathLike[str]) -> None:
    """Run a Python file that registers parts, once; again if it, or a file beside it that it imports, has
    changed since: what it registers then takes the place of what it had registered.

    Raises ``SpecError``, with the line, where it cannot be read or fails.
    """
    file = Path(os.path.realpath(path))
    if file.suffix != ".py" or not file.is_file():
        what = "is not a Python file" if file.exists() else "is not there"
        raise SpecError(f"{path} {what}: parts of your own are in a file such as mine.py")
    run(_of_file(file))


def run(origin: Origin) -> None:
    """Register what ``origin`` holds; nothing if just this was run. Raises as ``load``."""
    before = _loaded.get(origin)
    if before is not None and before.texts == origin.texts:
        return
    kept = snapshot()
    forget(origin)
    _running.append(origin)
    finder = _Finder(origin)
    sys.meta_path.insert(0, finder)
    for module in finder.modules:
        sys.modules.pop(module, None)
    try:
        importlib.import_module(finder.main)
    except BaseException as error:
        sys.meta_path.remove(finder)
        restore(kept)
        if before is not None:
            _loaded[origin] = before
            sys.meta_path.insert(0, before)
        if isinstance(error, Exception | SystemExit):
            raise SpecError(_told(error, origin)) from error
        raise
    finally:
        _running.pop()
    _loaded[origin] = finder


def forget(origin: Origin) -> None:
    """Take back what ``origin`` registered."""
    for family in FAMILIES.values():
        family.own = {kind: own for kind, own in family.own.items() if own.origin != origin}
    for name in [name for name, (of, _) in IDEAS.items() if of == origin]:
        catalog.forget_idea(name)
        del IDEAS[name]
    if (finder := _loaded.pop(origin, None)) is not None:
        sys.meta_path.remove(finder)


def snapshot() -> Any:
    """What is registered now, for ``restore``."""
    return {family: dict(family.own) for family in FAMILIES.values()}, dict(IDEAS), dict(catalog.OWN)


def restore(kept: Any) -> None:
    """Have registered what was when the snapshot was taken, and nothing else."""
    families, ideas, patches = kept
    for family, own in families.items():
        family.own = own
    for table, entries in ((IDEAS, ideas), (catalog.OWN, patches)):
        table.clear()
        table.update(entries)


def loaded() -> list[Origin]:
    """What was run, in order."""
    return list(_loaded)


def not_while_loading() -> None:
    """Raises ``SpecError`` while own parts are being loaded: a script that also trains would, loaded by a
    worker for its parts, train again."""
    if _running:
        raise SpecError(
            f"{_running[-1].name} trains while it is loaded for its parts; put that under "
            'if __name__ == "__main__":'
        )


def origin_of(frame: FrameType) -> Origin:
    """Where the code comes from that runs in ``frame``."""
    if _running:
        return _running[-1]
    file = frame.f_globals.get("__file__")
    if file is None:  # a notebook, or an interpreter that is typed into
        cell = "".join(linecache.getlines(frame.f_code.co_filename)).encode()
        name = hashlib.sha256(cell).hexdigest()[:8]
        return Origin("this session", cell=name, texts={SESSION: cell} if cell else {})
    return _of_file(Path(os.path.realpath(file)), plugins.importing)


def _of_file(file: Path, name: str | None = None) -> Origin:
    root = file.parent
    while (root / "__init__.py").is_file():
        root = root.parent
    return Origin(name or file.name, file, root, texts=_texts(file, root))


# ---------------------------------------------------------------- running


class _Finder(MetaPathFinder, Loader):
    """Imports the texts of an origin."""

    def __init__(self, origin: Origin) -> None:
        self.root, name = origin.root or Path(), origin.main
        # A file that is in no package has a module of a name that no import can mean.
        unlike = origin.cell or hashlib.sha256(os.fsencode(origin.file or "")).hexdigest()[:8]
        self.main = _module(name) if "/" in name else re.sub(r"\W", "_", f"{name[:-3]}_{unlike}")
        self.modules = {self.main if file == name else _module(file): file for file in origin.texts}
        self.texts = origin.texts

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in self.modules:
            return None
        file = self.root / self.modules[fullname]
        folder = [os.fspath(file.parent)] if file.name == "__init__.py" else None
        return importlib.util.spec_from_file_location(
            fullname, file, loader=self, submodule_search_locations=folder
        )

    def exec_module(self, module: ModuleType) -> None:
        file = self.modules[module.__name__]
        exec(compile(self.texts[file], self.root / file, "exec"), vars(module))


def _module(file: str) -> str:
    return file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _told(error: Exception | SystemExit, origin: Origin) -> str:
    name = origin.name
    if isinstance(error, SyntaxError):
        return f"{name}, line {error.lineno}: {error.msg}"
    place = os.fspath(origin.file or SESSION)
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == place]
    where = f"{name}, line {lines[-1]}" if lines else name
    if isinstance(error, SystemExit):
        return f'{where}: it ends the program; put that under if __name__ == "__main__":'
    return (
        f"{where}: {error}" if isinstance(error, SpecError) else f"{where}: {type(error).__name__}: {error}"
    )


# ---------------------------------------------------------------- finding


def _texts(file: Path, root: Path) -> dict[str, bytes]:
    """The file and what it imports from its folder (in a package: of the package), by path under ``root``."""
    texts: dict[str, bytes] = {}
    todo = [file, *(folder / "__init__.py" for folder in file.parents if root in folder.parents)]
    while todo:
        path = todo.pop()
        name = path.relative_to(root).as_posix()
        if name in texts:
            continue
        texts[name] = read_bytes(path)
        inside = path.parent.relative_to(root).parts
        for module in _imports(texts[name], inside):
            if module and (module[0] == inside[0] if inside else _is_beside(module[0], root)):
                todo += [found for found in _files(root, module) if found.is_file()]
    return texts


def _is_beside(module: str, root: Path) -> bool:
    """Whether a module is one of the folder, and not one that Python or danlu means by that name."""
    there = any(file.is_file() for file in _files(root, (module,)))
    if not there or module == "danlu" or module in sys.stdlib_module_names:
        return False
    found = importlib.machinery.PathFinder.find_spec(module)
    return found is None or found.origin is None or root in Path(found.origin).resolve().parents


def _files(root: Path, module: tuple[str, ...]) -> Iterator[Path]:
    for n in range(1, len(module) + 1):
        yield root.joinpath(*module[: n - 1], f"{module[n - 1]}.py")
        yield root.joinpath(*module[:n], "__init__.py")


def _imports(text: bytes, inside: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The modules that a text imports, wherever in it; what is no Python imports nothing."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (tuple(alias.name.split(".")) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = inside[: len(inside) - node.level + 1] if node.level else ()
            module = (*above, *(node.module or "").split(".")) if node.module else above
            yield from ((*module, alias.name) for alias in node.names)
