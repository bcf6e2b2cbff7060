"""Looking at runs again gives what reading them anew gives, and reads what changed alone."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from danlu.files.json import to_json, write_json
from danlu.files.lock import Lock
from danlu.lab.reading import index
from danlu.lab.reading.index import INDEX, WORTH_IT, read_runs
from danlu.lab.reading.looked import SETTLED, WHOLE, Looked
from danlu.train.metrics import truncate_after
from tests.lab.reading.folders import make_run


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for k in range(6):
        make_run(tmp_path / f"run-{k}", f"nano train.seed={k}", [3.0, 2 + k / 100], finished=k > 1)
    settle(tmp_path)
    return tmp_path


def settle(folder: Path) -> None:
    """As if nothing had changed for a while."""
    for path in folder.glob("run-*"):
        at = path.stat().st_mtime_ns - 2 * SETTLED
        os.utime(path, ns=(at, at))


@pytest.fixture
def looked_into(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The runs' folders that are listed."""
    seen: list[str] = []
    original = os.scandir

    def counting(path: str) -> object:
        if (name := os.path.basename(path)).startswith("run-"):
            seen.append(name)
        return original(path)

    monkeypatch.setattr(index.os, "scandir", counting)
    return seen


def row(step: int) -> str:
    return to_json({"step": step, "tokens": 64 * step, "seconds": 1.0, "loss": 1.5}) + "\n"


def test_what_is_seen_is_what_is_there(folder: Path) -> None:
    """Whatever happens to the runs, and though only some are looked into."""
    looked, going = Looked(), folder / "run-0"
    first = looked.look([folder])
    assert first == read_runs([folder]) and looked.look([folder]) is first

    def grows() -> None:
        with open(going / "metrics.jsonl", "a") as file:
            file.write(row(7))

    changes = [
        grows,
        lambda: make_run(folder / "deep" / "run-new"),
        lambda: shutil.rmtree(folder / "run-3"),
        lambda: (folder / "run-4" / "summary.json").unlink(),
        lambda: write_json(folder / "run-5" / "measures.json", {"speed": 2.0}),
        lambda: (folder / "run-2").rename(folder / "run-moved"),
        lambda: (folder / "run-moved" / "experiment.yaml").unlink(),
        lambda: make_run(folder / "run-2", "nano train.seed=9"),
    ]
    for change in changes:
        before = looked.look([folder])
        change()
        now = looked.look([folder])
        assert now is not before and now == read_runs([folder])
        assert looked.look([folder]) is now
        kept = {run.path: run for run in before}
        assert sum(kept.get(run.path) is not run for run in now) <= 1


def test_finished_runs_are_not_looked_into(folder: Path, looked_into: list[str]) -> None:
    clock = Clock()
    looked = Looked(clock)
    names = {f"run-{k}" for k in range(6)}
    looked.look([folder])
    assert set(looked_into) == names
    looked_into.clear()
    looked.look([folder])
    assert set(looked_into) == {"run-0", "run-1"}  # these may still be written to
    looked_into.clear()
    clock.now = WHOLE
    looked.look([folder])
    assert set(looked_into) == names


def test_a_file_written_in_its_place_is_seen_in_the_end(folder: Path) -> None:
    clock = Clock()
    looked = Looked(clock)
    looked.look([folder])
    summary = folder / "run-5" / "summary.json"
    summary.write_text(summary.read_text().replace("2.05", "1.25"))
    clock.now = WHOLE
    (run,) = [run for run in looked.look([folder]) if run.path.name == "run-5"]
    assert run.best == 1.25 == run.metric


def test_a_folder_that_just_changed_is_looked_into(folder: Path, looked_into: list[str]) -> None:
    """The clock of a file system may stand still between two changes."""
    os.utime(folder / "run-5")
    looked = Looked()
    looked.look([folder])
    looked_into.clear()
    looked.look([folder])
    assert set(looked_into) == {"run-0", "run-1", "run-5"}


def test_a_run_that_is_taken_up_or_dies_is_another(folder: Path) -> None:
    """No file that its record is made from says so."""
    looked = Looked()
    before = looked.look([folder])
    states = [run.state for run in before]
    lock = Lock(folder / "run-1" / ".lock", wait=0, named=True)
    now = looked.look([folder])
    assert [run.path.name for run in now if run.state == "running"] == ["run-1"]
    assert sum(one is not other for one, other in zip(before, now, strict=True)) == 1
    lock.release()
    assert [run.state for run in looked.look([folder])] == states


def test_code_that_changed_is_judged_anew(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from danlu.lab.reading import looked as module

    clock = Clock()
    looked = Looked(clock)
    assert {run.code for run in looked.look([folder])} == {"other"}
    monkeypatch.setattr(module, "verdicts", lambda marked: {mark: "same" for mark, _ in marked})
    clock.now = WHOLE
    assert {run.code for run in looked.look([folder])} == {"same"}


def test_the_index_learns_what_has_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for k in range(WORTH_IT):
        make_run(tmp_path / f"run-{k}", f"nano train.seed={k}", finished=k > 0)
    looked = Looked()
    looked.look([tmp_path])
    saved = (tmp_path / INDEX).read_bytes()
    with open(tmp_path / "run-0" / "metrics.jsonl", "a") as file:
        file.write(row(7))
    looked.look([tmp_path])
    assert (tmp_path / INDEX).read_bytes() == saved  # nothing is written while a run trains
    shutil.rmtree(tmp_path / "run-0")
    make_run(tmp_path / "run-0", "nano train.seed=77")
    looked.look([tmp_path])
    assert (tmp_path / INDEX).read_bytes() != saved

    def never(_: str) -> index.Record:
        raise AssertionError

    monkeypatch.setattr(index, "read_record", never)
    assert read_runs([tmp_path]) == looked.look([tmp_path])


def test_metrics_of_a_run_under_way_are_read_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Row by row, with a torn one, as by reading all of them; and anew where rows were taken back."""
    from danlu.lab.reading import looked as module

    begun: list[str] = []
    original = module.begin
    monkeypatch.setattr(module, "begin", lambda path: (begun.append(path), original(path))[1])
    looked, going = Looked(), folder / "run-0"
    path = going / "metrics.jsonl"
    pieces = [
        row(3), row(4)[:11], row(4)[11:] + row(5), '{"step": 5, "tokens": 320, "bits_per_byte": 1.75}\n',
        row(6) + '{"step": 6, "tokens": 384, "bits_per_byte": 1.9}\n',
        '{"step": 7, "tokens": 448, "loss": "NaN"}\n', row(8),
    ]  # fmt: skip
    for piece in ["", *pieces]:
        with open(path, "a") as file:
            file.write(piece)
        assert looked.look([folder]) == read_runs([folder]), piece
    (run,) = [run for run in looked.look([folder]) if run.path == going]
    assert (run.steps, run.best, run.best_step, run.metric, run.ended) == (8, 1.75, 5, 1.9, "stopped")
    assert len(begun) == 1  # at the first row after the index
    truncate_after(path, 4)
    assert looked.look([folder]) == read_runs([folder]) and len(begun) == 2
    with open(path, "a") as file:
        file.write("nonsense\n")
    (run,) = [run for run in looked.look([folder]) if run.path == going]
    assert run.ended == "damaged" and looked.look([folder]) == read_runs([folder])
