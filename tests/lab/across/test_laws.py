"""Studies over sizes whose runs end as a known law says: what is found must be that law's."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import danlu
from danlu import spec
from danlu.lab import ledger
from danlu.lab.across import Question, study, try_across
from danlu.lab.across.answer import Across
from danlu.lab.across.report import report
from danlu.lab.across.terminal import details, sentence, table
from danlu.lab.budget import flops
from danlu.lab.queue import Job, Outcome
from danlu.lab.trial import timing
from tests.door.test_display import check
from tests.lab.summaries import summary

FLOOR, SCALE, ALPHA = 1.2, 60.0, 0.15  # of the loss: E + A·C^−α
IN_REGIME = {
    "tokens_per_parameter": 20.0, "updates": 2100, "bits_below_chance": 1.0, "warmup": 0.02,
    "whole_schedule": True,
}  # fmt: skip
Law = Callable[[spec.Experiment], float]


class Runs:
    """A queue whose runs end at once."""

    def __init__(self, law: Law) -> None:
        self.law = law
        self.count = 0

    def __call__(self, studies: Path, **_: Any) -> Runs:
        return self

    def __enter__(self) -> Runs:
        return self

    def __exit__(self, *_: object) -> None: ...

    def alone(self, folder: Path) -> AbstractContextManager[None]:
        return nullcontext()

    def folder(self, job: Job) -> Path:
        return Path("nowhere")

    def run(self, jobs: Iterable[Job]) -> list[Outcome]:
        return [self._ended(job) for job in jobs]

    def _ended(self, job: Job) -> Outcome:
        self.count += 1
        value = self.law(job.experiment)
        if math.isnan(value):
            return Outcome(job, Path("nowhere"), None, error="the loss is nan", diverged=True)
        metric = {"name": "bits_per_byte", "value": value}
        return Outcome(job, Path("nowhere"), summary(metric=metric, regime=IN_REGIME))


def rate(e: spec.Experiment) -> float:
    """The peak learning rate."""
    assert e.optimizer.lr is not None
    return e.optimizer.lr


def law(gain: Callable[[float], float], noise: float = 0.0, best: float = 8e-3) -> Law:
    """The baseline's law, its best rate falling as C^−0.1; the variant (another schedule) has the loss of the
    baseline with ``gain(C)`` times the compute. ``noise``: of a run, half of it common to both sides."""
    costs = {32: flops(spec.resolve("bed"))}

    def of(e: spec.Experiment) -> float:
        if e.model.width not in costs:
            costs[e.model.width] = flops(e)
        c, first = costs[e.model.width], costs[32]
        worth = gain(c / first) if e.schedule.kind == "constant" else 1.0
        off = math.log2(rate(e) / (best * (c / first) ** -0.1))
        key = [e.train.seed % 2**32, e.model.width]
        own = [*key, int(1e9 * rate(e)), e.schedule.kind == "constant"]
        luck = sum(np.random.default_rng(k).normal() for k in (key, own)) / math.sqrt(2)
        return FLOOR + SCALE * (worth * c) ** -ALPHA + 0.03 * off**2 + noise * float(luck)

    return of


def climbed(
    monkeypatch: pytest.MonkeyPatch, folder: Path, of: Law, rungs: int = 4, **how: Any
) -> tuple[Across, Runs]:
    queue = Runs(of)
    monkeypatch.setattr(study, "Queue", queue)
    question = Question(("constant",), rungs=rungs, time=False, **how)
    return try_across(question, folder / "studies", show=False, book=folder / "ledger.yaml"), queue


@pytest.mark.parametrize(("worth", "verdict"), [(1.25, "better"), (0.8, "worse"), (1.0, "equivalent")])
def test_an_exact_gain_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, worth: float, verdict: str
) -> None:
    """Rates are tuned, then follow, and gains by differences of the baseline within 3 %."""
    answer, _ = climbed(monkeypatch, tmp_path, law(lambda c: worth, noise=1e-6), gates=False)
    (idea,) = answer.ideas
    assert idea.verdict == verdict and idea.said == verdict  # in the regime
    assert [math.exp(gain.value) for gain in idea.gains] == pytest.approx([worth] * 4, rel=0.03)
    assert idea.judged is not None and math.exp(idea.judged.gain.value) == pytest.approx(worth, rel=0.05)
    first, top = idea.at[0].rung.flops, idea.at[-1].rung.flops
    for one in idea.at:
        assert one.baseline.rate == pytest.approx(8e-3 * (one.rung.flops / first) ** -0.1, rel=0.02)
    assert [one.baseline.tuned is None for one in idea.at] == [False, True, True, True]
    assert abs(idea.at[-1].baseline.off or 0) < 0.05
    assert top < math.exp(idea.judged.at) <= top * 4**2 * 1.5
    (entry,) = ledger.read(tmp_path / "ledger.yaml")
    assert entry.verdict == verdict and len(entry.rungs) == 4


def test_a_gain_that_fades_is_bound_to_its_scale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer, _ = climbed(monkeypatch, tmp_path, law(lambda c: 1.4 * c**-0.047, noise=5e-4), gates=False)
    (idea,) = answer.ideas
    assert idea.verdict == "scale-bound"
    assert idea.judged is not None and idea.judged.slope is not None and idea.judged.slope.high < 0


def test_an_idea_without_a_chance_ends_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = law(lambda c: 0.5, noise=1e-3)
    answer, some = climbed(monkeypatch, tmp_path, bad)
    assert answer.ideas[0].stopped == 1 and answer.ideas[0].verdict != "better"
    assert "no chance was left" in sentence(answer.ideas[0], answer)
    _, every = climbed(monkeypatch, tmp_path / "all", bad, gates=False)
    assert some.count < every.count


def test_a_side_that_is_untuned_voids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variant's loss falls with its rate as far as anybody looks."""
    fine = law(lambda c: 1.0)

    def falls(e: spec.Experiment) -> float:
        if e.schedule.kind != "constant":
            return fine(e)
        return 3 - 0.01 * math.log2(rate(e))

    answer, _ = climbed(monkeypatch, tmp_path, falls, gates=False)
    assert answer.ideas[0].verdict == "void" and "untuned" in answer.ideas[0].why
    assert len(answer.ideas[0].at) == 1  # whatever else would be run is void, too
    assert ledger.read(tmp_path / "ledger.yaml")[0].verdict == "void"


