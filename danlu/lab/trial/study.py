"""The study of ideas: baseline and variants in pairs, at equal updates, equal FLOPs and equal active time.

Each equality is a run of its own with a whole schedule: a variant that is cut short where the budget of FLOPs
ends has not decayed its rate, and would lose by that. Where an update of both costs the same, the pair of
equal updates serves for that equality too: FLOPs that differ by less than ``TOLERANCE``, seconds whose ratio
does not differ clearly from 1.
"""

from __future__ import annotations

import hashlib
import math
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from danlu import spec
from danlu.code import together
from danlu.files.json import read_object, write_json
from danlu.lab import evidence, ledger
from danlu.lab.budget import Budget, measure_pace
from danlu.lab.errors import LabError
from danlu.lab.limits import SEEDS, within
from danlu.lab.queue import Queue
from danlu.lab.queue.job import torch_build
from danlu.lab.queue.places import depends_on
from danlu.lab.statistics import LEVEL, Interval, holm
from danlu.lab.study import STUDIES, Study, folder_name
from danlu.lab.trial import timing
from danlu.lab.trial.arms import Idea, read_sides
from danlu.lab.trial.findings import At, Finding, Pairs, find
from danlu.lab.trial.moved import most_moved
from danlu.lab.trial.sides import Runs, Side
from danlu.lab.trial.timing import Ratio
from danlu.spec.metrics import Metric

TOLERANCE = 0.01  # of the FLOPs of an update, within which two are the same
EQUAL: dict[At, str] = {"steps": "steps", "flops": "FLOPs", "time": "active time"}
REMEMBERED = {
    "steps": (int, None), "seconds_per_step": (float, None), "looks": ([int], None),
    "ratios": ({...: {...: {"value": [float, float, float], "why": str}}}, None),
}  # fmt: skip
MEMORY = "plan.json"  # what was measured before or between the runs, so that a resumed study does the same


@dataclass(frozen=True)
class Question:
    """What is asked: ``ideas`` and the baseline's words ``on`` as a person writes them; ``seeds``, the number
    of pairs; ``budget`` of a run (none: the recipe's own bound); ``tune``: ``lr`` or none; ``stop_early``."""

    ideas: tuple[str, ...]
    on: str = "nano"
    seeds: int = 5
    budget: str | None = None
    tune: str | None = None
    stop_early: bool = False

    @property
    def name(self) -> str:
        """The study's, made of its words, so that the same command finds its runs again."""
        more = [self.budget or "", f"tune-{self.tune}" if self.tune else "", "stop-early" * self.stop_early]
        words = "-".join(["try", *self.ideas, "on", self.on, *filter(None, more)])
        digest = hashlib.sha256(words.encode()).hexdigest()[:8]
        return folder_name(words if len(words) < 100 else f"{folder_name(words)[:90]}-{digest}")

    def check(self) -> None:
        """Raises ``LabError`` for what can't be asked."""
        within("--seeds", self.seeds, SEEDS)
        if self.tune not in (None, "lr"):
            raise LabError(f"--tune = {self.tune!r}; what can be tuned is lr")
        if self.budget is not None:
            Budget.parse(self.budget)


@dataclass(frozen=True)
class Answer:
    """What came out: the findings, idea by idea, and where they are kept."""

    question: Question
    study: Study
    steps: int
    findings: tuple[Finding, ...]
    runs: Runs
    sides: Mapping[tuple[str, At], tuple[Side, Side]]
    metrics: tuple[Metric, ...]

    @property
    def metric(self) -> Metric:
        """By which the sides are compared."""
        return self.metrics[0]

    @property
    def what(self) -> str:
        """What the differences are of, in a line."""
        return (
            f"{self.question.on}, {self.steps} steps: held-out {self.metric.words}, variant − baseline; "
            f"{self.metric.better} is better"
        )


