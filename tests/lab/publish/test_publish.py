"""Publishing: nothing twice, nothing lost, nothing of others overwritten; what fails is told."""

from __future__ import annotations

import csv
import gc
import json
import math
import weakref
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, ClassVar

import pytest

from danlu.files.json import from_json, to_json
from danlu.files.lock import Lock
from danlu.lab.errors import LabError
from danlu.lab.publish import Exporter, exporter, publish
from danlu.lab.publish import rows as reader
from danlu.lab.publish.rows import Row, flat
from danlu.lab.reading.run import Run
from danlu.spec import plugins
from danlu.train.metrics import read, truncate_after
from tests.lab.reading.folders import make_run

KEYS = ("loss", "lr", "bits_per_byte", "held_out_loss")
AXES = ("step", "tokens", "seconds", "flops")


def rows_of(folder: Path) -> list[Row]:
    return [flat(from_json(line)) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def append(folder: Path, *rows: Mapping[str, Any]) -> None:
    with (folder / "metrics.jsonl").open("a") as file:
        file.write("".join(to_json(row) + "\n" for row in rows))


def long(rows: list[Row], name: str) -> list[tuple[Any, ...]]:
    """The lines that a table of these rows must have."""
    return [
        (name, *(row.get(axis) for axis in AXES), key, value if math.isfinite(value) else None)
        for row in rows
        for key, value in row.items()
        if key not in AXES
    ]


def read_csv(path: Path) -> list[tuple[Any, ...]]:
    with path.open(newline="") as file:
        head, *lines = csv.reader(file)
    assert head == ["run", *AXES, "key", "value"]
    return [(run, *(float(x) if x else None for x in at), key, float(value) if value else None)
            for run, *at, key, value in lines]  # fmt: skip


def read_parquet(path: Path) -> list[tuple[Any, ...]]:
    pq = pytest.importorskip("pyarrow.parquet")
    return [tuple(row.values()) for row in pq.read_table(path).to_pylist()]


READERS: list[tuple[str, Callable[[Path], list[tuple[Any, ...]]]]] = [
    ("csv", read_csv), ("parquet", read_parquet)
]  # fmt: skip


class Recorder(Exporter):
    """What an exporter is told, by the name of the run."""

    told: ClassVar[dict[str, list[Any]]] = {}

    def open(self, run: Run, name: str, kept: dict[str, Any]) -> None:
        self.calls = self.told.setdefault(name, [])
        kept["opened"] = kept.get("opened", 0) + 1
        self.calls.append(("open", kept["opened"]))

    def row(self, row: Row) -> None:
        if row.get("loss") == 13.0:
            raise OSError("unlucky")
        self.calls.append(row)

    def rewind(self, step: int) -> bool:
        self.calls.append(("rewind", step))
        return True

    def close(self, run: Run) -> None:
        self.calls.append(("close", run.steps if run.state == "finished" else None))


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Any]]:
    """``--to recorder``, as an installed package would offer it."""
    entry = EntryPoint("recorder", f"{__name__}:Recorder", exporter.GROUP)
    monkeypatch.setattr(plugins, "entry_points", lambda group: [entry] if group == "danlu.exporters" else [])
    monkeypatch.setattr(Recorder, "told", {})
    return Recorder.told


@pytest.mark.parametrize(("to", "read"), READERS)
def test_a_table_holds_every_number(tmp_path: Path, to: str, read: Callable[[Path], list[Any]]) -> None:
    one = make_run(tmp_path / "runs" / "one", scores=[3.0, math.nan, 1 / 3])
    append(
        one, {"step": 3, "tokens": 192, "seconds": 1.5, "inside": {"kurtosis/blocks.0": -0.1}, "word": "x"}
    )
    two = make_run(tmp_path / "runs" / "two", scores=[math.inf], unit="image")
    out = tmp_path / "out"
    publish([tmp_path / "runs"], to, out)
    for run in (one, two):
        found = read(out / f"{run.name}.{to}")
        assert found == long(rows_of(run), run.name) and len(found) >= len(KEYS)
    if to == "parquet":
        import pyarrow.parquet as pq

        whole = pq.read_table(out)  # of all runs
        assert whole.num_rows == len(long(rows_of(one), "")) + len(long(rows_of(two), ""))
        about = json.loads(pq.read_schema(out / "one.parquet").metadata[b"danlu.run"])
        assert about["state"] == "finished" and about["experiment"]["optimizer.lr"] > 0


