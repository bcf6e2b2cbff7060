"""Which format a file has, by its name: text, JSON or Parquet; the first two may be packed by gzip."""

from __future__ import annotations

import importlib
import os
import zlib
from pathlib import Path

from danlu.files.errors import FileError
from danlu.files.read import LIMIT, MIB, decode, open_file, read_bytes
from danlu.laws.errors import LawError
from danlu.laws.files.objects import from_json, from_lines
from danlu.laws.files.separated import separated
from danlu.laws.files.tables import Table, bounded, unique

TEXT, JSON = (".csv", ".tsv", ".tab", ".txt", ".dat"), (".json", ".jsonl", ".ndjson")
PARQUET = (".parquet", ".pq")


def read_table(path: Path) -> Table:
    """The table in a file. Raises LawError or FileError, one sentence."""
    suffixes = [one.lower() for one in path.suffixes]
    kind = next((one for one in suffixes[-2:] if one in (*TEXT, *JSON, *PARQUET)), "")
    packed = suffixes[-1:] == [".gz"]
    if suffixes and (not kind or suffixes[-1] not in (kind, ".gz")):
        raise LawError(
            f"{path} is none of CSV, TSV, TXT, JSON, JSONL and Parquet, by the end of its name, nor a folder "
            "of runs; save the table as CSV"
        )
    if kind in PARQUET and not packed:
        return _parquet(path)
    data = _unpacked(path) if packed else read_bytes(path)
    text = data.decode("utf-16") if _is_utf16(data) else decode(data, os.fspath(path))
    if kind in JSON or (not kind and text.lstrip()[:1] in ("[", "{")):
        return Table(from_lines(path, text) if kind in JSON[1:] else from_json(path, text))
    return separated(path, text)


def _is_utf16(data: bytes) -> bool:
    """With its mark, and whole."""
    if data[:2] not in (b"\xff\xfe", b"\xfe\xff"):
        return False
    try:
        data.decode("utf-16")
    except UnicodeDecodeError:
        return False
    return True


def _unpacked(path: Path) -> bytes:
    packer = zlib.decompressobj(wbits=31)
    try:
        data = packer.decompress(read_bytes(path), LIMIT + 1)
    except zlib.error as error:
        raise LawError(f"{path} is not gzip: {error}") from None
    if len(data) > LIMIT:
        raise FileError(
            f"{path} unpacks to more than the {LIMIT / MIB:g} MiB allowed here; name another file"
        )
    return data


def _parquet(path: Path) -> Table:
    try:
        parquet = importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise LawError(
            f"{path}: Parquet needs pyarrow (pip install pyarrow), or write the table as CSV"
        ) from None
    with open_file(path) as file:
        try:
            found = parquet.ParquetFile(file)
            bounded(path, found.metadata.num_columns, found.metadata.num_rows)
            table = found.read().flatten().flatten()
        except (ValueError, OSError) as error:  # pyarrow's own errors are these
            raise LawError(f"{path} is not Parquet: {error}") from None
    unique(path, table.column_names)
    return Table({name: table.column(name).to_pylist() for name in table.column_names})
