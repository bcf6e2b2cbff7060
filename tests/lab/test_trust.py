"""An edit that changes nothing is told from one that does, by one run made again. On a copy of danlu."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from danlu.files.json import read_json
from danlu.lab.errors import LabError
from danlu.lab.queue import Queue
from danlu.lab.trust import trust
from tests.conftest import LIMIT
from tests.lab.queue.test_edits import Copy, copy, corpus  # noqa: F401  fixtures

LION = "optim/rules/lion.py"


def danlu(copy: Copy, *words: str) -> subprocess.CompletedProcess[str]:  # noqa: F811
    return subprocess.run(
        [sys.executable, "-m", "danlu", *words], cwd=copy.folder, capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": str(copy.folder)}, timeout=LIMIT,
    )  # fmt: skip


@pytest.mark.slow
def test_an_edit_that_changes_nothing_and_one_that_does(copy: Copy) -> None:  # noqa: F811
    first = copy.run()
    copy.append("nn/block.py", "MORE = 1\n")
    listed = json.loads(danlu(copy, "runs", "--by-other-code", "--json").stdout)
    assert len(listed) == 2
    done = danlu(copy, "trust", "danlu/nn/block.py", "--json")
    assert done.returncode == 0, done.stderr
    (said,) = json.loads(done.stdout)
    folders = {folder for _, folder in first.values()}
    assert (said["file"], said["runs"]) == ("nn/block.py", 2) and said["run"] in folders
    assert said["again"] not in folders
    again = copy.run()  # one was made again, the other is as good as that
    assert {tries for tries, _ in again.values()} == {0}
    assert {folder for _, folder in again.values()} == folders - {said["run"]} | {said["again"]}
    assert json.loads(danlu(copy, "runs", "--by-other-code", "--json").stdout) == []
    (noted,) = read_json(copy.studies / "trusted.json")
    assert (noted["file"], noted["run"], noted["again"]) == ("nn/block.py", said["run"], said["again"])

    for sign in ("_foreach_sign_", ").sign()", "_foreach_sign_"):
        copy.edit(LION, sign, sign.replace("sign", "abs"))
    before = (copy.studies / "trusted.json").read_text()
    done = danlu(copy, "trust", LION)
    assert done.returncode == 2
    assert "is not the same when it is made again" in done.stderr and "the metrics differ from" in done.stderr
    assert (copy.studies / "trusted.json").read_text() == before


def test_what_is_no_file_of_danlu(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("x = 1\n")
    with Queue(tmp_path / "studies", workers=1, show=False) as queue:
        with pytest.raises(
            LabError, match=r"mine.py is not danlu's: what a run is by an own part is told by"
        ):
            trust(str(tmp_path / "mine.py"), queue)
        with pytest.raises(LabError, match=r"no run depends on nn/blok.py; did you mean nn/block.py\?"):
            trust("nn/blok.py", queue)
        assert trust("nn/block.py", queue) == []
    assert list((tmp_path).iterdir()) == [tmp_path / "mine.py"]
