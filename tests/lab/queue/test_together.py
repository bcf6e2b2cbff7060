"""Jobs of one graph are carried out together, and each is as if it had been alone."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from danlu.code import loaded
from danlu.files.lock import Lock
from danlu.lab.errors import LabError
from danlu.lab.queue import Job, Outcome, queue, sizes
from danlu.lab.queue.carry_out import LOCK, to_task
from danlu.lab.queue.executors import Event, Start
from danlu.lab.queue.journal import JOURNAL, read
from danlu.lab.queue.local import Local
from danlu.lab.queue.together import carry_out_all
from danlu.spec import resolve
from danlu.train.callbacks import Callback
from danlu.train.run import train
from tests.lab.queue import studies
from tests.lab.queue.here import Here
from tests.lab.queue.moments import Moments
from tests.lab.queue.population import Population
from tests.train import small

STEPS = 6


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def some(corpus: Path) -> list[Job]:
    return studies.jobs(corpus, 5, STEPS)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, some: list[Job]) -> Path:
    """The study whose jobs were carried out one by one."""
    folder = tmp_path_factory.mktemp("whole") / "studies"
    with pytest.MonkeyPatch.context() as patch:
        carried_out(folder, some, Population(), patch, most=1)
    return folder


def carried_out(
    studies_: Path,
    jobs: list[Job],
    population: Population,
    patch: pytest.MonkeyPatch,
    most: int = 64,
    retries: int = 0,
) -> tuple[list[Outcome], Here]:
    here = Here(most)
    patch.setitem(sys.modules, "danlu.train.population", population)  # type: ignore[arg-type]
    patch.setattr(queue, "make", lambda *_: here)
    with small.quick():
        return studies.carried_out(studies_, jobs, retries=retries), here


def test_jobs_behind_one_of_two_processes_do_not_take_its_workers(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Two(Here):
        """Two workers; one job ends at a time."""

        busy = 0

        def room(self, job: Job, wanted: int, jobs: int) -> int:
            return int(self.busy + job.processes <= 2)

        def start(self, some: Sequence[Start], code: str) -> None:
            super().start(some, code)
            self.busy += some[0].job.processes

        def events(self, seconds: float) -> list[Event]:
            one = self.events_.pop(0)
            self.busy -= 2 if one.job == pair.hash else 1
            return [one]

    here = Two(1)
    monkeypatch.setattr(queue, "make", lambda *_: here)
    a, b, c, d, other = studies.jobs(corpus, 5, STEPS)
    pair = replace(other, processes=2)
    with small.quick():
        studies.carried_out(tmp_path, [a, b, pair, c, d])
    assert here.started == [[0], [1], [4], [2], [3]]


def test_jobs_of_one_graph_are_one_task(
    tmp_path: Path, corpus: Path, some: list[Job], whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    population = Population()
    other = Job(resolve([*small.words(corpus, *studies.RUN), "train.steps=2", "train.seed=9"]))
    words = [*small.words(corpus, *studies.RUN), "train.steps=1", "train.seconds=1000"]
    timed = [Job(resolve([*words, f"train.seed={seed}"])) for seed in (7, 8)]
    outcomes, here = carried_out(tmp_path, [some[0], other, *some[1:], *timed], population, monkeypatch)
    assert here.started == [[0, 1, 2, 3, 4], [9], [7], [8]] and population.given == [[0, 1, 2, 3, 4]]
    assert [(one.tries, one.error) for one in outcomes] == [(1, None)] * 8
    for job in some:
        small.assert_same(studies.folder(job, tmp_path), studies.folder(job, whole))
    rows = read(tmp_path / JOURNAL)
    assert [row.get("together") for row in rows if row["event"] == "started"] == [5] * 5 + [None] * 3
    assert len({row["job"] for row in rows if row["event"] == "finished"}) == 8


def test_a_batch_that_fails_is_halved_until_who_is_at_fault_is_alone(
    tmp_path: Path, some: list[Job], whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def harm(seeds: list[int]) -> None:
        if 3 in seeds:
            raise MemoryError("out of memory")

    population = Population(harm=harm)
    outcomes, here = carried_out(tmp_path, some, population, monkeypatch)
    # In company seed 3 is the end of all; alone it is carried out by the trainer of one run. What happens in
    # company is not counted as a try of one's own, of which nobody has a second here.
    assert here.started == [[0, 1, 2, 3, 4], [0, 1, 2], [3, 4], [3], [4]]
    assert [outcome.error for outcome in outcomes] == [None] * 5
    assert [outcome.tries for outcome in outcomes] == [2, 2, 2, 3, 3]
    studies.check(tmp_path, some, whole)
    reasons = {row["reason"] for row in read(tmp_path / JOURNAL) if row["event"] == "lost"}
    assert reasons == {"out of memory"}


def test_one_that_diverges_takes_nobody_with_it(
    tmp_path: Path, corpus: Path, some: list[Job], whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = some[1].experiment
    optimizer = experiment.optimizer.model_copy(update={"lr": 1e30, "adamw_lr": 1e30})
    wild = Job(experiment.model_copy(update={"optimizer": optimizer}), name="wild")
    outcomes, here = carried_out(tmp_path, [some[0], wild, some[2]], Population(), monkeypatch)
    assert here.started == [[0, 1, 2]]
    assert [outcome.diverged for outcome in outcomes] == [False, True, False]
    assert json.loads((outcomes[1].folder / "failed.json").read_text())["kind"] == "diverged"
    for job in (some[0], some[2]):
        small.assert_same(studies.folder(job, tmp_path), studies.folder(job, whole))


@pytest.mark.parametrize(("kind", "told"), [("a GPU", 1), ("cpu", 0)])
def test_what_cannot_be_trained_together_is_carried_out_one_by_one(
    tmp_path: Path, some: list[Job], whole: Path, monkeypatch: pytest.MonkeyPatch, kind: str, told: int
) -> None:
    monkeypatch.setattr(Here, "kind", kind)
    population = Population(refuses="model.mixer = lru has no batched form")
    said: list[str] = []
    monkeypatch.setattr("danlu.lab.queue.table.Table.message", lambda _, text: said.append(text))
    outcomes, here = carried_out(tmp_path, some[:3], population, monkeypatch)
    assert here.started == [[0], [1], [2]] and not population.given
    assert [(outcome.tries, outcome.error) for outcome in outcomes] == [(1, None)] * 3
    assert [text.partition(" is trained alone, as all of its graph: ")[2] for text in said] == [
        "model.mixer = lru has no batched form"
    ] * told  # on a CPU little is lost
    if kind == "cpu":
        studies.check(tmp_path, some[:3], whole)


def test_who_is_done_or_under_way_elsewhere_is_left_out(
    tmp_path: Path, some: list[Job], whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the process that is to carry them out: the queue has looked before."""
    population = Population()
    monkeypatch.setitem(sys.modules, "danlu.train.population", population)  # type: ignore[arg-type]
    monkeypatch.setattr("danlu.lab.queue.together.PATIENCE", 0)
    tasks = [to_task(job, tmp_path / job.id, 1, loaded().tier_a) for job in some]
    with small.quick():
        assert carry_out_all(tasks[:1]).ends == ["finished"]
        (tmp_path / some[1].id).mkdir()
        with Lock(tmp_path / some[1].id / LOCK):
            ends = carry_out_all(tasks).ends
    assert ends == ["found", "left", "finished", "finished", "finished"]
    assert population.given == [[2, 3, 4]]
    assert carry_out_all([{**task, "code": "another"} for task in tasks]).ends == ["stale"] * 5


