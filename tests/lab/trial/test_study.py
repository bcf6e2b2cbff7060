"""Whole studies of minute runs: what is run, what is shared by a pair, what is remembered."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any
from urllib.parse import unquote

import pytest
import torch

from danlu.files.json import from_json, read_json
from danlu.inspection.table import STATISTICS
from danlu.lab import ledger
from danlu.lab.errors import LabError
from danlu.lab.queue import Job, Outcome
from danlu.lab.statistics import Interval
from danlu.lab.study import Study
from danlu.lab.trial import Answer, Question, study, timing, try_ideas
from danlu.lab.trial.kept import kept
from danlu.lab.trial.report import report
from danlu.lab.trial.sides import Runs
from danlu.lab.trial.terminal import STRIP, details, table
from danlu.lab.trial.timing import Ratio
from danlu.lab.trial.words import answered
from danlu.lab.tuning import FIRST_SEED, Grid
from danlu.train import checkpoint
from tests.chinese import left, texts
from tests.lab.trial.cases import InProcess, baseline, came_to

FAR = {  # a regime in which nothing is early
    "tokens_per_parameter": 20.0, "updates": 2000, "bits_below_chance": 1.0, "warmup": 0.02,
    "whole_schedule": True,
}  # fmt: skip

KINDS = ("none", "mlp", "glu", "sigmoid", "gelu", "silu")  # that stand among the differences


class Lab:
    """Studies in one folder, in this process; ``paces``: how long the variants' updates are said to take, ±
    ``width``; NaN: cannot be measured. ``law``: what runs come to. Rates are not tuned where
    nothing else is asked."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder, self.on = folder / "studies", baseline(folder)
        self.started: list[Job] = []
        self.said: list[str] = []
        self.law: Callable[[Outcome], Outcome] | None = None
        self.paces: list[float] = [1.0]
        self.width = 0.01
        patch.setattr(study, "Queue", self._queue)
        patch.setattr(study, "measure_pace", lambda *_: 0.5)
        self.timed = 0
        patch.setattr(timing, "measure", self._measure)

    def _measure(self, *_: Any) -> Ratio:
        self.timed += 1
        pace = self.paces[-1]
        if math.isnan(pace):
            return Ratio(Interval(pace, pace, pace), "time cannot be measured here now: a test")
        return Ratio(Interval(pace, pace - self.width, pace + self.width), "a test")

    def _queue(self, studies: Path, **settings: Any) -> InProcess:
        queue = InProcess(studies)
        queue.started, queue.said, queue.law = self.started, self.said, self.law
        return queue

    def ask(self, *ideas: str, **settings: Any) -> Answer:
        self.started.clear()
        self.said.clear()
        asked = Question(ideas, **{"on": self.on, "seeds": 2, "tune": None, **settings})
        return try_ideas(asked, self.folder, book=self.folder / "ledger.yaml")

    @property
    def steps(self) -> Counter[int]:
        return Counter(job.experiment.train.steps or 0 for job in self.started)


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    return Lab(tmp_path, monkeypatch)


def test_a_pair_shares_initial_weights_and_the_order_of_the_data(lab: Lab) -> None:
    answer = lab.ask("optimizer.lr=1e-9 optimizer.adamw_lr=1e-9", on=f"{lab.on} optimizer.weight_decay=0.0")
    first, second = answer.sides[answer.findings[0].pairs.idea, "steps"]
    losses = {}
    for side in (first, second):
        for seed in (0, 1):
            rows = InProcess(lab.folder).rows(side.job(seed))
            losses[side, seed] = next(row["loss"] for row in rows if "loss" in row)
    # The loss of the first update is that of the same weights on the same batch; another seed's is not.
    assert losses[first, 0] == losses[second, 0] and losses[first, 1] == losses[second, 1]
    assert losses[first, 0] != losses[first, 1]


