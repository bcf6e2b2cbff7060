"""Seconds of ``danlu watch`` over thousands of runs: its first page, a filter, a run; and its memory.

    python -m bench.watch

The folders are those of ``bench.runs``. The server is a process of its own, and asked over HTTP as a browser
asks. First page: the first request after its start, without an index of the runs (cold) and with one (warm).
Filters: every one another, so that none is remembered. Following: streams of as many pages as there may be,
for some seconds while runs are written.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from bench.common import danlu_command, machine, save, show, spread, verdict
from bench.runs import INDEX, ROWS, RUNS, make_runs

FIRST, FILTER = 1.0, 0.2  # seconds
STREAMS = 32
GROWTH = 32.0  # MiB that following may add


class Server:
    """``danlu watch`` over a folder."""

    def __init__(self, folder: Path) -> None:
        command = [*danlu_command(), "watch", str(folder)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self.process.stdout is not None
        # API: the first line that danlu watch prints is its address with the token.
        printed = urlsplit(self.process.stdout.readline().strip())
        if not printed.port:
            raise SystemExit("danlu watch printed no address: pip install 'danlu[watch]'")
        self.port = printed.port
        self.cookie = ""
        answer = self._ask(f"/?{printed.query}")
        self.cookie = (answer.getheader("set-cookie") or "").partition(";")[0]

    def _ask(self, path: str) -> HTTPResponse:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=300)
        connection.request("GET", path, headers={"cookie": self.cookie})
        return connection.getresponse()

    def get(self, path: str) -> float:
        """Seconds until all of an answer is there."""
        start = time.perf_counter()
        answer = self._ask(path)
        answer.read()
        if answer.status != 200:
            raise SystemExit(f"{path} is answered by {answer.status}")
        return time.perf_counter() - start

    @contextmanager
    def followed(self, count: int) -> Iterator[None]:
        """So many streams, each read by a thread."""
        answers = [self._ask("/events/runs") for _ in range(count)]
        for answer in answers:
            threading.Thread(target=_drain, args=(answer,), daemon=True).start()
        yield

    @property
    def memory(self) -> float:
        """MiB that the process holds."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024

    def close(self) -> None:
        self.process.terminate()
        self.process.wait()


def _drain(answer: HTTPResponse) -> None:
    try:
        while answer.read1(1 << 16):
            pass
    except (OSError, ValueError, AttributeError, HTTPException):  # the server has ended
        return


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    server = Server(folder)
    try:
        yield server
    finally:
        server.close()


def write(folder: Path, step: int) -> None:
    """One more row for each of fifty runs that have not ended."""
    for run in sorted(folder.glob("tiny-*"))[:50]:
        (run / "summary.json").unlink(missing_ok=True)
        with open(run / "metrics.jsonl", "a") as file:
            file.write(json.dumps({"step": step, "tokens": 64 * step, "seconds": 1.0, "loss": 2.0}) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long the streams are followed")
    asked = parser.parse_args()
    about = machine()
    times: dict[str, list[float]] = {
        "first page, cold": [],
        "first page, warm": [],
        "a filter": [],
        "a run": [],
    }
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        make_runs(folder, asked.runs, asked.rows)
        for _ in range(max(3, asked.rounds // 3)):
            (folder / INDEX).unlink(missing_ok=True)
            for name in ("first page, cold", "first page, warm"):
                with serving(folder) as server:
                    times[name].append(server.get("/"))
        with serving(folder) as server:
            server.get("/")
            for k in range(asked.rounds):
                times["a filter"].append(server.get(f"/?where={quote(f'lr>{1e-4 * 1.05**k}')}&sort=best"))
            page = server._ask("/").read().decode()
            first = page.partition('href="/run/')[2].partition('"')[0]
            for _ in range(asked.rounds):
                times["a run"].append(server.get(f"/run/{first}"))
            before = server.memory
            with server.followed(STREAMS):
                until, step = time.monotonic() + asked.seconds, asked.rows
                while time.monotonic() < until:
                    step += 1
                    write(folder, step)
                    time.sleep(0.5)
            memory = {"before": before, "after": server.memory, "bar": GROWTH}
    results: dict[str, Any] = {"machine": about, "runs": asked.runs, "rows": asked.rows}
    results |= {name: spread(of) for name, of in times.items()} | {"memory_mib": memory}
    bars = {"first page, warm": FIRST, "a filter": FILTER}
    rows = [
        (name, f"{median:.3f}", f"{min(of):.3f} to {max(of):.3f}",
         verdict(median, bars[name], at_most=True) if name in bars else "")
        for name, of in times.items() for median in [results[name]["median"]]
    ]  # fmt: skip
    grown = memory["after"] - memory["before"]
    rows.append((f"MiB after {asked.seconds:g} s of {STREAMS} streams", f"{memory['after']:.0f}",
                 f"{grown:+.1f}", verdict(grown, GROWTH, at_most=True)))  # fmt: skip
    title = f"Seconds of danlu watch over {asked.runs:,} runs of {asked.rows:,} rows"
    show(title, ("", "median", "range", "bar"), rows, about)
    save("watch", results)


if __name__ == "__main__":
    main()
