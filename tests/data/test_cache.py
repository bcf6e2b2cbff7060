import os
import signal
import subprocess
import sys

import pytest

from danlu.data import DataError
from danlu.data.cache import new_entry
from danlu.files.paths import cache_folder


def test_the_folder_is_chosen_by_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("DANLU_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("DANLU_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "danlu"


def test_an_entry_appears_when_it_is_whole(tmp_path):
    entry = tmp_path / "deep" / "entry"
    with new_entry(entry) as folder:
        (folder / "file").write_text("content")
        assert not entry.exists()
    assert (entry / "file").read_text() == "content"
    assert list(entry.parent.iterdir()) == [entry]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failing_writer_leaves_nothing(tmp_path, error):
    with pytest.raises(error), new_entry(tmp_path / "entry") as folder:
        (folder / "file").write_text("half")
        raise error
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_one_sentence(tmp_path):
    with (
        pytest.raises(DataError, match=r"cannot write the cache .*: No space left on device"),
        new_entry(tmp_path / "e"),
    ):
        raise OSError(28, os.strerror(28))
    assert list(tmp_path.iterdir()) == []


def test_a_writer_that_is_killed_leaves_no_entry(tmp_path):
    program = """
import os, pathlib, signal, sys
from danlu.data.cache import new_entry
with new_entry(pathlib.Path(sys.argv[1]) / "entry") as folder:
    (folder / "file").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "entry").exists()
    (aside,) = tmp_path.iterdir()
    with new_entry(tmp_path / "entry") as folder:
        (folder / "file").write_text("whole")
    assert aside.exists()  # its writer might still be at work
    for path in (aside / "file", aside):
        os.utime(path, (0, 0))
    with new_entry(tmp_path / "other"):
        pass
    assert not aside.exists()
    assert (tmp_path / "entry" / "file").read_text() == "whole"


def test_of_two_writers_at_once_the_first_wins(tmp_path):
    with new_entry(tmp_path / "entry") as slow:
        (slow / "file").write_text("slow")
        with new_entry(tmp_path / "entry") as fast:
            (fast / "file").write_text("fast")
    assert (tmp_path / "entry" / "file").read_text() == "fast"
    assert [path.name for path in tmp_path.iterdir()] == ["entry"]
