"""A run for MLflow: into a database of its own, by MLflow's client."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

from danlu.lab.publish.exporter import Exporter
from danlu.lab.publish.rows import Row
from danlu.lab.reading.run import Run

EXPERIMENT, TAG = "danlu", "danlu.run"
AT_ONCE, FIELDS_AT_ONCE = 1000, 100  # metrics and parameters of a request, at most
LONGEST = 6000  # letters of a parameter


class MLflow(Exporter):
    """A run of the experiment ``danlu`` in the SQLite database ``OUT/mlflow.db``.

    The experiment's fields are its parameters, numbers its metrics, by step; their time is the run's begin
    and active seconds, so that what is told twice is one number. MLflow takes no metric back: where rows are
    taken back, its run is deleted (``mlflow gc`` removes it) and one of the same name begun, with all rows.
    """

    package, extra = "mlflow", "mlflow"
    hint = "mlflow ui --backend-store-uri sqlite:///{out}/mlflow.db"

    def open(self, run: Run, name: str, kept: dict[str, Any]) -> None:
        os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # it would tell its makers of each run
        import logging

        from mlflow import MlflowClient

        logging.getLogger("mlflow").setLevel(logging.WARNING)

        self._run, self._name, self._kept = run, name, kept
        self._client = MlflowClient(f"sqlite:///{self.out.absolute()}/mlflow.db")
        self._metrics: list[Any] = []
        if "run_id" not in kept:
            self._begin()

    def _begin(self) -> None:
        from mlflow.entities import Param

        client, run = self._client, self._run
        experiment = client.get_experiment_by_name(EXPERIMENT)
        if experiment is None:
            artifacts = (self.out / "artifacts").absolute().as_uri()
            number = client.create_experiment(EXPERIMENT, artifact_location=artifacts)
        else:
            number = experiment.experiment_id
        place = os.path.realpath(run.path)
        quoted = place.replace("'", "''")
        for old in client.search_runs([number], f"tags.`{TAG}` = '{quoted}'"):
            client.delete_run(old.info.run_id)
        made = client.create_run(number, start_time=self._time(0.0), tags={TAG: place}, run_name=self._name)
        self._kept["run_id"] = made.info.run_id
        params = [Param(key, str(value)[:LONGEST]) for key, value in run.fields.items()]
        for some in _parts(params, FIELDS_AT_ONCE):
            client.log_batch(self._kept["run_id"], params=some)

    def _time(self, seconds: float) -> int:
        """Milliseconds since 1970."""
        return round(1000 * (self._run.begun + seconds))

    def row(self, row: Row) -> None:
        from mlflow.entities import Metric

        time, step = self._time(row.get("seconds", 0.0)), int(row["step"])
        self._metrics += [Metric(key, float(x), time, step) for key, x in row.items() if key != "step"]

    def rewind(self, step: int) -> bool:
        self._begin()
        return False

    def flush(self) -> None:
        for some in _parts(self._metrics, AT_ONCE):
            self._client.log_batch(self._kept["run_id"], metrics=some)
        self._metrics = []

    def close(self, run: Run) -> None:
        self._run = run
        state = self._run.state
        if state != "running":
            status = "FINISHED" if state == "finished" else "KILLED" if state == "stopped" else "FAILED"
            self._client.set_terminated(self._kept["run_id"], status, self._time(self._run.seconds or 0.0))


def _parts(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (items[i : i + size] for i in range(0, len(items), size))
