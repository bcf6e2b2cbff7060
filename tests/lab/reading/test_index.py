"""Reading many runs: the index gives what the files say, whatever state it is in."""

from __future__ import annotations

import math
import os
import random
import shutil
import socket
import sqlite3
from pathlib import Path

import pytest

from danlu.files.json import write_json
from danlu.files.lock import Lock
from danlu.lab.measures import of_run
from danlu.lab.reading import index
from danlu.lab.reading.curves import read_curve
from danlu.lab.reading.index import INDEX, WORTH_IT, read_runs
from danlu.lab.reading.run import Run, read_run
from danlu.lab.reading.selection import select
from danlu.lab.reading.table import run_json
from danlu.train.folder import IMPORTED
from tests.lab.reading.folders import ACCURACY, FLOPS_PER_TOKEN, make_run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for k in range(WORTH_IT):
        make_run(tmp_path / f"run-{k}", f"nano train.seed={k}", [3.0, 2 + k / 100], finished=k % 4 > 0)
    return tmp_path


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The folders whose files are read."""
    read: list[str] = []

    def counting(path: str) -> index.Record:
        read.append(path)
        return original(path)

    original = index.read_record
    monkeypatch.setattr(index, "read_record", counting)
    return read


def by_files(folder: Path) -> dict[Path, Run]:
    return {path.parent: read_run(path.parent) for path in folder.rglob("experiment.yaml")}


def check(folder: Path) -> None:
    runs = read_runs([folder])
    assert {run.path: run for run in runs} == by_files(folder)
    assert [run.begun for run in runs] == sorted((run.begun for run in runs), reverse=True)


def test_weights_from_elsewhere_are_imported_until_they_are_trained_on(tmp_path: Path) -> None:
    path = make_run(tmp_path / "small-int4", finished=False)
    rows = (path / "metrics.jsonl").read_text(encoding="utf-8")
    write_json(path / IMPORTED, {"special": {}, "files": {}})
    assert read_run(path).state == "stopped"
    (path / "metrics.jsonl").unlink()
    assert read_run(path).state == "imported"
    (path / "metrics.jsonl").write_text(rows, encoding="utf-8")
    assert read_run(path).state == "stopped"


def test_index_equals_rebuild(folder: Path, reads: list[str]) -> None:
    check(folder)
    assert len(reads) == WORTH_IT and (folder / INDEX).is_file()
    reads.clear()
    check(folder)
    assert reads == []
    with open(folder / "run-0" / "metrics.jsonl", "a") as file:  # an unfinished run goes on
        file.write('{"step": 9, "tokens": 576, "seconds": 7.0, "loss": 1.5, "flops": 5}\n')
    shutil.rmtree(folder / "run-1")
    make_run(folder / "deeper" / "run-new", "nano optimizer.lr=0.1")
    write_json(folder / "run-2" / "measures.json", {"kurtosis": math.inf})
    write_json(folder / "run-4" / "failed.json", {"error": "too hot", "kind": "diverged", "tries": 1})
    runs = {run.path.name: run for run in read_runs([folder])}
    assert sorted(map(os.path.basename, reads)) == ["run-0", "run-2", "run-4", "run-new"]
    assert (runs["run-0"].steps, runs["run-0"].loss, runs["run-0"].seconds) == (9, 1.5, 7.0)
    assert runs["run-2"].value("kurtosis") == math.inf
    assert (runs["run-4"].state, runs["run-4"].error) == ("diverged", "too hot")
    assert "run-1" not in runs
    reads.clear()
    check(folder)
    assert reads == []


ENDLESS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x"
SQL = {
    "table": ["DROP TABLE runs", "CREATE TABLE runs (other TEXT)", "PRAGMA user_version = 1"],
    "version": ["PRAGMA user_version = 999"],
    "view": [
        "DROP TABLE runs",
        f"CREATE VIEW runs AS {ENDLESS} AS name, 1 AS key, 1 AS record, 1 AS experiment FROM c",
    ],
    "trigger": [f"CREATE TRIGGER t BEFORE INSERT ON runs BEGIN {ENDLESS} FROM c; END"],
    "foreign names": ["""UPDATE runs SET record = '{"evil": 1}'"""],
    "wrong types": ["""UPDATE runs SET record = '{"steps": "many"}'"""],
    "wrong measures": ["""UPDATE runs SET record = '{"measures": {"kurtosis": []}}'"""],
    "no mappings": ["UPDATE runs SET record = '[]'"],
    "nested": ["UPDATE runs SET record = '" + "[" * 2000 + "]" * 2000 + "'"],
    "blobs": ["UPDATE runs SET record = x'00ff'"],
}


@pytest.mark.parametrize("harm", ["bytes", "cut", "empty", "text", "folder", "pipe", *SQL])
def test_a_broken_index_costs_time_and_no_answer(folder: Path, harm: str) -> None:
    path = folder / INDEX
    read_runs([folder])
    match harm:
        case "bytes":
            torn = bytearray(path.read_bytes())
            noise = random.Random(0)
            for at in range(4096, len(torn), 7):
                torn[at] = noise.randrange(256)
            path.write_bytes(torn)
        case "cut":
            path.write_bytes(path.read_bytes()[:5000])
        case "empty":
            path.write_bytes(b"")
        case "text":
            path.write_text("no database at all, but long enough to look at" * 99)
        case "folder":  # stands for a disk that cannot be written: SQLite cannot open it
            path.unlink()
            path.mkdir()
        case "pipe":
            path.unlink()
            os.mkfifo(path)
        case _:
            _execute(path, *SQL[harm])
    check(folder)
    check(folder)
    if harm not in ("folder", "pipe"):  # made anew
        with sqlite3.connect(path) as made:
            assert made.execute("SELECT count(*) FROM runs").fetchone() == (WORTH_IT,)


def _execute(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()


def test_a_locked_index_is_passed_by(folder: Path, reads: list[str]) -> None:
    read_runs([folder])
    holder = sqlite3.connect(folder / INDEX, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    reads.clear()
    check(folder)
    holder.close()
    assert len(reads) == WORTH_IT


def test_few_runs_need_no_index_and_folders_may_overlap(tmp_path: Path) -> None:
    make_run(tmp_path / "runs" / "a")
    make_run(tmp_path / "runs" / "b" / "c")
    assert len(read_runs([tmp_path, tmp_path / "runs", tmp_path / "runs" / "a"])) == 2
    assert not list(tmp_path.rglob(INDEX))


def test_states(tmp_path: Path) -> None:
    def run(name: str, **about: object) -> Run:
        (path := tmp_path / name).exists() or make_run(path, finished=False)
        return read_run(path)

    assert run("plain").state == "stopped"
    with Lock(tmp_path / "plain" / ".lock", named=True):
        assert run("plain").state == "running"
    assert run("plain").state == "stopped"
    (tmp_path / "plain" / ".lock.holder").write_text(f"process {os.getpid()} on {socket.gethostname()}\n")
    assert run("plain").state == "stopped"  # killed: it still says who it was
    (tmp_path / "plain" / ".lock.holder").write_text("process 1 on elsewhere\n")
    assert run("plain").state == "running"  # its metrics are not an hour old
    for kind in ("diverged", "failed"):
        run(kind)
        write_json(tmp_path / kind / "failed.json", {"error": "why", "kind": kind, "tries": 2})
        assert (run(kind).state, run(kind).error) == (kind, "why")
    run("torn")
    (tmp_path / "torn" / "summary.json").write_text('{"run": ')
    assert run("torn").state == "damaged" and "JSON" in str(run("torn").error)
    run("unfinished")
    with open(tmp_path / "unfinished" / "metrics.jsonl", "a") as file:
        file.write('{"step": 5, "tokens": 5, "seconds": 9.0, "loss": "NaN"}\n{"step": 6, "lo')
    got = run("unfinished")
    assert (got.state, got.steps) == ("diverged", 5) and math.isnan(got.loss or 0)
    nan = read_run(make_run(tmp_path / "nan", scores={1: 3.0, 2: math.nan}))
    assert nan.state == "finished" and math.isnan(nan.metric or 0) and (nan.best, nan.best_step) == (3.0, 1)


def test_unfinished_and_finished_are_read_alike(tmp_path: Path) -> None:
    scores = {2: 3.0, 4: 2.0, 6: 2.5}
    whole, part = (read_run(make_run(tmp_path / str(k), scores=scores, finished=k > 0)) for k in (1, 0))
    for name in ("steps", "tokens", "seconds", "flops", "loss", "metric", "best", "best_step"):
        assert getattr(whole, name) == getattr(part, name)
    assert (part.best, part.best_step, part.metric) == (2.0, 4, 2.5)


def test_names_agree_with_the_rooms_that_own_them() -> None:
    from danlu.lab.queue import job
    from danlu.lab.reading import run
    from danlu.train import folder

    ours = (run.EXPERIMENT, run.SUMMARY, run.METRICS, run.LOCK, run.ENVIRONMENT, run.FAILED, run.MEASURES)
    files = (folder.EXPERIMENT, folder.SUMMARY, folder.METRICS, folder.LOCK, folder.ENVIRONMENT)
    assert ours == (*files, job.FAILED, job.MEASURES)


@pytest.mark.parametrize("finished", [True, False])
def test_the_metric_with_its_direction(tmp_path: Path, finished: bool) -> None:
    scores = {1: 0.5, 2: 0.75, 3: 0.625}
    run = read_run(make_run(tmp_path / "a", "nano", scores, metric=ACCURACY, finished=finished))
    assert (run.metric_name, run.unit, run.better) == ("accuracy", "", "higher")
    assert (run.metric, run.best, run.best_step) == (0.625, 0.75, 2)
    old = read_run(make_run(tmp_path / "b", "nano", {1: 2.5, 2: 2.0, 3: 2.25}, finished=finished))
    assert (old.metric_name, old.better) == ("bits_per_byte", "lower")
    assert (old.metric, old.best, old.best_step) == (2.25, 2.0, 2)


@pytest.mark.parametrize("finished", [True, False])
def test_a_run_that_counts_images(tmp_path: Path, finished: bool) -> None:
    folder = make_run(
        tmp_path / "a", scores={1: 0.5, 2: 0.75}, metric=ACCURACY, unit="image", finished=finished
    )
    run = read_run(folder)
    assert run.ended == ("finished" if finished else "stopped") and run.tokens is None
    assert run.value("images") == 128 and run.value("tokens") is None
    assert [one.value("images") for one in select([run], ["images>100"])] == [128]
    assert run_json(run)["images"] == 128
    curve = [(64.0, 0.5), (128.0, 0.75)]
    assert read_curve(folder, "accuracy", "tokens", run.counted) == curve
    assert read_curve(folder, "accuracy", "flops", run.counted) == [
        (FLOPS_PER_TOKEN * x, y) for x, y in curve
    ]
    if finished:
        assert of_run(folder, ["tokens", "tokens-to:0.75"]) == pytest.approx(
            {"tokens": 128, "tokens-to:0.75": 128}
        )


def test_a_task_of_an_older_run_is_an_objective(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "a")
    text = (folder / "experiment.yaml").read_text()
    (folder / "experiment.yaml").write_text(text.replace("objective:", "task:"))
    old = read_run(folder)
    assert old.fields["objective.kind"] == "causal" and not any(
        name.startswith("task") for name in old.fields
    )
    assert old.yardstick == read_run(make_run(tmp_path / "b")).yardstick


def test_stamps_are_of_all_files_that_count(tmp_path: Path) -> None:
    make_run(tmp_path / "a")
    ((name, stamps),) = index.find(str(tmp_path))
    assert name == "a" and set(stamps) == {"experiment.yaml", "summary.json", "metrics.jsonl"}
    about = (tmp_path / "a" / "summary.json").stat()
    assert stamps["summary.json"] == (about.st_size, about.st_mtime_ns)
