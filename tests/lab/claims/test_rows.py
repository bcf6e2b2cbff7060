"""Rows of optimisation and scale: each has its claims, and what they compare is what they say."""

from __future__ import annotations

import re
from itertools import combinations

import pytest

from danlu.lab.claims import book, experiment
from danlu.spec import Experiment
from danlu.train.plan import Plan

ROWS = [*(f"O{row}" for row in range(1, 13)), "O15", "O16", *(f"S{row}" for row in range(4, 10))]
BOOK = book.claims()
OWN = [name for name, claim in BOOK.items() if set(claim.rows) & set(ROWS)]


@pytest.mark.parametrize("row", ROWS)
def test_a_row_has_a_claim(row: str) -> None:
    assert any(row in claim.rows for claim in BOOK.values())


@pytest.mark.parametrize("name", OWN)
def test_a_source_can_be_looked_up(name: str) -> None:
    """An author and a year, and where to find the text."""
    assert re.search(r"[A-Z].* (19|20)\d\d\b", BOOK[name].source)


@pytest.mark.parametrize("name", [name for name in OWN if "equal tokens" in BOOK[name].statement])
def test_arms_read_equal_tokens_where_the_statement_says_so(name: str) -> None:
    plan = experiment.plan(BOOK[name], seeds=1)
    assert len({tokens(job.experiment) for runs in plan.values() for job in runs.values()}) == 1


def test_no_two_claims_ask_the_same() -> None:
    def asked(name: str) -> tuple[object, ...]:
        claim = BOOK[name]
        runs = {
            (arm, claim.measure_of(arm), claim.contrast[arm], point, job.id)
            for (arm, _), points in experiment.plan(claim, seeds=1).items()
            for point, job in points.items()
            if arm in claim.contrast
        }
        return {run[1:] for run in runs}, claim.of, claim.scale, claim.holds, claim.tuned

    questions = {name: asked(name) for name in OWN}
    assert not [pair for pair in combinations(OWN, 2) if questions[pair[0]] == questions[pair[1]]]


def tokens(s: Experiment) -> int:
    """What a run that steps bound reads, update by update."""
    plan, read = Plan(s.train, s.data.context), 0
    for step in range(s.train.steps or 0):
        read += plan.at(step, read, plan.progress(step, read)).batch
    return read