@pytest.mark.slow
def test_a_rate_off_the_line_is_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At each rung the best rate lies elsewhere than the line says, and runs scatter by .01."""
    shift = {32: 0.0, 48: 0.3, 80: 0.1, 112: 0.5}

    def law_of(e: spec.Experiment) -> float:
        return law(lambda c: 1.1, noise=0.01, best=8e-3 * 2 ** shift[e.model.width])(e)

    answer, _ = climbed(monkeypatch, tmp_path, law_of, gates=False)
    first = answer.ideas[0].at[0].rung.flops
    for one in answer.ideas[0].at[1:]:
        best = 8e-3 * 2 ** shift[one.rung.baseline.model.width] * (one.rung.flops / first) ** -0.1
        for side in (one.baseline, one.variant):
            assert side.rate is not None and abs(math.log2(side.rate / best)) < 0.5  # 4 sd of the two runs
            assert side.tuned is None and side.trials == 2


def test_a_rate_that_misses_at_the_top_is_tuned_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The best rate jumps by three octaves at the largest rung."""
    usual, moved = law(lambda c: 1.1, noise=1e-6), law(lambda c: 1.1, noise=1e-6, best=1e-3)

    def jumps(e: spec.Experiment) -> float:
        return moved(e) if e.model.width > 100 else usual(e)

    answer, _ = climbed(monkeypatch, tmp_path, jumps, gates=False)
    top = answer.ideas[0].at[-1]
    ratio = top.rung.flops / answer.ideas[0].at[0].rung.flops
    assert top.baseline.tuned is not None and abs(top.baseline.off or 0) > 1
    assert top.baseline.rate == pytest.approx(1e-3 * ratio**-0.1, rel=0.02)
    assert top.baseline.trials == top.variant.trials >= 12


