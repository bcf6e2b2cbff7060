"""Only regular files are read, and only so much of them."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from danlu.files.errors import FileError
from danlu.files.read import read_bytes, read_text


def test_pipes_devices_folders_sockets(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileError, match="pipe is a pipe; name a file"):  # and does not wait for a writer
        read_bytes(tmp_path / "pipe")
    with pytest.raises(FileError, match="/dev/zero is a device; name a file"):
        read_bytes("/dev/zero")
    with pytest.raises(FileError, match="is a folder; name a file"):
        read_bytes(tmp_path)
    with socket.socket(socket.AF_UNIX) as there:
        there.bind(str(tmp_path / "socket"))
        with pytest.raises(FileError, match="socket cannot be read"):
            read_bytes(tmp_path / "socket")


def test_links_are_what_they_lead_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "round").symlink_to(tmp_path / "round")
    assert read_bytes(tmp_path / "link") == b"x"
    with pytest.raises(FileError, match="is a device"):
        read_bytes(tmp_path / "zero")
    with pytest.raises(FileError, match="cannot be read"):
        read_bytes(tmp_path / "round")


@pytest.mark.parametrize("name", ["absent", "file/below", "n" * 256, "zero\0byte"])
def test_what_is_not_there(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(FileError, match=r"is missing|cannot be read"):
        read_bytes(tmp_path / name)


def test_at_most_so_much(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    assert read_bytes(tmp_path / "file", limit=5) == b"12345"
    with pytest.raises(FileError, match="larger than"):
        read_bytes(tmp_path / "file", limit=4)


def test_text(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes("\ufeffä\r\n".encode())
    assert read_text(tmp_path / "file") == "ä\r\n"
    (tmp_path / "file").write_bytes(b"a\nb\n\xff")
    with pytest.raises(FileError, match="file, line 3: not text in UTF-8"):
        read_text(tmp_path / "file")
