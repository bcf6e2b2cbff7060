"""Following runs: every row once, whatever happens to the file; nothing piles up."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Message

from danlu.files.json import to_json
from danlu.lab.reading.curves import read_curve
from danlu.lab.reading.run import read_run
from danlu.train.metrics import MetricsFile, truncate_after
from danlu.watch import live
from danlu.watch.live import Changed, Points, RowsLook, RunLook, Streams, Tail, event, mark_of
from danlu.watch.page import HERE, envelope
from danlu.watch.place import Place, id_of
from tests.lab.reading.folders import make_run
from tests.watch.pages import client

VENDOR = HERE / "static" / "vendor"


def row(step: int, **more: Any) -> str:
    return to_json({"step": step, "tokens": 64 * step, "seconds": step / 2, **more}) + "\n"


def steps(tail: Tail) -> tuple[list[int], bool]:
    rows, again = tail.read()
    return [row["step"] for row in rows], again


# ---------------------------------------------------------------- rows


def test_rows_are_read_once_and_torn_lines_when_they_are_whole(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    tail = Tail(path)
    assert steps(tail) == ([], False)  # not there yet
    path.write_text(row(1) + row(2)[:9])
    assert steps(tail) == ([1], True)  # a file that was not known
    with open(path, "a") as file:
        file.write(row(2)[9:] + row(3))
    assert steps(tail) == ([2, 3], False) and steps(tail) == ([], False)


def test_a_reader_goes_on_where_it_stood(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    assert mark_of(path) == ""
    path.write_text(row(1) + row(2) + row(3)[:5])
    mark = mark_of(path)
    with open(path, "a") as file:
        file.write(row(3)[5:])
    assert steps(Tail(path, mark)) == ([3], False)
    assert steps(Tail(path, "1-2")) == ([1, 2, 3], True)  # another file's
    for nonsense in ("", "x", "-1-2", "9" * 99, "1-9e9", "\u0661-1"):
        assert steps(Tail(path, nonsense)) == ([1, 2, 3], True)


@pytest.mark.parametrize("more", [0, 5])
def test_a_run_that_goes_back_is_drawn_anew(tmp_path: Path, more: int) -> None:
    """Rows are taken back by a file in place of the other, which may by now be longer than that was."""
    path = tmp_path / "metrics.jsonl"
    with MetricsFile(path, every=0) as file:
        for step in range(1, 5):
            file.append({"step": step})
    tail = Tail(path)
    assert steps(tail) == ([1, 2, 3, 4], True)
    truncate_after(path, 2)
    with MetricsFile(path, every=0) as file:
        for step in range(3, 3 + more):
            file.append({"step": step})
    assert steps(tail) == ([*range(1, 3 + more)], True)
    assert steps(tail) == ([], False)


def test_what_is_no_row_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b"\n{}\n[1]\nnonsense\n\xff\xfe\n" + row(7).encode() + b'{"step": "1"}\n')
    assert steps(Tail(path)) == ([7], True)
    monkeypatch.setattr(live, "CHUNK", 50)
    path.write_bytes(b"x" * 500 + b"\n" + row(8).encode())  # a line without end does not hold it up
    tail, found = Tail(path), []
    for _ in range(20):
        found += steps(tail)[0]
    assert found == [8] or found == []  # it may have swallowed what came after in its piece
    os.unlink(path)
    os.mkfifo(path)
    assert steps(Tail(path)) == ([], False)  # a pipe would never end


def test_points_are_those_of_the_curves(tmp_path: Path) -> None:
    """Row by row what ``read_curve`` makes of the whole file, on every axis."""
    run = make_run(tmp_path / "a", scores={1: 3.0, 2: 2.5, 4: float("nan"), 8: 2.0})
    for x in ("steps", "time", "flops", "tokens"):
        points, tail = Points(["bits_per_byte", "loss"], x, "tokens"), Tail(run / "metrics.jsonl")
        found = points.of(tail.read()[0])
        for metric in ("bits_per_byte", "loss"):
            expected = read_curve(run, metric, x)
            assert found[metric][0] == [at for at, _ in expected]
            assert [y for y in found[metric][1]] == [None if y != y else y for _, y in expected]


def test_the_envelope_keeps_what_is_seen() -> None:
    wave = [(float(i), float((i * 7919) % 1000)) for i in range(100_000)]
    wave[31_337] = (31_337.0, 5000.0)
    wave[77] = (77.0, float("nan"))
    kept = envelope(wave, 2000)
    assert len(kept) <= 2000 and kept == sorted(kept) and set(kept) <= {*wave}
    assert kept[0] == wave[0] and kept[-1] == wave[-1] and (31_337.0, 5000.0) in kept
    assert min(y for _, y in kept if y == y) == 0.0
    assert envelope(wave[:50], 2000) == wave[:50] or len(wave[:50]) == 50


# ---------------------------------------------------------------- what is told


def parsed(text: str) -> list[dict[str, str]]:
    """Events by the rules of the standard."""
    found = []
    for block in text.split("\n\n"):
        one: dict[str, list[str]] = {}
        for line in block.split("\n"):
            if line and not line.startswith(":"):
                name, _, value = line.partition(": ")
                one.setdefault(name, []).append(value)
        if one:
            found.append({name: "\n".join(values) for name, values in one.items()})
    return found


def test_events_are_well_formed() -> None:
    assert parsed(event("a\nb", "name", "7")) == [{"event": "name", "id": "7", "data": "a\nb"}]
    assert parsed(event("", "stale")) == [{"event": "stale", "data": ""}]
    injected = event("x\n\nevent: again\ndata: y")
    assert len(parsed(injected)) == 1 and "event" not in parsed(injected)[0]


def test_a_run_is_followed(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a", scores=[3.0], finished=False)
    path = run / "metrics.jsonl"
    look = RunLook(
        lambda: read_run(run),
        Points(["loss"], "steps", "tokens"),
        mark_of(path),
        lambda one: f"<p>{one.steps}",
        run,
    )
    (facts,) = parsed(look())
    assert facts["data"] == "<p>1" and "event" not in facts
    assert look() == ""
    with open(path, "a") as file:
        file.write(row(2, loss=1.5) + row(3, loss=float("nan")))
    points, facts = parsed(look())
    assert points["event"] == "points" and points["id"] == mark_of(path) == facts["id"]
    assert json.loads(points["data"]) == {"loss": [[2.0, 3.0], [1.5, None]]} and facts["data"] == "<p>3"
    truncate_after(path, 1)
    again, facts = parsed(look())
    assert again["event"] == "again" and facts["data"] == "<p>1"


def test_only_rows_that_changed_are_told() -> None:
    rows, version = {"a": "1", "b": "1"}, [0]
    look = RowsLook(
        lambda: version[0], lambda: dict(rows), lambda id, html: f"<{id}:{html}>", lambda: "<moved>"
    )
    rows["a"] = "2"
    assert look() == ""  # nobody said that anything is another
    version[0] += 1
    assert [one["data"] for one in parsed(look())] == ["<a:2>"]
    rows["c"] = "1"
    version[0] += 1
    assert [one["data"] for one in parsed(look())] == ["<moved>"]
    version[0] += 1
    assert look() == ""


def test_a_page_is_stale_once_for_each_change() -> None:
    state = [1]
    look = Changed(lambda: list(state))
    assert look() == ""
    state[0] = 2
    assert parsed(look())[0]["event"] == "stale" and look() == ""


# ---------------------------------------------------------------- streams


async def followed(streams: Streams, look: Callable[[], str], until: int) -> list[str]:
    """What a reader gets that leaves after so many pieces."""
    found: list[str] = []
    left = asyncio.Event()

    async def receive() -> Message:
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        found.append(str(message.get("status") or bytes(message.get("body", b"")).decode()))
        if len(found) >= until:
            left.set()
        await asyncio.sleep(0)

    await streams.response(look)({"type": "http", "method": "GET", "headers": []}, receive, send)
    return found


def test_a_stream_ends_with_its_reader() -> None:
    streams = Streams(every=0.001)
    found = asyncio.run(asyncio.wait_for(followed(streams, lambda: event("x"), 5), 20))
    assert found[:3] == ["200", ": here\n\n", "data: x\n\n"] and streams.open == 0


def test_silence_is_broken_by_comments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "PING", 0.003)
    found = asyncio.run(asyncio.wait_for(followed(Streams(every=0.001), lambda: "", 4), 20))
    assert found[1:4] == [": here\n\n", ": still here\n\n", ": still here\n\n"]


def test_all_streams_together_take_a_small_share_of_a_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look that takes t seconds of a core, with what comes around it, is followed by 200 t, times the
    streams that share it; five minutes at most, in which it is said that the server is still there."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        await asyncio.sleep(0)

    monkeypatch.setattr(live.anyio, "sleep", sleep)
    for took, opened, expected in (
        (0.001, 1, 1.0),
        (0.01, 1, 2.07),
        (0.01, 3, 6.21),
        (0.0, 32, 2.24),
        (0.2, 1, 40.07),
        (9, 9, 300),
    ):
        monkeypatch.setattr(live, "_timed", lambda look, took=took: (look(), took))
        slept.clear()
        streams = Streams()
        streams.open = opened - 1  # and the one below
        told = (event(str(k)) for k in itertools.count())
        found = asyncio.run(asyncio.wait_for(followed(streams, told.__next__, 30), 20))
        between = found[found.index(event("0")) + 1 : found.index(event("1"))]
        assert between == [": still here\n\n"] * int(expected // live.PING - (expected % live.PING == 0))
        assert sum(slept[: 1 + len(between)]) == pytest.approx(expected)


def test_what_did_not_change_is_not_rendered(tmp_path: Path) -> None:
    run, rendered = read_run(make_run(tmp_path / "a", finished=False)), [0]

    def facts(_: object) -> str:
        rendered[0] += 1
        return "x"

    look = RunLook(lambda: run, Points(["loss"], "steps", "tokens"), "", facts, run.path)
    for _ in range(5):
        look()
    assert rendered == [1]


def test_streams_are_capped() -> None:
    async def many() -> tuple[int, list[list[str]]]:
        streams = Streams(most=3, every=0.001)
        going = [asyncio.create_task(followed(streams, lambda: event("x"), 10**9)) for _ in range(3)]
        while streams.open < 3:
            await asyncio.sleep(0)
        refused = [await followed(streams, lambda: "", 10) for _ in range(5)]
        for task in going:
            task.cancel()
        await asyncio.gather(*going, return_exceptions=True)
        return streams.open, refused

    left, refused = asyncio.run(asyncio.wait_for(many(), 20))
    assert left == 0 and [one[0] for one in refused] == ["503"] * 5
    assert live.STREAMS == 32


def test_a_slow_reader_is_told_the_latest() -> None:
    """While it does not take what it was sent, nobody looks, and nothing is kept for it."""
    looks, sent = [0], [0]

    def look() -> str:
        looks[0] += 1
        return event(str(looks[0]))

    async def slow() -> None:
        async def receive() -> Message:
            await asyncio.sleep(3600)
            raise AssertionError

        async def send(message: Message) -> None:
            sent[0] += 1
            if sent[0] == 4:
                await asyncio.sleep(3600)  # takes no more

        going = asyncio.create_task(
            Streams(every=0).response(look)({"type": "http", "headers": []}, receive, send)
        )
        while sent[0] < 4:
            await asyncio.sleep(0)
        for _ in range(1000):
            await asyncio.sleep(0)
        going.cancel()
        await asyncio.gather(going, return_exceptions=True)

    asyncio.run(asyncio.wait_for(slow(), 20))
    assert sent[0] == 4 and looks[0] == 2


def test_pages_name_their_streams(tmp_path: Path) -> None:
    run = make_run(tmp_path / "studies" / "runs" / "a", finished=False)
    there = client(tmp_path)
    for address in ("/", f"/run/{id_of(run)}"):
        text = there.get(address).text
        assert text.count("hx-sse:connect") == 1  # a browser has six connections for a server
    assert (
        "hx-sse:connect" not in there.get(f"/run/{id_of(make_run(tmp_path / 'studies' / 'runs' / 'b'))}").text
    )
    assert there.get("/events/run/nothing").status_code == 404
    assert there.get("/events/studies/nothing").status_code == 404
    for page in (HERE / "templates").glob("*.html"):
        text = page.read_text()
        assert "hx-on" not in text and "js:" not in text and "<style" not in text and " style=" not in text


def test_an_hour_of_following_fifty_runs_grows_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shortened: 9 rounds, in each of which every run writes a row. Each byte is read once, no file stays
    open, what a stream keeps is of one size, and memory does not grow."""
    runs = [make_run(tmp_path / "runs" / f"r{k}", f"nano train.seed={k}", finished=False) for k in range(50)]
    read = [0]
    original = Tail.read

    def counting(tail: Tail) -> tuple[list[dict[str, Any]], bool]:
        before = int(tail.mark.partition("-")[2])
        found = original(tail)
        read[0] += int(tail.mark.partition("-")[2]) - before
        return found

    monkeypatch.setattr(Tail, "read", counting)
    now = [0.0]
    place = Place(tmp_path, clock=lambda: now[0])
    ids = [id_of(run) for run in runs]
    sizes = [os.stat(run / "metrics.jsonl").st_size for run in runs]

    def watched(id: str, folder: Path) -> RunLook:
        at = mark_of(folder / "metrics.jsonl")
        points = Points(["loss"], "steps", "tokens")
        return RunLook(lambda: place.run(id), points, at, lambda run: str(run.steps), folder)

    looks = [watched(id, run) for id, run in zip(ids, runs, strict=True)]
    files = len(os.listdir("/proc/self/fd"))
    told, peaks = 0, []
    tracemalloc.start()
    for step in range(2, 11):
        for run in runs:
            with open(run / "metrics.jsonl", "a") as file:
                file.write(row(step, loss=1.0 / step))
        now[0] += 10.0
        told += sum(text.count("event: points") for text in (look() for look in looks))
        if step % 3 == 1:
            peaks.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert told == 50 * 9
    grown = sum(os.stat(run / "metrics.jsonl").st_size for run in runs) - sum(sizes)
    assert read[0] == grown and len(os.listdir("/proc/self/fd")) <= files
    assert peaks[2] - peaks[1] < 20_000  # 3 rounds of 50 rows; a row that is kept takes 200 bytes or more


