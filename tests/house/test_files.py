"""A file has one subject and is read in one sitting."""

from __future__ import annotations

from tests.conftest import ROOT

LONGEST = 400


def test_files_are_read_in_one_sitting() -> None:
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for path in (ROOT / "danlu").rglob("*.py")
    }
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST} == {}
