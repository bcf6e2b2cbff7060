"""A folder that may not be read: one sentence that names it, from every verb that is given one."""

from __future__ import annotations

import builtins
import errno
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from danlu.files.errors import FileError
from danlu.files.overwrite import check_output
from tests.cli.test_train import danlu
from tests.lab.reading.folders import make_run


def refuse(patch: pytest.MonkeyPatch, folder: Path) -> None:
    """As the system does with a folder that this user may not look into (which one who is root always may):
    it is there, and what is in it cannot be named, listed or opened."""

    def denied(real: Callable[..., Any], listing: bool) -> Callable[..., Any]:
        def call(path: Any = ".", *more: Any, **named: Any) -> Any:
            if isinstance(path, str | os.PathLike):
                inside = Path(os.path.abspath(path))
                if folder in inside.parents or (listing and inside == folder):
                    raise PermissionError(errno.EACCES, "Permission denied", os.fspath(path))
            return real(path, *more, **named)

        return call

    for owner, name in ((os, "stat"), (os, "lstat"), (os, "open"), (builtins, "open"), (io, "open")):
        patch.setattr(owner, name, denied(getattr(owner, name), False))
    for name in ("scandir", "listdir"):
        patch.setattr(os, name, denied(getattr(os, name), True))


@pytest.mark.parametrize(
    "command",
    [
        "sample runs/a", "inspect runs/a", "spikes runs/a", "curvature runs/a", "quantize runs/a",
        "export runs/a --to out", "import runs/a", "compare runs/a runs/b", "compare runs/b runs/a",
        "runs runs/a", "show runs/a", "diff runs/a nano", "graph runs/a", "train runs/a",
        "train nano data.corpus=runs/a", "try swiglu --on runs/a", "sweep runs/a lr=1,2", "laws fit runs/a",
    ],
)  # fmt: skip
def test_it_is_named(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in "ab":
        make_run(Path("runs") / name, "nano", {1: 3.0})
    with monkeypatch.context() as patch:
        refuse(patch, tmp_path / "runs" / "a")
        code = danlu(*command.split())
    out, err = capsys.readouterr()
    assert (code, out) == (2, "") and err.startswith("danlu: ") and err.count("\n") == 1
    assert "runs/a" in err and "Permission denied" in err
    assert sorted(os.listdir(tmp_path)) == ["runs"]


def test_runs_beside_it_are_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in "ab":
        make_run(Path("runs") / name, "nano", {1: 3.0})
    with monkeypatch.context() as patch:
        refuse(patch, tmp_path / "runs" / "a")
        assert danlu("runs", "runs") == 0
    listed = capsys.readouterr().out
    assert "runs/b" in listed and "runs/a" not in listed


def test_a_folder_that_may_not_be_written_is_refused_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: not (Path(path) == tmp_path and mode & os.W_OK))
    with pytest.raises(FileError, match=r"cannot write .*page\.html \(Permission denied\)"):
        check_output(tmp_path / "page.html")
