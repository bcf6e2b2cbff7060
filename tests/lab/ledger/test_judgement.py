"""Which verdicts stand although so much was asked, and what the ledger says of itself."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Sequence
from typing import Any

import pytest
from scipy.stats import binomtest

from danlu.lab.ledger import Entry, control, judge
from danlu.lab.statistics import evidence, p_value
from danlu.lab.statistics.online import discoveries, needed

IN_REGIME: dict[str, Any] = {"updates": 2100, "early": []}


def entry(id: str, **changed: Any) -> Entry:
    said: dict[str, Any] = {
        "id": id, "date": "2026-11-28", "idea": id, "on": "nano", "statement": "s", "verdict": "better",
        "seeds": 5, "regime": IN_REGIME, "evidence": [f"studies/{id}"], "family": "attention",
    }  # fmt: skip
    return Entry.model_validate(said | changed)


def test_each_question_counts_from_when_it_was_asked() -> None:
    least = needed(3)
    late = [entry("a", verdict="asked"), entry("b", verdict="void"), entry("c", e=1.001 * least)]
    assert control(late) == {"c": "stands"}
    assert control([entry("z", verdict="not shown"), *late]) == {"c": "alone"}  # one more was asked before
    assert control([*late, *(entry(f"z{i}") for i in range(100))])["c"] == "stands"  # later ones cost nothing


def test_discoveries_help_each_other() -> None:
    values = [needed(1, 2), needed(2, 2), needed(3, 2)]
    found = [entry(f"i{t}", e=1.001 * value) for t, value in enumerate(values, 1)]
    assert set(control(found).values()) == {"stands"}
    assert control(found[:2]) == {"i1": "interval only", "i2": "alone"}


@pytest.mark.parametrize("verdict", ["not shown", "asked", "void"])
def test_what_claims_nothing_cannot_be_false(verdict: str) -> None:
    assert control([entry("a", verdict=verdict, e=1e9)]) == {}
    # nor does it help others
    assert control([entry("a", verdict=verdict, e=1e9), entry("b", e=1.001 * needed(2, 1))]) == {"b": "alone"}


def test_alone_is_what_would_stand_as_the_only_question() -> None:
    """Of each verdict: the word is that of a ledger that holds nothing else."""
    asked = entry("z", verdict="asked")
    for e, only in (1.001 * needed(1), "stands"), (0.999 * needed(1), "interval only"):
        assert control([entry("a", e=e)]) == {"a": only}
    assert control([asked, entry("a", e=1.001 * needed(1))]) == {"a": "alone"}
    assert control([asked, entry("a", e=0.999 * needed(1))]) == {"a": "interval only"}
    none = [entry("a"), entry("b", e=0.0)]
    assert set(control(none).values()) == {"interval only"} and judge(none).interval_only == ("a", "b")


@pytest.mark.parametrize("verdict", ["equivalent", "scale-bound"])
@pytest.mark.parametrize("e", [0.554, 1e9])
def test_evidence_against_no_difference_is_none_for_what_does_not_deny_it(verdict: str, e: float) -> None:
    assert control([entry("a", verdict=verdict, e=e)]) == {"a": "interval only"}
    # nor does it help others
    assert control([entry("a", verdict=verdict, e=e), entry("b", e=1.001 * needed(2, 1))])["b"] == "alone"


def test_more_seeds_are_the_same_question_and_count_as_it_stands_now() -> None:
    first = entry("a", e=1e9, seeds=3)
    more = first.model_copy(update={"id": "a-2", "e": 1.0, "seeds": 9, "supersedes": ("a",)})
    assert control([first, more]) == {
        "a": "interval only",
        "a-2": "interval only",
    }  # never the largest on the way
    fewer = first.model_copy(update={"id": "a-3", "e": 1e9, "seeds": 4})
    assert control([first, more, fewer])["a-3"] != "stands"  # nor that of a number of seeds that one likes
    assert judge([first, more, fewer]).asked == 1


@pytest.mark.parametrize(
    "again",
    [{"code": "another"}, {"regime": {"updates": 4000}}, {"evidence": ("studies/b",)}, {"sets": {"x": 2}}],
)
def test_another_try_is_another_question(again: dict[str, Any]) -> None:
    """Whoever runs an idea by ever other code until it wins has asked as often."""
    tries = [
        Entry.model_validate(
            entry("a", sets={"x": 1}, code="c").written()
            | {"id": f"a-{i}", "e": 0.5}
            | ({name: f"{value}{i}" for name, value in again.items() if name == "code"})
            | ({"regime": {"updates": 4000 + i}} if "regime" in again else {})
            | ({"evidence": [f"studies/b{i}"]} if "evidence" in again else {})
            | ({"sets": {"x": i}} if "sets" in again else {})
        )
        for i in range(20)
    ]
    lucky = tries[-1].model_copy(update={"e": 0.999 * needed(20)})
    assert judge(tries).asked == 20
    assert control([*tries[:-1], lucky])["a-19"] == "alone"
    assert control([*tries[:-1], lucky.model_copy(update={"e": 1.001 * needed(20)})])["a-19"] == "stands"


def test_a_result_found_again_in_another_study_is_no_further_discovery() -> None:
    value = 1.001 * needed(1)
    same = [entry(f"a-{i}", idea="a", e=value, effect=-0.1, evidence=[f"studies/{i}"]) for i in range(9)]
    assert judge(same).asked == 1
    late = entry("b", e=1.001 * needed(2, 1))
    assert control([*same, late])["b"] == "stands"
    assert control([*same, late.model_copy(update={"e": 0.999 * needed(2, 1)})])["b"] == "alone"


def test_a_session_of_questions_without_an_answer_seldom_finds_one() -> None:
    """100 ideas that change nothing, five pairs each: at α = .1 at most a tenth of the sessions keeps one
    that stands; verdicts on their own are false in nearly all."""
    chance, sessions = random.Random(0), 300
    stand = alone = 0
    for _ in range(sessions):
        entries = []
        for i in range(100):
            pairs = [chance.gauss(0, 1) for _ in range(5)]
            verdict = "better" if p_value(pairs) < 0.05 and sum(pairs) < 0 else "not shown"
            entries.append(entry(f"i{i}", verdict=verdict, e=evidence(pairs)))
        said = set(control(entries).values())
        stand += "stands" in said
        alone += bool(said)
    limit = 0.1 + 3 * math.sqrt(0.1 * 0.9 / sessions)
    assert stand / sessions <= limit and alone / sessions > 0.8


def test_shares_are_wilsons_and_an_idea_counts_once() -> None:
    entries = [
        entry("won"), entry("won-2", idea="won", at="time"),
        entry("mixed"), entry("mixed-2", idea="mixed", on="tiny", verdict="worse"),
        entry("early", regime={"updates": 3, "early": ["3 updates"]}),
        entry("old", regime=None), entry("open", verdict="asked", regime=None),
        entry("lost", verdict="not shown", family="norm"),
    ]  # fmt: skip
    found = {row.family: row for row in judge(entries).success}
    whole = found["all"]
    assert (whole.asked, whole.worked.count, whole.worked.of) == (6, 1, 3)
    assert (found["norm"].asked, found["norm"].worked.count, found["norm"].worked.of) == (1, 0, 1)
    expected = binomtest(1, 3).proportion_ci(method="wilson")
    assert (whole.worked.low, whole.worked.high) == pytest.approx((expected.low, expected.high))
    assert judge(entries).verdicts["better (early)"] == 1


def rungs(*gains: float) -> dict[str, Any]:
    return {"rungs": [{"value": gain, "flops": 4.0**i} for i, gain in enumerate(gains)]}


def test_how_often_the_bottom_rung_decided_as_the_top() -> None:
    entries = [
        entry("a", **rungs(1.1, 0.9, 1.05)), entry("b", **rungs(1.1, 0.97), family="norm"),
        entry("c", **rungs(0.8, 0.9)), entry("d", **rungs(1.3)), entry("e", **rungs(1.0, 1.2)),
        entry("f", **rungs(1.1, 1.2), verdict="void"), entry("g"),
    ]  # fmt: skip
    found = judge(entries).accuracy
    assert {name: (share.count, share.of) for name, share in found.items()} == {
        "all": (2, 3), "attention": (2, 2), "norm": (0, 1),
    }  # fmt: skip
    assert judge([entry("g")]).accuracy == {}


def gain(ln: float, error: float) -> dict[str, Any]:
    ends = [math.exp(ln + reach * error) for reach in (0, -1.959964, 1.959964)]
    return {"gain": dict(zip(("value", "low", "high"), ends, strict=True))}


def test_a_gain_is_shrunken_among_those_of_its_family() -> None:
    few = judge([entry("a", **gain(0.1, 0.05))]).gains
    assert [one.raw.value for one in few] == [pytest.approx(math.exp(0.1))]
    assert math.log(few[0].left.value) == pytest.approx(0.05)  # τ = .05 below eight ideas, here se too
    assert math.log(few[0].left.high or 0) == pytest.approx(0.05 + 1.959964 * 0.05 / math.sqrt(2))
    values = [0.3, -0.3] * 4  # τ² = .09 − .01
    many = judge([entry(f"i{i}", **gain(v, 0.1)) for i, v in enumerate(values)])
    assert [math.log(one.left.value) for one in many.gains] == pytest.approx(
        sorted((v * 0.08 / 0.09 for v in values), reverse=True)
    )
    assert judge([entry("a", gain={"value": 1.1, "low": 1.0})]).gains == ()  # an end is not known


def test_what_the_next_question_needs() -> None:
    entries = [entry("a", e=1e6), entry("b", e=2.0)]
    found = judge(entries)
    assert (
        found.stand == ("a",)
        and found.interval_only == ("b",)
        and found.needed == pytest.approx(needed(3, 1))
    )
    enough = control([*entries, entry("c", e=1.001 * found.needed)])
    assert enough["c"] == "stands" and control([*entries, entry("c", e=0.999 * found.needed)])["c"] == "alone"
    best = evidence([1.0] * found.pairs)
    assert best >= found.needed > evidence([1.0] * (found.pairs - 1))


def test_the_control_is_online_e_bh_of_the_questions() -> None:
    chance = random.Random(1)
    for _ in range(50):
        values = [chance.choice([0.0, 10 ** chance.uniform(0, 5)]) for _ in range(30)]
        said = control([entry(f"i{i}", e=value) for i, value in enumerate(values)])
        assert [said[f"i{i}"] == "stands" for i in range(30)] == discoveries(values)


def test_it_is_json() -> None:
    entries: Sequence[Entry] = [entry("a", e=9.0, **gain(0.1, 0.05), **rungs(1.1, 1.2)), entry("b")]
    said = judge(entries).json()
    assert json.loads(json.dumps(said, allow_nan=False))["asked"] == 2
    assert judge([]).json()["asked"] == 0
