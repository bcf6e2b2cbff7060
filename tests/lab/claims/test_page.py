"""The page of the book: complete, in order, and no prettier than the results."""

from __future__ import annotations

import math
import re
from dataclasses import replace

from danlu.lab.claims.checks import Found
from danlu.lab.claims.page import effect, page
from danlu.lab.claims.results import Best, Was
from danlu.lab.why import Why
from tests.lab.claims.small import OVER, claim, result


def rows(text: str) -> list[list[str]]:
    return [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in re.findall(r"^\|.*\|$", text, re.M)
    ]


def test_every_claim_stands_in_its_chapter_with_its_verdict() -> None:
    claims = {"good": claim(), "bad": claim(rows=["S3", "A2"]), "open": claim(rows=["O1"])}
    results = {
        "good": result(name="good"),
        "bad": result(name="bad", verdict="does not hold", effect=(0.5, 0.4, 0.6)),
    }
    text = page(claims, results)
    assert "3 claims: 1 holds, 1 does not hold, 1 not run." in text
    headings = re.findall(r"^##+ (.*)$", text, re.M)
    assert headings == ["Architecture", "Optimisation", "Scale", "Every claim", "good", "bad", "open"]
    by_name = {row[0]: row for row in rows(text)}
    assert by_name["[good](#good)"][3:] == [
        "**holds**", "−0.5 [−0.625, −0.375]", "bits per byte", "12", "2026-11-22",
    ]  # fmt: skip
    assert by_name["[bad](#bad)"][3:5] == ["**does not hold**", "0.5 [0.4, 0.6]"]
    assert by_name["[open](#open)"][3] == "not run"


def test_a_claim_tells_its_experiment_and_its_numbers() -> None:
    text = page({"small": claim(reading="So it is.")}, {"small": result()})
    assert "Abacus, 2 cores" in text and "danlu 1, torch 2, python 3" in text and "0123456789ab" in text
    assert "- Rule: the effect, less − more, lies below 0 (bits per byte)" in text
    assert "The whole interval lies below 0. So it is." in text
    assert ["less", "`nano train.steps=1 model.layers=1`", "2.5 ± 0.12"] in rows(text)


def test_points_stand_beside_their_arm() -> None:
    measured = {
        "less": {"0.001": [3.0, 3.0, 3.0], "0.002": [2.0, 2.0, 2.0], "0.004": [4.0, 4.0, 4.0]},
        "more": {"0.001": [5.0, 5.0, 5.0], "0.002": [6.0, 6.0, 6.0], "0.004": [7.0, 7.0, 7.0]},
    }
    one = claim(**OVER)
    text = page({"small": one}, {"small": result(claim=one.model_dump(mode="json"), measured=measured)})
    table = {row[0]: row for row in rows(text)}
    assert table["arm"][2:] == ["lr 0.001", "lr 0.002", "lr 0.004", "drop of increment"]
    assert table["more"][2:5] == ["5", "6", "7"]
    assert "drop of less − drop of more" in text


def test_what_would_test_it_can_be_typed() -> None:
    """A larger rate is said as the baseline's own, here 0.02, times the ratio."""
    update = {"test": {"words": "", "what": "makes its updates as large", "arm": "baseline"}, "ratio": 1.5}
    logits = {"test": {"words": "+softcap", "what": "bounds the output logits", "arm": "both"}, "ratio": 2.0}
    moved = [{"words": "it rises", "when": "at once", **one} for one in (update, logits, update)]
    one = claim(on="nano train.steps=1 optimizer.lr=0.02")
    text = page({"small": one}, {"small": result(claim=one.model_dump(mode="json"), inside=Why(moved))})
    assert (
        "- Would test it: the arms again with `+softcap`, which bounds the output logits; or *more* alone "
        "with `optimizer.lr=0.03`, which makes its updates as large\n"
    ) in text


