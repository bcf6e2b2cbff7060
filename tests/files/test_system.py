"""What systems do differently: Windows' ways are carried out here with its refusals played."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from danlu.files import system
from danlu.files.errors import FileError
from danlu.files.write import write_atomically


def test_appending_writes_bytes_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    for line in (b"one\n", b"two\r\n"):
        handle = system.append_to(path)
        assert not os.get_inheritable(handle)
        os.lseek(handle, 0, os.SEEK_SET)  # what is written goes to the end all the same
        os.write(handle, line)
        os.close(handle)
    assert path.read_bytes() == b"one\ntwo\r\n"
    handle = system.append_to(path)
    os.ftruncate(handle, 4)
    assert os.read(handle, 99) == b"one\n"
    os.close(handle)


class Busy:
    """``os.replace`` as on Windows while another process reads the target: refused so many times."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, times: int) -> None:
        self.left, self.calls, self.slept = times, 0, 0
        self._really = os.replace
        monkeypatch.setattr(os, "replace", self)
        monkeypatch.setattr("time.sleep", self._sleep)

    def __call__(self, source: Path, target: Path) -> None:
        self.calls += 1
        if self.left:
            self.left -= 1
            raise PermissionError(13, "it is used by another process")
        self._really(source, target)

    def _sleep(self, seconds: float) -> None:
        self.slept += 1


def test_windows_waits_for_who_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "WINDOWS", True)
    busy = Busy(monkeypatch, 3)
    write_atomically(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"new" and (busy.calls, busy.slept) == (4, 3)


@pytest.mark.parametrize(("windows", "calls"), [(True, 41), (False, 1)])
def test_what_stays_refused_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, windows: bool, calls: int
) -> None:
    """Nowhere else is it tried twice: there the folder's rights are wrong. The old file is whole."""
    monkeypatch.setattr(system, "WINDOWS", windows)
    (tmp_path / "a").write_bytes(b"old")
    busy = Busy(monkeypatch, 10**6)
    with pytest.raises(FileError):
        write_atomically(tmp_path / "a", b"new")
    assert busy.calls == calls
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("a", b"old")]


@pytest.mark.parametrize("windows", [False, True])
def test_a_signal_to_oneself_is_handled(monkeypatch: pytest.MonkeyPatch, windows: bool) -> None:
    """On Windows never by ``os.kill``, which would end the process."""
    monkeypatch.setattr(system, "WINDOWS", windows)
    if windows:
        monkeypatch.delattr(os, "kill")
    seen: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    try:
        system.signal_self(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert seen == [signal.SIGTERM]
