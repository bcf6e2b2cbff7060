"""The digest of a source file: equal where the code is, whatever comments, layout and docstrings say.

``digest(source)`` is SHA-256 of the syntax tree without positions and docstrings. Annotations count, since
pydantic reads them, and so does Python's minor version, which decides how the tree is spelled. What is not
Python counts by its bytes. Parsing takes milliseconds a file, so what was found is kept, by the hash of the
bytes, in memory and in the cache's folder.
"""

from __future__ import annotations

import ast
import hashlib
import os
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from danlu.files.errors import FileError
from danlu.files.json import read_json, write_json
from danlu.files.paths import cache_folder
from danlu.files.read import read_bytes

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
SELF = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:8]  # another digest's cache is no use
DIGITS = 16  # of a digest
LIMIT = 1 << 20  # bytes of a source
KEPT = 512  # sources in the file of the cache: the newest, a few versions of all that danlu has

Import = tuple[str, str]  # module, name in it ("": the module itself)


@dataclass(frozen=True)
class Source:
    """What is known of a source: its ``digest``; what it ``imports``, by the name that this has there; the
    ``attributes`` that it takes of such names."""

    digest: str
    imports: Mapping[str, Import] = field(default_factory=dict)
    attributes: tuple[tuple[str, str], ...] = ()


def digest(source: bytes) -> str:
    """Sixteen hex digits of a Python source; of its bytes where it is none."""
    return analyse(source).digest


def analyse(source: bytes, python: bool = True) -> Source:
    """``source`` as a module (``python``) or as any other file."""
    if python:
        with suppress(SyntaxError, ValueError, RecursionError, MemoryError):  # no Python, or nested too deep
            return _parsed(source)
    return Source(_short(b"bytes\n" + source))


def _parsed(source: bytes) -> Source:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [part for part in body if not _is_text(part)]  # type: ignore[attr-defined]
    imports = _imports(tree)
    attributes = {
        (node.value.id, node.attr)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in imports
    }
    code = f"{PYTHON}\n{ast.dump(tree)}"
    return Source(_short(code.encode()), imports, tuple(sorted(attributes)))


def _is_text(node: ast.stmt) -> bool:
    """A docstring; other strings that stand alone do nothing either."""
    value = node.value if isinstance(node, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)


def _imports(tree: ast.AST) -> dict[str, Import]:
    found: dict[str, Import] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {alias.asname or alias.name: (node.module, alias.name) for alias in node.names}
        elif isinstance(node, ast.Import):
            named = [(alias.asname or alias.name, alias.name) for alias in node.names]
            found |= {alias: (module, "") for alias, module in named if "." not in alias}
    return {name: it for name, it in found.items() if it[0].split(".")[0] not in sys.stdlib_module_names}


def _short(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:DIGITS]


# ---------------------------------------------------------------- what is kept

_Stamp = tuple[int, ...]
_by_bytes: dict[str, Source] = {}  # by Python's version and the hash of the bytes
_by_stamp: dict[str, tuple[_Stamp, Source]] = {}  # by path
_read_from: Path | None = None


def sources(paths: Iterable[str | os.PathLike[str]]) -> list[Source | None]:
    """What the files hold now; None for one that is no file of a source's size or cannot be read."""
    _load()
    before = len(_by_bytes)
    found = [_source(os.fspath(path)) for path in paths]
    if len(_by_bytes) > before:
        _save()
    return found


def _source(path: str) -> Source | None:
    try:
        stat = os.stat(path)
        stamp = (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)
        if path in _by_stamp and _by_stamp[path][0] == stamp:
            return _by_stamp[path][1]
        data = read_bytes(path, LIMIT)
    except (OSError, ValueError, FileError):
        return None
    found = of_bytes(data, python=path.endswith(".py"))
    _by_stamp[path] = stamp, found
    return found


def of_bytes(data: bytes, python: bool = True) -> Source:
    """``analyse``, done once for the same bytes."""
    key = f"{SELF} {PYTHON if python else 'bytes'} {hashlib.sha256(data).hexdigest()}"
    found = _by_bytes.pop(key, None) or analyse(data, python)
    _by_bytes[key] = found  # the newest: what is used is what is kept
    return found


def cache_file() -> Path:
    """``digests.json`` in ``$DANLU_CACHE`` or ``~/.cache/danlu``."""
    return cache_folder() / "digests.json"


def _load() -> None:
    """Read what other processes found, once. A file that is damaged is passed over."""
    global _read_from
    if _read_from == (file := cache_file()):
        return
    _read_from = file
    with suppress(FileError, OSError, KeyError, TypeError, ValueError, AttributeError):
        _by_bytes.update({key: _restored(value) for key, value in read_json(file).items()})


def _restored(value: Mapping[str, Any]) -> Source:
    imports = {str(name): (str(module), str(inner)) for name, (module, inner) in value["imports"].items()}
    attributes = tuple((str(name), str(attribute)) for name, attribute in value["attributes"])
    return Source(str(value["digest"]), imports, attributes)


def _save() -> None:
    """Of two processes at once the last to write wins; what the other found is found again."""
    file = cache_file()
    newest = list(_by_bytes.items())[-KEPT:]
    with suppress(FileError, OSError):  # a disk that cannot be written costs time, and no answer
        file.parent.mkdir(parents=True, exist_ok=True)
        write_json(file, {key: vars(source) for key, source in newest})
