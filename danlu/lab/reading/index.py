"""The runs under a folder, and the index that makes reading thousands of them fast.

The index, ``.danlu-runs.sqlite`` in the folder, keeps what was read of each run beside the sizes and times of
the files it was read from; what changed is read anew. Files are the truth: an index that is missing, torn,
locked, of another version or on a disk that cannot be written costs time, and no answer.
"""

from __future__ import annotations

import json
import os
import sqlite3
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from danlu.files.errors import cannot_read
from danlu.files.json import misfit, parse
from danlu.lab.reading.code import verdicts
from danlu.lab.reading.run import EXPERIMENT, FILES, Record, Run, read_record

INDEX = ".danlu-runs.sqlite"
VERSION = 3  # of what a record holds: an index of another one is made anew
USUAL = ("runs", "studies/runs")  # where runs are looked for if no folder is named
WORTH_IT = 32  # runs; fewer are read as fast without one
BROKEN = (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)  # also: no such table, column
PATIENCE = 0.1  # seconds to wait for another process's lock

TABLE = "CREATE TABLE runs (name TEXT PRIMARY KEY, key TEXT, record TEXT, experiment TEXT)"

_NUMBER = (float, None)
RECORD = {
    **dict.fromkeys(("steps", "units", "parameters", "best_step"), (int, None)),
    **dict.fromkeys(("seconds", "flops", "loss", "metric", "best"), _NUMBER),
    **dict.fromkeys(("metric_name", "examples", "mark", "error"), (str, None)),
    **dict.fromkeys(("ended", "unit", "better", "counted"), (str, None)), "measures": ({...: _NUMBER}, None),
}  # fmt: skip

Stamps = dict[str, tuple[int, int]]  # size and time (ns) of each file that is there
Progress = Callable[[int, int], None]  # read so far, to be read


def places(folders: Iterable[str | os.PathLike[str]] = ()) -> list[Path]:
    """The folders, or of those that are usual the ones that are there. Raises ``LabError`` where one that is
    named is not there, or none is, and ``FileError`` where one that is named cannot be read."""
    named = [Path(folder) for folder in folders]
    found = named or [Path(name) for name in USUAL if Path(name).is_dir()]
    missing = [place for place in found if not place.is_dir()]
    if found and not missing:
        for place in named:
            readable(place)
        return found
    from danlu.lab.errors import LabError

    if missing:
        raise LabError(f"{missing[0]} is not a folder; name a run's folder or a folder of runs")
    raise LabError(
        f"there is no {' or '.join(USUAL)} here: name a folder of runs, or make a run (danlu train tiny)"
    )


def readable(folder: str | os.PathLike[str]) -> None:
    """Raises ``FileError`` where the folder cannot be looked into, which ``find`` passes over."""
    try:
        os.scandir(folder).close()
    except OSError as error:
        raise cannot_read(folder, error) from error


def read_runs(folders: Iterable[str | os.PathLike[str]], progress: Progress | None = None) -> list[Run]:
    """The runs at any depth under the folders, each once, newest first. A run holds no runs."""
    runs: dict[Path, Run] = {}
    for folder in folders:
        there = os.path.realpath(folder)
        for name, run in _under(os.fspath(folder), progress).items():
            runs.setdefault(Path(there, name), run)
    return newest_first(runs.values())


def newest_first(runs: Iterable[Run]) -> list[Run]:
    """In the order in which runs are listed."""
    return sorted(runs, key=lambda run: (-run.begun, run.name))


def _under(root: str, progress: Progress | None) -> dict[str, Run]:
    found = dict(find(root))
    known = records(root, found, found, progress)
    code = verdicts((record.get("mark"), os.path.join(root, name)) for name, record in known.items())
    return {
        name: Run(
            Path(root, name),
            stamps[EXPERIMENT][1] / 1e9,
            **(record := known[name]),
            code=code[record.get("mark")],
        )
        for name, stamps in found.items()
    }


def records(
    root: str,
    found: Mapping[str, Stamps],
    wanted: Collection[str],
    progress: Progress | None = None,
    worth: Callable[[Record], bool] = lambda record: True,
    read: Callable[[str], Record] | None = None,
) -> dict[str, Record]:
    """What is known of the runs that are wanted, of those that were ``found`` in ``root``: by the index, or
    by their files, which the index then learns of those that are ``worth`` it. ``read``: in
    place of the index and of ``read_record``."""
    keep = len(found) >= WORTH_IT
    known = _load(root, found) if keep and read is None else {}
    missing = [name for name in wanted if name not in known]
    fresh: dict[str, Record] = {}
    for count, name in enumerate(missing):
        if progress is not None:
            progress(count, len(missing))
        fresh[name] = read(name) if read is not None else read_record(os.path.join(root, name))
    if keep and (learned := {name: record for name, record in fresh.items() if worth(record)}):
        _save(root, found, learned)
    return known | fresh


