"""What ``danlu prove`` says, in Chinese: verdicts, effects, units, and why there is no verdict."""

from __future__ import annotations

import math

import pytest

from danlu.cli import prove
from danlu.draw.phrases import chinese
from danlu.lab.claims import book
from danlu.lab.claims.checks import Grounds
from danlu.lab.claims.claim import Claim
from danlu.lab.claims.page import effect, reading
from danlu.lab.claims.results import kept
from danlu.lab.claims.rules import Rule
from tests.chinese import left, numbers
from tests.lab.claims.small import result


def test_every_unit_of_the_book_has_its_chinese() -> None:
    units = {claim.unit for claim in book.claims().values()}
    assert left(map(chinese, units), ("score", "grade")) == []


def test_every_premise_of_the_book_has_its_chinese() -> None:
    names = {premise.name for claim in book.claims().values() for premise in claim.premises}
    assert [name for name in names if chinese(name) == name] == []


def test_every_premise_that_is_kept_and_what_the_interval_says() -> None:
    """The numbers are those of the English."""
    claims: dict[str, Claim] = book.claims()
    for name, one in kept(claims).items():
        for premise in one.premises:
            assert numbers(chinese(premise.said)) == numbers(premise.said)
            assert "it must lie" not in chinese(premise.said)
        said = reading(claims[name], one).removesuffix(claims[name].reading)
        assert "interval" not in chinese(said.rstrip())


def test_every_verdict_and_effect_that_is_kept() -> None:
    """The numbers are those of the English."""
    claims: dict[str, Claim] = book.claims()
    for one in kept(claims).values():
        for said in (one.said, effect(one)):
            assert numbers(chinese(said)) == numbers(said) and left([chinese(said)]) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"verdict": "holds", "early": ["x"], "weak": True}, "成立（早期，偏弱）"),
        ({"verdict": "does not hold", "early": [], "weak": False}, "不成立"),
        ({"verdict": "not run"}, "未运行"),
        ({"verdict": "void"}, "作废"),
    ],
)
def test_verdicts(changes: dict[str, object], said: str) -> None:
    assert chinese(result(**changes).said) == said


def test_why_there_is_none() -> None:
    """What a premise says of the numbers of an arm, for each kind of rule and side."""
    grounds = Grounds.__new__(Grounds)
    object.__setattr__(grounds, "margin", 0.5)
    for rule in (Rule(above=0.3), Rule(below=0.3), Rule(within=(0.1, 0.2)), Rule(within="margin")):
        for values in ([0.1, 0.2, 0.3], [0.25], [math.nan, 1.0], [0.3, 0.3, 0.3]):
            _, said = grounds._one(rule, values, "loss of base")
            line = f"danlu: a-claim: learned: {said}"
            assert numbers(chinese(line)) == numbers(line), chinese(line)
            assert left([chinese(line)], ("danlu", "a-claim", "learned", "loss of base")) == []
    for meaning in prove.BESIDE.items():
        assert left([chinese(": ".join(meaning))]) == []
