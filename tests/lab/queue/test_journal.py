"""The journal: appended to by several, torn by none."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.files.errors import FileError
from danlu.lab.queue.journal import Journal, read


def events(path: Path) -> list[tuple[str, str]]:
    return [(row["job"], row["event"]) for row in read(path)]


def test_an_end_is_written_once_whichever_queue_sees_it(tmp_path: Path) -> None:
    path = tmp_path / "studies" / "queue.jsonl"
    assert read(path) == []
    one, other = Journal(path), Journal(path)
    one.write("a", "started", **{"try": 1})
    one.write("a", "finished")
    other.write("a", "finished")
    other.write("b", "diverged")
    one.write("b", "diverged")
    later = Journal(path)
    later.write("a", "finished")
    later.write("c", "failed")
    one.write("c", "finished")  # tried again, and it went well
    assert events(path) == [
        ("a", "started"), ("a", "finished"), ("b", "diverged"), ("c", "failed"), ("c", "finished")
    ]  # fmt: skip


@given(cut=st.integers(min_value=0, max_value=200))
def test_a_torn_line_is_passed_over(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    path = tmp_path_factory.mktemp("journal") / "queue.jsonl"
    journal = Journal(path)
    journal.write("a", "finished")
    journal.write("b", "started")
    journal.close()
    whole = path.read_bytes()
    lines = [len(line) for line in whole.splitlines(keepends=True)]
    left = max(0, len(whole) - cut)
    path.write_bytes(whole[:left])
    kept = [("a", "finished")] * (left >= lines[0] - 1) + [("b", "started")] * (left >= sum(lines) - 1)
    assert events(path) == kept
    after = Journal(path)
    after.write("c", "started")
    after.write("a", "finished")
    assert events(path) == [*kept, ("c", "started"), *[("a", "finished")] * (left < lines[0] - 1)]


def test_a_line_torn_meanwhile_takes_no_other_with_it(tmp_path: Path) -> None:
    """Though the journal has read it at an end that is written already."""
    path = tmp_path / "queue.jsonl"
    journal = Journal(path)
    journal.write("a", "finished")
    with open(path, "ab") as file:
        file.write(b'{"time": 1, "jo')  # of another queue, whose disk was full
    journal.write("a", "finished")
    journal.write("b", "finished")
    journal.write("c", "started")
    assert events(path) == [("a", "finished"), ("b", "finished"), ("c", "started")]


def test_a_journal_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="cannot write"):
        Journal(tmp_path / "file" / "queue.jsonl").write("a", "started")


def test_a_journal_without_an_event_is_no_file(tmp_path: Path) -> None:
    Journal(tmp_path / "studies" / "queue.jsonl").close()
    assert list(tmp_path.iterdir()) == []
