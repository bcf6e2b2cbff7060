"""A run that is written anew: whole or not at all."""

from __future__ import annotations

import os
import shutil
import signal
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

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
    (left,) = folders(tmp_path)
    assert not out.exists() and {"half", "b"} == {entry.name for entry in left.iterdir()}
    with whole(out) as aside:
        assert aside == left
        with pytest.raises(Held, match=r"out is in use by another process"), whole(out):
            pass
        (aside / "c").write_text("c")
    assert [path.name for path in out.iterdir()] == ["c"] and folders(tmp_path) == [out]


def test_nothing_is_written_over_and_what_failed_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a").write_text("a")
    with pytest.raises(LabError, match="is there already"), whole(tmp_path / "mine"):
        pass
    with pytest.raises(ValueError, match="no"), whole(tmp_path / "out"):
        raise ValueError("no")
    assert [path.name for path in folders(tmp_path)] == ["mine"]


@pytest.mark.parametrize(("module", "last"), [(os, "rename"), (shutil, "rmtree")])
def test_nobody_else_fills_the_folder_until_it_is_in_its_place_or_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: ModuleType, last: str
) -> None:
    """Another that comes in just before the last call would clear what is written there."""
    out, met, call = tmp_path / "out", [], getattr(module, last)

    def meet(*given: Any, **more: Any) -> Any:
        with pytest.raises(Held), whole(out):
            pass
        met.append(Path(given[0]).name)
        return call(*given, **more)

    with suppress(ValueError), whole(out) as aside:
        (aside / "a").write_text("a")
        monkeypatch.setattr(module, last, meet)
        if last == "rmtree":
            raise ValueError("no")
    assert met[0] == aside.name and folders(tmp_path) == [out] * (last == "rename")


def folders(parent: Path) -> list[Path]:
    """What lies there beside locks, which stay."""
    return [path for path in parent.iterdir() if path.suffix != ".lock"]