def try_ideas(
    question: Question,
    studies: Path = STUDIES,
    *,
    workers: int | None = None,
    show: bool = True,
    book: Path | None = ledger.LEDGER,
) -> Answer:
    """Carry out the study, or what is left of it, write ``result.json`` and tell the ledger ``book``.

    Raises ``LabError``, ``SpecError``, ``DataError`` with one sentence, before anything runs where it can be
    known."""
    question.check()
    baseline, variants = read_sides(question.on, question.ideas)
    asked = {key: value for key, value in asdict(question).items() if key != "seeds"}
    study = Study.open(studies, question.name, {"verb": "try", **asked, "ideas": list(question.ideas)})
    with Queue(studies, workers=workers, show=show) as queue, queue.alone(study.path):
        trial = _Trial(question, study, Runs(queue), baseline, variants)
        findings = trial.findings()
        trial.remember(looks=sorted({*(trial.memory.get("looks") or ()), question.seeds}))
        study.save([finding.json() for finding in findings])
    answer = Answer(question, study, trial.steps, tuple(findings), trial.runs, trial.sides, trial.metrics)
    if book is not None:
        _record(answer, book, variants)
    return answer


class _Equal(NamedTuple):
    """The variant at an equality (None: it cannot be had), its cost of an update over the baseline's, and
    what must be said."""

    side: Side | None
    cost: float | None = None
    note: str = ""


