"""Locks between processes."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from danlu.files import lock
from danlu.files.errors import FileError
from danlu.files.lock import Held, Lock, holder, is_held
from tests.conftest import LIMIT

HOLD = """
import sys
from danlu.files.lock import Lock
lock = Lock(sys.argv[1], named=True)
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def held(path: Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_another_process_holds_it(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    assert is_held(path) is False and not path.exists()
    with held(path) as process:
        assert is_held(path) is True
        assert holder(path).startswith(f"process {process.pid} on ")
        with pytest.raises(Held, match=f"is in use by process {process.pid} on "):
            Lock(path, wait=0)
        assert holder(path).startswith(f"process {process.pid} on ")  # trying changed nothing
    assert is_held(path) is False  # killed: the kernel freed it, whoever is written there


def test_a_lock_is_waited_for_and_a_stop_ends_the_waiting(tmp_path: Path) -> None:
    class Stopped(Exception):
        pass

    def stop() -> None:
        raise Stopped

    path = tmp_path / ".lock"
    with held(path) as process:
        with pytest.raises(Stopped):
            Lock(path, stop=stop)
        looked = threading.Event()
        threading.Thread(target=lambda: (looked.wait(), process.kill()), daemon=True).start()
        with Lock(path, stop=looked.set):
            assert process.wait() < 0


def test_the_same_process_holds_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "PROBES", 0)
    with Lock(tmp_path / ".lock", named=True) as one:
        assert is_held(tmp_path / ".lock") is True
        with pytest.raises(Held):
            Lock(tmp_path / ".lock", wait=0)
        one.release()
        one.release()
        Lock(tmp_path / ".lock", wait=0).release()
    assert holder(tmp_path / ".lock") == ""


def test_a_moment_of_looking_makes_nobody_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``is_held`` takes the lock; another, without patience, finds it taken; then it is let go."""
    import filelock

    path, found_taken, taken = tmp_path / ".lock", threading.Event(), []
    path.touch()
    other = threading.Thread(target=lambda: taken.append(Lock(path, wait=0, stop=found_taken.set)))
    release = filelock.FileLock.release

    def let_go(self: filelock.FileLock, *given: object, **named: object) -> None:
        monkeypatch.undo()
        other.start()
        assert found_taken.wait(LIMIT)
        release(self)

    monkeypatch.setattr(filelock.FileLock, "release", let_go)
    assert is_held(path) is False
    other.join()
    (lock,) = taken
    assert is_held(path) is True
    lock.release()


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FileError, match="cannot write"):
        Lock(tmp_path / "file" / ".lock")


def test_a_file_system_without_locks_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import filelock

    def none(*_: object, **__: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(filelock.FileLock, "acquire", none)
    with pytest.warns(UserWarning, match="run one process in its folder at a time"):
        Lock(tmp_path / ".lock").release()
    (tmp_path / ".lock").touch()
    assert is_held(tmp_path / ".lock") is None


def test_nobody_else_knows_about_locks() -> None:
    root = Path(lock.__file__).parents[1]
    sources = {path: path.read_text(encoding="utf-8") for path in root.rglob("*.py")}
    assert [path.name for path, text in sources.items() if "fcntl" in text] == []
    known = [path.name for path, text in sources.items() if re.search("(from|import) filelock", text)]
    assert known == ["lock.py"]
