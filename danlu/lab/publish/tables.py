"""A run as a long table, CSV or Parquet: a line for each number that was measured."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from typing import Any, ClassVar, Literal

from danlu.files.errors import FileError
from danlu.files.json import finite
from danlu.files.read import open_file
from danlu.files.write import write_atomically
from danlu.lab.publish.exporter import Exporter
from danlu.lab.publish.rows import Row
from danlu.lab.reading.run import AXES, Run
from danlu.lab.reading.table import run_json

COLUMNS = ("run", *AXES, "key", "value")
SCHEMA = "danlu.rows/1"


class Table(Exporter):
    """A file for each run, ``OUT/RUN.ending``, written anew whenever there is a new row, whole or not at all.

    Columns: run (its name), step, tokens, seconds, flops (where it was measured; null where that is not
    told), key, value (null where it is not finite)."""

    wants: ClassVar[Literal["new", "all", "ended"]] = "all"
    ending: ClassVar[str]

    def open(self, run: Run, name: str, kept: dict[str, Any]) -> None:
        self.run, self.name, self.rows = run, name, list[Row]()
        self.path = self.out / f"{name}{self.ending}"
        if self.path.exists() and not self.is_ours():
            raise FileError(
                f"{self.path} is there already and is no table of danlu's; move it away, or name another "
                "folder (--out)"
            )

    def row(self, row: Row) -> None:
        self.rows.append(row)

    def close(self, run: Run) -> None:
        write_atomically(self.path, self.written())

    def lines(self) -> Iterator[tuple[Any, ...]]:
        """The lines of the table, None for null."""
        for row in self.rows:
            at = [finite(row.get(axis)) for axis in AXES]
            for key, value in row.items():
                if key not in AXES:
                    yield self.name, *at, key, finite(float(value))

    def is_ours(self) -> bool:
        """Whether danlu wrote the file that is there."""
        raise NotImplementedError

    def written(self) -> bytes:
        """The file."""
        raise NotImplementedError


class Csv(Table):
    """RFC 4180 in UTF-8, a heading first; null is an empty field, numbers as Python writes them: none loses a
    digit."""

    ending = ".csv"

    def is_ours(self) -> bool:
        head = (",".join(COLUMNS) + "\n").encode()
        with open_file(self.path) as file:
            return file.read(len(head)) == head

    def written(self) -> bytes:
        file = io.StringIO(newline="")
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(self.lines())
        return file.getvalue().encode()


class Parquet(Table):
    """Parquet by pyarrow. Its metadata hold the run as ``danlu runs --json`` prints it, ``danlu.run``, and
    ``danlu.schema``."""

    ending, package, extra = ".parquet", "pyarrow", "data"

    def is_ours(self) -> bool:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            return b"danlu.schema" in (pq.read_schema(self.path).metadata or {})
        except pa.ArrowInvalid:
            return False

    def written(self) -> bytes:
        import pyarrow as pa
        import pyarrow.parquet as pq

        kinds = (pa.string(), pa.int64(), pa.int64(), pa.float64(), pa.float64(), pa.string(), pa.float64())
        about = {"danlu.schema": SCHEMA, "danlu.run": json.dumps(run_json(self.run))}
        schema = pa.schema(list(zip(COLUMNS, kinds, strict=True)), metadata=about)
        columns = list(zip(*self.lines(), strict=True)) or [()] * len(COLUMNS)
        table = pa.table([pa.array(c, k) for c, k in zip(columns, kinds, strict=True)], schema=schema)
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink)
        data: bytes = sink.getvalue().to_pybytes()
        return data