def test_weights_of_equal_shape_begin_equal(lab: Lab) -> None:
    """With rates of nothing, the last weights are the first ones."""
    still = "optimizer={kind: sgd, lr: 1e-30, weight_decay: 0.0}"
    answer = lab.ask("bias", on=f"{lab.on} '{still}'", seeds=1)
    pair = answer.sides["+bias", "steps"]
    one, other = (checkpoint.load(answer.runs.outcome(side, 0).folder)[0]["model"] for side in pair)
    assert one.keys() < other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_of_one_seed_nothing_is_said_of_noise(lab: Lab) -> None:
    said = "\n".join(details(lab.ask("swiglu", seeds=1)))
    assert "of one seed it may be noise" in said
    assert "units of its noise" not in said and "thousand" not in said


def test_nothing_runs_twice_and_the_result_is_kept(lab: Lab) -> None:
    answer = lab.ask("model.layers=2")
    folder = answer.study.path
    saved = read_json(folder / "result.json")
    assert saved == [from_json(json.dumps(f.json())) for f in answer.findings]
    assert [(f["idea"], f["at"], f["kind"]) for f in saved] == [
        ("model.layers=2", "steps", "t"), ("model.layers=2", "flops", "t"), ("model.layers=2", "time", "t"),
    ]  # fmt: skip
    assert {row["loss_unit"] for row in kept(folder)} == {"nats/token"}  # for who draws the training loss
    pairs = {row["at"]: row["runs"] for row in kept(folder)}  # which runs they are, for who draws them
    assert pairs.keys() == {"steps", "flops", "time"}
    for at, runs in pairs.items():
        before, after = answer.sides["model.layers=2", at]  # type: ignore[index]
        for one in runs:
            names = [answer.runs.outcome(side, one["seed"]).folder.name for side in (before, after)]
            assert names == [one["baseline"], one["variant"]]
    entries = ledger.read(lab.folder / "ledger.yaml")
    assert {entry.at for entry in entries} == {"equal steps", "equal FLOPs"}  # time is the first pair's
    lab.paces.append(2.0)  # a measurement of another day changes nothing
    again = lab.ask("model.layers=2")
    assert lab.timed == 1 and not lab.started and [f.json() for f in again.findings] == saved
    assert len(ledger.read(lab.folder / "ledger.yaml")) == len(entries)


def test_other_values_are_those_that_the_runs_have_written(lab: Lab) -> None:
    """The best evaluation, the weights beside their average: read off the rows of the runs."""
    answer = lab.ask("train.evaluate_every=1 train.average=ema", on=f"{lab.on} train.evaluate_every=2")
    first = answer.findings[0].pairs
    best, raw = (
        first.others[f"by the {way}"]
        for way in ("best evaluation of each run", "weights that are not averaged")
    )
    for side, values, lowest, last in zip(
        answer.sides[first.idea, "steps"], (first.baseline, first.variant), (best.baseline, best.variant),
        (raw.baseline, raw.variant), strict=True,
    ):  # fmt: skip
        for i, seed in enumerate(first.seeds):
            rows = [row for row in InProcess(lab.folder).rows(side.job(seed)) if "bits_per_byte" in row]
            decides = [row.get("bits_per_byte_average", row["bits_per_byte"]) for row in rows]
            assert (values[i], lowest[i]) == (decides[-1], min(decides))
            assert last[i] == rows[-1]["bits_per_byte"]
    assert raw.variant != first.variant and raw.baseline == first.baseline


def test_each_equality_is_a_run_of_its_own_length(lab: Lab) -> None:
    lab.paces.append(2.0)
    answer = lab.ask("model.layers=2")
    by_at = {f.pairs.at: f for f in answer.findings}
    ratio = by_at["flops"].ratio
    assert ratio is not None and ratio > 1.3
    assert by_at["steps"].steps == (6, 6) and by_at["time"].steps == (6, 3)
    assert by_at["flops"].steps == (6, round(6 / ratio))
    flops = {}
    for side in answer.sides["model.layers=2", "flops"]:
        flops[side] = (answer.runs.outcome(side, 0).summary or {})["flops"] / side.steps
    one, other = flops.values()
    assert other / one == pytest.approx(ratio)  # what was known before is what the runs counted


