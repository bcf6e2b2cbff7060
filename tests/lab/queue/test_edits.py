"""danlu is edited between two queues, and during one: what runs again, and what is said. On a copy of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from danlu.files.json import read_json
from danlu.lab.queue.journal import JOURNAL, read
from tests.conftest import LIMIT, ROOT
from tests.lab.queue import studies
from tests.lab.queue.moments import Moments
from tests.train import small

pytestmark = pytest.mark.slow

STUDY = """
import json, sys
from pathlib import Path
from danlu.lab.queue import Job, Queue
from danlu.spec import resolve
from danlu.spec.errors import DanluError

folder, *words = sys.argv[1:]
def job(rule):
    return Job(resolve([*words, f"optimizer={rule}", "optimizer.lr=1e-3", "train.steps=6"]), name=rule)
jobs = [job("adamw"), job("lion")]
try:
    with Queue(Path(folder), workers=1) as queue:
        found = queue.run(jobs)
except DanluError as error:
    sys.exit(f"error: {error}")
print(json.dumps({one.job.name: [one.tries, one.folder.name, one.error] for one in found}))
"""


class Copy:
    """A copy of danlu that may be edited, and a study of two runs by it: adamw and lion."""

    def __init__(self, folder: Path, corpus: Path) -> None:
        self.folder, self.studies, self._corpus = folder, folder / "studies", corpus
        shutil.copytree(ROOT / "danlu", folder / "danlu", ignore=shutil.ignore_patterns("__pycache__"))

    def edit(self, name: str, old: str, new: str) -> None:
        file = self.folder / "danlu" / name
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new, 1))

    def append(self, name: str, line: str) -> None:
        with (self.folder / "danlu" / name).open("a") as file:
            file.write(line)

    def started(self) -> subprocess.Popen[str]:
        words = small.words(self._corpus, *studies.RUN)
        paths = [str(self.folder), *filter(None, [os.environ.get("PYTHONPATH")])]
        return subprocess.Popen(
            [sys.executable, "-c", STUDY, str(self.studies), *words],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=self.folder,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        )  # fmt: skip

    def run(self) -> dict[str, tuple[int, str]]:
        """Carry the study out: of each run how many processes it took, and its folder."""
        process = self.started()
        said, errors = process.communicate(timeout=LIMIT)
        assert process.returncode == 0, errors
        found = json.loads(said)
        assert all(error is None for *_, error in found.values())
        return {name: (tries, folder) for name, (tries, folder, _) in found.items()}

    def record(self, folder: str) -> dict[str, Any]:
        found: dict[str, Any] = read_json(self.studies / "runs" / folder / "environment.json")["code"]
        return found


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture
def copy(tmp_path: Path, corpus: Path) -> Copy:
    return Copy(tmp_path, corpus)


def test_what_runs_again_is_what_an_edit_matters_to(copy: Copy) -> None:
    first = copy.run()
    assert {name: tries for name, (tries, _) in first.items()} == {"adamw": 1, "lion": 1}

    lion = "optim/rules/lion.py"
    copy.edit(lion, '"""', '"""Said otherwise. ')
    copy.edit("nn/block.py", "\n\n", "\n\n# A comment.\n\n")
    found = copy.run()
    assert found == {name: (0, folder) for name, (_, folder) in first.items()}

    copy.append(lion, "MORE = 1\n")
    second = copy.run()
    assert second["adamw"] == (0, first["adamw"][1])
    assert second["lion"][0] == 1 and second["lion"][1] != first["lion"][1]
    assert copy.record(first["lion"][1])["files"][lion] != copy.record(second["lion"][1])["files"][lion]

    copy.append("nn/block.py", "MORE = 1\n")
    third = copy.run()
    assert {name: tries for name, (tries, _) in third.items()} == {"adamw": 1, "lion": 1}
    folders = {folder for each in (first, second, third) for _, folder in each.values()}
    assert len(folders) == 5 and all(
        (copy.studies / "runs" / name / "summary.json").exists() for name in folders
    )
    assert copy.run() == {name: (0, folder) for name, (_, folder) in third.items()}


@contextmanager
def in_the_middle(copy: Copy, patch: pytest.MonkeyPatch) -> Iterator[subprocess.Popen[str]]:
    """The study, while its second run has trained and waits."""
    moments = Moments(copy.folder / "moments", patch, ("waits", "*/lion-*/checkpoints/step-4"))
    process = copy.started()
    studies.until(lambda: all(moments.come) or process.poll() is not None)
    try:
        yield process
    finally:
        moments.go_on()
        moments.over()


def test_an_edit_of_what_is_running_is_caught(copy: Copy, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = copy.studies / "runs"
    with in_the_middle(copy, monkeypatch) as process:
        copy.append("optim/rules/lion.py", "MORE = 1\n")
    said, errors = process.communicate(timeout=LIMIT)
    assert process.returncode == 0, errors
    tries, folder, error = json.loads(said)["lion"]
    assert (tries, error) == (2, None)
    (before,) = [path.name for path in runs.glob("lion-*") if path.name != folder]
    assert copy.record(before)["edited"] == ["optim/rules/lion.py"] and "edited" not in copy.record(folder)
    assert f"{before}: optim/rules/lion.py was edited while it ran; it runs again" in errors
    assert [row["event"] for row in read(copy.studies / JOURNAL) if row["job"] == before] == [
        "started",
        "lost",
    ]


def test_an_edit_of_what_has_ended_stops_the_study(copy: Copy, monkeypatch: pytest.MonkeyPatch) -> None:
    with in_the_middle(copy, monkeypatch) as process:
        copy.append("nn/block.py", "MORE = 1\n")
    _, errors = process.communicate(timeout=LIMIT)
    assert "error: danlu/nn/block.py was edited while the study was under way, and 1 runs" in errors
    again = copy.run()
    assert {name: tries for name, (tries, _) in again.items()} == {"adamw": 1, "lion": 1}
