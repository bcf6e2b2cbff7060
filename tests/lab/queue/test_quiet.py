"""While time is measured no run of any study is carried out on this machine."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from danlu.files.lock import is_held
from danlu.lab.queue import quiet
from tests.lab.queue.studies import jobs
from tests.lab.trial.cases import InProcess
from tests.train import small

AT_WORK = """
import sys
from danlu.lab.queue.quiet import at_work
with at_work(lambda: None):
    print("at work", flush=True)
    sys.stdin.read()
"""


class Stopped(Exception):
    pass


def stop() -> None:
    raise Stopped


@pytest.fixture(autouse=True)
def own_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DANLU_CACHE", str(tmp_path / "cache"))


@contextmanager
def another_at_work() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", AT_WORK], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == "at work\n"
        try:
            yield process
        finally:
            process.kill()


def test_runs_under_way_are_waited_for_and_told() -> None:
    with another_at_work() as process:
        with quiet.quiet(lambda: None, patience=0) as others:
            assert others == 1
        calls = []

        def end_it() -> None:
            calls.append(process.kill())
            process.wait()

        with quiet.quiet(end_it) as others:
            assert others == 0 and calls  # it was waited for, and its end was seen
    with quiet.quiet(lambda: None, patience=0) as others:
        assert others == 0


def test_no_run_begins_meanwhile_and_a_stop_ends_the_waiting(tmp_path: Path) -> None:
    with quiet.quiet(lambda: None), pytest.raises(Stopped), quiet.at_work(stop):
        pass
    with another_at_work(), pytest.raises(Stopped), quiet.quiet(stop):
        pass
    with quiet.at_work(stop):  # nobody measures: nothing is waited for
        pass


def test_who_measures_first_is_waited_for_by_who_measures_next() -> None:
    with quiet.quiet(lambda: None), pytest.raises(Stopped), quiet.quiet(stop):
        pass


def test_a_run_is_at_work_and_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from danlu.lab.queue import carry_out

    seen = []
    train = carry_out._train

    def watched(*given: object) -> object:
        (lock,) = (tmp_path / "cache").rglob("*.run")
        seen.append(is_held(lock))
        return train(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(carry_out, "_train", watched)
    (job,) = jobs(small.corpus(tmp_path), 1, steps=2)
    (ended,) = InProcess(tmp_path / "studies").run([job])
    assert ended.error is None and seen == [True]
    assert not list((tmp_path / "cache").rglob("*.run"))