def test_the_first_pair_serves_where_nothing_differs(lab: Lab) -> None:
    lab.paces.append(1.2)  # what noise would say
    answer = lab.ask("optimizer.beta2=0.9")
    assert lab.steps == {6: 4} and lab.timed == 0
    steps, flops, time = answer.findings
    assert time.ratio == 1.0 and "by construction, only optimizer.beta2 differs" in time.note
    assert steps.pairs.differences == flops.pairs.differences == time.pairs.differences
    assert "the runs of equal steps" in flops.note and "the runs of equal steps" in time.note


@pytest.mark.slow
def test_where_time_cannot_be_measured_it_is_said_and_tried_again(lab: Lab) -> None:
    lab.paces.append(math.nan)
    answer = lab.ask("model.layers=2")
    *_, time = answer.findings
    assert time.verdict == "not measured" and time.note.startswith("time cannot be measured here now")
    rows = {row[1]: row for row in table(answer)}
    assert rows["active time"][2:5] == ["not measured", "–", "–"]
    assert "equal active time: time cannot be measured here now" in "\n".join(details(answer))
    assert "not measured" in report(answer)
    assert {e.at for e in ledger.read(lab.folder / "ledger.yaml")} == {"equal steps", "equal FLOPs"}
    lab.paces.append(2.0)
    *_, time = lab.ask("model.layers=2").findings
    assert time.verdict != "not measured" and time.steps == (6, 3) and lab.timed == 2


