"""From claims to results over a queue: what is run, what is shared, what comes out."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import pytest

from danlu import data, spec
from danlu.files.json import write_json
from danlu.lab.claims import experiment, proof, seen
from danlu.lab.claims.forecast import forecast
from danlu.lab.errors import LabError
from danlu.lab.queue import Job, Outcome
from danlu.lab.statistics import paired
from danlu.train.folder import ENVIRONMENT
from tests.lab.claims.small import OVER, Runs, claim


@pytest.fixture(autouse=True)
def a_second_each(monkeypatch: pytest.MonkeyPatch) -> None:
    def value(outcome: Any, name: str) -> float:
        return 1.0 if name == "seconds" else outcome.measures[name]

    monkeypatch.setattr(proof, "value", value)
    monkeypatch.setattr(seen, "value", value)


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        ("tiny data.corpus=synthetic:copy-3-4", "text_sha256"),
        ("digits", "sha256"),
        ("maxent-digits", "sha256"),
        ("siren-chirp", "sha256"),
        ("signed-distance", "sha256"),
        ("flow-8gaussians", None),
    ],
)
def test_data_of_every_kind_are_told_by_a_digest(words: str, kept: str | None, tmp_path: Path) -> None:
    e = spec.resolve(words)
    record = data.prepare(e.data, cache=tmp_path / "cache").record
    about = {"cpu": {"model": "", "cores": 1}, "devices": [], "data": record}
    write_json(tmp_path / ENVIRONMENT, about | {"versions": dict.fromkeys(("danlu", "torch", "python"), "1")})
    (said,) = proof._surroundings([Outcome(Job(e), tmp_path, None)])["data"].values()
    train = record["splits"]["train"]
    known = kept and (train.get(kept) or record.get(kept))
    assert said == (known or hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest())[:12]


def noise(seed: int) -> float:
    return math.sin(seed)


def layers_and_noise(e: Any) -> float:
    return e.model.layers + noise(e.train.seed)


def test_the_runs_of_a_claim() -> None:
    one = claim(**OVER)
    plan = experiment.plan(one, seeds=3)
    assert set(plan) == {(arm, seed) for arm in ("less", "more") for seed in range(3)}
    for (arm, seed), runs in plan.items():
        assert list(runs) == [1e-3, 2e-3, 4e-3]
        for point, job in runs.items():
            e = job.experiment
            assert (e.optimizer.lr, e.train.seed, e.model.layers) == (point, seed, 1 if arm == "less" else 3)


def test_only_what_the_worker_must_take_is_asked_of_it() -> None:
    (job,) = experiment.plan(claim(measure="bits_per_byte"), 1)["less", 0].values()
    assert job.measures == ()
    (job,) = experiment.plan(claim(), 1)["less", 0].values()
    assert job.measures == ("increment",)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"arms": {"less": "+qk-norn", "more": ""}}, "arm less: .*qk-norm"),
        (OVER | {"over": {"model.norm": "rms|layer"}, "of": "slope"}, "numbers above 0"),
        ({"measure": "bits_per_bite"}, "bits_per_byte"),
    ],
)
def test_a_claim_that_cannot_be_run_is_named_before_anything_runs(changes: dict[str, Any], said: str) -> None:
    queue = Runs(layers_and_noise)
    with pytest.raises(LabError, match=f"^claim bad: .*{said}"):
        next(proof.prove({"good": claim(), "bad": claim(**changes)}, queue))
    assert queue.asked == []


def test_the_effect_is_that_of_pairs() -> None:
    """The noise of a seed is the same in both arms and cancels."""
    (found,) = proof.prove({"it": claim()}, Runs(layers_and_noise))
    assert found.values["less"] == pytest.approx([1 + noise(seed) for seed in range(3)])
    assert found.effects == pytest.approx([-2, -2, -2])
    assert found.effect == pytest.approx(tuple(paired(found.effects)))
    assert (found.verdict, found.seeds, found.runs) == ("holds", 3, 6)


RATES = OVER | {"of": "argbest", "seeds": 4, "margin": {"value": 0.5, "why": "half an octave"}}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        OVER,
        {"tune": {"field": "optimizer.lr"}},
        {"tune": {"field": "optimizer.lr", "arms": ["less"], "seeds": 3}},
        {"premises": [{"name": "alike", "again": "less"}]},
        {"margin": {"cec": 1.5, "arm": "more"}},
        {"margin": {"cec": 1.5, "arm": "more"}, "tune": {"field": "optimizer.lr"}},
        {
            "arms": {"less": "model.layers=1", "more": "", "same": ""},
            "premises": [{"name": "some layers", "arm": "same", "measure": "kurtosis", "rule": {"above": 0}}],
            "tune": {"field": "optimizer.lr"},
        },
        RATES | {"premises": [{"name": "tuned", "over": "optimizer.lr", "interior": True, "extend": 2}]},
    ],
)
def test_as_many_runs_as_were_forecast(changes: dict[str, Any]) -> None:
    """In as few as can be where the best rate is that of the recipe, and in more where it is not."""
    one = claim(on="nano train.steps=8 optimizer.lr=2e-3", **changes)
    said = forecast({"it": one})
    for best in (1.0, 6.0):

        def loss(e: Any, best: float = best) -> float:
            off = math.log2(e.optimizer.lr / 2e-3 / best) ** 2
            return 10 + layers_and_noise(e) + off - math.log2(e.train.steps)

        queue = Runs(loss)
        list(proof.prove({"it": one}, queue))
        ran, (least, most) = len({job.hash for job in queue.asked}), said.counts
        assert least <= ran <= most
        if best == 1.0:
            assert ran == least


def test_equal_runs_are_run_once_and_counted_once() -> None:
    """Two claims with the same baseline, and one whose arms are one run measured in two ways."""
    claims = {
        "one": claim(),
        "two": claim(arms={"less": "model.layers=2", "more": ""}),
        "three": claim(arms={"less": "", "more": ""}, measure={"less": "kurtosis", "more": "increment"}),
    }
    queue = Runs(layers_and_noise)
    found = {result.name: result for result in proof.prove(claims, queue)}
    assert len({job.hash for job in queue.asked}) == 9
    assert {name: (r.runs, r.seconds) for name, r in found.items()} == {
        "one": (6, 6.0),
        "two": (6, 3.0),
        "three": (3, 0.0),
    }
    assert found["three"].effects == [0, 0, 0]


def test_a_run_that_diverged_counts_as_the_claim_says() -> None:
    def measure(e: Any) -> Any:
        return 1.0 if e.model.layers == 1 else "step 3: the loss is nan"

    steady = [{"name": "it trains", "arm": "less", "measure": "increment", "rule": {"above": 0}}]
    one, other = claim(premises=steady, diverged=8.0), claim(premises=steady)
    (counted,) = proof.prove({"it": one}, Runs(measure, diverged=True))
    assert (counted.effects, counted.verdict, counted.diverged) == ([-7, -7, -7], "holds", 3)
    (without,) = proof.prove({"it": other}, Runs(measure, diverged=True))
    assert (without.verdict, without.failed) == ("not shown", [])


def test_a_run_that_failed_leaves_a_claim_unproved_and_the_others_alone() -> None:
    def measure(e: Any) -> Any:
        return 1.0 if e.model.layers == 3 else "out of memory"

    claims = {"it": claim(), "other": claim(arms={"less": "model.width=32", "more": ""})}
    found = {result.name: result for result in proof.prove(claims, Runs(measure))}
    assert (found["it"].verdict, found["it"].failed) == ("not run", ["out of memory"])
    assert found["other"].failed == []


def test_a_measure_that_a_run_has_nothing_of_leaves_a_claim_unproved(monkeypatch: pytest.MonkeyPatch) -> None:
    def value(outcome: Any, name: str) -> float:
        if name == "update-to-weight":
            raise LabError("it did not look inside")
        return 1.0

    monkeypatch.setattr(seen, "value", value)
    claims = {"it": claim(measure="update-to-weight"), "other": claim()}
    found = {result.name: result for result in proof.prove(claims, Runs(layers_and_noise))}
    assert (found["it"].verdict, found["it"].failed) == ("not run", ["it did not look inside"])
    assert found["other"].failed == []


def test_points_are_kept_by_arm() -> None:
    (found,) = proof.prove({"it": claim(**OVER, sd=0.01)}, Runs(lambda e: e.optimizer.lr), seeds=2)
    assert found.measured["less"] == {"0.001": [1e-3] * 2, "0.002": [2e-3] * 2, "0.004": [4e-3] * 2}
    assert found.values["less"] == [1e-3 - 4e-3] * 2
