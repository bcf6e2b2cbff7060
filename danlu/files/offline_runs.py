"""Numbers out of a Weights & Biases run in offline mode: its history in ``run-ID.wandb``, a LevelDB log of
protocol buffers. ``wandb-summary.json`` is read where there is no such log: most versions write none offline.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from danlu.files.errors import FileError
from danlu.files.json import from_json, read_object
from danlu.files.protobuf import all_of, fields
from danlu.files.read import LARGE, read_bytes

SUMMARY_FILE = "wandb-summary.json"
IDENTITY = b":W&B"
HEAD = 7  # bytes at the start of the file, and before each part of a record
BLOCK = 32768  # bytes; no part crosses the border of two
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4
HISTORY, SUMMARY, ITEM, KEY, NESTED, JSON = 2, 3, 1, 1, 2, 16  # numbers of fields (wandb_internal.proto)


def logged(folder: Path, key: str) -> list[float]:
    """What the runs in ``folder`` and below logged under ``key``, in order, or else what their summary says;
    of a mapping that was logged, names joined by dots. Raises ``FileError``."""
    files = sorted(folder.rglob("*.wandb")) if folder.is_dir() else [folder]
    history: list[float] = []
    summary: list[float] = []
    for file in files:
        for record in _records(file):
            history += _of_key(record, HISTORY, key)
            summary += _of_key(record, SUMMARY, key)
    if files or not folder.is_dir():
        return history or summary[-1:]
    written = map(read_object, sorted(folder.rglob(SUMMARY_FILE)))
    return [float(said[key]) for said in written if isinstance(said.get(key), int | float)]


def last(file: Path) -> dict[str, Any]:
    """Of a run's log: the last value logged under each key, or else what its summary says. Raises
    ``FileError``."""
    found: dict[str, Any] = {}
    for kind in (SUMMARY, HISTORY):
        for record in _records(file):
            found.update(_items(record, kind))
    return found


def _records(file: Path) -> Iterator[bytes]:
    """The records of a log; one that was not written to its end closes it."""
    data = read_bytes(file, LARGE)
    if not data.startswith(IDENTITY):
        raise FileError(f"{file} is no log of Weights & Biases; name the folder that its run wrote")
    at, parts = HEAD, b""
    while at + HEAD <= len(data):
        if BLOCK - at % BLOCK < HEAD:  # the rest of a block is empty
            at += BLOCK - at % BLOCK
            continue
        checksum, length, kind = struct.unpack_from("<IHB", data, at)
        part = data[at + HEAD : at + HEAD + length]
        if kind == 0 or len(part) < length:
            return
        if zlib.crc32(part, zlib.crc32(bytes([kind]))) != checksum:
            raise FileError(f"{file} is damaged: a checksum is wrong; run the program again")
        parts = part if kind in (FULL, FIRST) else parts + part
        if kind in (FULL, LAST):
            yield parts
        at += HEAD + length


def _of_key(record: bytes, kind: int, key: str) -> Iterator[float]:
    for name, value in _items(record, kind):
        if name == key and isinstance(value, int | float):
            yield float(value)


def _items(record: bytes, kind: int) -> Iterator[tuple[str, Any]]:
    """Names, joined by dots, and values of what a record logs."""
    for part in all_of(record, kind):
        for item in all_of(part, ITEM):
            said = fields(item)
            name = ".".join(value.decode() for number, value in said if number in (KEY, NESTED))
            yield name, from_json(next((value for number, value in said if number == JSON), b"null"))
