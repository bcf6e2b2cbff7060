"""Small files: whole or not at all, with as many writers as there are."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from danlu.files import write
from danlu.files.errors import FileError
from danlu.files.write import clean_aside, write_atomically


@pytest.mark.parametrize("stage", ["fsync", "replace"])
def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    path = tmp_path / "summary.json"
    write_atomically(path, b"old")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(write.os, stage, fail)
    with pytest.raises(FileError, match="disk full while writing"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


WRITER = """
import sys
from pathlib import Path
from danlu.files.write import write_atomically
path, letter = Path(sys.argv[1]), sys.argv[2].encode()
sys.stdin.read()  # until all are there
for _ in range(100):
    write_atomically(path, letter * 100_000)
    data = path.read_bytes()
    assert len(data) == 100_000 and len(set(data)) == 1, set(data)
"""


def test_several_writers_of_one_file(tmp_path: Path) -> None:
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path / "file"), letter], stdin=subprocess.PIPE
        )
        for letter in "abc"
    ]
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.close()
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_name_as_long_as_a_name_may_be(tmp_path: Path) -> None:
    write_atomically(tmp_path / ("n" * 255), b"x")
    assert (tmp_path / ("n" * 255)).read_bytes() == b"x"
    with pytest.raises(FileError, match="choose a shorter name"):
        write_atomically(tmp_path / ("n" * 256), b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["n" * 255]


def test_what_is_left_aside_goes_when_it_has_grown_old(tmp_path: Path) -> None:
    for name in (".old.writing", ".young.writing", "mine.writing", ".mine"):
        (tmp_path / name).write_text("{")
        os.utime(tmp_path / name, None if "young" in name else (1, 1))
    clean_aside(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".mine", ".young.writing", "mine.writing"]
