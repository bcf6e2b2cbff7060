"""A run that is written anew: whole or not at all."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from danlu.files.lock import Held
from danlu.lab.deployed.folder import whole
from danlu.lab.errors import LabError


def test_what_a_killed_process_left_beside_goes_with_the_next(tmp_path: Path) -> None:
    out = tmp_path / "out"
    child = os.fork()
    if child == 0:
        with whole(out) as aside:
            (aside / "half").mkdir()
            (aside / "half" / "a").write_text("a")
            (aside / "b").write_text("b")
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    (left,) = tmp_path.iterdir()
    assert not out.exists() and {"half", "b"} < {entry.name for entry in left.iterdir()}
    with whole(out) as aside:
        assert aside == left
        with pytest.raises(Held, match="is in use by another process"), whole(out):
            pass
        (aside / "c").write_text("c")
    assert [path.name for path in out.iterdir()] == ["c"] and list(tmp_path.iterdir()) == [out]


def test_nothing_is_written_over_and_what_failed_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a").write_text("a")
    with pytest.raises(LabError, match="is there already"), whole(tmp_path / "mine"):
        pass
    with pytest.raises(ValueError, match="no"), whole(tmp_path / "out"):
        raise ValueError("no")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