@pytest.mark.parametrize(("to", "read"), READERS)
def test_a_second_time_adds_what_is_new(tmp_path: Path, to: str, read: Callable[[Path], list[Any]]) -> None:
    run, out = make_run(tmp_path / "one", scores=[3.0, 2.0, 1.0], finished=False), tmp_path / "out"
    assert publish([run], to, out)[0].rows == 6
    file = out / f"one.{to}"
    before = file.stat().st_mtime_ns, file.stat().st_ino
    assert publish([run], to, out)[0].rows == 0
    assert (file.stat().st_mtime_ns, file.stat().st_ino) == before
    append(run, {"step": 4, "loss": 0.5})
    publish([run], to, out)
    assert read(file) == long(rows_of(run), "one")
    truncate_after(run / "metrics.jsonl", 1)
    assert publish([run], to, out)[0].rewound == 1
    assert read(file) == long(rows_of(run), "one") and len(rows_of(run)) == 2


@pytest.mark.parametrize("to", ["csv", "parquet"])
def test_a_file_of_others_stays(tmp_path: Path, to: str) -> None:
    run, out = make_run(tmp_path / "one"), tmp_path / "out"
    out.mkdir()
    (out / f"one.{to}").write_text("mine")
    warnings: list[str] = []
    (told,) = publish([run], to, out, warn=warnings.append)
    assert (out / f"one.{to}").read_text() == "mine"
    assert f"to {to} in {out}" in warnings[0] and "move it away" in told.failed


def test_runs_of_one_name_have_two(tmp_path: Path) -> None:
    first, second = (make_run(tmp_path / place / "same") for place in ("a", "b"))
    out = tmp_path / "out"
    told = publish([first, second], "csv", out)
    again = publish([second, first], "csv", out)
    names = {one.folder: one.name for one in told}
    assert names == {one.folder: one.name for one in again} and len(set(names.values())) == 2
    assert sorted(file.stem for file in out.glob("*.csv")) == sorted(names.values())


def test_an_exporter_of_a_package_is_told_each_row_once(tmp_path: Path, recorder: dict[str, Any]) -> None:
    run, out = make_run(tmp_path / "one", scores=[3.0, 2.0], finished=False), tmp_path / "out"
    publish([run], "recorder", out)
    first = rows_of(run)
    assert recorder["one"] == [("open", 1), *first, ("close", None)]
    recorder.clear()
    publish([run], "recorder", out)
    assert recorder == {}
    truncate_after(run / "metrics.jsonl", 1)
    append(run, {"step": 2, "loss": 0.5})
    publish([run], "recorder", out)
    assert recorder["one"] == [("open", 2), ("rewind", 1), {"step": 2, "loss": 0.5}, ("close", None)]
    assert not list(run.glob("*danlu*"))  # nothing is left in the run's folder


def test_the_end_is_told_once(tmp_path: Path, recorder: dict[str, Any]) -> None:
    run = make_run(tmp_path / "one", scores=[3.0])
    publish([run], "recorder", tmp_path / "out")
    assert recorder["one"][-1] == ("close", 1)
    recorder.clear()
    publish([run], "recorder", tmp_path / "out")
    assert recorder == {}


def test_following_goes_on_until_the_run_ends(tmp_path: Path, recorder: dict[str, Any]) -> None:
    run = make_run(tmp_path / "one", scores=[3.0], finished=False)
    lock = Lock(run / ".lock", named=True)  # as the process that trains holds it
    done = make_run(tmp_path / "two", scores=[2.0])
    new = [{"step": 2, "loss": 2.0}, {"step": 3, "loss": 1.0}]
    looks = 0

    def wait() -> None:
        nonlocal looks
        looks += 1
        if looks <= len(new):
            append(run, new[looks - 1])
        elif looks == 3:
            truncate_after(run / "metrics.jsonl", 2)
        elif looks == 4:
            append(run, {"step": 3, "loss": 0.5})
            lock.release()

    told = publish([run, done], "recorder", tmp_path / "out", follow=True, wait=wait)
    assert looks == 4
    first = rows_of(run)[:2]
    assert recorder["one"] == [
        ("open", 1), *first, *new, ("rewind", 2), {"step": 3, "loss": 0.5}, ("close", None)
    ]  # fmt: skip
    assert recorder["two"][-1] == ("close", 1)
    assert [(one.rows, one.rewound) for one in told] == [(5, 1), (2, 0)]


