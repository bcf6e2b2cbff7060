"""``danlu watch`` over thousands of runs: its pages, what following costs, whether training is slowed.

    python -m bench.watch pages        # first page, filters, a run; some 2 minutes, of a quiet machine
    python -m bench.watch following    # memory and processor time while 50 live runs are followed; a minute
    python -m bench.watch training     # a run with and without a watcher; at most 4 minutes, quiet
    python -m bench.watch              # all three

The folders are those of ``bench.runs``, in the system's cache. The server is a process of its own, and asked
over HTTP as a browser asks.

pages      From the command to the printed address, and from there to the whole first page: without an index
           of the runs (cold) and with one (warm). Filters: every one another, so that none is remembered, and
           more than a second after the one before, so that the runs are looked at again. The first filter is
           asked as soon as the first page is there.
following  So many streams as there may be, of lists, runs and the queue in turn. 50 runs hold their locks and
           write a row twice a second. Memory and processor time, which the system counts, are those after the
           streams have been open for a while, so that what opening them takes is not among it.
training   Pairs of runs of one seed, one of them followed by its page and the list of all runs; the order
           turns with each pair. The ratios of a few pairs tell no 1 %: the noise of a run is as large. So the
           bar is on the processor time that the server takes of a second of training when pages are open.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection, HTTPException, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from bench.common import RESULTS, active_seconds, danlu_command, machine, save, show, spread, verdict
from bench.runs import INDEX, ROWS, RUNS, make_runs
from danlu.files.lock import Lock

PARTS = ("pages", "following", "training")
FIRST, FILTER = 1.0, 0.2  # seconds
STREAMS, LIVE = 32, 50
GROWTH = 32.0  # MiB that following may add
SHARE = 0.01  # of a core, that the server may take while runs are followed
APART = 1.1  # seconds between two filters
SETTLED = 20.0  # seconds after which what opening pages takes is over
OPENED = 6.0  # seconds after which what a server begins with is over
STEPS = 600  # of a run of tiny, with and without a watcher: some 20 s


class Server:
    """``danlu watch`` over a folder."""

    def __init__(self, folder: Path) -> None:
        start = time.perf_counter()
        command = [*danlu_command(), "watch", str(folder)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self.process.stdout is not None
        # API: the first line that danlu watch prints is its address with the token.
        printed = urlsplit(self.process.stdout.readline().strip())
        self.started = time.perf_counter() - start  # seconds until the address was printed
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

    def text(self, path: str) -> str:
        """What stands there."""
        return self._ask(path).read().decode()

    def follow(self, *paths: str) -> None:
        """A stream of each, read by a thread."""
        for path in paths:
            answer = self._ask(path)
            if answer.status != 200:
                raise SystemExit(f"{path} is answered by {answer.status}")
            threading.Thread(target=_drain, args=(answer,), daemon=True).start()

    @property
    def worked(self) -> float:
        """Seconds of processor time that the process took."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

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


# ---------------------------------------------------------------- the parts