def find(root: str, still: Callable[[str], Stamps | None] | None = None) -> Iterator[tuple[str, Stamps]]:
    """The runs' folders, relative to ``root``, and the stamps of their files. ``still``: those of a folder
    that need not be looked into; None of one that must."""
    folders = [""]
    while folders:
        inside = folders.pop()
        if still is not None and (stamps := still(inside)) is not None:
            yield inside, stamps
            continue
        try:
            with os.scandir(os.path.join(root, inside)) as entries:
                listed = list(entries)
        except OSError:  # gone meanwhile, or not ours to look into
            continue
        files = {entry.name: entry for entry in listed if entry.name in FILES and not entry.is_dir()}
        if EXPERIMENT in files:
            with suppress(OSError):
                stats = {name: files[name].stat() for name in FILES if name in files}
                yield inside, {name: (stat.st_size, stat.st_mtime_ns) for name, stat in stats.items()}
        else:
            folders += [
                os.path.join(inside, entry.name)
                for entry in listed
                if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)
            ]


def _load(root: str, found: Mapping[str, Stamps]) -> dict[str, Record]:
    """What the index knows of the runs as they are."""
    try:
        with closing(_open(root, "ro")) as index:
            rows = index.execute("SELECT name, key, record, experiment FROM runs").fetchall()
        kept = [row for row in rows if row[1] == _key(found.get(row[0], {}), row[3])]
        records = parse(f"[{','.join(row[2] for row in kept)}]")  # all at once, which is faster
        if not _sound(records):
            return {}
        return {
            name: record | {"experiment": experiment}
            for (name, _, _, experiment), record in zip(kept, records, strict=True)
        }
    except (sqlite3.Error, ValueError, TypeError, OSError):
        return {}


def _sound(records: list[Any]) -> bool:
    """Whether they could be of our making; of records alike in the types of their values one is looked at."""
    alike = {}
    for record in records:
        if not isinstance(record, dict) or not isinstance(record.get("measures", {}), dict):
            return False
        types = (*map(type, record.values()), *map(type, record.get("measures", {}).values()))
        alike[*record, *types] = record
    return not any(record.keys() - RECORD.keys() or misfit(record, RECORD) for record in alike.values())


def _save(root: str, found: Mapping[str, Stamps], fresh: Mapping[str, Record]) -> None:
    """Write what was read; what has gone is forgotten. An index that is broken is made anew."""
    rows = []
    for name, record in fresh.items():
        experiment = record.get("experiment", "{}")
        rest = {key: value for key, value in record.items() if key != "experiment"}
        rows.append((name, _key(found[name], experiment), json.dumps(rest), experiment))
    for _ in range(2):
        try:
            with closing(_open(root, "rwc")) as index, index:
                index.execute(TABLE.replace("TABLE", "TABLE IF NOT EXISTS"))
                gone = [(name,) for (name,) in index.execute("SELECT name FROM runs") if name not in found]
                index.executemany("DELETE FROM runs WHERE name = ?", gone)
                index.executemany("INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?)", rows)
                index.execute(f"PRAGMA user_version = {VERSION}")
            return
        except OSError:
            return
        except (sqlite3.Error, ValueError) as error:
            if getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) not in BROKEN:
                return  # locked, or a disk that cannot be written: the next one will
            with suppress(OSError):
                os.unlink(os.path.join(root, INDEX))


def _open(root: str, mode: str) -> sqlite3.Connection:
    """Raises ``sqlite3.Error``, ``OSError``, or ``ValueError`` where the index is of another version or holds
    anything beside its table: a view could be endless, a trigger do what it likes."""
    path = Path(root, INDEX).absolute()
    if os.path.lexists(path) and not path.is_file():
        raise OSError(f"{path} is no file")
    index = sqlite3.connect(f"{path.as_uri()}?mode={mode}", uri=True, timeout=PATIENCE)
    try:
        (version,) = index.execute("PRAGMA user_version").fetchone()
        tables = index.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL").fetchmany(2)
        if tables and (version != VERSION or tables != [(TABLE,)]):
            raise ValueError(f"index of version {version}")
    except BaseException:
        index.close()
        raise
    return index


def _key(stamps: Stamps, experiment: str) -> str:
    """By which a row is known to be of the files as they are, and whole: the experiment is not parsed yet."""
    return f"{stamps} {zlib.crc32(experiment.encode())}"
