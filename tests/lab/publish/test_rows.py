"""The one reader: rows as they come, a torn line, a file that shrinks."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.lab.publish import rows as rows_of
from danlu.lab.publish.rows import Row, Tail, flat
from danlu.train.metrics import MetricsFile, read, truncate_after


def write(path: Path, rows: list[dict[str, object]], torn: str = "") -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + torn)


def test_a_row_is_its_numbers() -> None:
    row = flat({"step": 3, "loss": math.nan, "why": "x", "done": True, "inside": {"a/0": 1.0, "b": "NaN?"}})
    assert list(row) == ["step", "loss", "inside/a/0"] and math.isnan(row["loss"])


def test_a_file_is_read_once_a_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[Path] = []
    monkeypatch.setattr(rows_of, "read", lambda path: looks.append(path) or read(path))
    path = tmp_path / "metrics.jsonl"
    write(path, [{"step": 1}])
    tail = Tail(tmp_path)
    assert tail.news().rows == tail.all() == [{"step": 1}] and len(looks) == 1
    write(path, [{"step": 1}, {"step": 2}])
    assert tail.news().rows == [{"step": 2}] and tail.all() == [{"step": 1}, {"step": 2}] and len(looks) == 2
    assert not tail.news() and len(tail.all()) == 2  # of a file that is as it was nothing is kept


def test_nan_is_text_in_the_file_and_a_number_here(tmp_path: Path) -> None:
    write(tmp_path / "metrics.jsonl", [{"step": 1, "loss": "NaN"}, {"step": 2, "loss": "-Infinity"}])
    first, second = Tail(tmp_path).news().rows
    assert math.isnan(first["loss"]) and second["loss"] == -math.inf


def test_a_torn_line_is_no_row_until_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    tail = Tail(tmp_path)
    assert not tail.news()
    write(path, [{"step": 1}], '{"step": 2, "lo')
    assert tail.news().rows == [{"step": 1}]
    write(path, [{"step": 1}, {"step": 2, "loss": 4.0}], '{"st')
    news = tail.news()
    assert (news.rows, news.back) == ([{"step": 2, "loss": 4.0}], None)
    assert not tail.news()


def test_rows_of_a_run_that_went_on_from_a_checkpoint_are_taken_back(tmp_path: Path) -> None:
    """Also where the file is as long as before when it is looked at again."""
    path = tmp_path / "metrics.jsonl"
    before = [{"step": 1, "loss": 5.0}, {"step": 2, "loss": 4.0}, {"step": 2, "score": 1.0}, {"step": 3}]
    write(path, before)
    tail = Tail(tmp_path)
    assert len(tail.news().rows) == 4
    truncate_after(path, 1)
    again = [{"step": 2, "loss": 4.0}, {"step": 2, "score": 9.0}, {"step": 3}]
    with MetricsFile(path) as file:
        for row in again:
            file.append(row)
    news = tail.news()
    # The row of step 2 that is the same as before is told again: whoever goes back to 1 has lost it.
    assert (news.back, news.rows) == (1, again)


steps = st.lists(st.tuples(st.integers(1, 4), st.floats(0, 3).map(lambda x: round(x))), max_size=8).map(
    lambda rows: [{"step": step, "loss": float(loss)} for step, loss in sorted(rows)]
)


@given(st.lists(steps, min_size=1, max_size=4))
def test_whoever_obeys_the_news_has_the_file(versions: list[list[Row]]) -> None:
    """Of any sequence of files, and also where another process takes up what was remembered."""
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        folder, have = Path(name), []
        marks: list[tuple[int, str]] = []
        for rows in versions:
            write(folder / "metrics.jsonl", rows)  # type: ignore[arg-type]
            tail = Tail(folder, marks)
            news = tail.news()
            if news.back is not None:
                have = [row for row in have if row["step"] <= news.back]
            have += news.rows
            assert have == rows
            marks = [tuple(mark) for mark in json.loads(json.dumps(tail.marks))]  # type: ignore[misc]