class _Trial:
    """One study on its way."""

    def __init__(
        self,
        question: Question,
        study: Study,
        runs: Runs,
        baseline: spec.Experiment,
        variants: Mapping[Idea, spec.Experiment],
    ) -> None:
        self.question, self.study, self.runs = question, study, runs
        path = study.path / MEMORY
        self.memory = read_object(path, REMEMBERED) if path.exists() else {}
        self.steps = self._steps(baseline)
        self.metrics: tuple[Metric, ...] = baseline.objective.metrics
        self.baseline = Side.of(question.on, baseline, self.steps)
        self.variants = {
            idea.name: Side.of(f"{question.on} {idea.name}", experiment, self.steps)
            for idea, experiment in variants.items()
        }
        self.tuned: dict[str, Mapping[str, Any]] = {}
        self.ratios: dict[str, Ratio] = {}  # of seconds, by idea
        self.sides: dict[tuple[str, At], tuple[Side, Side]] = {}

    def remember(self, **what: Any) -> None:
        """Write down what must be the same when the study is gone on with."""
        self.memory |= what
        write_json(self.study.path / MEMORY, self.memory)

    def findings(self) -> list[Finding]:
        """Run what is needed; the verdicts."""
        if self.question.tune:
            self._tune()
        seeds = self._equal_steps()
        equal = {idea: self._equalities(idea, seeds[idea]) for idea in self.variants}
        self.runs.carry_out(
            (side, seed)
            for idea, each in equal.items()
            for side in dict.fromkeys(one.side for one in each.values())
            if side is not None
            for seed in seeds[idea]
        )
        asked: list[Pairs] = []
        about: dict[tuple[str, At], dict[str, Any]] = {}
        for idea, each in equal.items():
            for at, (side, ratio, note) in each.items():
                if side is None:
                    asked.append(Pairs(idea, at, self.metrics[0], (), (), ()))
                else:
                    self.sides[idea, at] = self.baseline, side
                    asked.append(self._pairs(idea, at, side, seeds[idea]))
                about[idea, at] = {
                    "steps": (self.baseline.steps, (side or self.variants[idea]).steps),
                    "ratio": ratio,
                    "note": note,
                    "tuned": self.tuned.get(idea),
                    "moved": self._moved(self.variants[idea], seeds[idea]) if at == "steps" else (),
                }
        return find(asked, self.looking, about)

    @property
    def looking(self) -> bool:
        """Whether somebody looked before the number of seeds was settled: then only the anytime interval
        holds."""
        return self.question.stop_early or any(
            seeds != self.question.seeds for seeds in self.memory.get("looks") or ()
        )

    def _steps(self, baseline: spec.Experiment) -> int:
        if self.memory.get("steps") is None:
            text = self.question.budget
            budget = Budget.parse(text) if text else Budget.of(baseline)
            pace = measure_pace(self.runs.queue, baseline) if budget.unit == "seconds" else None
            self.remember(steps=budget.steps(baseline, pace), seconds_per_step=pace)
        return int(self.memory["steps"])

    def _tune(self) -> None:
        (self.baseline, of_baseline), *variants = self.runs.tune([self.baseline, *self.variants.values()])
        for idea, (side, of_variant) in zip(list(self.variants), variants, strict=True):
            self.variants[idea] = side
            self.tuned[idea] = {"baseline": of_baseline, "variant": of_variant}

    def _equal_steps(self) -> dict[str, list[int]]:
        """Run the pairs of equal updates; the seeds that each idea came to have."""
        first = self.baseline.experiment.train.seed
        seeds: dict[str, list[int]] = {idea: [] for idea in self.variants}
        going = list(self.variants)
        for batch in self._looks(range(first, first + self.question.seeds)):
            sides = [self.baseline, *(self.variants[idea] for idea in going)]
            self.runs.carry_out((side, seed) for seed in batch for side in sides)
            for idea in going:
                seeds[idea] += batch
            if self.question.stop_early:
                going = self._undecided(seeds, going)
            if not going:
                break
        return seeds

    def _looks(self, seeds: Sequence[int]) -> Iterator[list[int]]:
        """The seeds between one look and the next: all at once, or two and then one by one."""
        first = 2 if self.question.stop_early else len(seeds)
        yield list(seeds[:first])
        yield from ([seed] for seed in seeds[first:])

    def _undecided(self, seeds: Mapping[str, list[int]], going: Sequence[str]) -> list[str]:
        values = [
            self._pairs(idea, "steps", side, seeds[idea]).p(looking=True)
            for idea, side in self.variants.items()
        ]
        clear = {idea for idea, p in zip(self.variants, holm(values), strict=True) if p <= 1 - LEVEL}
        return [idea for idea in going if idea not in clear]

    def _equalities(self, idea: str, seeds: Sequence[int]) -> dict[At, _Equal]:
        """The variant at each equality."""
        side = self.variants[idea]
        at_flops, flops = side.at_cost_of(self.baseline)
        if abs(flops - 1) <= TOLERANCE:
            by_flops = _Equal(side, flops, f"the runs of equal steps: FLOPs differ by {abs(flops - 1):.1%}")
        else:
            note = f"{at_flops.steps} steps: an update has {flops:.3g}× the FLOPs"
            by_flops = _Equal(at_flops, flops, note)
        return {"steps": _Equal(side), "flops": by_flops, "time": self._at_equal_time(idea, flops, seeds)}

    def _at_equal_time(self, idea: str, flops: float, seeds: Sequence[int]) -> _Equal:
        side = self.variants[idea]
        if not self._pairs(idea, "steps", side, seeds).differences:
            return _Equal(side, None, "the runs of equal steps: no pair ended, so that time decides nothing")
        ratio = self.ratios[idea] = self._ratio(idea, flops, seeds)
        time, low, high = ratio.value
        if not ratio.known:
            return _Equal(None, None, ratio.why)
        if low == high == 1:
            return _Equal(side, 1.0, f"the runs of equal steps: {ratio.why}")
        takes = f"an update takes {time:.3f}× as long ({low:.3f} … {high:.3f}, {ratio.why})"
        if not ratio.differs:
            return _Equal(side, time, f"the runs of equal steps: {takes}, not clearly other than 1")
        at_time = side.longer(1 / time)
        return _Equal(at_time, time, f"{at_time.steps} steps: {takes}")

    def _ratio(self, idea: str, flops: float, seeds: Sequence[int]) -> Ratio:
        """How many times as long an update takes: remembered for the machine, the PyTorch and the code of
        both sides that it was measured with."""
        sides, seed = (self.baseline, self.variants[idea]), seeds[0]
        both = [depends_on(self.runs.outcome(side, seed).folder) for side in sides]
        here = " ".join([platform.node(), torch_build(), together(both[0] | both[1])])
        ratios = self.memory.get("ratios") or {}
        if (known := ratios.get(idea, {}).get(here)) is not None:
            return Ratio.read(known)
        baseline, variant = self.baseline.experiment, self.variants[idea].experiment
        same = timing.equal_by_construction(baseline, variant, flops)
        if same is not None:
            return Ratio(Interval(1.0, 1.0, 1.0), same)
        found = timing.measure(baseline, variant)
        if found.known:
            self.remember(ratios=ratios | {idea: ratios.get(idea, {}) | {here: found.json()}})
        return found

    def _pairs(self, idea: str, at: At, variant: Side, seeds: Sequence[int]) -> Pairs:
        before, after = (
            tuple(self.runs.metric(side, seed) for seed in seeds) for side in (self.baseline, variant)
        )
        doubt = self._doubt(idea, variant, seeds) if at == "time" else (0.0, 0.0)
        return Pairs(idea, at, self.metrics[0], tuple(seeds), before, after, doubt)

    def _doubt(self, idea: str, at_time: Side, seeds: Sequence[int]) -> tuple[float, float]:
        """How much lower and higher the variant's metric may be at exactly equal time: at the lengths that
        the ends of the ratio's interval allow, by the slope between its two lengths in ln steps."""
        at_steps = self.variants[idea]
        both = [(self.runs.metric(at_steps, seed), self.runs.metric(at_time, seed)) for seed in seeds]
        known = [(one, other) for one, other in both if math.isfinite(one) and math.isfinite(other)]
        if at_steps.steps == at_time.steps or not known:
            return 0.0, 0.0
        slope = fmean(other - one for one, other in known) / math.log(at_time.steps / at_steps.steps)
        _, low, high = self.ratios[idea].value
        ends = [slope * math.log(at_steps.steps / ratio / at_time.steps) for ratio in (low, high)]
        return max(0.0, -min(ends)), max(0.0, *ends)

    def _moved(self, side: Side, seeds: Sequence[int]) -> list[dict[str, Any]]:
        outcomes = [(self.runs.outcome(self.baseline, s), self.runs.outcome(side, s)) for s in seeds]
        return most_moved((b.folder, v.folder) for b, v in outcomes if b.summary and v.summary)


