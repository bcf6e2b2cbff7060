"""Where a run is: by what it is of, and by the code."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from danlu.code import Code, now
from danlu.files.json import read_json, write_json
from danlu.lab.queue import Job
from danlu.lab.queue.places import Places, content, content_of, depends_on
from danlu.spec import resolve
from tests.train import small

HERE = Code({"nn/block.py": "b1", "optim/rules/lion.py": "l1", "optim/rules/adam.py": "a1"})
NO_LION = Code({**HERE.files, "optim/rules/lion.py": "l2"})
NO_BLOCK = Code({**HERE.files, "nn/block.py": "b2"})
ADAM, LION = ("nn/block.py", "optim/rules/adam.py"), ("nn/block.py", "optim/rules/lion.py")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def job(corpus: Path) -> Job:
    return Job(resolve(small.words(corpus)), name="one")


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path / "runs", lambda experiment: experiment.train.device)


def ran(folder: Path, code: Code, files: tuple[str, ...], **more: Any) -> Path:
    """A run as it is left."""
    folder.mkdir(parents=True)
    said = {"tier_a": code.tier_a, "files": {name: code.of(name) for name in files}, **more}
    write_json(folder / "environment.json", {"code": said})
    return folder


def test_a_folder_says_what_it_is_of_and_which_code_made_it(places: Places, job: Job) -> None:
    folder = places.folder(job, HERE)
    assert folder == places.runs / f"one-{places.key(job)}-{HERE.short}"
    assert len(places.key(job)) == 16 and int(places.key(job), 16) >= 0
    assert places.folder(job, HERE) == folder != places.folder(job, NO_LION)


def test_another_experiment_device_or_text_is_another_run(
    places: Places, job: Job, corpus: Path, tmp_path: Path
) -> None:
    others = [
        Job(resolve(small.words(corpus, word))) for word in ("+swiglu", "train.seed=1", "train.device=auto")
    ]
    assert len({places.key(one) for one in (job, *others)}) == 4
    mine = tmp_path / "corpus.jsonl"
    shutil.copyfile(corpus, mine)
    elsewhere = Job(resolve(small.words(mine)))
    key = Places(places.runs, lambda _: "cpu").key(elsewhere)
    mine.write_text(mine.read_text() + mine.read_text()[:500].splitlines()[0].replace("the", "cat") + "\n")
    assert Places(places.runs, lambda _: "cpu").key(elsewhere) != key
    shutil.copyfile(corpus, mine)  # another time, the same text
    assert Places(places.runs, lambda _: "cpu").key(elsewhere) == key
    mine.unlink()
    gone = Places(places.runs, lambda _: "cpu")
    assert gone.key(elsewhere) != key  # and no error: the run will say it


def test_a_run_is_found_under_any_name(places: Places, job: Job) -> None:
    kept = ran(places.folder(job, HERE), HERE, ADAM)
    assert places.folder(replace(job, name="other"), HERE) == kept


def test_a_run_that_wrote_nothing_yet_is_by_the_code_of_its_name(places: Places, job: Job) -> None:
    kept = places.folder(job, HERE)
    kept.mkdir(parents=True)
    assert places.folder(replace(job, name="other"), HERE) == kept
    assert places.folder(job, NO_LION) != kept


def test_other_code_counts_where_the_run_depends_on_it(places: Places, job: Job) -> None:
    kept = ran(places.folder(job, HERE), HERE, ADAM)
    assert places.folder(job, NO_LION) == kept
    new = places.folder(job, NO_BLOCK)
    assert new.name == f"one-{places.key(job)}-{NO_BLOCK.short}" and new != kept
    ran(new, NO_BLOCK, ADAM)
    assert places.folder(job, NO_BLOCK) == new
    assert places.folder(job, HERE) == kept  # the edit is undone: what was run before is found


def test_of_several_that_fit_the_finished_one_is_taken(places: Places, job: Job) -> None:
    first = ran(places.runs / f"a-{places.key(job)}-{HERE.short}", HERE, ADAM)
    second = ran(places.runs / f"b-{places.key(job)}-{NO_LION.short}", NO_LION, ADAM)
    other = Code({**HERE.files, "optim/rules/lion.py": "l3"})
    (second / "summary.json").write_text("{}")
    assert places.folder(job, other) == second
    (first / "summary.json").write_text("{}")
    (second / "summary.json").unlink()
    assert places.folder(job, other) == first
    assert places.folder(job, NO_LION) == second  # by the very code


def test_a_tainted_run_is_never_taken(places: Places, job: Job) -> None:
    first = ran(places.folder(job, HERE), HERE, ADAM, edited=["nn/block.py"])
    second = places.folder(job, HERE)
    assert second.name == f"{first.name}.2"
    ran(second, HERE, ADAM)
    assert places.folder(job, HERE) == second
    shutil.rmtree(second)
    ran(second, HERE, ADAM, edited=["nn/block.py"])
    assert places.folder(job, HERE).name == f"{first.name}.3"


def test_ones_own_file_is_known_by_the_job(places: Places, job: Job) -> None:
    kept = ran(places.folder(job, HERE), HERE, ADAM)
    said = read_json(kept / "environment.json")
    said["code"]["files"]["/moved/mine.py"] = "as it was run"
    write_json(kept / "environment.json", said)
    assert places.folder(job, HERE) == places.folder(job, NO_LION) == kept


@pytest.mark.parametrize("left", ["", "[]", "{}", '{"code": 3}', '{"code": {"files": {}}}'])
def test_what_says_nothing_of_its_code_is_by_other_code(places: Places, job: Job, left: str) -> None:
    folder = places.folder(job, HERE)
    folder.mkdir(parents=True)
    (folder / "environment.json").write_text(left or '{"versions": {"danlu": "0.3.0"}}')
    assert places.folder(job, HERE) != folder


def test_names_of_an_older_danlu_are_passed_over(places: Places, job: Job) -> None:
    for name in ("one-0123456789", "file", f"one-{places.key(job)}"):
        (places.runs / name).mkdir(parents=True)
    assert places.folder(job, HERE).name == f"one-{places.key(job)}-{HERE.short}"


@pytest.mark.parametrize("name", ["", "..", "a" * 300, "é ü/|", "a-b.c=1e-3"])
def test_any_name_makes_a_folder(places: Places, job: Job, name: str) -> None:
    folder = places.folder(replace(job, name=name), HERE)
    assert folder.parent == places.runs
    folder.mkdir(parents=True)
    assert places.folder(job, HERE) == folder


def test_the_content_is_that_of_the_run(places: Places, job: Job, tmp_path: Path) -> None:
    from danlu import data

    record = data.prepare(job.experiment.data).record
    write_json(tmp_path / "environment.json", {"data": record | {"path": "elsewhere"}})
    assert content_of(tmp_path) == places.content(job.experiment) == content(record)
    write_json(tmp_path / "environment.json", {"data": record | {"splits": {}}})
    assert content_of(tmp_path) != content(record)
    assert content_of(tmp_path / "nothing") is None


def test_what_was_measured_by_other_code_counts_for_nothing(places: Places) -> None:
    """Nobody uses such a value: an edit of a measure between two studies is no edit during the second."""
    folder = ran(places.runs / "one", HERE, ADAM)
    of_run = {name: HERE.of(name) for name in ADAM}
    environment = read_json(folder / "environment.json")
    here = now()
    for digest, counts in ((here.of("lab/measures/inside.py"), True), ("old", False)):
        files = {"lab/measures/inside.py": digest}
        write_json(folder / "environment.json", environment | {"measured": {"tier_a": "x", "files": files}})
        assert depends_on(folder) == of_run | (files if counts else {})