def test_without_follow_a_run_that_trains_is_published_as_far_as_it_is(tmp_path: Path) -> None:
    run = make_run(tmp_path / "one", scores=[3.0], finished=False)
    with Lock(run / ".lock", named=True):
        publish([run], "csv", tmp_path / "out", wait=lambda: pytest.fail("nothing is waited for"))
    assert len(read_csv(tmp_path / "out" / "one.csv")) == 4


def test_what_fails_is_a_warning_and_is_made_up_for(tmp_path: Path, recorder: dict[str, Any]) -> None:
    bad = make_run(tmp_path / "runs" / "bad", scores=[26.0])
    good = make_run(tmp_path / "runs" / "good", scores=[1.0])
    damaged = make_run(tmp_path / "runs" / "damaged", scores=[1.0])
    text = (damaged / "metrics.jsonl").read_text()
    (damaged / "metrics.jsonl").write_text(f"{{]\n{text}")
    out, warnings = tmp_path / "out", list[str]()
    told = publish([tmp_path / "runs"], "recorder", out, warn=warnings.append)
    assert [bool(one.failed) for one in told] == [True, True, False]
    assert all(f"to recorder in {out}" in sentence for sentence in warnings)
    assert "OSError: unlucky" in warnings[0] and "line 1" in warnings[1]
    assert recorder["good"][1:-1] == rows_of(good)
    (bad / "metrics.jsonl").write_text('{"step": 1, "loss": 12.0}\n')
    publish([bad], "recorder", out)
    assert recorder["bad"][-2:] == [{"step": 1, "loss": 12.0}, ("close", 1)]


def test_two_processes_do_not_write_one_run(tmp_path: Path) -> None:
    run, out = make_run(tmp_path / "one"), tmp_path / "out"
    (out / ".danlu").mkdir(parents=True)
    with Lock(out / ".danlu" / "one.lock", named=True):
        (told,) = publish([run], "csv", out)
    assert "in use by process" in told.failed and not (out / "one.csv").exists()


@pytest.mark.parametrize(
    ("to", "said"),
    [("tensorbord", "did you mean tensorboard?"), ("xml", "allowed: csv, parquet")],
)
def test_an_exporter_that_is_not_there(tmp_path: Path, to: str, said: str) -> None:
    with pytest.raises(LabError, match=said.replace("?", r"\?")):
        publish([make_run(tmp_path / "one")], to, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="holds no run"):
        publish([tmp_path], "csv", tmp_path / "out")
    run = make_run(tmp_path / "one")
    with pytest.raises(LabError, match="is a run's folder"):
        publish([run], "csv", run)
    with pytest.raises(LabError, match="is not a folder"):
        publish([tmp_path / "none"], "csv", tmp_path / "out")


def test_an_extra_that_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporter, "find_spec", lambda name: None)
    with pytest.raises(LabError, match=r"needs the package pyarrow: pip install 'danlu\[data\]'"):
        publish([make_run(tmp_path / "one")], "parquet", tmp_path / "out")


def test_between_looks_no_row_is_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many long runs that are followed: what a look read is let go before the next."""

    class Held(list[Any]):
        """A list that can be watched."""

    seen: list[weakref.ref[Held]] = []

    def watched(path: Path) -> Held:
        found = Held(read(path))
        seen.append(weakref.ref(found))
        return found

    monkeypatch.setattr(reader, "read", watched)
    run = make_run(tmp_path / "one", scores=[2.0, 1.5], finished=False)
    lock = Lock(run / ".lock", named=True)  # as the process that trains holds it
    alive: list[int] = []

    def wait() -> None:
        gc.collect()
        alive.append(sum(one() is not None for one in seen))
        lock.release()

    publish([run], "csv", tmp_path / "out", follow=True, wait=wait)
    assert seen and alive == [0]
