"""A study is carried out by one process at a time; another waits, says for whom, and can be interrupted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from danlu.files.lock import is_held
from danlu.lab.queue import Queue
from danlu.lab.queue.queue import LOCK, Interrupted
from tests.files.test_lock import held

WAIT = """
import sys
from pathlib import Path
from danlu.lab.queue import Queue
study = Path(sys.argv[1]) / "study"
with Queue(Path(sys.argv[1])) as queue, queue.alone(study):
    print("mine", flush=True)
"""


def test_the_second_waits_for_the_first(tmp_path: Path) -> None:
    (tmp_path / "study").mkdir()
    with held(tmp_path / "study" / LOCK) as first:
        second = subprocess.Popen(
            [sys.executable, "-c", WAIT, str(tmp_path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert second.stderr is not None
        said = second.stderr.readline()
        assert said.startswith(f"waiting for process {first.pid} on ") and "which carries out" in said
        first.kill()
        assert second.communicate() == ("mine\n", "")
    assert second.returncode == 0


def test_a_signal_ends_the_waiting(tmp_path: Path) -> None:
    (tmp_path / "study").mkdir()
    with (
        held(tmp_path / "study" / LOCK),
        pytest.raises(Interrupted) as ended,
        Queue(tmp_path, show=False) as queue,
    ):
        os.kill(os.getpid(), signal.SIGTERM)
        with queue.alone(tmp_path / "study"):
            pass
    assert ended.value.exit_code == 143


def test_it_is_free_after_an_error(tmp_path: Path) -> None:
    (tmp_path / "study").mkdir()
    with pytest.raises(KeyError), Queue(tmp_path, show=False) as queue, queue.alone(tmp_path / "study"):
        assert is_held(tmp_path / "study" / LOCK)
        raise KeyError
    assert not is_held(tmp_path / "study" / LOCK)