def test_what_was_not_shown_is_told_with_what_would_decide() -> None:
    """Differences of 1 ± 2 need more than three pairs; a run that diverged is told, too."""
    unsure = result(verdict="not shown", effect=(-1, -6, 4), effects=[-3.0, -1.0, 1.0], diverged=2)
    text = page({"small": claim()}, {"small": unsure})
    assert re.search(r"If mean and spread stayed, \d+ more seeds would decide\. 2 of 6 runs diverged\.", text)
    whole = result(verdict="not shown", effect=(math.nan, -math.inf, math.inf), effects=[math.nan] * 3)
    assert "**not shown**" in page({"small": claim()}, {"small": whole})


def test_a_result_of_another_rule_does_not_count() -> None:
    stale = page({"small": claim(holds={"below": -0.4})}, {"small": result()})
    assert "claims: 1 not run." in stale
    reworded = page({"small": claim(note="told better", statement="Less may be more")}, {"small": result()})
    assert "**holds**" in reworded


def test_the_counts_stand_on_the_first_lines() -> None:
    claims = {
        "strong": claim(), "early": claim(), "void": claim(), "open": claim(),
        "large": claim(needs={"tokens": 1e9, "device": "gpu"}),
    }  # fmt: skip
    results = {
        "strong": result(name="strong", weak=True),
        "early": result(name="early", early=["updates 300, below 2000"]),
        "void": result(name="void", verdict="void", why=["p: it failed"], effects=[]),
    }
    text = page(claims, results)
    first = text.split("\n\n")[1]
    assert first == (
        "5 claims: 2 hold, 1 void, 2 not run. Not run for want of a larger machine (*needs*): 1. Of 2 "
        "verdicts on an effect early: 1, weak: 1."
    )
    by_name = {row[0]: row for row in rows(text)}
    assert by_name["[strong](#strong)"][3] == "**holds (weak)**"
    assert by_name["[early](#early)"][3] == "**holds (early)**"
    assert by_name["[void](#void)"][3:5] == ["**void**", ""]
    assert by_name["[large](#large)"][3] == "not run, needs more"
    assert "Void: p: it failed." in text and "- Early: updates 300, below 2000" in text
    assert "- Needs: 1e+09 tokens, a GPU; `danlu prove large` runs it" in text


def test_premises_margin_severity_and_tuning_are_told() -> None:
    one = claim(tune={})
    found = result(
        claim=one.model_dump(mode="json", exclude_none=True), margin=0.5, severity=[(-0.5, 0.9), (-1.0, 0.1)],
        premises=[Found("some layers", True, "kurtosis of more is 1; asked: above 0")],
        tuned={"less": Best("optimizer.lr", 0.0123, (0.01, None), {}, 10, "")},
        before=[Was("0", "2026-11-01", "2026-11-02", "void")],
    )  # fmt: skip
    text = page({"small": one}, {"small": found})
    assert "- Margin: 0.5, half a bit" in text
    assert "- Premise held: some layers: kurtosis of more is 1; asked: above 0" in text
    assert "tested that the effect lies below −0.5: 0.90; below −1: 0.10" in text
    assert (
        "on 2026-11-02 it was *void*, under a rule, arms, premises or a margin that first ran on 2026" in text
    )
    uneven = claim(tune={}, holds={"within": [1, 3]})
    other = replace(found, claim=uneven.model_dump(mode="json"), severity=[(3.0, 0.9), (2.5, 0.1)])
    assert "lies within 1 and 3: 0.90; within 1.5 and 2.5: 0.10" in page({"small": uneven}, {"small": other})
    table = {row[0]: row for row in rows(text)}
    assert table["arm"][2:] == ["best lr", "increment"] and table["less"][2] == "0.0123 [0.01, ?]"


def test_no_interval_is_printed_where_there_is_none() -> None:
    nothing = (-math.inf, math.inf)
    assert effect(result(effect=(0.5, *nothing), effects=[0.25, 0.75])) == "0.5, no interval from 2 seeds"
    assert effect(result(effect=(0.5, *nothing), effects=[0.5])) == "0.5, no interval from 1 seed"
    assert effect(result(effect=(math.nan, *nothing), effects=[0.5, math.nan])) == "not known for every seed"