def test_an_orphan_that_saves_is_waited_for(
    tmp_path: Path, some: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else all that it had would be carried out one by one."""
    population = Population()
    monkeypatch.setitem(sys.modules, "danlu.train.population", population)  # type: ignore[arg-type]
    folders = [tmp_path / job.id for job in some]
    for folder in folders:
        folder.mkdir()
    held = [Lock(folder / LOCK) for folder in folders[:2]]
    monkeypatch.setattr(time, "sleep", lambda _: held and held.pop().release())  # it ends meanwhile
    tasks = [to_task(job, folder, 1, loaded().tier_a) for job, folder in zip(some, folders, strict=True)]
    with small.quick():
        assert carry_out_all(tasks).ends == ["finished"] * 5
    assert population.given == [[0, 1, 2, 3, 4]] and not held


class Dies(Callback):
    """In the update after the first checkpoint."""

    def before_update(self, run: Any) -> None:
        if run.state.saved:
            raise MemoryError


def test_those_that_stand_at_one_step_go_on_together(
    tmp_path: Path, some: list[Job], whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a batch that died some had a checkpoint; every one goes on from where it is."""
    population = Population()

    def harm(seeds: list[int]) -> None:
        population.harm = lambda seeds: None
        for job in some[:2]:
            with small.quick(), suppress(MemoryError):
                train(job.experiment, studies.folder(job, tmp_path), small.Told(), callbacks=[Dies()])
        raise MemoryError("out of memory")

    population.harm = harm
    outcomes, here = carried_out(tmp_path, some, population, monkeypatch)
    assert here.started == [[0, 1, 2, 3, 4], [0, 1], [2, 3, 4]]
    assert [outcome.error for outcome in outcomes] == [None] * 5
    studies.check(tmp_path, some, whole)


@pytest.mark.slow
def test_a_population_is_killed_and_its_members_go_on(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By danlu's own populations, in a worker: they go on together or alone, and each is the run that it is
    alone, but for rounding."""
    words = [*small.words(corpus, *studies.RUN), "model.dropout=0", f"train.steps={STEPS}", "optimizer=adamw"]
    some = [
        Job(resolve([*words, f"train.seed={seed}", f"optimizer.lr={lr}"]), name=f"seed-{seed}")
        for seed, lr in enumerate((1e-3, 2e-3, 4e-3))
    ]
    studies.carried_out(tmp_path / "whole", some, workers=1)
    monkeypatch.setenv(sizes.TOGETHER, "3")
    run = studies.folder(some[1], tmp_path / "studies")
    moments = Moments(tmp_path / "moments", monkeypatch, ("dies", f"{run}/checkpoints/step-4"))
    outcomes = studies.carried_out(tmp_path / "studies", some, workers=1, retries=0)
    assert all(moments.come) and [outcome.error for outcome in outcomes] == [None] * 3
    for job in some:
        one, other = (studies.folder(job, tmp_path / name) for name in ("studies", "whole"))
        assert [row["step"] for row in small.rows(one)] == [row["step"] for row in small.rows(other)]
        small.close(small.losses(one), small.losses(other), 1e-4)
    rows = read(tmp_path / "studies" / JOURNAL)
    assert [row.get("together") for row in rows if row["event"] == "started"][:3] == [3, 3, 3]
    assert Counter(row["event"] for row in rows)["lost"] == 3


def test_how_many_pay() -> None:
    """The notes' arithmetic: 64 to 256 of 0.6 GFLOP an update, a few of 140, none of 10 T and more."""
    assert 64 <= sizes.that_pay(0.58e9) <= 256
    assert 2 <= sizes.that_pay(1.4e11) <= 8
    assert sizes.that_pay(1e13) == 1
    found = [sizes.that_pay(10.0**power) for power in range(6, 16)]
    assert found == sorted(found, reverse=True) and max(found) <= sizes.MOST


@pytest.mark.parametrize("said", ["0", "-1", "many", "", "1.5"])
def test_a_wrong_number_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    monkeypatch.setenv(sizes.TOGETHER, said)
    with pytest.raises(LabError, match=r"DANLU_TOGETHER = .* allowed: 1, 2, …"):
        sizes.asked()


def test_on_a_cpu_small_ones_are_carried_out_together_in_fair_shares(
    tmp_path: Path, some: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    local, small = Local(2, tmp_path), some[0]
    shares = [local.room(small, *of) for of in ((1, 1), (2, 2), (5, 5), (5, 10), (99, 99))]
    assert shares == [1, 1, 3, 5, 8]  # wanted of one graph, of all jobs: two workers have half each
    large = Job(resolve("tiny"), name="large")
    assert local.room(large, 99, 99) == 1
    monkeypatch.setenv(sizes.TOGETHER, "4")
    assert [local.room(large, wanted, wanted) for wanted in (1, 2, 5, 99)] == [1, 1, 3, 4]
    monkeypatch.setenv(sizes.TOGETHER, "1")
    assert local.room(small, 99, 99) == 1
