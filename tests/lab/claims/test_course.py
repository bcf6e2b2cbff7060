"""The course of a claim: what runs first, is spared, is void, is planned."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from danlu.lab.claims import proof, seen
from danlu.lab.claims.checks import AGAIN
from danlu.lab.claims.claim import Claim
from danlu.lab.claims.results import Result, mark_of
from danlu.lab.errors import LabError
from danlu.lab.tuning import FIRST_SEED
from tests.lab.claims.small import OVER, Runs, claim, result

OCTAVES = {"value": 2.0, "why": "two octaves"}
SEVERAL = {"less": "model.layers=1", "more": "", "wide": "model.width=32"}


@pytest.fixture(autouse=True)
def what_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def value(outcome: Any, name: str) -> float:
        if name == "seconds":
            return 1.0
        return float(
            outcome.summary["metric"]["value"] if name == "bits_per_byte" else outcome.measures[name]
        )

    monkeypatch.setattr(proof, "value", value)
    monkeypatch.setattr(seen, "value", value)


def noise(seed: int) -> float:
    """In [−.1, .1], the same for both arms."""
    return 0.1 * math.sin(seed)


def law(e: Any) -> dict[str, float]:
    """A layer is worth a bit; one seed of an arm is .05 better or worse than its twin."""
    own = 0.05 * math.sin(7 * e.train.seed + e.model.layers)
    value = 5 - e.model.layers + noise(e.train.seed) + own
    return {
        "increment": value, "metric": value, "kurtosis": 1.0, "weight-rms": 2.0, "at-start": 8.0,
    }  # fmt: skip


def proved(
    one: Claim, measure: Any = law, known: dict[str, Result] | None = None, **more: Any
) -> tuple[Result, Runs]:
    queue = Runs(measure)
    (found,) = proof.prove({"it": one}, queue, known=known, **more)
    return found, queue


def premise(**said: Any) -> list[dict[str, Any]]:
    return [{"name": "p", "rule": {"above": 0}} | said]


def test_a_claim_whose_premise_holds_is_judged() -> None:
    found, queue = proved(claim(holds={"above": 0}))
    assert (found.verdict, found.early, found.weak, found.margin) == ("holds", [], False, 0.5)
    assert found.effects == pytest.approx([2.0] * 3, abs=0.11) and found.looks == [3]
    assert [one.held for one in found.premises] == [True]
    assert found.needed == 3 and found.spread == 0.1 and [at for at, _ in found.severity] == [0.5, 1.0]
    assert len(queue.asked) == found.runs == 6


# ------------------------------------------------------------ premises


def test_a_premise_that_fails_makes_it_void_and_spares_the_other_arms() -> None:
    found, queue = proved(claim(premises=premise(arm="more", measure="kurtosis", rule={"above": 2})))
    assert found.verdict == "void" and found.effects == [] and found.failed == []
    assert found.why == ["p: kurtosis of more is 1; it must lie above 2"]
    assert {job.experiment.model.layers for job in queue.asked} == {3} and len(queue.asked) == 3


def test_a_premise_on_all_arms_is_judged_when_all_have_run() -> None:
    several = premise(arms="all", measure="increment", rule={"below": 3})
    found, queue = proved(claim(premises=several))
    assert found.verdict == "void" and len(queue.asked) == 6
    assert "increment of less" in found.why[0] and "of more" not in found.why[0]


def test_one_arm_of_several_may_be_enough() -> None:
    any_of = premise(arms="any", measure="increment", rule={"below": 3})
    found, _ = proved(claim(premises=any_of))
    assert found.verdict == "does not hold"
    none = premise(arms="any", measure="increment", rule={"below": 1})
    assert proved(claim(premises=none))[0].verdict == "void"


def test_a_control_is_run_but_not_compared() -> None:
    control = premise(contrast={"wide": 1, "more": -1}, measure="weight-rms", rule={"within": [-1, 1]})
    found, queue = proved(claim(arms=SEVERAL, premises=control))
    assert found.verdict == "does not hold" and set(found.values) == {"less", "more"}
    assert {job.experiment.model.width for job in queue.asked} == {32, 64}


def test_a_control_that_is_not_seen_makes_it_void() -> None:
    """The bed does not tell an effect that is known: before the other arm has run."""
    control = premise(contrast={"wide": 1, "more": -1}, rule={"below": -0.1})
    found, queue = proved(claim(arms=SEVERAL, premises=control))
    assert found.verdict == "void" and "+ wide − more".lstrip("+ ") in found.why[0]
    assert not any(job.experiment.model.layers == 1 for job in queue.asked)


def test_an_arm_against_itself_is_run_with_other_seeds() -> None:
    again = premise(again="more", rule={"within": "margin"})
    found, queue = proved(claim(premises=again))
    assert found.verdict == "does not hold" and found.premises[0].held
    seeds = sorted(job.experiment.train.seed for job in queue.asked if job.experiment.model.layers == 3)
    assert seeds == [0, 1, 2, AGAIN, AGAIN + 1, AGAIN + 2]
    without = [{"name": "p", "again": "more"}]
    assert "against itself with other seeds is" in proved(claim(premises=without))[0].premises[0].said
    shifted, _ = proved(
        claim(premises=without), lambda e: law(e) | {"increment": float(e.train.seed >= AGAIN)}
    )
    assert shifted.verdict == "void"
    narrow = claim(premises=again, margin={"value": 0.001, "why": "too little"}, sd=0.0001)
    assert proved(narrow)[0].verdict == "void"


def test_a_premise_may_be_about_a_point_or_all_of_them() -> None:
    def by_rate(e: Any) -> dict[str, float]:
        return law(e) | {"kurtosis": 1000 * e.optimizer.lr}

    somewhere = premise(arm="more", measure="kurtosis", at=4e-3, rule={"above": 3})
    assert proved(claim(**OVER, premises=somewhere), by_rate)[0].verdict != "void"
    everywhere = premise(arm="more", measure="kurtosis", rule={"above": 3})
    found, _ = proved(claim(**OVER, premises=everywhere), by_rate)
    assert found.why == ["p: kurtosis of more at 0.001 is 1; it must lie above 3"]


def test_a_contrast_may_be_of_one_point_and_of_two_measures() -> None:
    def by_rate(e: Any) -> dict[str, float]:
        return law(e) | {"kurtosis": 1000 * e.optimizer.lr, "max-logit": 5.0}

    said = {
        "contrast": {"less": 1, "more": -1},
        "at": 4e-3,
        "measure": {"less": "kurtosis", "more": "max-logit"},
    }
    for rule, verdict in (({"within": [-1.1, -0.9]}, "not shown"), ({"above": 0}, "void")):
        one = claim(**OVER, premises=premise(**said, rule=rule), sd=0.01)
        assert proved(one, by_rate)[0].verdict == verdict
    with pytest.raises(LabError, match=r"at = 0\.005 is none of the points"):
        proved(claim(**OVER, premises=premise(**said | {"at": 5e-3}, rule={"above": 0})))


def test_the_regime_may_be_a_condition() -> None:
    short = [{"name": "regime", "updates": {"above": 2000}}]
    found, _ = proved(claim(premises=short))
    assert found.verdict == "void" and found.why == ["regime: updates 1; asked: above 2000"]
    met = [{"name": "regime", "tokens_per_parameter": {"above": 20}, "whole_schedule": True}]
    assert proved(claim(premises=met))[0].verdict == "does not hold"


def test_without_the_condition_it_is_early() -> None:
    found, _ = proved(claim(timeless=None, tune={}), bowl)
    assert found.verdict == "does not hold" and "1 updates (2,000 are needed)" in found.early
    assert found.said == "does not hold (early)" and found.regime["updates"] == 1


# ------------------------------------------------------------ tuning


def bowl(e: Any) -> dict[str, float]:
    """The best rate of fewer layers is higher by two octaves; there a layer is worth a bit."""
    best = 6e-3 * 2 ** (2 if e.model.layers == 1 else 0)
    return {name: value + 0.05 * math.log2(e.optimizer.lr / best) ** 2 for name, value in law(e).items()}


def test_each_arm_is_run_at_its_own_best_after_equal_trials() -> None:
    found, queue = proved(claim(tune={}), bowl)
    assert {arm: one.value for arm, one in found.tuned.items()} == {
        "less": pytest.approx(2.4e-2, rel=0.1), "more": pytest.approx(6e-3, rel=0.1),
    }  # fmt: skip
    compared = [job.experiment for job in queue.asked if job.experiment.train.seed < FIRST_SEED]
    assert {e.optimizer.lr for e in compared if e.model.layers == 1} == {found.tuned["less"].value}
    assert {one.trials for one in found.tuned.values()} == {found.trials} and found.trials > 10
    assert found.regime["tuned"] is True


def test_an_arm_that_needs_no_search_is_left_as_it_is() -> None:
    one = claim(
        tune={"arms": ["more"]}, arms={"less": "model.layers=1 optimizer=amos schedule=constant", "more": ""}
    )
    found, queue = proved(one, lambda e: bowl(e) if e.optimizer.kind == "adamw" else law(e))
    assert set(found.tuned) == {"more"} and found.verdict == "does not hold"
    assert not any(
        job.experiment.train.seed >= FIRST_SEED for job in queue.asked if job.experiment.model.layers == 1
    )
    with pytest.raises(LabError, match="cannot be tuned"):
        proved(
            claim(tune={}, arms={"less": "model.layers=1 optimizer=amos schedule=constant", "more": ""}),
            bowl,
        )


def test_an_arm_that_cannot_be_tuned_makes_it_void_before_the_pairs() -> None:
    found, queue = proved(claim(tune={}), law)  # no rate is better than another
    assert found.verdict == "void" and "optimizer.lr is untuned" in found.why[0]
    assert all(job.experiment.train.seed >= FIRST_SEED for job in queue.asked)


def test_a_premise_on_one_arm_spares_the_tuning_of_the_other() -> None:
    one = claim(tune={}, premises=premise(arm="more", measure="kurtosis", rule={"above": 100}))
    found, queue = proved(one, bowl)
    assert found.verdict == "void" and {job.experiment.model.layers for job in queue.asked} == {3}


# ------------------------------------------------------------ points


def test_a_best_at_the_border_extends_the_points() -> None:
    inside = [{"name": "tuned", "over": "optimizer.lr", "extend": 3}]
    one = claim(**OVER | {"of": "argbest", "holds": {"above": 0}, "premises": inside, "margin": OCTAVES})
    found, _ = proved(one, lambda e: bowl(e) if e.optimizer.lr < 1 else "out of memory")
    assert found.verdict == "holds" and found.effects == pytest.approx([2.0] * 3, abs=0.01)
    assert list(found.measured["less"])[:3] == ["0.001", "0.002", "0.004"]
    assert len(found.measured["less"]) == 7  # up to 6.4e-2


def test_the_points_of_a_control_grow_too_and_those_of_the_first_seeds() -> None:
    """Both arms have their best inside; the control's is two octaves above the last point. Without a spread
    that is known three of four seeds go first."""
    inside = [{"name": "tuned", "over": "optimizer.lr"}]
    control = premise(contrast={"wide": 1, "more": -1}, rule={"above": 1})

    def law_of_rates(e: Any) -> dict[str, float]:
        best = 1.6e-2 if e.model.width == 32 else 2e-3
        noise_of_seed = 0.001 * math.sin(5 * e.train.seed + e.model.layers)
        return law(e) | {"increment": 2 + 0.05 * math.log2(e.optimizer.lr / best) ** 2 + noise_of_seed}

    asked = OVER | {"of": "argbest", "arms": SEVERAL, "premises": inside + control, "margin": OCTAVES}
    found, _ = proved(claim(**asked, holds={"within": "margin"}, sd=None, seeds=4), law_of_rates)
    assert found.verdict == "holds" and [one.held for one in found.premises] == [True, True]
    assert len(found.measured["less"]) == 7 and found.spread is not None and found.spread < 0.01


def test_a_best_at_the_border_makes_it_void_where_nothing_extends() -> None:
    found, _ = proved(claim(**OVER | {"of": "argbest", "margin": OCTAVES}), bowl)
    assert found.verdict == "void" and "less: the lowest loss is at the high border" in found.why[0]


def test_sensitivity_needs_no_value_for_what_diverged() -> None:
    def measure(e: Any) -> Any:
        return "the loss is nan" if e.model.layers == 1 and e.optimizer.lr > 3e-3 else bowl(e)

    one = claim(**OVER | {"of": "sensitivity", "measure": "bits_per_byte", "holds": {"above": 0}})
    queue = Runs(measure, diverged=True)
    (found,) = proof.prove({"it": one}, queue)
    assert found.verdict == "holds" and found.diverged == 3 and all(map(math.isfinite, found.effects))


def test_a_ceiling_that_no_arm_reaches_makes_it_void() -> None:
    flat = claim(**OVER | {"of": "ceiling", "slack": 9.0, "measure": "bits_per_byte"})
    found, _ = proved(flat)
    assert found.verdict == "void" and "no arm leaves the plateau" in found.why[0]


@pytest.mark.parametrize(
    "read", [{"arm": "more", "of": "ceiling", "rule": {"above": -20}}, {"again": "more", "rule": None}]
)
def test_a_ceiling_of_one_arm_waits_for_all_that_are_compared(read: dict[str, Any]) -> None:
    """It is counted from the best of all arms: at the best point each loses .3 for each layer and octave."""

    def tent(e: Any) -> dict[str, float]:
        return law(e) | {"metric": 2 + 0.3 * e.model.layers * abs(math.log2(e.optimizer.lr / 2e-3))}

    asked = OVER | {"of": "ceiling", "slack": 0.15, "measure": "bits_per_byte", "holds": {"above": 0}}
    found, _ = proved(claim(**asked, premises=premise(**read)), tent)
    assert found.verdict == "holds" and [one.held for one in found.premises] == [True]
    # .15 above the lowest: half an octave beyond 2e-3 with one layer, a sixth with three
    assert found.effects == pytest.approx([1 / 2 - 1 / 6] * 3)


# ------------------------------------------------------------ margins, power, looks


def test_too_few_seeds_are_refused_before_anything_runs_where_the_spread_is_stated() -> None:
    found, queue = proved(claim(sd=1.0))
    assert (found.verdict, found.failed, found.looks) == ("not run", [], []) and queue.asked == []
    assert found.needed is not None and f"set seeds: {found.needed}" in found.why[0]


def test_the_spread_of_the_first_seeds_plans_the_others() -> None:
    """Six seeds are asked for. The arm that a premise reads runs with all, the other with three; their spread
    is kept, and the next time nothing runs."""

    def loud(e: Any) -> dict[str, float]:
        return law(e) | {"increment": 0.4 * e.model.layers * math.sin(9 * e.train.seed)}

    found, queue = proved(claim(sd=None, seeds=6), loud)
    less = [job.experiment.train.seed for job in queue.asked if job.experiment.model.layers == 1]
    assert found.verdict == "not run" and sorted(less) == [0, 1, 2]
    assert found.spread is not None and found.spread > 0.4
    again, queue = proved(claim(sd=None, seeds=6), loud, {"it": found})
    assert again == found and queue.asked == []
    enough, _ = proved(claim(sd=None, seeds=found.needed), loud, {"it": found})
    assert enough.verdict != "not run" and enough.first == found.first


def test_a_margin_may_be_a_share_of_a_known_effect() -> None:
    base = claim(holds={"above": 0})
    known, _ = proved(base)
    one = claim(margin={"of": "base", "share": 0.25}, arms={"less": "model.layers=2", "more": ""})
    found, _ = proved(one, known={"base": replace(known, name="base")})
    assert found.margin == pytest.approx(abs(known.effect[0]) / 4) == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize(
    ("changes", "verdict", "said"),
    [
        (None, "not run", "which was not run: danlu prove base"),
        ({"verdict": "void"}, "not run", "which is void"),
        ({"effect": (0.5, -0.1, 1.1)}, "void", "that may be none"),
        ({"claim": {"on": "tiny", "unit": "bits per byte"}}, "not run", "another bed or unit"),
    ],
)
def test_an_effect_that_is_not_known_is_no_measure(changes: Any, verdict: str, said: str) -> None:
    one = claim(margin={"of": "base", "share": 0.25})
    known = {} if changes is None else {"base": result(name="base", **changes)}
    found, queue = proved(one, known=known)
    assert found.verdict == verdict and said in found.why[0] and queue.asked == []


def test_of_two_claims_the_one_whose_effect_is_the_measure_comes_first() -> None:
    claims = {"share": claim(margin={"of": "base", "share": 0.25}), "base": claim(holds={"above": 0})}
    found = list(proof.prove(claims, Runs(law)))
    assert [one.name for one in found] == ["base", "share"] and found[1].margin is not None


def test_margins_that_go_round_in_a_circle_are_refused() -> None:
    claims = {"a": claim(margin={"of": "b", "share": 0.2}), "b": claim(margin={"of": "a", "share": 0.2})}
    with pytest.raises(LabError, match="a → b → a"):
        next(proof.prove(claims, Runs(law)))


def test_what_compute_is_worth_is_the_slope_of_the_baseline() -> None:
    """A loss of 3 − .2·ln C: 2 % more compute are worth .2·ln 1.02 bits."""

    def by_steps(e: Any) -> dict[str, float]:
        return law(e) | {"metric": 3 - 0.2 * math.log(e.train.steps) + noise(e.train.seed) + e.model.layers}

    one = claim(
        on="nano train.steps=400", measure="bits_per_byte", margin={"cec": 1.02, "arm": "more"}, sd=1e-3,
    )  # fmt: skip
    found, queue = proved(one, by_steps)
    assert found.margin == pytest.approx(0.2 * math.log(1.02))
    halves = [job.experiment for job in queue.asked if job.experiment.train.steps == 200]
    assert len(halves) == 3 and {e.model.layers for e in halves} == {3}
    flat, _ = proved(one, lambda e: law(e) | {"metric": 1.0})
    assert flat.verdict == "void" and "gains nothing by twice the updates" in flat.why[0]


def test_a_premise_by_the_margin_waits_until_compute_has_told_it() -> None:
    """The control, a wide arm as good as the narrow one, would be judged first, by a margin not known yet."""

    def by_steps(e: Any) -> dict[str, float]:
        return law(e) | {"metric": 3 - 0.2 * math.log(e.train.steps) + noise(e.train.seed) + e.model.layers}

    same = {"name": "as good", "contrast": {"wide": 1, "more": -1}, "rule": {"above": "-margin"}}
    one = claim(
        on="nano train.steps=400", arms=SEVERAL, measure="bits_per_byte", premises=[same],
        margin={"cec": 1.02, "arm": "more"}, sd=1e-3,
    )  # fmt: skip
    found, _ = proved(one, by_steps)
    assert found.margin == pytest.approx(0.2 * math.log(1.02)) and found.verdict != "void"
    assert [held.held for held in found.premises] == [True]


def test_a_pass_that_shows_less_than_would_matter_is_weak() -> None:
    strong, _ = proved(claim(holds={"above": 0}, margin={"value": 1.0, "why": "a layer"}, sd=0.1))
    weak, _ = proved(claim(holds={"above": 0}, margin={"value": 2.5, "why": "more than a layer"}, sd=0.1))
    assert (strong.said, weak.said) == ("holds", "holds (weak)")


def test_more_seeds_after_a_verdict_are_judged_as_by_one_who_looked() -> None:
    first, _ = proved(claim(holds={"above": 0}))
    more, _ = proved(claim(holds={"above": 0}, seeds=5), known={"it": first})
    fresh, _ = proved(claim(holds={"above": 0}, seeds=5))
    assert more.looks == [3, 5] and more.effects == fresh.effects
    assert more.effect[1] < fresh.effect[1] and more.effect[0] == fresh.effect[0]


# ------------------------------------------------------------ edits


def test_an_edit_of_what_decides_makes_another_claim_and_is_told() -> None:
    first, _ = proved(claim(holds={"above": 0}))
    edited, _ = proved(claim(holds={"above": 1}), known={"it": first})
    assert edited.mark != first.mark and edited.looks == [3]
    (before,) = edited.before
    assert (before.verdict, before.mark) == ("holds", first.mark)
    third, _ = proved(claim(holds={"above": 1.5}), known={"it": edited})
    assert [was.mark for was in third.before] == [first.mark, edited.mark]


def test_words_and_seeds_may_change() -> None:
    one = claim()
    same = claim(note="better told", seeds=9, sd=0.2, needs={"tokens": 1e9}, reading="so it is")
    assert mark_of(one.model_dump(mode="json")) == mark_of(same.model_dump(mode="json", exclude_none=True))
    for change in (
        {"holds": {"above": 1}}, {"on": "nano train.steps=2"}, {"arms": OTHER_ARMS}, {"timeless": "no"},
        {"premises": premise(arm="more", measure="kurtosis", rule={"above": 0.1})}, {"tune": {}},
        {"margin": {"value": 0.4, "why": "half a bit"}},
    ):  # fmt: skip
        other = claim(**change)
        assert mark_of(one.model_dump(mode="json")) != mark_of(other.model_dump(mode="json"))


OTHER_ARMS = {"less": "model.layers=2", "more": ""}


def test_a_run_that_fails_while_an_arm_is_tuned_leaves_the_others_alone() -> None:
    def measure(e: Any) -> Any:
        return "out of memory" if e.model.width == 32 else bowl(e)

    claims = {"it": claim(tune={}, arms={"less": "model.width=32", "more": ""}), "other": claim()}
    found = {one.name: one for one in proof.prove(claims, Runs(measure))}
    assert found["it"].verdict == "not run" and "out of memory" in found["it"].failed[0]
    assert found["other"].verdict == "does not hold"