@pytest.mark.slow
def test_a_ratio_holds_for_the_machine_that_it_was_measured_on(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.paces.append(2.0)
    assert lab.ask("model.layers=2").findings[2].steps == (6, 3)
    lab.paces.append(3.0)
    monkeypatch.setattr("platform.node", lambda: "elsewhere")
    assert lab.ask("model.layers=2").findings[2].steps == (6, 2)
    monkeypatch.undo()
    assert lab.timed == 2


def test_the_intervals_of_the_ratio_reach_the_verdict(lab: Lab) -> None:
    lab.paces.append(2.0)
    lab.width = 0.5
    answer = lab.ask("model.layers=2")
    steps, _, time = answer.findings
    long, short = (fmean(f.pairs.variant) for f in (steps, time))
    slope = (short - long) / math.log(3 / 6)  # bits per byte by ln steps, of 6 and 3 steps
    ends = sorted(slope * math.log(6 / ratio / 3) for ratio in (1.5, 2.5))
    assert time.pairs.doubt == pytest.approx((-ends[0], ends[1])) and ends[0] < 0 < ends[1]
    assert steps.pairs.doubt == (0.0, 0.0)


@pytest.mark.slow
def test_adding_seeds_after_a_look_is_judged_as_looking(lab: Lab) -> None:
    assert {f.kind for f in lab.ask("optimizer.beta2=0.9").findings} == {"t"}
    more = lab.ask("optimizer.beta2=0.9", seeds=4)
    assert len(lab.started) == 4  # two pairs, the first two are there
    assert {f.kind for f in more.findings} == {"anytime"}
    assert "after a look" in "\n".join(details(more))
    assert {f.kind for f in lab.ask("optimizer.beta2=0.9").findings} == {"anytime"}  # nor by leaving some out


def test_stopping_early(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    def metric(self: Runs, side: Any, seed: int) -> float:
        self.outcome(side, seed)
        return 2.0 + 0.001 * (seed % 2) * ("beta2" in side.name) - 0.5 * ("0.9" in side.name)

    monkeypatch.setattr(Runs, "metric", metric)
    answer = lab.ask("optimizer.beta2=0.9", seeds=8, stop_early=True)
    assert {f.verdict for f in answer.findings} == {"better"} and {f.kind for f in answer.findings} == {
        "anytime"
    }
    assert len(answer.findings[0].pairs.seeds) == 3  # the first at which the interval is finite
    assert len(lab.started) == 6


def bowl(best: float, **regime: Any) -> Callable[[Outcome], Outcome]:
    """Bits that are lowest at the rate ``best``; those of a variant with another β₂ at twice that, by .1."""

    def law(ended: Outcome) -> Outcome:
        rule, seed = ended.job.experiment.optimizer, ended.job.experiment.train.seed
        other = rule.beta2 == 0.9
        octaves = math.log2(rule.lr / best / (2 if other else 1))
        return came_to(ended, 2 + 0.03 * octaves**2 - 0.1 * other + 1e-3 * (seed % 2) * other, **regime)

    return law


def test_both_sides_are_compared_at_their_own_best_rates(lab: Lab) -> None:
    lab.law = bowl(0.025, **FAR)
    answer = lab.ask("optimizer.beta2=0.9", tune="lr")
    tuning = [job for job in lab.started if job.experiment.train.seed >= FIRST_SEED]
    rates = Counter((e.optimizer.beta2, e.optimizer.lr) for e in (job.experiment for job in tuning))
    grid = [0.02 * 2.0**x for x in range(-2, 3)]
    assert rates == dict.fromkeys([(beta, rate) for beta in (0.95, 0.9) for rate in grid], Grid().seeds)
    baseline, variant = answer.sides["optimizer.beta2=0.9", "steps"]
    assert baseline.experiment.optimizer.lr == pytest.approx(0.025, rel=5e-3)
    assert variant.experiment.optimizer.lr == pytest.approx(0.05, rel=5e-3)
    assert baseline.experiment.optimizer.adamw_lr == pytest.approx(3e-3 * 1.25, rel=5e-3)  # with it
    steps, *_ = answer.findings
    assert (steps.verdict, steps.said) == ("better", "better")
    assert steps.tuned is not None and steps.regime is not None and steps.regime.tuned is True
    assert [one["value"] for one in steps.tuned.values()] == [
        side.experiment.optimizer.lr for side in (baseline, variant)
    ]
    assert steps.cost is not None and (steps.cost.runs, steps.cost.tuning) == (24, 20) == (
        len(lab.started),
        20,
    )
    said = "\n".join(details(answer))
    assert "rate of the variant: optimizer.lr = 0.05 (95 %: 0.05 to 0.05), 10 trials" in said
    assert "24 runs, 20 of them to find the rates" in "\n".join(answered(answer))


def test_a_side_without_a_best_rate_voids_the_verdict(lab: Lab) -> None:
    lab.law = bowl(0.02 * 2**12)  # beyond reach
    answer = lab.ask("optimizer.beta2=0.9", tune="lr")
    assert {f.verdict for f in answer.findings} == {"void"} == {f.said for f in answer.findings}
    for f in answer.findings:
        assert f.regime is None and "optimizer.lr is untuned: the lowest loss is at the high border" in f.note
    assert all(job.experiment.train.seed >= FIRST_SEED for job in lab.started)  # no pair is wasted on it
    sentence, *_, nearer, following = answered(answer)
    assert "void, since " in sentence and following.endswith("--tune none")
    farthest = 0.02 * 2**8  # two of the first five points lie above it, and three times two more
    assert f" optimizer.lr={farthest:g}'" in nearer
    page = report(answer)
    assert "void" in page and "The best rates" in page and "rate of each side" in page
    for empty in ("Every pair", "Learning curves", "What differs", "<h2>Runs"):  # nothing was compared
        assert empty not in page
    assert {row[-1] for row in table(answer)} == {""}
    (entry,) = ledger.read(lab.folder / "ledger.yaml")
    assert (entry.verdict, entry.seeds) == ("void", 0) and "untuned" in str(entry.why)


def test_an_idea_that_is_void_does_not_void_another(lab: Lab) -> None:
    def law(ended: Outcome) -> Outcome:
        far = "layers" in ended.job.name
        return bowl(0.02 * (2**12 if far else 1))(ended)

    lab.law = law
    answer = lab.ask("optimizer.beta2=0.9", "model.layers=2", tune="lr")
    assert {f.verdict for f in answer.by_idea["model.layers=2"]} == {"void"}
    assert [f.verdict for f in answer.by_idea["optimizer.beta2=0.9"]] == ["better"] * 3


def test_a_rule_that_sets_its_own_rate_is_not_tuned(lab: Lab) -> None:
    lab.law = lambda ended: came_to(ended, 2.0) if "amos" in ended.job.name else bowl(0.02)(ended)
    answer = lab.ask("amos", tune="lr")
    tuned = answer.findings[0].tuned
    assert tuned is not None and list(tuned) == ["baseline"]
    assert answer.findings[0].regime is not None and answer.findings[0].regime.tuned is True


def test_an_idea_of_rates_is_asked_at_the_rates_as_they_are(lab: Lab) -> None:
    answer = lab.ask("optimizer.lr=0.01", tune="lr")
    assert lab.steps == {6: 4} and answer.question.tune is None
    regime = answer.findings[0].regime
    assert regime is not None and regime.tuned is None
    with pytest.raises(LabError, match="sets nothing but a rate, which is found anew for the other ideas"):
        lab.ask("optimizer.lr=0.01", "swiglu", tune="lr")
    assert not lab.started


def test_an_early_verdict_never_goes_without_that_word(lab: Lab) -> None:
    lab.law = bowl(0.02)
    answer = lab.ask("optimizer.beta2=0.9")
    steps = answer.findings[0]
    assert steps.verdict == "better" and steps.said == "better (early)"
    reasons = "6 updates (2,000 are needed)", "the rates were not tuned"
    assert set(reasons) < set(steps.early)
    lines = answered(answer)
    for text in ("\n".join(lines), "\n".join(map("\t".join, table(answer))), report(answer)):
        rest = text.replace("better (early)", "").replace("lower is better", "")
        assert rest != text and "better" not in rest
    for reason in reasons:
        assert "\n".join([*lines, *details(answer)]).count(reason) == 1
    saved = read_json(answer.study.path / "result.json")[0]
    assert saved["verdict"] == "better" and set(reasons) < set(saved["regime"]["early"])
    (entry,) = ledger.read(lab.folder / "ledger.yaml")
    assert entry.said == "better (early)" and set(reasons) < set(entry.regime.early if entry.regime else ())
    assert entry.e == pytest.approx(steps.pairs.e, rel=1e-5)


def test_the_regime_is_that_of_the_runs_behind_each_verdict(lab: Lab) -> None:
    """At equal time the variant makes half of the updates: these are too few, those of equal steps not."""

    def law(ended: Outcome) -> Outcome:
        updates = 1000 * (ended.job.experiment.train.steps or 0) // 3
        return bowl(0.02, **{**FAR, "updates": updates, "tokens_per_parameter": 0.01 * updates})(ended)

    lab.law = law
    lab.paces.append(2.0)
    steps, flops, time = lab.ask("model.layers=2", tune="lr").findings
    assert steps.early == () and time.early == (
        "10 tokens per parameter (20 are needed)", "1,000 updates (2,000 are needed)"
    )  # fmt: skip
    assert flops.regime is not None and flops.regime.updates < 2000


def test_what_is_said_first(lab: Lab) -> None:
    lab.law = bowl(0.02)
    lab.ask("optimizer.beta2=0.9", seeds=2)
    first, second, third, fourth = lab.said[:4]
    assert first == f"is optimizer.beta2=0.9 better than {lab.on}? by held-out bits per byte, lower is better"
    assert second.startswith("4 runs: 4 in pairs of the same seed; up to 4 more")
    assert third.startswith("measuring how long an update takes")
    assert fourth.startswith("about ") and "as fast as they are now" in fourth
    lab.ask("optimizer.beta2=0.9", seeds=2)
    assert [line for line in lab.said if line.startswith(("about ", "measuring "))] == []  # all is there
    lab.ask("swiglu", tune="lr", seeds=1)
    assert lab.said[1].startswith("22 runs: 20 to find the best rate of each side, 2 in pairs")


def test_a_question_that_was_answered_before_is_told_and_counts_when_it_is_asked(lab: Lab) -> None:
    lab.ask("optimizer.beta2=0.9")
    lab.ask("optimizer.beta2=0.9", budget="5 steps")
    assert any("optimizer.beta2=0.9" in line and "was answered before" in line for line in lab.said)

    def fail(ended: Outcome) -> Outcome:
        raise LabError("a crash")

    lab.law = fail
    with pytest.raises(LabError, match="a crash"):
        lab.ask("swiglu")
    assert [e.verdict for e in ledger.read(lab.folder / "ledger.yaml") if e.idea == "+swiglu"] == ["asked"]


def test_divergence_is_told_and_lost(lab: Lab) -> None:
    answer = lab.ask("optimizer.lr=1e30 optimizer.adamw_lr=1e30")
    assert {f.verdict for f in answer.findings} == {"worse"}
    assert "the variant alone diverged in 2 of 2 seeds" in "\n".join(details(answer))
    assert "worse" in report(answer)


def test_a_budget_is_measured_once(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    paces = iter([0.25])
    monkeypatch.setattr(study, "measure_pace", lambda *_: next(paces))
    assert lab.ask("optimizer.beta2=0.9", budget="1s").steps == 4
    assert lab.ask("optimizer.beta2=0.9", budget="1s", seeds=2).steps == 4
    with pytest.raises(LabError, match="is not an amount"):
        lab.ask("optimizer.beta2=0.9", budget="much")


def test_what_a_person_reads(lab: Lab) -> None:
    answer = lab.ask("optimizer.beta2=0.9", "swiglu")
    head, *rows = table(answer)
    assert [row[1] for row in rows] == ["steps", "FLOPs", "active time"] * 2
    for row, f in zip(rows, answer.findings, strict=True):
        assert row[2] == f.said and len(row[-1]) == STRIP
        dots = row[-1].count("•") + 2 * row[-1].count("●")
        assert dots == len(f.pairs.differences)
    assert len(head) == len(rows[0])
    said = "\n".join(details(answer))
    assert "2 ideas tried at once (Holm)" in said and "what moved most inside" in said
    page = report(answer)
    assert "+swiglu" in page and all(
        words in page for words in ("is correlation", "by seed", "Command: danlu")
    )
    zh = report(answer, "zh")
    names = (
        "swiglu",
        "embedding",
        "readout",
        "score",
        "a test",
        *STATISTICS,
        "gated-attention",
        "small.yaml",
        *(f"{s}-rest" for s in STATISTICS),
    )
    assert '<html lang="zh-CN">' in zh and left(texts(zh), (*names, *KINDS)) == []
    figures = 4  # every pair, the difference over the updates, the curves of two ideas
    assert "The difference over the updates" in page and "What differs" in page
    links = re.findall(r'href="(\./[^"]+)"', page)
    assert len(links) == 2 * sum(len(f.pairs.differences) for f in answer.findings if f.pairs.at == "steps")
    assert all((answer.study.path / unquote(link) / "summary.json").is_file() for link in links)
    for f in answer.findings:
        of_layers = {name for name, _, layer in (m["name"].partition("/") for m in f.why.moved) if layer}
        figures += len(f.why.moved) + 2 * len(of_layers - {"logz", "logits-max"})  # those are of the output
        assert len(f.why.moved) == (5 if f.pairs.at == "steps" else 0)
    assert page.count("<svg") == figures


def test_another_study_in_the_folder_is_not_overwritten(lab: Lab) -> None:
    name = Question(("swiglu",), on=lab.on, tune=None).name
    Study.open(lab.folder, name, {"verb": "sweep"})
    with pytest.raises(LabError, match="holds another study"):
        lab.ask("swiglu")


def test_a_name_is_the_same_for_more_seeds_and_short() -> None:
    long = Question(tuple(f"idea-{i}" for i in range(40)))
    assert long.name == Question(long.ideas, seeds=9).name and len(long.name) < 100
    assert long.name != Question(long.ideas[:-1]).name
    assert Question(("qk-norm",), on="tiny", tune=None).name == "try-qk-norm-on-tiny"
    assert Question(("qk-norm",)).name == "try-qk-norm-on-bed-tune-lr"
