"""Corpora: what a name, file, folder or glob stands for, as a sorted list of files."""

from __future__ import annotations

import glob
import importlib.util
import os
import platform
import sysconfig
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from danlu.data import synthetic
from danlu.data.errors import DataError
from danlu.data.sources import READERS, Document, Reader, arrow_folder
from danlu.data.walk import SourceFile, walk
from danlu.files.paths import expanded
from danlu.files.read import open_file
from danlu.spec.errors import did_you_mean, either


@dataclass(frozen=True)
class Corpus:
    """``files``, relative to ``root``, sorted by name; ``ignored`` counts files of other kinds."""

    name: str
    root: Path
    files: tuple[SourceFile, ...]
    version: str | None = None
    ignored: int = 0
    single: bool = False  # one file that the user named
    reader: Reader | None = None  # reads the root as a whole; otherwise each file by its suffix

    def documents(self, field: str) -> Iterator[Document]:
        """All documents in order; ``field`` names the text in .jsonl and .parquet."""
        if self.reader is not None:
            yield from self.reader(self.root, field)
            return
        for file in self.files:
            path = self.root / file.name
            yield from READERS[path.suffix.lower()](path, field)


def find_corpus(name: str) -> Corpus:
    """The corpus that ``name`` stands for: a known name, ``package:NAME``, ``synthetic:NAME-NUMBER…``, or a
    file, folder or glob.

    Raises DataError where there is none, with the nearest spelling.
    """
    if not name.strip():
        raise DataError(f"data.corpus is empty: name a file, a folder or {either(NAMED)}")
    if name in NAMED:
        return NAMED[name]()
    if name.startswith(PACKAGE):
        return package(name.removeprefix(PACKAGE))
    if name.startswith(synthetic.PREFIX):
        return _made(name)
    path = expanded(name)
    if os.path.isdir(path):  # not Path.is_dir, which raises for a name that is too long
        return _folder(name, path)
    if os.path.isfile(path):
        if path.suffix.lower() not in READERS:
            raise DataError(
                f"{path} is of no kind that can be read: a corpus is {either(sorted(READERS))}, "
                "or a folder of them"
            )
        return Corpus(name, path.parent, (_stat(path.parent, path.name),), single=True)
    if os.path.exists(path):  # a device or a pipe: refused in a sentence
        open_file(path).close()
    if glob.has_magic(name) and "\0" not in name:
        return _glob(name)
    known = [*NAMED, f"{PACKAGE}NAME", *synthetic.forms()]
    siblings = [str(path.with_name(other)) for other in _names_beside(path)]
    raise DataError(
        f"there is no corpus {name!r}: no such file or folder, and the corpora known by name are "
        f"{', '.join(known)}{did_you_mean(name, [*known, *siblings])}"
    )


def python_stdlib() -> Corpus:
    """The running interpreter's own library: its ``.py`` files without tests and site packages."""
    root = Path(sysconfig.get_path("stdlib"))
    files = tuple(file for file in walk(root, skip=_NOT_LIBRARY) if file.name.endswith(".py"))
    if not files:
        raise DataError(
            f"python-stdlib: this Python keeps no sources in {root}; name a text file as data.corpus"
        )
    return Corpus(
        "python-stdlib",
        root,
        files,
        version=f"{platform.python_implementation()} {platform.python_version()}",
    )


def package(name: str) -> Corpus:
    """An installed package's ``.py`` files without its tests, by the name that it is imported by."""
    found = importlib.util.find_spec(name) if name.isidentifier() else None
    if found is None or not found.submodule_search_locations:
        raise DataError(f"{PACKAGE}{name}: there is no package {name!r} here; name one that can be imported")
    root = Path(found.submodule_search_locations[0])
    files = tuple(file for file in walk(root, skip=_NOT_LIBRARY) if file.name.endswith(".py"))
    if not files:
        raise DataError(f"{PACKAGE}{name}: {root} holds no Python sources; name another package")
    return Corpus(PACKAGE + name, root, files)


def _made(name: str) -> Corpus:
    """A synthetic corpus, which has no files: its name says all."""
    made = synthetic.find(name)
    return Corpus(name, Path(__file__).parent, (), reader=lambda root, field: made.documents())


PACKAGE = "package:"
NAMED: dict[str, Callable[[], Corpus]] = {"python-stdlib": python_stdlib}

_NOT_LIBRARY = frozenset({"site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__"})


def _folder(name: str, path: Path) -> Corpus:
    if (path / "dataset_dict.json").is_file():
        splits = sorted(state.parent.name for state in path.glob("*/state.json"))
        if not splits:
            raise DataError(f"{path} has a dataset_dict.json, but no dataset in a folder beside it")
        if len(splits) > 1:
            raise DataError(
                f"{path} holds several datasets, {', '.join(splits)}: name one, such as {path / splits[0]}"
            )
        path = path / splits[0]
    if (path / "state.json").is_file() and (path / "dataset_info.json").is_file():
        return Corpus(name, path, tuple(walk(path)), reader=arrow_folder)
    found = list(walk(path))
    files = tuple(file for file in found if Path(file.name).suffix.lower() in READERS)
    if not files:
        raise DataError(
            f"none of the {len(found)} files in {path} can be read: a corpus is {either(sorted(READERS))}"
        )
    return Corpus(name, path, files, ignored=len(found) - len(files))


def _glob(name: str) -> Corpus:
    pattern = os.fspath(expanded(name))
    paths = sorted(Path(found) for found in glob.glob(pattern, recursive=True) if os.path.isfile(found))
    if not paths:
        raise DataError(f"no file matches {name!r}")
    for path in paths:
        if path.suffix.lower() not in READERS:
            raise DataError(
                f"{path}, which {name!r} matches, is of no kind that can be read: {either(sorted(READERS))}"
            )
    # Names relative to the folder that they share, so that the corpus may be moved as a whole.
    root = Path(os.path.commonpath([path.parent.absolute() for path in paths]))
    files = (_stat(root, Path(os.path.relpath(path, root)).as_posix()) for path in paths)
    return Corpus(name, root, tuple(sorted(files)))


def _stat(root: Path, name: str) -> SourceFile:
    found = (root / name).stat()
    return SourceFile(name, found.st_size, found.st_mtime_ns)


def _names_beside(path: Path) -> list[str]:
    try:
        return sorted(os.listdir(path.parent))[:1000]
    except OSError:
        return []