def _record(answer: Answer, book: Path, ideas: Mapping[Idea, spec.Experiment]) -> None:
    """Tell the ledger the verdicts, those of runs of their own."""
    statements = {idea.name: idea.statement for idea in ideas}
    for finding in answer.findings:
        pairs = finding.pairs
        if finding.verdict == "not measured":
            continue
        side = answer.sides[pairs.idea, pairs.at][1]
        if pairs.at != "steps" and side == answer.sides[pairs.idea, "steps"][1]:
            continue
        both = [(one, seed) for one in answer.sides[pairs.idea, pairs.at] for seed in pairs.seeds]
        ended = [answer.runs.outcome(side, seed).summary or {} for seed in pairs.seeds]
        sizes = [name for name in ("parameters", "steps", "tokens") if any(name in one for one in ended)]
        ledger.record(
            idea=pairs.idea,
            on=answer.question.on,
            at=f"equal {EQUAL[pairs.at]}",
            statement=statements[pairs.idea],
            verdict=finding.verdict,
            effect=finding.interval.value,
            interval=(finding.interval.low, finding.interval.high),
            unit=pairs.metric.words,
            seeds=len(pairs.seeds),
            evidence=[answer.study.path],
            code=evidence.keep(answer.study.path, [answer.runs.outcome(*one).folder for one in both]),
            scale={name: max(one.get(name, 0) for one in ended) for name in sizes} if any(ended) else None,
            file=book,
        )
