"""The book of claims: every claim can be read, run and judged, and costs little."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any

import pytest

from danlu.lab import measures
from danlu.lab.claims import book, experiment
from danlu.lab.claims.again import again
from danlu.lab.claims.claim import CHAPTERS
from danlu.lab.claims.results import SHELF, kept, mark_of
from danlu.lab.errors import LabError
from danlu.lab.queue import Job

COSTS = 2500  # seconds on two cores, at most: what the seeds take that their spreads ask for
NAMES = book.names()


@cache
def plan(name: str) -> dict[tuple[str, int], dict[Any, Job]]:
    """With one seed; raises where an arm does not make an experiment."""
    return experiment.plan(book.claim(name), seeds=1)


def test_every_chapter_has_claims() -> None:
    chapters = [claim.chapter for claim in book.claims().values()]
    assert len(chapters) >= 40 and set(chapters) == set(CHAPTERS)


@pytest.mark.parametrize("name", NAMES)
def test_every_arm_makes_an_experiment_and_the_measure_exists(name: str) -> None:
    claim = book.claim(name)
    assert set(plan(name)) == {(arm, 0) for arm in claim.arms}
    for arm in claim.arms:
        (job, *_) = plan(name)[arm, 0].values()
        metrics = job.experiment.objective.metrics
        for wanted in experiment.wanted(claim, arm):
            measures.measure(wanted, metrics)  # raises where there is none of that name


@pytest.mark.parametrize("name", NAMES)
def test_no_two_arms_are_the_same(name: str) -> None:
    """Equal runs that are measured alike have an effect of zero."""
    claim = book.claim(name)
    arms = {
        (*(job.hash for job in plan(name)[arm, 0].values()), claim.measure_of(arm), arm in claim.tuned)
        for arm in claim.contrast
    }
    assert len(arms) == len(claim.contrast)


@pytest.mark.parametrize("name", [name for name in NAMES if len(book.claim(name).contrast) > 1])
def test_weights_that_do_not_sum_to_zero_are_refused(name: str) -> None:
    written = book.claim(name).model_dump(mode="json", exclude_none=True)
    assert book.read(written, name) == book.claim(name)
    arm = next(iter(written["contrast"]))
    written["contrast"][arm] += 0.5
    with pytest.raises(LabError, match=r"the weights sum to 0\.5; those"):
        book.read(written, name)


@pytest.mark.parametrize("name", NAMES)
def test_a_claim_costs_little_or_says_what_it_needs(name: str) -> None:
    claim = book.claim(name)
    assert claim.needs is not None or experiment.estimate(claim) <= COSTS


@pytest.mark.parametrize("name", NAMES)
def test_a_claim_can_be_run_and_stands_on_claims_that_are_there(name: str) -> None:
    claim = book.claim(name)
    experiment.check(claim)
    for of, base in book.with_bases({name: claim}).items():
        assert of == name or (base.on, base.unit) == (claim.on, claim.unit)


@pytest.mark.parametrize("name", NAMES)
def test_runs_are_bounded_by_steps_and_not_compiled(name: str) -> None:
    for runs in plan(name).values():
        for job in runs.values():
            train = job.experiment.train
            assert train.steps and not train.seconds and not train.compile


def test_kept_results_are_of_the_book_and_bear_their_mark() -> None:
    claims, shelf = book.claims(), resources.files("danlu") / "catalog" / SHELF
    files = [entry.name for entry in shelf.iterdir()]
    found = kept(claims)
    assert sorted(files) == sorted(f"{name}.json" for name in found)
    for name, result in found.items():
        assert result.name == name and result.mark == mark_of(result.claim), name


def test_kept_verdicts_are_what_the_formulas_say_of_their_effects() -> None:
    """Where one is not, ``danlu prove --write docs/claims.md --results danlu/catalog/results`` judges them
    all again, in a second."""
    claims = book.claims()
    assert [name for name, result in kept(claims).items() if again(claims[name], result) is not result] == []
