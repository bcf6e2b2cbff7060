import json
import math
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.files.errors import FileError
from danlu.train import metrics
from danlu.train.errors import RunError
from danlu.train.metrics import MetricsFile, read, truncate_after


class Timer:
    now = 0.0

    def __call__(self):
        return self.now


def lines(*steps):
    return b"".join(b'{"step": %d}\n' % step for step in steps)


def test_rows_are_written_at_most_once_in_a_while(tmp_path):
    path, timer = tmp_path / "metrics.jsonl", Timer()
    with MetricsFile(path, every=0.5, timer=timer) as file:
        file.append({"step": 1, "loss": 2.5})
        assert read(path) == []
        timer.now = 0.6
        file.append({"step": 2, "loss": math.nan})
        assert [row["step"] for row in read(path)] == [1, 2]
        file.append({"step": 3})
        assert len(read(path)) == 2
        file.flush(durable=True)
        assert len(read(path)) == 3
        file.append({"step": 4})
    assert [row["step"] for row in read(path)] == [1, 2, 3, 4]
    assert math.isnan(read(path)[1]["loss"])
    for line in path.read_text().splitlines():
        json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


@pytest.mark.parametrize("row", [{}, {"step": 1.0}, {"step": True}, {"step": "1"}])
def test_a_row_has_a_step(tmp_path, row):
    with MetricsFile(tmp_path / "m") as file, pytest.raises(ValueError, match="step"):
        file.append(row)


@pytest.mark.parametrize(
    "torn", [b"", b"{", b'{"step": 3, "lo', b'{"step": 3}', b"\0\0\0", b"\0\0\n", b"{\n"]
)
def test_a_torn_last_line_is_passed_over_and_cut_away(tmp_path, torn):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(lines(1, 2) + torn)
    assert [row["step"] for row in read(path)] == [1, 2]
    truncate_after(path, 5)
    assert path.read_bytes() == lines(1, 2)
    path.write_bytes(lines(1, 2) + torn)
    with MetricsFile(path) as file:
        file.truncate_after(1)
        file.append({"step": 2})
    assert path.read_bytes() == lines(1, 2)


def test_a_damaged_line_in_the_middle_is_named(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(lines(1) + b'{"st\n' + lines(2))
    for act in (read, lambda path: truncate_after(path, 1)):
        with pytest.raises(RunError, match=r"metrics\.jsonl, line 2: .*delete that line"):
            act(path)
    assert path.read_bytes() == lines(1) + b'{"st\n' + lines(2)


@given(st.integers(0, 12), st.integers(0, 200))
def test_any_cut_and_resume_gives_the_whole_series(tmp_path_factory, step, cut):
    path = tmp_path_factory.mktemp("m") / "metrics.jsonl"
    whole = lines(*range(1, 11))
    # A checkpoint is saved after its rows are flushed, so the cut comes after them.
    path.write_bytes(whole[: max(cut, len(lines(*range(1, min(step, 10) + 1))))])
    with MetricsFile(path) as file:
        file.truncate_after(step)
        for later in range(step + 1, 11):
            file.append({"step": later})
    assert path.read_bytes() == whole


def test_a_full_disk_keeps_rows_until_there_is_room(tmp_path, monkeypatch):
    path, timer = tmp_path / "metrics.jsonl", Timer()
    file = MetricsFile(path, timer=timer)
    write, full = os.write, True

    def half(handle, data):
        if full:
            write(handle, data[: len(data) // 2])
            raise OSError(28, "No space left on device")
        return write(handle, data)

    monkeypatch.setattr(metrics.os, "write", half)
    timer.now = 1.0
    file.append({"step": 1})  # says nothing: training goes on
    assert path.read_bytes() == b""
    with pytest.raises(FileError, match="disk full while writing"):
        file.flush()
    full = False
    file.append({"step": 2})
    file.close()
    file.close()
    assert path.read_bytes() == lines(1, 2)


def test_a_long_torn_line_is_cut(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(lines(1) + b"x" * 200_000)
    MetricsFile(path).close()
    assert path.read_bytes() == lines(1)


def test_no_file_no_rows(tmp_path):
    assert read(tmp_path / "none") == []
    truncate_after(tmp_path / "none", 3)
    assert not (tmp_path / "none").exists()