# ---------------------------------------------------------------- what is not ours


def test_vendored_files_are_what_they_are_said_to_be() -> None:
    versions = {}
    for folder in (VENDOR, Path(__file__).parent / "vendor"):
        said = json.loads((folder / "VENDOR.json").read_text())["files"]
        assert {one["file"] for one in said} == {path.name for path in folder.iterdir()} - {"VENDOR.json"}
        for one in said:
            data = (folder / one["file"]).read_bytes()
            assert hashlib.sha256(data).hexdigest() == one["sha256"] and len(data) == one["bytes"]
            versions[one["package"]] = one["version"], one["license"]
    shipped, for_tests = (
        {"htmx.org": ("4.0.1", "0BSD"), "uplot": ("1.6.32", "MIT")},
        {"axe-core": ("4.14.1", "MPL-2.0")},
    )
    assert versions == shipped | for_tests
    assert "Zero-Clause BSD" in (VENDOR / "htmx.LICENSE").read_text()
    assert "The MIT License" in (VENDOR / "uPlot.LICENSE").read_text()


def test_nothing_is_loaded_from_elsewhere() -> None:
    for path in [
        *(HERE / "templates").glob("*"),
        HERE / "static" / "style.css",
        HERE / "static" / "watch.js",
    ]:
        assert "http" not in path.read_text().replace("http-", "").replace("htmx", ""), path