@pytest.mark.slow
def test_what_would_narrow_the_interval_is_told_and_a_second_look_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice the pairs give the interval that was told, as near as the scatter of new runs permits."""
    noisy = law(lambda c: 1.03, noise=0.01)
    answer, _ = climbed(monkeypatch, tmp_path, noisy, gates=False)
    (idea,) = answer.ideas
    assert idea.verdict == "not shown" and idea.judged is not None
    rung, twice = sorted(idea.ways, key=lambda way: way.pairs)
    half = idea.judged.gain.high - idea.judged.gain.value
    assert (rung.rungs, twice.rungs) == (5, 4) and max(rung.half, twice.half) < half
    assert any("--rungs 5" in line and "--seeds 10" in line for line in details(answer))
    assert twice.cost == pytest.approx(sum(2 * one.rung.flops * len(one.seeds) for one in idea.at))
    assert not answer.before
    more, _ = climbed(monkeypatch, tmp_path, noisy, gates=False, seeds=10)
    assert [len(one.seeds) for one in more.ideas[0].at] == [10, 10, 8, 6]
    assert [(look.rungs, look.seeds) for look in more.before] == [(4, 5)]
    assert any("judged before, at 4 rungs with 5 pairs" in line for line in details(more))
    same, _ = climbed(monkeypatch, tmp_path, noisy, gates=False, seeds=10)
    assert same.before == more.before


def test_no_rung_is_advised_before_which_a_gate_would_close(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two rungs, all gates open: what is told to come next is what the same study would do."""
    bad = law(lambda c: 0.9, noise=0.01)
    told, _ = climbed(monkeypatch, tmp_path, bad, rungs=2)
    more, _ = climbed(monkeypatch, tmp_path, bad, rungs=3)
    assert told.ideas[0].verdict == "not shown"
    assert bool(told.ideas[0].ways) == (len(more.ideas[0].at) == 3)
    if not told.ideas[0].ways:  # nothing was run, so nothing was looked at again
        assert more.before == ()


def test_runs_that_diverge_cannot_win(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = law(lambda c: 1.5, noise=1e-4)

    def unlucky(e: spec.Experiment) -> float:
        lost = e.schedule.kind == "constant" and e.train.seed == 1 and e.model.width == 48
        return math.nan if lost else good(e)

    answer, _ = climbed(monkeypatch, tmp_path, unlucky, gates=False)
    assert answer.ideas[0].verdict == "not shown"
    assert any(row[5] == "diverged" or row[4] == "4" for row in table(answer))


@pytest.mark.parametrize(
    ("rungs", "width", "why"),
    [
        pytest.param(
            4, 112, "the gain is not known at the largest rung: the baseline does not fall from rung 3 to",
            marks=pytest.mark.slow,
        ),
        (2, 48, "no rung has a gain: the baseline does not fall from rung 1 to rung 2"),
    ],
)  # fmt: skip
def test_a_baseline_that_rises_is_told_after_all_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rungs: int, width: int, why: str
) -> None:
    """At the largest rung every loss is one higher: the study ends with an answer that says so."""
    usual = law(lambda c: 1.25, noise=1e-4)

    def rises(e: spec.Experiment) -> float:
        return usual(e) + (e.model.width == width)

    answer, _ = climbed(monkeypatch, tmp_path, rises, rungs=rungs, gates=False)
    (idea,) = answer.ideas
    assert (idea.verdict, idea.judged, len(idea.at)) == ("not shown", None, rungs)
    assert idea.why.startswith(why) and why in sentence(idea, answer)
    assert [math.isfinite(gain.value) for gain in idea.gains] == [True] * (rungs - 2) + [False] * 2
    assert any("rung 2: " in line for line in details(answer)) == (rungs == 2)
    assert any(f"rung {rungs}: no gain, as the baseline does not fall" in line for line in details(answer))
    report(answer)
    (entry,) = ledger.read(tmp_path / "ledger.yaml")
    assert entry.verdict == "not shown"


def test_it_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(study, "Queue", Runs(law(lambda c: 1.25, noise=1e-4)))
    monkeypatch.setattr(timing, "measure", None)  # a schedule costs nothing: nothing is timed
    found = danlu.try_across_scale("constant", rungs=3, progress=False)
    (idea,) = found.ideas
    assert idea.verdict == "better"
    assert idea.gain_at_equal_time == idea.gain
    assert "constant on bed: better" in repr(found) and "times the compute" in repr(found)
    check(found, charts=1)
    page = found.report.read_text()
    assert page.startswith("<!doctype html>") and page.count("<svg") == 2
    lines = "\n".join(details(found._answer))
    assert "regime" in lines and "Cost:" in lines and "drawn towards none" in lines
    assert report(found._answer) == page
