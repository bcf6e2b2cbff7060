"""Parts of your own: ``@danlu.part``, ``danlu.idea``, ``danlu.load("mine.py")``. No torch here.

A kind is a name. Code is loaded where the user says so: on the command line (``--with mine.py``), in Python,
or by installing a package. A file that is only read, a run's or a recipe, cannot ask for it.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import inspect
import linecache
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any, TypeVar

import danlu.spec  # noqa: F401  brings the families
from danlu.spec import plugins
from danlu.spec.errors import SpecError, did_you_mean, either
from danlu.spec.families import FAMILIES, Origin, Own
from danlu.spec.signature import specification

Makes = TypeVar("Makes", bound=Callable[..., Any])

KIND = re.compile(r"(?!(?:none|null|true|false)$)[A-Za-z][A-Za-z0-9_-]*")

_loading: list[Origin] = []  # the files that are being run, the innermost last
_loaded: dict[Path, Origin] = {}


def part(family: str, kind: str, *, source: str = "") -> Callable[[Makes], Makes]:
    """Register the decorated class, or function, as a part: ``@danlu.part("norm", "dyt")``.

    ``family``: norm, activation, mixer, feed_forward, position, residual, optimizer, schedule. ``kind``: the
    name that it has in recipes and on the command line. ``source``: the paper. Parameters of the constructor
    that the family names (``width``, …) are what its surroundings give it; all others are fields, with their
    types and defaults. See docs/own-parts.md. The class itself is returned as it is.

    Raises ``SpecError`` for an unknown family, a kind that is taken, or a parameter that cannot be a field.
    """
    origin = _origin(sys._getframe(1))

    def register(makes: Makes) -> Makes:
        if family not in FAMILIES:
            hint = did_you_mean(family, FAMILIES)
            raise SpecError(f"{family!r} is no family of parts{hint}; there are {either(FAMILIES)}")
        if not KIND.fullmatch(kind):
            raise SpecError(
                f"kind = {kind!r} of a {family}: a kind is a word of letters, digits, - and _, a letter first"
            )
        of = FAMILIES[family]
        function = not inspect.isclass(makes)
        if function and not of.functions:
            raise SpecError(f"{kind} is a function, and a {family} is a class")
        spec, context = specification(makes, of, kind, inputs=int(function))
        of.register(Own(family, kind, spec, makes, context, origin, source))
        return makes

    return register


# ---------------------------------------------------------------- files


def load(path: str | os.PathLike[str]) -> None:
    """Run a Python file that registers parts, once; again if it, or a file of its folder that it imports, has
    changed since, and then its parts take the place of those that it had registered.

    Raises ``SpecError``, with the line, where it cannot be read or fails.
    """
    file = Path(path).resolve()
    if file.suffix != ".py" or not file.is_file():
        what = "is not a Python file" if file.exists() else "is not there"
        raise SpecError(f"{path} {what}: parts of your own are in a file such as mine.py")
    root, module = _place(file)
    origin = Origin(file.name, file, root, _texts(file, root))
    before = _loaded.get(file)
    if before is not None and before.texts == origin.texts:
        return
    kept = {family: dict(family.own) for family in FAMILIES.values()}
    if before is not None:
        for family in FAMILIES.values():
            family.own = {kind: own for kind, own in family.own.items() if own.origin != before}
        for name in [name for name, m in sys.modules.items() if _is_of(m, before)]:
            del sys.modules[name]
    _loading.append(origin)
    try:
        _run(origin, module)
    except BaseException as error:
        for family, own in kept.items():
            family.own = own
        if isinstance(error, Exception):
            raise SpecError(_told(error, file)) from error
        raise
    finally:
        _loading.pop()
    _loaded[file] = origin


def _place(file: Path) -> tuple[Path, str]:
    """The folder from which ``file`` is imported, and the name of its module: its dotted one in a package,
    one that no import can meet elsewhere."""
    root, names = file.parent, [] if file.stem == "__init__" else [file.stem]
    while (root / "__init__.py").is_file():
        names.insert(0, root.name)
        root = root.parent
    if root != file.parent:
        return root, ".".join(names)
    return root, re.sub(r"\W", "_", f"{file.stem}_{_short(os.fsencode(file))}")


def _run(origin: Origin, name: str) -> None:
    assert origin.file is not None and origin.root is not None
    if os.fspath(origin.root) not in sys.path:
        sys.path.append(os.fspath(origin.root))  # last: what lies beside the file hides nothing
    if "." in name:
        importlib.import_module(name)
        return
    spec = importlib.util.spec_from_file_location(name, origin.file)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        # The text that is recorded is the text that runs.
        exec(compile(origin.texts[origin.file.name], origin.file, "exec"), vars(module))
    except BaseException:
        del sys.modules[name]
        raise


def _texts(file: Path, root: Path) -> dict[str, bytes]:
    """The file and what it imports from its folder (in a package: of the package), by path under ``root``."""
    texts: dict[str, bytes] = {}
    todo = [file]
    while todo:
        path = todo.pop()
        name = path.relative_to(root).as_posix()
        if name in texts:
            continue
        try:
            texts[name] = path.read_bytes()
        except OSError as error:
            raise SpecError(f"{path}: cannot be read ({error.strerror or error})") from None
        inside = path.parent.relative_to(root).parts
        for module in _imports(texts[name], inside):
            if module[:1] != ("danlu",) and (not inside or module[:1] == inside[:1]):
                todo += [found for found in _files(root, module) if found.is_file()]
    return texts


def _files(root: Path, module: tuple[str, ...]) -> Iterator[Path]:
    for n in range(1, len(module) + 1):
        yield root.joinpath(*module[:n]).with_suffix(".py")
        yield root.joinpath(*module[:n]) / "__init__.py"


def _imports(text: bytes, inside: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The modules that a text imports, wherever in it; a file that is no Python imports nothing."""
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


def _is_of(module: ModuleType, origin: Origin) -> bool:
    file = getattr(module, "__file__", None)
    return bool(file and origin.root and any(origin.root / name == Path(file) for name in origin.texts))


def _told(error: Exception, file: Path) -> str:
    if isinstance(error, SyntaxError):
        return f"{file.name}, line {error.lineno}: {error.msg}"
    lines = [
        frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)
    ]
    where = f"{file.name}, line {lines[-1]}" if lines else file.name
    return (
        f"{where}: {error}" if isinstance(error, SpecError) else f"{where}: {type(error).__name__}: {error}"
    )


def _origin(frame: FrameType) -> Origin:
    """Where the code that runs in ``frame`` comes from."""
    if _loading:
        return _loading[-1]
    file = frame.f_globals.get("__file__")
    if file is None:  # a notebook, or an interpreter that is typed into
        cell = "".join(linecache.getlines(frame.f_code.co_filename))
        return Origin("this session", None, None, {"session.py": cell.encode()} if cell else {})
    path = Path(file).resolve()
    root, _ = _place(path)
    return Origin(plugins.importing or path.name, path, root, _texts(path, root))


def _short(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:8]
