"""The lab on images, where higher accuracy is better: every verb on the 1,797 digits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sklearn")

DIGITS = "digits train.steps=40 train.batch=32 train.evaluate_every=20 optimizer.lr=3e-3"
LAZY = "optimizer.lr=1e-6"  # learns nothing, so that a tenth of the digits is right


@pytest.mark.slow
def test_an_idea_that_keeps_it_from_learning_is_worse(danlu: Any, tmp_path: Path) -> None:
    found = danlu("try", LAZY, "--on", DIGITS, "--seeds", "4")
    assert [one["at"] for one in found] == ["steps", "flops", "time"]
    for one in found:  # one scalar differs: nothing is timed
        assert (one["metric"], one["better"], one["verdict"]) == ("accuracy", "higher", "worse")
        assert one["difference"] < -0.2 and one["interval"][1] < 0
    ledger = (tmp_path / "ledger.yaml").read_text()
    assert "verdict: worse" in ledger and "unit: accuracy" in ledger
    again = danlu("try", "optimizer.lr=3e-3", "--on", f"{DIGITS} {LAZY}", "--seeds", "4")
    assert {one["verdict"] for one in again} == {"better"}


@pytest.mark.slow
def test_the_highest_wins_a_sweep_and_comes_first_in_a_list(danlu: Any) -> None:
    result = danlu("sweep", *DIGITS.split()[:-1], "optimizer.lr=1e-6,3e-3,1e-2")
    assert (result["metric"], result["better"]) == ("accuracy", "higher")
    values = [trial["value"] for trial in result["trials"]]
    assert values == sorted(values, reverse=True) and result["trials"][-1]["point"] == {"optimizer.lr": 1e-6}
    runs = danlu("runs", "--sort", "metric")
    assert [run["metric"]["value"] for run in runs] == values
    assert {run["metric"]["better"] for run in runs} == {"higher"} and runs[0]["images"] == 40 * 32
    best, worst = runs[0]["run"], runs[-1]["run"]
    told = danlu("compare", best, worst)
    assert told["metric"] == "accuracy" and told["warnings"] == []
    apart = {m["at"]: m["differences"][0]["value"] for m in told["meetings"]}
    assert {apart[at] for at in ("end", "steps", "tokens", "flops")} == {values[-1] - values[0]}


@pytest.mark.slow
def test_a_claim_is_judged_by_accuracy(danlu: Any, tmp_path: Path) -> None:
    (tmp_path / "claim.yaml").write_text(f"""\
statement: A rate that learns is better than one that does not
source: a test
rows: [O1]
'on': {DIGITS}
arms: {{wide: '', lazy: '{LAZY}'}}
measure: accuracy
contrast: {{wide: 1, lazy: -1}}
unit: share
holds: {{above: 0}}
margin: {{value: 0.2, why: one image in five}}
sd: 0.02
seeds: 3
premises:
  - {{name: learned, arm: wide, measure: accuracy, rule: {{above: 0.1}}}}
note: a claim for tests
""")
    (result,) = danlu("prove", "claim.yaml")
    assert result["verdict"] == "holds" and result["data"].keys() == {"digits"}
    for arm, by_seed in result["measured"].items():
        assert result["values"][arm] == [value for values in by_seed.values() for value in values]


@pytest.mark.slow
def test_a_ladder_fits_the_loss(danlu: Any) -> None:
    words = ["--budget", "3e11flop", "--rungs", "3", "--tokens-per-parameter", "0.03"]
    result = danlu("ladder", *DIGITS.split(), *words)
    assert result["loss"] == {"name": "cross_entropy", "unit": "nats/image"} and result["counted"] == "images"
    losses = [run["loss"] for run in result["runs"]]
    assert losses == sorted(losses, reverse=True)  # the larger, the lower
    assert result["law"]["parameters"]["b"] > 0 and result["target"]["metric"] is None
    assert result["target"]["loss"]["value"] < losses[-1]
