"""A run for TensorBoard: event files by the package ``tensorboard``, without PyTorch or TensorFlow."""

from __future__ import annotations

from typing import Any

from danlu.files.errors import FileError
from danlu.lab.publish.exporter import Exporter
from danlu.lab.publish.rows import Row
from danlu.lab.reading.run import Run

ENDING = ".danlu"  # of a name with a number, since readers take the files of a folder by name


class TensorBoard(Exporter):
    """A folder of event files for each run, ``OUT/RUN/``; each process that publishes begins one.

    Steps are the run's, times its begin and active seconds. Where rows are taken back, a ``START`` at the
    first step that is trained anew tells readers to drop what they have from there on, as
    ``SummaryWriter(purge_step=…)`` does. A further file begins with one, too: what a process wrote that was
    killed before it could remember that is dropped. The experiment is there as hyper-parameters, by the three
    messages of TensorBoard's own plugin, in the run itself. NaN and infinity are written as they are; numbers
    have the 24 bits of float32.
    """

    package = extra = "tensorboard"
    hint = "tensorboard --logdir {out}"

    def open(self, run: Run, name: str, kept: dict[str, Any]) -> None:
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._run, self._kept = run, kept
        folder = self.out / name
        folder.mkdir(parents=True, exist_ok=True)
        there = sorted(file.name for file in folder.iterdir())
        if others := [file for file in there if not file.endswith(ENDING)]:
            raise FileError(
                f"{folder} holds {others[0]}, which danlu did not write; name another folder (--out)"
            )
        number = int(there[-1].split(".")[3]) + 1 if there else 1
        self._writer = RecordWriter((folder / f"events.out.tfevents.{number:010}{ENDING}").open("xb"))
        self._event(file_version="brain.Event:2", wall_time=run.begun)
        if there:
            self._start(kept.get("step", -1) + 1)
        if "step" not in kept:
            self._hparams()

    def _event(self, **about: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        self._writer.write(Event(**about).SerializeToString())

    def _start(self, step: int) -> None:
        from tensorboard.compat.proto.event_pb2 import SessionLog

        start = SessionLog(status=SessionLog.SessionStatus.START)
        self._event(session_log=start, step=step, wall_time=self._run.begun)

    def _hparams(self) -> None:
        from tensorboard.plugins.hparams.summary_v2 import HParam, Metric, hparams_config_pb, hparams_pb

        fields = {name: _plain(value) for name, value in self._run.fields.items() if value is not None}
        metrics = [Metric(self._run.metric_name)] if self._run.metric_name else []
        begun = self._run.begun
        config = hparams_config_pb([HParam(name) for name in fields], metrics, time_created_secs=begun)
        for said in (config, hparams_pb(fields, start_time_secs=begun)):
            self._event(summary=said, wall_time=begun)

    def row(self, row: Row) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary

        step, time = int(row["step"]), self._run.begun + row.get("seconds", 0.0)
        values = [Summary.Value(tag=name, simple_value=x) for name, x in row.items() if name != "step"]
        self._event(summary=Summary(value=values), step=step, wall_time=time)
        self._kept["step"] = step

    def rewind(self, step: int) -> bool:
        self._start(step + 1)
        self._kept["step"] = step
        return True

    def flush(self) -> None:
        self._kept.setdefault("step", -1)
        self._writer.flush()

    def close(self, run: Run) -> None:
        self._run = run
        if self._run.state != "running":
            self._end()
        self._writer.close()

    def _end(self) -> None:
        """The third message, whose maker in TensorBoard asks for TensorFlow."""
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.plugins.hparams import api_pb2, metadata
        from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo

        status = api_pb2.STATUS_SUCCESS if self._run.state == "finished" else api_pb2.STATUS_FAILURE
        end = self._run.begun + (self._run.seconds or 0.0)
        data = HParamsPluginData(session_end_info=SessionEndInfo(status=status, end_time_secs=end))
        about = metadata.create_summary_metadata(data)
        tag = metadata.SESSION_END_INFO_TAG
        value = Summary.Value(tag=tag, metadata=about, tensor=metadata.NULL_TENSOR)
        self._event(summary=Summary(value=[value]), wall_time=end)


def _plain(value: Any) -> Any:
    """What a hyper-parameter may be; a list as text."""
    return value if isinstance(value, bool | int | float | str) else str(value)
