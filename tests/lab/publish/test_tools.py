"""Runs for other tools, read back by the tools' own readers: every row equal, also after a run went on from a
checkpoint; nothing is sent over a network."""

from __future__ import annotations

import json
import math
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from danlu.lab.publish import publish
from danlu.lab.publish.rows import Row
from danlu.train.metrics import truncate_after
from tests.lab.publish.test_publish import append, rows_of
from tests.lab.reading.folders import make_run

Curves = Mapping[str, list[tuple[int, float]]]  # (step, value) by name


class Refused(OSError):
    pass


@pytest.fixture
def trap(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Whatever leaves this machine: refused in this process. Its children are told of a proxy, which is here
    and notes who comes."""
    seen: list[str] = []
    connect, lookup = socket.socket.connect, socket.getaddrinfo

    def refuse(place: object) -> Refused:
        seen.append(str(place))
        return Refused(f"a connection to {place}")

    def connected(self: socket.socket, address: Any) -> None:
        if self.family != getattr(socket, "AF_UNIX", None) and address[0] not in (
            "127.0.0.1",
            "::1",
            "localhost",
        ):
            raise refuse(address)
        connect(self, address)

    def looked_up(host: Any, *rest: Any, **more: Any) -> Any:
        if host not in (None, "127.0.0.1", "::1", "localhost", socket.gethostname()):
            raise refuse(host)
        return lookup(host, *rest, **more)

    monkeypatch.setattr(socket.socket, "connect", connected)
    monkeypatch.setattr(socket, "getaddrinfo", looked_up)
    proxy = socket.create_server(("127.0.0.1", 0))
    address = f"http://127.0.0.1:{proxy.getsockname()[1]}"

    def listen() -> None:
        while True:
            try:
                caller, _ = proxy.accept()
            except OSError:
                return
            seen.append(f"the proxy: {caller.recv(200)!r}")
            caller.close()

    threading.Thread(target=listen, daemon=True).start()
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, address)
        monkeypatch.setenv(name.lower(), address)
    monkeypatch.setenv("WANDB_BASE_URL", address)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    yield seen
    proxy.close()
    assert seen == []


def curves(rows: list[Row], digits: Callable[[float], float] = float) -> dict[str, list[tuple[int, float]]]:
    """What a tool that knows steps alone must have."""
    found: dict[str, list[tuple[int, float]]] = {}
    for row in rows:
        for key, value in row.items():
            if key != "step":
                found.setdefault(key, []).append((int(row["step"]), digits(value)))
    return found


def once(points: Curves) -> dict[str, dict[int, str]]:
    """By step, what was told of it; as text, so that NaN is NaN."""
    for name, told in points.items():
        for step in {step for step, _ in told}:
            assert len({repr(value) for at, value in told if at == step}) == 1, (name, step)
    return {name: {step: repr(float(value)) for step, value in told} for name, told in points.items()}


def read_tensorboard(out: Path, name: str) -> Curves:
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = event_accumulator.EventAccumulator(str(out / name), size_guidance={"scalars": 0}).Reload()
    told = {tag: [(one.step, one.value) for one in found.Scalars(tag)] for tag in found.Tags()["scalars"]}
    return {tag: points for tag, points in told.items() if points}  # none: all were taken back


def read_mlflow(out: Path, name: str) -> Curves:
    mlflow = pytest.importorskip("mlflow")
    client = mlflow.MlflowClient(f"sqlite:///{out}/mlflow.db")
    (experiment,) = [one for one in client.search_experiments() if one.name == "danlu"]
    (run,) = [
        one for one in client.search_runs([experiment.experiment_id]) if one.info.run_name == name
    ]  # of those that are not deleted
    history = {key: client.get_metric_history(run.info.run_id, key) for key in run.data.metrics}
    return {key: sorted((one.step, one.value) for one in of) for key, of in history.items()}


def read_wandb(out: Path, name: str) -> Curves:
    """By the messages of wandb's own package."""
    messages = pytest.importorskip("wandb.proto.wandb_internal_pb2")
    from danlu.files.offline_runs import _records

    files = out.glob(f"wandb/offline-run-*-{name}*/*.wandb")
    newest = max(files, key=lambda file: (len(file.stem), file.stem))
    found: dict[str, list[tuple[int, float]]] = {}
    for data in _records(newest):
        record = messages.Record.FromString(data)
        items = {"/".join([one.key] if one.key else one.nested_key): json.loads(one.value_json)
                 for one in record.history.item}  # fmt: skip
        for key, value in items.items():
            if not key.startswith("_"):
                found.setdefault(key, []).append((items["_step"], float(value)))
    return found


def read_trackio(out: Path, name: str) -> Curves:
    storage = pytest.importorskip("trackio.sqlite_storage").SQLiteStorage
    found: dict[str, list[tuple[int, float]]] = {}
    for row in storage.get_logs("danlu", name):
        for key, value in row.items():
            if key not in ("step", "timestamp"):
                found.setdefault(key, []).append((row["step"], value))
    return found


def single(value: float) -> float:
    return float(np.float32(value))


TOOLS = [
    pytest.param("tensorboard", read_tensorboard, single, id="tensorboard"),
    pytest.param("mlflow", read_mlflow, float, id="mlflow", marks=pytest.mark.slow),  # a database is made
    pytest.param("wandb", read_wandb, float, id="wandb", marks=pytest.mark.slow),  # a process is started
    pytest.param("trackio", read_trackio, float, id="trackio", marks=pytest.mark.slow),
]


@pytest.fixture
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    """The target. Trackio has one for each process."""
    if "trackio" in request.node.callspec.id:
        utils = pytest.importorskip("trackio.utils")
        for name in ("trackio.utils", "trackio.sqlite_storage", "trackio.cas"):
            module = pytest.importorskip(name)
            if hasattr(module, "TRACKIO_DIR"):
                monkeypatch.setattr(module, "TRACKIO_DIR", tmp_path / "out")
        assert tmp_path / "out" == utils.TRACKIO_DIR
    return tmp_path / "out"


@pytest.mark.parametrize(("to", "read", "digits"), TOOLS)
def test_rows_come_back_equal(
    tmp_path: Path, out: Path, trap: list[str], to: str, read: Any, digits: Callable[[float], float]
) -> None:
    pytest.importorskip(to)
    run = make_run(tmp_path / "one", scores={1: 3.0, 10: 1 / 3, 20: 0.1}, finished=False)
    append(run, {"step": 20, "tokens": 1280, "seconds": 10.0, "inside": {"kurtosis/blocks.0": -0.125}})
    other = make_run(tmp_path / "two", scores=[2.5])

    def check(name: str, folder: Path) -> None:
        assert once(read(out, name)) == once(curves(rows_of(folder), digits))

    assert [one.failed for one in publish([run, other], to, out)] == ["", ""]
    check("one", run)
    check("two", other)
    assert publish([run], to, out)[0].rows == 0
    check("one", run)
    append(run, {"step": 30, "tokens": 1920, "seconds": 15.0, "loss": 0.25, "lr": 1e-3})
    assert [one.failed for one in publish([run], to, out)] == [""]
    check("one", run)
    truncate_after(run / "metrics.jsonl", 10)
    append(run, {"step": 20, "tokens": 1280, "seconds": 11.0, "loss": 7.0})
    (told,) = publish([run], to, out)
    assert (told.failed, told.rewound) == ("", 1)
    check("one", run)
    check("two", other)


@pytest.mark.parametrize(("to", "read", "digits"), TOOLS[:2])
def test_what_was_written_and_not_remembered_is_not_there_twice(
    tmp_path: Path, out: Path, to: str, read: Any, digits: Callable[[float], float]
) -> None:
    """As where a process is killed after the tool has its rows."""
    pytest.importorskip(to)
    run = make_run(tmp_path / "one", scores=[3.0, 2.0], finished=False)
    publish([run], to, out)
    remembered = out / ".danlu" / "one.json"
    before = remembered.read_bytes()
    append(run, {"step": 3, "loss": 9.0, "seconds": 1.5})
    publish([run], to, out)
    remembered.write_bytes(before)
    publish([run], to, out)
    expected = once(curves(rows_of(run), digits))
    assert once(read(out, "one")) == expected
    remembered.unlink()
    publish([run], to, out)
    assert once(read(out, "one")) == expected


def test_tensorboard_knows_the_experiment_and_the_end(tmp_path: Path) -> None:
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    from tensorboard.plugins.hparams import api_pb2, metadata

    run = make_run(tmp_path / "one", "nano optimizer.lr=0.025", scores=[3.0, math.nan])
    publish([run], "tensorboard", tmp_path / "out")
    found = event_accumulator.EventAccumulator(str(tmp_path / "out" / "one")).Reload()
    assert math.isnan(found.Scalars("loss")[1].value)
    content = {tag: found.SummaryMetadata(tag).plugin_data.content
               for tag in found.PluginTagToContent(metadata.PLUGIN_NAME)}  # fmt: skip
    start = metadata.parse_session_start_info_plugin_data(content[metadata.SESSION_START_INFO_TAG])
    assert start.hparams["optimizer.lr"].number_value == 0.025
    assert start.hparams["data.kind"].string_value == "text"
    end = metadata.parse_session_end_info_plugin_data(content[metadata.SESSION_END_INFO_TAG])
    assert end.status == api_pb2.STATUS_SUCCESS
    experiment = metadata.parse_experiment_plugin_data(content[metadata.EXPERIMENT_TAG])
    assert [one.name.tag for one in experiment.metric_infos] == ["bits_per_byte"]


def test_tensorboard_leaves_a_folder_of_others_alone(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    mine = tmp_path / "out" / "one" / "events.out.tfevents.1.me"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"mine")
    (told,) = publish([make_run(tmp_path / "one")], "tensorboard", tmp_path / "out")
    assert "which danlu did not write" in told.failed and list(mine.parent.iterdir()) == [mine]


@pytest.mark.slow
def test_the_experiment_is_in_mlflow(tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow")
    run = make_run(tmp_path / "o'ne", "nano optimizer.lr=0.025")
    publish([run], "mlflow", tmp_path / "out")
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/out/mlflow.db")
    (found,) = client.search_runs([client.get_experiment_by_name("danlu").experiment_id])
    assert found.data.params["optimizer.lr"] == "0.025" and found.info.status == "FINISHED"
