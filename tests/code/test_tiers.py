"""Which files numbers may depend on, as they are on the disk and as this process has them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from danlu.code import judging, loaded, now, tiers

APART = {
    "catalog",
    "cli",
    "code",
    "door",
    "draw",
    "files",
    "interop",
    "lab",
    "laws",
    "mcp",
    "planning",
    "spikes",
    "testing",
    "watch",
}  # no run's numbers depend on them


def test_every_room_is_in_or_out() -> None:
    rooms = {path.name for path in tiers.PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert rooms == APART | {room for room in tiers.ROOMS if "/" not in room}


def test_all_files_of_these_rooms_are_there() -> None:
    files = now().files
    expected = {
        path.relative_to(tiers.PACKAGE).as_posix()
        for room in tiers.ROOMS
        for path in (tiers.PACKAGE / room).rglob("*.py")
    }
    assert files.keys() - set(tiers.TABLES) == expected and len(expected) > 100
    assert tiers.GONE not in files.values()
    assert all((tiers.PACKAGE / name).is_file() for name in files)


def test_what_judges_is_there_and_no_number_depends_on_it() -> None:
    files = tiers._files(tiers.JUDGING)
    assert "lab/statistics/means.py" in files and "lab/claims/verdict.py" in files
    assert all((tiers.PACKAGE / name).is_file() for name in files) and not set(files) & set(tiers.names())


def test_a_verdict_is_by_the_code_that_its_process_has(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tiers.judged.__wrapped__() == judging()
    monkeypatch.setattr(tiers, "BEGAN", 0.0)  # every file was changed since
    assert tiers.judged.__wrapped__() != judging()


def test_what_nobody_changed_was_imported_as_it_is() -> None:
    assert loaded().of("nn/norms.py") in (now().of("nn/norms.py"), tiers.UNSURE)


def test_what_changed_since_the_process_began_is_unsure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiers, "BEGAN", 0.0)
    unsure = tiers.loaded.__wrapped__().files
    assert set(unsure.values()) == {tiers.UNSURE}


def test_a_copy_that_brings_an_old_time_along_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    os.utime(file, (1.0, 1.0))
    assert tiers._changed(str(file)) > 1e9


def test_no_torch_and_no_pydantic() -> None:
    code = "import sys, danlu.code; sys.exit(bool({'torch', 'pydantic', 'numpy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
