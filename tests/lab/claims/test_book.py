"""Reading a claim: what it may say, and what is told of one that cannot be read."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from danlu.files.yaml import dump
from danlu.lab.claims import book, experiment
from danlu.lab.errors import LabError
from danlu.lab.trial.sides import Side
from danlu.spec.errors import DanluError
from danlu.spec.words import resolve
from tests.lab.claims.small import OVER, WRITTEN, claim

PREMISE = {"name": "p", "rule": {"above": 0}}


def test_a_file_is_a_claim(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(dump(WRITTEN))
    assert book.claim(str(path)) == claim()
    assert list(book.claims([str(path)])) == ["mine"]


def test_the_book_is_in_the_order_of_the_rows() -> None:
    rows = [(claim.rows[0][0], int(claim.rows[0][1:])) for claim in book.claims().values()]
    assert rows == sorted(rows) and len(rows) == len(book.names())


def test_arms_may_be_measured_differently() -> None:
    one = claim(measure={"less": "loss", "more": "gap"})
    assert (one.measure_of("less"), one.measure_of("more")) == ("loss", "gap")
    assert claim().measure_of("less") == "increment"


@pytest.mark.parametrize(
    ("holds", "bounds", "words"),
    [
        ({"above": 0}, (0, math.inf), "above 0"),
        ({"below": -0.5}, (-math.inf, -0.5), "below -0.5"),
        ({"within": [-1, 2]}, (-1, 2), "within -1 and 2"),
        ({"within": "margin"}, (-0.5, 0.5), "within ± margin"),
        ({"below": "margin"}, (-math.inf, 0.5), "below the margin"),
        ({"below": "-margin"}, (-math.inf, -0.5), "below −margin"),
        ({"above": "margin"}, (0.5, math.inf), "above the margin"),
    ],
)
def test_rules(holds: dict[str, Any], bounds: tuple[float, float], words: str) -> None:
    rule = claim(holds=holds).holds
    assert (rule.bounds(0.5), str(rule)) == (bounds, words)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"source": None}, "source is missing"),
        ({"rows": []}, "rows"),
        ({"rows": ["B1"]}, "'B1' is not a row"),
        ({"armz": {}}, "armz is not a field of a claim; did you mean arms"),
        ({"seeds": 1}, "at least 2"),
        ({"holds": {"above": 0, "below": 1}}, "one of above"),
        ({"holds": {"within": [1, 0]}}, "is empty"),
        ({"holds": {"within": [0]}}, "holds.within"),
        ({"contrast": {"less": 1, "more": 1}}, "sum to 2"),
        ({"contrast": {"less": 1}, "premises": []}, "more is in no contrast and in no premise"),
        ({"contrast": {"less": 1}, "premises": [PREMISE | {"arms": "all"}]}, "has both arms in its contrast"),
        (
            {"contrast": {"less": 1}, "margin": {"cec": 1.05, "arm": "more"}},
            "margin.cec is of a difference",
        ),
        ({"contrast": {"less": 1, "moer": -1}}, "moer is no arm; there are less, more"),
        ({"measure": {"less": "loss"}}, "must name the arms of the contrast, less, more"),
        ({"contrast": {"less": math.inf, "more": 1}}, "contrast.less = .inf is not a number"),
        (OVER | {"of": None}, "belong together"),
        ({"of": "drop"}, "belong together"),
        (OVER | {"of": "sensitivty"}, "did you mean sensitivity"),
        (OVER | {"of": "best"}, "write tune: {field: FIELD} in place"),
        (OVER | {"of": "range"}, "write of: sensitivity, or of: ceiling"),
        ({"margin": 0.1}, "margin = 0.1 is not a mapping of of, share, cec, arm, value, why"),
        (OVER | {"of": "ceiling"}, "ceiling needs it"),
        (OVER | {"over": {"a": "1", "b": "2"}}, "one field with its points"),
        (OVER | {"of": "argbest", "tune": {}}, "tune and over exclude each other"),
        (OVER | {"of": "sensitivity", "diverged": 8.0}, "counts the loss at the start"),
        ({"margin": None}, "a difference needs a margin"),
        ({"premises": []}, "a difference needs a margin, what would matter, and premises"),
        ({"margin": {"of": "other"}}, "a margin is one of"),
        ({"margin": {"value": 0.1}}, "a margin is one of"),
        ({"margin": {"valeu": 0.1}}, "margin.valeu is not a field of margin; did you mean margin.value"),
        ({"margin": {"cec": 1.02, "arm": "most"}}, "most is no arm"),
        ({"margin": {"cec": 1.02, "arm": "more"}, "scale": "log2"}, "linear scale"),
        ({"needs": {}}, "at least one of parameters, tokens, flops, device"),
        ({"tune": {"points": 3}}, "tune.points = 3 is not a whole number greater than 0 and at least 4"),
        ({"tune": {"field": "optimizer.lr", "step": 2}}, "step is not a field of tune"),
        (
            {"premises": [PREMISE | {"arm": "les", "measure": "loss"}]},
            "premise 'p': it names arms: les is no arm",
        ),
        ({"premises": [PREMISE | {"measure": "loss"}]}, "name either arm"),
        ({"premises": [PREMISE | {"arm": "less", "at": 0.1}]}, "has none over a field"),
        ({"premises": [PREMISE | {"contrast": {"less": 1, "more": 1}}]}, "sum to 2"),
        ({"premises": [PREMISE | {"again": "more", "at": 0.1}]}, "has none over a field"),
        (OVER | {"premises": [PREMISE | {"again": "more", "measure": "loss"}]}, "say at which"),
        ({"tune": {"arms": ["lest"]}}, "tune.arms: lest is no arm"),
        ({"premises": [PREMISE | {"contrast": {"more": 2, "less": -2}}]}, "reads the claim's own contrast"),
        ({"premises": [{"name": "p", "over": "optimizer.lr"}]}, "neither what is tuned nor"),
        ({"premises": [{"name": "p", "arm": "less", "measure": "loss"}]}, "rule is missing"),
        ({"premises": [PREMISE | {"arm": "less", "mesure": "loss"}]}, "did you mean"),
        (
            OVER | {"of": "sensitivity", "premises": [PREMISE | {"arm": "less", "of": "ceiling"}]},
            "needs the slack of a claim that is itself of a ceiling",
        ),
    ],
)
def test_what_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(LabError, match=r"^claim small: ") as error:
        claim(**changes)
    assert said in str(error.value)


def test_names_that_are_none() -> None:
    near = book.names()[0]
    with pytest.raises(LabError, match=f"did you mean {near}"):
        book.claim(near.replace("-", "_"))
    with pytest.raises(DanluError, match=r"nothing\.yaml"):
        book.claim("nothing.yaml")


def test_the_kind_of_a_premise_is_told_by_its_words() -> None:
    premises = [
        PREMISE | {"arm": "less", "measure": "kurtosis"},
        PREMISE | {"arms": "all", "measure": "kurtosis"},
        PREMISE | {"contrast": {"less": 1, "third": -1}},
        PREMISE | {"again": "more"},
        {"name": "p", "over": "optimizer.lr", "interior": True, "extend": 2},
        {"name": "p", "updates": {"above": 2000}, "whole_schedule": True},
    ]
    arms = {"less": "model.layers=1", "more": "", "third": "model.layers=2"}
    one = claim(premises=premises, arms=arms, tune={})
    assert [premise.kind for premise in one.premises] == [
        "number", "number", "contrast", "again", "inside", "regime",
    ]  # fmt: skip
    assert [one.arms_of(premise) for premise in one.premises] == [
        ("less",), ("less", "more", "third"), ("less", "third"), ("more",),
        ("less", "more", "third"), ("less", "more"),
    ]  # fmt: skip
    assert one.tune is not None and (one.tune.points, one.tune.factor, one.tune.seeds) == (5, 2.0, 2)


def test_a_premise_may_read_the_insides_of_the_arms_that_are_compared() -> None:
    claim(premises=[PREMISE | {"contrast": {"less": 1, "more": -1}, "measure": "kurtosis"}])


def test_a_rule_that_names_a_margin_needs_one() -> None:
    alone = {
        "arms": {"less": ""},
        "contrast": {"less": 1},
        "holds": {"within": "margin"},
        "margin": None,
        "premises": None,
    }
    with pytest.raises(LabError, match="a rule names the margin"):
        claim(**alone)


def test_claims_on_whose_effects_margins_stand_are_found() -> None:
    base = book.names()[0]
    one = claim(margin={"of": base, "share": 0.25})
    assert list(book.with_bases({"one": one})) == [base, "one"]


def test_a_run_of_the_book_is_that_of_a_trial() -> None:
    """So that the baseline of the bed, at any rate, is run once for all."""
    claim = book.claim("qk-norm-lowers-the-loss")
    arm = next(arm for arm, words in claim.arms.items() if not words)
    made = experiment.experiment(claim, arm)
    trial = Side.of("", resolve(claim.on), 2100)
    assert experiment.job(claim, arm, made, 0).hash == trial.job(0).hash


@pytest.mark.parametrize("where", ["claim", "premise"])
def test_what_counts_the_start_is_made_of_the_first_metric(where: str) -> None:
    """The start of a run that diverged is known of that metric alone."""
    if where == "claim":
        one = claim(**OVER | {"of": "sensitivity", "measure": "kurtosis", "holds": {"above": 0}})
    else:
        premise = PREMISE | {"arm": "less", "of": "sensitivity", "measure": "kurtosis"}
        one = claim(**OVER | {"premises": [premise]})
    with pytest.raises(LabError, match="measure must be bits_per_byte"):
        experiment.check(one)
