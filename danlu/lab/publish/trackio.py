"""A run for Trackio: into its database, as its own importers write."""

from __future__ import annotations

import math
import os
from datetime import UTC, datetime
from typing import Any, ClassVar, Literal

from danlu.files.errors import FileError
from danlu.lab.publish.exporter import Exporter
from danlu.lab.publish.rows import Row
from danlu.lab.reading.run import Run

PROJECT, PLACE = "danlu", "danlu.run"


class Trackio(Exporter):
    """A run of the project ``danlu`` in the folder ``OUT``, in place of what was published of it before.

    It does not use ``trackio.init``, whose current run is the whole process's. What is not finite is left
    out.
    """

    wants: ClassVar[Literal["new", "all", "ended"]] = "ended"
    package = extra = "trackio"
    hint = "TRACKIO_DIR={out} trackio show --project danlu"

    def open(self, run: Run, name: str, kept: dict[str, Any]) -> None:
        os.environ["TRACKIO_DIR"] = str(self.out.absolute())
        os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
        from trackio.sqlite_storage import SQLiteStorage
        from trackio.utils import TRACKIO_DIR

        if self.out.absolute() != TRACKIO_DIR:
            raise FileError(
                f"this process already writes Trackio's files in {TRACKIO_DIR}; use another process"
            )
        self._run, self._name = run, name
        self._rows: list[Row] = []
        if name in SQLiteStorage.get_runs(PROJECT):
            there = SQLiteStorage.get_run_config(PROJECT, name) or {}
            if there.get(PLACE) != os.path.realpath(run.path):
                raise FileError(
                    f"{self.out} holds a run {name} that danlu did not write; name another folder (--out)"
                )
            SQLiteStorage.delete_run(PROJECT, name)

    def row(self, row: Row) -> None:
        self._rows.append({key: x for key, x in row.items() if math.isfinite(x)})

    def close(self, run: Run) -> None:
        from trackio.sqlite_storage import SQLiteStorage

        begun = self._run.begun
        SQLiteStorage.bulk_log(
            PROJECT,
            self._name,
            [{key: x for key, x in row.items() if key != "step"} for row in self._rows],
            steps=[int(row["step"]) for row in self._rows],
            timestamps=[
                datetime.fromtimestamp(begun + row.get("seconds", 0.0), UTC).isoformat() for row in self._rows
            ],
            config={
                PLACE: os.path.realpath(self._run.path),
                **{key: value for key, value in self._run.fields.items() if value is not None},
            },
        )
