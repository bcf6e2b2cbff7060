"""A study of minute runs, in this process or as one that can be killed; and what its folders must hold."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from danlu import code
from danlu.lab.queue import Job, Outcome, Queue
from danlu.lab.queue.journal import ENDS, JOURNAL, read
from danlu.lab.queue.places import Places
from danlu.spec import resolve
from danlu.spec.errors import DanluError
from tests.conftest import LIMIT, ROOT
from tests.train import small

RUN = [
    "train.evaluate_tokens=400", "train.log_every=2", "train.checkpoint_every=4", "train.evaluate_every=3",
    "train.microbatch=4", "model.dropout=0.1", "train.compile=false",
]  # fmt: skip


def jobs(corpus: Path, count: int, steps: int) -> list[Job]:
    """``count`` jobs that differ by seed."""
    words = small.words(corpus, *RUN, f"train.steps={steps}")
    return [Job(resolve([*words, f"train.seed={seed}"]), name=f"seed-{seed}") for seed in range(count)]


def carried_out(studies: Path, some: list[Job], **settings: Any) -> list[Outcome]:
    with Queue(studies, show=False, **settings) as queue:
        return queue.run(some)


def until(happened: Callable[[], Any]) -> Any:
    """Wait for it, not for ever."""
    deadline = time.monotonic() + LIMIT
    while not (found := happened()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)
    return found


def workers(parent: int) -> list[int]:
    """The workers that the process has now."""
    try:
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        return [
            pid for pid in map(int, children) if b"queue.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()
        ]
    except (FileNotFoundError, ProcessLookupError):
        return []


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def folder(job: Job, studies: Path) -> Path:
    """Where the run of ``job`` is."""
    return Places(studies / "runs", lambda _: "cpu").folder(job, code.now())


def check(studies: Path, some: list[Job], whole: Path) -> None:
    """Each run ended once, and is bit for bit that of the undisturbed study in ``whole``."""
    ends = Counter(row["job"] for row in read(studies / JOURNAL) if row["event"] in ENDS)
    assert ends == {folder(job, studies).name: 1 for job in some}
    for job in some:
        small.assert_same(folder(job, studies), folder(job, whole))


# ------------------------------------------------------------ the study as a process of its own


def command(studies: Path, corpus: Path, count: int, steps: int) -> list[str]:
    return [
        sys.executable,
        "-m",
        "tests.lab.queue.studies",
        str(studies),
        str(corpus),
        str(count),
        str(steps),
    ]


@contextmanager
def started(studies: Path, corpus: Path, count: int, steps: int) -> Iterator[subprocess.Popen[str]]:
    """The study begun; killed at the end if it still runs."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    pipe, environment = subprocess.PIPE, os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    process = subprocess.Popen(
        command(studies, corpus, count, steps),
        stdout=pipe, stderr=pipe, text=True, env=environment, cwd=studies.parent,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def finish(process: subprocess.Popen[str]) -> dict[str, int]:
    """Wait for the study; how many tries each run took."""
    said, errors = process.communicate(timeout=LIMIT)
    assert process.returncode == 0, errors
    tries: dict[str, int] = json.loads(said)
    return tries


def main() -> None:
    studies, corpus, count, steps = sys.argv[1:]
    try:
        found = carried_out(Path(studies), jobs(Path(corpus), int(count), int(steps)), workers=2)
    except DanluError as error:
        print(error, file=sys.stderr)
        sys.exit(getattr(error, "exit_code", 2))
    assert all(outcome.summary is not None for outcome in found)
    print(json.dumps({outcome.job.id: outcome.tries for outcome in found}))


if __name__ == "__main__":
    main()