def pages(folder: Path, rounds: int) -> dict[str, Any]:
    """Seconds of each page."""
    names = ("to the address, cold", "first page, cold", "to the address, warm", "first page, warm",
             "first filter", "a filter", "a filter, seeds together", "a run")  # fmt: skip
    times: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(max(3, rounds // 3)):
        (folder / INDEX).unlink(missing_ok=True)
        for name in ("cold", "warm"):
            with serving(folder) as server:
                times[f"to the address, {name}"].append(server.started)
                times[f"first page, {name}"].append(server.get("/"))
                if name == "warm":
                    times["first filter"].append(server.get("/?where=lr%3E0.005&sort=best"))
    with serving(folder) as server:
        first = server.text("/").partition('href="/run/')[2].partition('"')[0]
        server.get("/?group=1")
        for k in range(rounds):
            asked = f"where={quote(f'lr>{1e-4 * 1.05**k}')}&sort=best"
            for name, more in (("a filter", ""), ("a filter, seeds together", "&group=1")):
                time.sleep(APART)
                times[name].append(server.get(f"/?{asked}{more}"))
            times["a run"].append(server.get(f"/run/{first}"))
    return {name: spread(of) for name, of in times.items()}


def following(folder: Path, seconds: float, rows: int) -> dict[str, Any]:
    """What following costs while runs are written."""
    live = sorted(folder.glob("tiny-*"))[:LIVE]
    with ExitStack() as stack:
        for run in live:
            (run / "summary.json").unlink(missing_ok=True)
            stack.enter_context(Lock(run / ".lock", wait=0, named=True))
        server = stack.enter_context(serving(folder))
        page = server.text("/?where=state%3Drunning")
        ids = [piece.partition('"')[0] for piece in page.split('href="/run/')[1:]]
        each = [("/events/runs", f"/events/run/{id}", "/events/queue") for id in ids]
        server.follow(*[path for three in each for path in three][:STREAMS])
        step = _written(live, rows, SETTLED)
        before, start, worked = server.memory, time.monotonic(), server.worked
        _written(live, step, seconds)
        passed, share = time.monotonic() - start, server.worked - worked
        return {
            "seconds": passed, "streams": STREAMS, "live": len(ids),
            "processor": share / passed, "bar": SHARE,
            "memory_mib": {"before": before, "after": server.memory, "bar": GROWTH},
        }  # fmt: skip


def _written(live: Sequence[Path], step: int, seconds: float) -> int:
    """Let the runs write for so long; the last step."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        step += 1
        for run in live:
            write(run, step)
        time.sleep(0.5)
    return step


def write(run: Path, step: int) -> None:
    """One more row of a run under way."""
    row = {"step": step, "tokens": 64 * step, "seconds": 1.0, "flops": 5e9 * step, "loss": 2.0}
    with open(run / "metrics.jsonl", "a") as file:
        file.write(json.dumps(row) + "\n")


def training(folder: Path, seconds: float, steps: int) -> dict[str, Any]:
    """Pairs of a run without and with a watcher, as many as fit into ``seconds``."""
    until, took = time.monotonic() + seconds, 0.0
    plain: list[float] = []
    watched: list[float] = []
    shares: list[float] = []
    while time.monotonic() + took < until or len(plain) < 2:
        start, number = time.monotonic(), len(plain)
        for with_watcher in (False, True) if number % 2 == 0 else (True, False):
            run = folder / f"trained-{number}-{with_watcher}"
            if not with_watcher:
                plain.append(active_seconds(run, steps))
                continue
            with serving(folder) as server:
                server.get("/")
                time.sleep(OPENED)  # a person has the list open before the run begins
                server.follow("/events/runs")
                since: list[tuple[float, float]] = []
                thread = threading.Thread(target=_opened, args=(server, run, since), daemon=True)
                thread.start()
                watched.append(active_seconds(run, steps))
                at, worked = since[0] if since else (time.monotonic(), server.worked)
                shares.append((server.worked - worked) / max(1.0, time.monotonic() - at))
        took = time.monotonic() - start
    ratios = [b / a for a, b in zip(plain, watched, strict=True)]
    return {"pairs": len(ratios), "steps": steps, "processor": spread(shares), "bar": SHARE,
            "plain": spread(plain), "watched": spread(watched), "ratio": spread(ratios)}  # fmt: skip


def _opened(server: Server, run: Path, since: list[tuple[float, float]]) -> None:
    """Open the run's page, and follow it, once it has begun; since when, and its work until then."""
    while not (run / "metrics.jsonl").exists():
        time.sleep(0.5)
    time.sleep(APART)
    page = server.text(f"/?where={quote(f'name~{run.name}')}")
    id = page.partition('href="/run/')[2].partition('"')[0]
    server.get(f"/run/{id}")
    server.follow(f"/events/run/{id}")
    time.sleep(APART)
    since.append((time.monotonic(), server.worked))


# ---------------------------------------------------------------- all


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help="pages, following, training; all if none")
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--rounds", type=int, default=10, help="of the pages")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long the streams are followed")
    parser.add_argument("--training-seconds", type=float, default=200.0, help="of all pairs together")
    parser.add_argument("--steps", type=int, default=STEPS, help="of a run of a pair")
    parser.add_argument("--folder", type=Path, help="where the runs are, or are made, and stay")
    asked = parser.parse_args()
    if wrong := [part for part in asked.parts if part not in PARTS]:
        parser.error(f"{wrong[0]} is none of {', '.join(PARTS)}")
    about, known = machine(), RESULTS / "watch.json"
    results: dict[str, Any] = json.loads(known.read_text()) if known.exists() else {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = asked.folder or Path(temporary)
        if not any(folder.glob("tiny-*")):
            folder.mkdir(parents=True, exist_ok=True)
            make_runs(folder, asked.runs, asked.rows)
        for part in asked.parts or PARTS:
            if part == "pages":
                found = pages(folder, asked.rounds)
            elif part == "following":
                found = following(folder, asked.seconds, asked.rows)
            else:
                found = training(folder, asked.training_seconds, asked.steps)
            results[part] = {"machine": about, "runs": asked.runs, "rows": asked.rows} | found
            show(*table(part, results[part]), about)
    save("watch", results)


def table(part: str, found: dict[str, Any]) -> tuple[str, Sequence[str], list[tuple[str, ...]]]:
    """Title, head and rows of what a part found."""
    rows: list[tuple[str, ...]]
    over = f"over {found['runs']:,} runs of {found['rows']:,} rows"
    if part == "pages":
        bars = {"first page, warm": FIRST, "first filter": FILTER, "a filter": FILTER,
                "a filter, seeds together": FILTER}  # fmt: skip
        rows = [
            (name, f"{of['median']:.3f}", f"{of['low']:.3f} to {of['high']:.3f}",
             verdict(of["median"], bars[name], at_most=True) if name in bars else "")
            for name, of in found.items() if isinstance(of, dict) and "median" in of
        ]  # fmt: skip
        return f"Seconds of danlu watch {over}", ("", "median", "range", "bar"), rows
    if part == "following":
        memory = found["memory_mib"]
        grown = memory["after"] - memory["before"]
        rows = [
            ("MiB", f"{memory['after']:.0f}", f"{grown:+.1f}", verdict(grown, GROWTH, at_most=True)),
            ("of a core", f"{found['processor']:.4f}", "", verdict(found["processor"], SHARE, at_most=True)),
        ]
        title = f"{found['streams']} streams, {found['live']} live runs, {found['seconds']:.0f} s, {over}"
        return title, ("", "", "more than before", "bar"), rows
    ratio, share = found["ratio"], found["processor"]
    rows = [
        ("of a core that the server took", f"{share['median']:.4f}",
         f"{share['low']:.4f} to {share['high']:.4f}", verdict(share["median"], SHARE, at_most=True)),
        ("seconds watched, of those not", f"{ratio['median']:.4f}",
         f"{ratio['low']:.4f} to {ratio['high']:.4f}", ""),
    ]  # fmt: skip
    title = f"{found['pairs']} pairs of {found['steps']} updates of tiny {over}"
    return title, ("", "median", "range", "bar"), rows


if __name__ == "__main__":
    main()
