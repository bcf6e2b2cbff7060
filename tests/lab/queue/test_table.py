"""What a person is told while runs go on."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from danlu.files.numbers import clock
from danlu.lab.queue import Job
from danlu.lab.queue import table as tables
from danlu.lab.queue.table import Running, Standing, State, Table
from danlu.spec import resolve

JOB = Job(resolve(["nano", "train.steps=200"]), name="nano")
ROWS = [
    {"step": 50, "tokens": 5000, "seconds": 1.0, "loss": 3.5},
    {"step": 100, "tokens": 10_000, "seconds": 3.0, "bits_per_byte": 4.25, "held_out_loss": 3.0},
    {"step": 150, "tokens": 15_000, "seconds": 5.0, "loss": 2.75},
]


def write(folder: Path, text: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "metrics.jsonl").write_text(text)


def lines(rows: list[dict[str, float]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_how_far_a_run_is(tmp_path: Path) -> None:
    assert Standing.of(JOB, tmp_path / "none") == Standing()
    write(tmp_path, lines(ROWS) + '{"step": 151, "tok')  # a line that is being written
    assert Standing.of(JOB, tmp_path) == Standing(0.75, 150, 2.75, 4.25, 2500.0)
    write(tmp_path, "damaged\n" + lines(ROWS))
    assert Standing.of(JOB, tmp_path) == Standing()
    both = Job(resolve(["nano", "train.steps=200", "train.tokens=15_000"]))
    write(tmp_path, lines(ROWS))
    assert Standing.of(both, tmp_path).share == 1.0  # the nearest bound


def test_of_a_long_run_only_the_end_is_read(tmp_path: Path) -> None:
    many = [{"step": n, "tokens": 10 * n, "seconds": n / 7, "loss": 1 / n} for n in range(1, 5000)]
    write(tmp_path, lines(many))
    assert (tmp_path / "metrics.jsonl").stat().st_size > 10 * tables.TAIL
    at = Standing.of(JOB, tmp_path)
    assert (at.step, at.loss, at.share) == (4999, 1 / 4999, 1.0)
    assert at.speed == pytest.approx(70)


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.4, "0s"), (59.4, "59s"), (59.6, "1m00s"), (3599, "59m59s"), (7500, "2h05m")]
)
def test_durations(seconds: float, said: str) -> None:
    assert clock(seconds) == said


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def told(monkeypatch: pytest.MonkeyPatch, folder: Path, stream: io.StringIO, show: bool = True) -> str:
    """Half of one run is done, another waits, two have ended, after 30 seconds."""
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    now = [100.0]
    monkeypatch.setattr(tables.time, "monotonic", lambda: now[0])
    folder = folder / f"{JOB.id}-01234567"  # NAME-KEY-CODE
    folder.mkdir(exist_ok=True)
    write(folder, lines(ROWS[:2]))
    table = Table(show)
    now[0] += 30
    state = State([Running(JOB, folder, 2)], waiting=1, ended=2, found=1, wrong=1)
    table.draw(state)
    table.draw(state)  # too soon
    table.message("a word")
    table.close()
    return stream.getvalue()


def test_a_plain_line_where_nothing_can_move(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # One and a half of the three runs that are not found took 30 seconds, so the rest takes as long.
    assert told(monkeypatch, tmp_path, io.StringIO()) == (
        "2 of 4 runs done, 1 of them without a result, about 30s left; "
        f"{JOB.id[:-8]} 50%, loss 3.5000\na word\n"
    )


def test_a_table_on_a_terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    said = told(monkeypatch, tmp_path, Terminal())
    for part in (
        JOB.id[:-8],
        "100",
        "3.5000",
        "4.2500",
        "2,500",
        "try 2",
        "2 of 4 runs done",
        "30s left",
        "a word",
    ):
        assert part in said
    assert said.count("bits/byte") <= 3 and said.endswith("\x1b[2K")  # and nothing of it is left


def test_a_long_name_leaves_room_for_numbers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    long = Job(JOB.experiment, name="try-" + "x" * 90)
    monkeypatch.setattr(sys.modules[__name__], "JOB", long)
    monkeypatch.setattr(tables, "LIVE_EVERY", 0.0)
    stream = Terminal()
    said = told(monkeypatch, tmp_path, stream)
    for part in ("try-xxx", f"…-{long.hash[:8]}", "3.5000", "4.2500", "2,500", "try 2"):
        assert part in said


def test_silence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for stream in (io.StringIO(), Terminal()):
        assert told(monkeypatch, tmp_path, stream, show=False) == ""
